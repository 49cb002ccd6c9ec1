//! The one table from our Rust errors to Python exceptions.

use evio_loop::Error;
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyPermissionError, PyRuntimeError};

/// An error of the reactor.
pub(crate) fn reactor(error: &Error) -> PyErr {
    let message = error.to_string();
    match error.raw_os_error() {
        Some(code) => PyOSError::new_err((code, message)),
        None => PyOSError::new_err(message),
    }
}

/// What asyncio says of a file that cannot be watched, such as a regular one.
pub(crate) fn not_permitted() -> PyErr {
    // The number of EPERM on every system.
    PyPermissionError::new_err((1, "Operation not permitted"))
}

/// What asyncio says of a closed loop.
pub(crate) fn closed_loop() -> PyErr {
    PyRuntimeError::new_err("Event loop is closed")
}
