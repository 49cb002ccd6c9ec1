//! Native equals of eventlet's hot functions, of identical behaviour.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::hub::{self, HubCore};
use crate::job::Job;
use crate::{greenlet, step};

/// `eventlet.sleep`: yields to others until at least `seconds` have passed.
///
/// In a thread whose hub is not ours this is eventlet's own function.
#[pyfunction]
#[pyo3(signature = (seconds = None))]
pub(crate) fn sleep(py: Python<'_>, seconds: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let hub = match hub::of_thread(py)? {
        Some(hub) => hub,
        None => py
            .import("eventlet.hubs")?
            .call_method0(intern!(py, "get_hub"))?,
    };
    let Ok(hub) = hub.cast_into::<HubCore>() else {
        return original_sleep(py, seconds);
    };
    let delay: f64 = match seconds {
        Some(seconds) => seconds.extract()?,
        None => 0.0,
    };
    let current = greenlet::current(py);
    let driver = hub.get().driver(py);
    let on_hub = driver
        .bind(py)
        .get()
        .greenlet(py)
        .is_some_and(|greenlet| greenlet.is(&current));
    if on_hub {
        if delay <= 0.0 {
            return Ok(());
        }
        return Err(PyRuntimeError::new_err(
            "do not call blocking functions from the mainloop",
        ));
    }
    let deadline = hub::after(py, delay);
    let core = HubCore::core(&hub)?;
    let key = HubCore::schedule(&core, deadline, Job::Wake(current.clone().unbind()))?;
    let mut next = None;
    if deadline == 0 && !step::any_active() {
        next = HubCore::next_yielded(&hub, &core);
        while let Some(dead) = next.take_if(|next| greenlet::is_dead(next)) {
            drop(dead);
            next = HubCore::next_yielded(&hub, &core);
        }
    }
    let outcome = HubCore::block(&hub, &current, next);
    let job = HubCore::cancel_timer(&hub, key);
    drop(job);
    outcome.map(drop)
}

fn original_sleep(py: Python<'_>, seconds: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    static ORIGINAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let original = ORIGINAL.get_or_try_init(py, || {
        py.import("eventlet_asyncio._patches")?
            .call_method1("original", ("eventlet.greenthread", "sleep"))
            .map(Bound::unbind)
    })?;
    match seconds {
        Some(seconds) => original.call1(py, (seconds,)),
        None => original.call0(py),
    }
    .map(drop)
}
