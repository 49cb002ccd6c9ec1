//! The stacks of those who make timers and listeners, where `eventlet.debug` asks for them.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::cell::{Once, intern};

/// Whether `eventlet.debug.hub_timer_stacks` is on.
pub(crate) fn wants_timers(py: Python<'_>) -> PyResult<bool> {
    static TIMERS: Once<Py<PyDict>> = Once::new();
    let timers = TIMERS.get_or_try_init(py, || {
        let module = py.import("eventlet.hubs.timer")?;
        PyResult::Ok(module.dict().unbind())
    })?;
    match timers.bind(py).get_item(intern!(py, "_g_debug"))? {
        Some(state) => state.is_truthy(),
        None => Ok(false),
    }
}

/// The stack of the running code, as lines of text.
pub(crate) fn stack(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("traceback")?
        .call_method0(intern!(py, "format_stack"))
}

/// The same in a text file, as eventlet's timers have it.
pub(crate) fn stack_in_file(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let text = intern!(py, "").call_method1(intern!(py, "join"), (stack(py)?,))?;
    py.import("io")?
        .call_method1(intern!(py, "StringIO"), (text,))
}
