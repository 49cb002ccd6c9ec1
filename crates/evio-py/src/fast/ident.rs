//! `get_ident()`: by what green code tells green threads apart.

use pyo3::prelude::*;

use crate::{step, threads};

/// A number for the running task or green thread, or for the greenlet that is given.
#[pyfunction]
#[pyo3(signature = (gr = None))]
pub(crate) fn get_ident<'py>(
    py: Python<'py>,
    gr: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let owner = match gr {
        Some(greenlet) => greenlet.clone(),
        None => match step::owner(py) {
            Ok(owner) => owner,
            // The interpreter is on its way out, and this thread has no greenlets any more.
            Err(_) => return Ok(threads::ident(py)?.into_pyobject(py)?.into_any()),
        },
    };
    (owner.as_ptr() as usize)
        .into_pyobject(py)
        .map(Bound::into_any)
        .map_err(Into::into)
}
