//! What other modules have, imported when it is first needed.

use pyo3::PyTypeCheck;
use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::cell::Once;

/// A member of a module, or a module, that is looked up at its first use. From then on it is that one, also where a
/// program puts another in its place.
pub(crate) struct Imported<T = PyAny> {
    module: &'static str,
    member: Option<&'static str>,
    object: Once<Py<T>>,
}

impl<T> Imported<T> {
    pub(crate) const fn new(module: &'static str, member: &'static str) -> Self {
        Self {
            module,
            member: Some(member),
            object: Once::new(),
        }
    }
}

impl Imported<PyModule> {
    pub(crate) const fn module(name: &'static str) -> Self {
        Self {
            module: name,
            member: None,
            object: Once::new(),
        }
    }
}

impl<T: PyTypeCheck> Imported<T> {
    #[inline]
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, T>> {
        let object = self.object.get_or_try_init(py, || self.look_up(py))?;
        Ok(object.bind(py))
    }

    #[cold]
    fn look_up(&self, py: Python<'_>) -> PyResult<Py<T>> {
        let module = py.import(self.module)?;
        let object = match self.member {
            Some(member) => module.getattr(member)?,
            None => module.into_any(),
        };
        Ok(object.cast_into()?.unbind())
    }
}
