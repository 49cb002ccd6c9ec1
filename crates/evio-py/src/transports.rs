//! The transports of a loop by descriptor, which the loop does not keep alive.

use std::collections::HashMap;
use std::os::fd::RawFd;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::cell::GilCell;

/// What is a `WeakValueDictionary` in the stdlib's loops. A number of a transport that is gone stays
/// until it is another's.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Transports(GilCell<HashMap<RawFd, Py<PyWeakrefReference>>>);

impl Transports {
    pub(crate) fn find<'py>(&self, py: Python<'py>, fd: RawFd) -> Option<Bound<'py, PyAny>> {
        let found = self.0.with(py, |transports| {
            let found = transports.get(&fd)?;
            Some(found.clone_ref(py))
        });
        found?.bind(py).upgrade()
    }

    pub(crate) fn insert(&self, fd: RawFd, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = transport.py();
        let reference = PyWeakrefReference::new(transport)?.unbind();
        let old = self
            .0
            .with(py, |transports| transports.insert(fd, reference));
        drop(old);
        Ok(())
    }

    fn all<'py>(&self, py: Python<'py>) -> Vec<(RawFd, Bound<'py, PyAny>)> {
        let all = self.0.with(py, |transports| {
            let all = transports.iter();
            all.map(|(&fd, found)| (fd, found.clone_ref(py)))
                .collect::<Vec<_>>()
        });
        all.into_iter()
            .filter_map(|(fd, found)| Some((fd, found.bind(py).upgrade()?)))
            .collect()
    }
}

fn missing(key: &Bound<'_, PyAny>) -> PyErr {
    PyKeyError::new_err(key.clone().unbind())
}

#[pymethods]
impl Transports {
    #[new]
    fn new() -> Self {
        Self(GilCell::new(HashMap::new()))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.all(py).len()
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> bool {
        self.get(key, None).is_some()
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.get(key, None).ok_or_else(|| missing(key))
    }

    fn __setitem__(&self, key: RawFd, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        self.insert(key, transport)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = key.py();
        let fd: RawFd = key.extract().map_err(|_| missing(key))?;
        let removed = self.0.with(py, |transports| transports.remove(&fd));
        let removed = removed.and_then(|removed| removed.bind(py).upgrade());
        removed.map(drop).ok_or_else(|| missing(key))
    }

    /// The transport of a descriptor, if there is one.
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> Option<Bound<'py, PyAny>> {
        let fd = key.extract().ok();
        fd.and_then(|fd| self.find(key.py(), fd)).or(default)
    }

    /// The transports.
    fn values<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        let all = self.all(py).into_iter();
        all.map(|(_, transport)| transport).collect()
    }

    /// The descriptors.
    fn keys(&self, py: Python<'_>) -> Vec<RawFd> {
        self.all(py).into_iter().map(|(fd, _)| fd).collect()
    }

    /// The transports with their descriptors.
    fn items<'py>(&self, py: Python<'py>) -> Vec<(RawFd, Bound<'py, PyAny>)> {
        self.all(py)
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let keys = self.keys(py).into_pyobject(py)?;
        Ok(keys.try_iter()?.into_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let items = self.all(py).into_pyobject(py)?;
        Ok(format!("<Transports {}>", items.repr()?))
    }
}
