//! `get_ident()`: by what green code tells green threads apart.

use pyo3::prelude::*;

use super::Original;
use crate::step;

static ORIGINAL: Original = Original::new("eventlet.green.thread", "get_ident");

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
            // The interpreter is on its way out.
            Err(_) => return ORIGINAL.call((), None, py),
        },
    };
    (owner.as_ptr() as usize)
        .into_pyobject(py)
        .map(Bound::into_any)
        .map_err(Into::into)
}
