//! Native equals of eventlet's hot functions, where docs/patches.md says how they differ, and of ours.
//!
//! Those that need a hub call eventlet's own where the thread's is not ours.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::cell::Once;
use crate::hub::HubCore;
use crate::threads;

pub(crate) mod await_;
pub(crate) mod event;
#[allow(unsafe_code)] // A frame of ours in CPython's calls.
pub(crate) mod floor;
pub(crate) mod future;
pub(crate) mod green_thread;
pub(crate) mod home;
pub(crate) mod ident;
pub(crate) mod sleep;
#[allow(unsafe_code)] // Looks into a socket.
pub(crate) mod socket;
pub(crate) mod timeout;
pub(crate) mod trampoline;
pub(crate) mod waker;

/// The hub of this thread, made if there is none; `None` when it is not ours.
fn hub_of_thread(py: Python<'_>) -> PyResult<Option<Bound<'_, HubCore>>> {
    Ok(threads::own_hub(py)?.cast_into::<HubCore>().ok())
}

/// Whether a greenlet is that of the hub, which must not block.
fn is_hub(hub: &Bound<'_, HubCore>, current: &Bound<'_, PyAny>) -> bool {
    let py = hub.py();
    let driver = hub.get().driver(py).into_bound(py);
    let own = driver.get().greenlet(py);
    own.is_some_and(|own| own.into_bound(py).is(current))
}

/// What is raised where what the hub called would have to wait for the hub.
pub(crate) fn blocking_in_hub() -> PyErr {
    PyRuntimeError::new_err("do not call blocking functions from the mainloop")
}

/// What eventlet has at a place where one of these functions stands now.
struct Original {
    place: &'static str,
    name: &'static str,
    function: Once<Py<PyAny>>,
}

impl Original {
    const fn new(place: &'static str, name: &'static str) -> Self {
        Self {
            place,
            name,
            function: Once::new(),
        }
    }

    fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let function = self.function.get_or_try_init(py, || {
            py.import("eventlet_asyncio._patches")?
                .call_method1("original", (self.place, self.name))
                .map(Bound::unbind)
        })?;
        Ok(function.bind(py))
    }

    fn call<'py>(
        &self,
        args: impl pyo3::call::PyCallArgs<'py>,
        kwargs: Option<&Bound<'py, PyDict>>,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.get(py)?.call(args, kwargs)
    }
}

/// A call's function and arguments in one tuple.
fn with_first<'py>(
    first: &Bound<'py, PyAny>,
    rest: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyTuple>> {
    let all = std::iter::once(first.clone()).chain(rest.iter());
    PyTuple::new(first.py(), all.collect::<Vec<_>>())
}
