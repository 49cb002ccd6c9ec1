//! What CPython tells only by its C interface: the contexts in which callbacks run, and the frame.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Enters a context; `false` when it is entered already.
pub(crate) fn enter(context: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: the object is a contextvars.Context, which `copy` and `check` see to.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0 {
        return Ok(true);
    }
    drop(PyErr::take(context.py()));
    Ok(false)
}

/// Leaves a context that [`enter`] entered on this greenlet.
pub(crate) fn exit(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: as above.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } == 0 {
        return Ok(());
    }
    Err(PyErr::take(context.py()).expect("CPython sets an exception when it fails"))
}

/// A copy of the context of the running code.
pub(crate) fn copy(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached; null comes with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

/// Refuses what is no context.
pub(crate) fn check(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: a type check of a live object.
    if unsafe { ffi::PyContext_CheckExact(context.as_ptr()) } != 0 {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "context must be a contextvars.Context, not {}",
        context.get_type().name()?
    )))
}

/// The innermost Python frame; there is none below a driver.
pub(crate) fn frame(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: attached; the answer is borrowed from the interpreter, or null.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) }
}
