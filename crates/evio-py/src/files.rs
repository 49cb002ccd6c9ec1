//! The file objects by which descriptors are watched: a closed one has no descriptor any more, and yet it is
//! by it that a program stops watching.

use std::collections::HashMap;
use std::os::fd::RawFd;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{GilCell, intern};

/// For each descriptor that is watched by a file object, the last such object.
pub(crate) struct Files(GilCell<HashMap<RawFd, Py<PyAny>>>);

impl Files {
    pub(crate) fn new() -> Self {
        Self(GilCell::new(HashMap::new()))
    }

    /// Gives the descriptor of an object that is to be watched, and notes the object.
    pub(crate) fn note(&self, object: &Bound<'_, PyAny>) -> PyResult<RawFd> {
        let py = object.py();
        let number = number(object)?;
        let fd = number.map_or_else(|| fileno(object), Ok)?;
        let file = number.is_none().then(|| object.clone().unbind());
        let old = self.0.with(py, |files| match file {
            Some(file) => files.insert(fd, file),
            None if files.is_empty() => None,
            // That of a file which was closed may stand for another one by now.
            None => files.remove(&fd),
        });
        drop(old);
        Ok(fd)
    }

    /// Gives the descriptor of an object that may be watched.
    pub(crate) fn find(&self, object: &Bound<'_, PyAny>) -> PyResult<RawFd> {
        match number(object)? {
            Some(fd) => Ok(fd),
            None => fileno(object).or_else(|error| {
                let noted = self.0.with(object.py(), |files| {
                    let mut files = files.iter();
                    files.find_map(|(fd, file)| file.is(object).then_some(*fd))
                });
                noted.ok_or(error)
            }),
        }
    }

    /// A descriptor is watched no more.
    pub(crate) fn forget(&self, py: Python<'_>, fd: RawFd) {
        let file = self.0.with(py, |files| files.remove(&fd));
        drop(file);
    }

    pub(crate) fn is_empty(&self, py: Python<'_>) -> bool {
        self.0.with(py, |files| files.is_empty())
    }

    pub(crate) fn clear(&self, py: Python<'_>) {
        drop(self.0.take(py));
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(files) = self.0.peek() {
            for file in files.values() {
                visit.call(file)?;
            }
        }
        Ok(())
    }
}

/// The descriptor, where an object is the number of one.
fn number(object: &Bound<'_, PyAny>) -> PyResult<Option<RawFd>> {
    match object.extract::<RawFd>() {
        Ok(fd) if fd < 0 => Err(bad_number(fd)),
        Ok(fd) => Ok(Some(fd)),
        Err(_) => Ok(None),
    }
}

fn bad_number(fd: RawFd) -> PyErr {
    PyValueError::new_err(format!("Invalid file descriptor: {fd}"))
}

/// The descriptor of a file object, as `selectors` understands it.
fn fileno(object: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let fd = object
        .call_method0(intern!(object.py(), "fileno"))
        .and_then(|fd| fd.extract::<RawFd>());
    match fd {
        Ok(fd) if fd >= 0 => Ok(fd),
        // That of a file which was closed.
        Ok(fd) => Err(bad_number(fd)),
        Err(_) => Err(PyValueError::new_err(format!(
            "Invalid file object: {}",
            object.repr()?
        ))),
    }
}
