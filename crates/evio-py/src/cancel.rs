//! The `cancel` of a task whose step is parked.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::GilCell;
use crate::step::Step;

/// The `cancel` that a task carries while a step of it is parked.
///
/// Such a task has no future to cancel. asyncio's own method would only make a note that strikes at
/// the next `await`; this one reaches into the green code, by way of `_steps.cancel_parked`.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct ParkedCancel {
    step: GilCell<Option<Py<Step>>>,
    task: GilCell<Option<Py<PyAny>>>,
}

impl ParkedCancel {
    pub(crate) fn new(py: Python<'_>, step: &Bound<'_, Step>, task: &Py<PyAny>) -> Self {
        Self {
            step: GilCell::new(Some(step.clone().unbind())),
            task: GilCell::new(Some(task.clone_ref(py))),
        }
    }
}

#[pymethods]
impl ParkedCancel {
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static CANCEL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let cancel = CANCEL.get_or_try_init(py, || {
            py.import("eventlet_asyncio._steps")?
                .getattr("cancel_parked")
                .map(Bound::unbind)
        })?;
        let mut all = vec![
            self.step.get(py).into_pyobject(py)?.into_any(),
            self.task.get(py).into_pyobject(py)?.into_any(),
        ];
        all.extend(args.iter());
        cancel.bind(py).call(PyTuple::new(py, all)?, kwargs)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(step) = self.step.peek() {
            visit.call(&*step)?;
        }
        if let Some(task) = self.task.peek() {
            visit.call(&*task)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.step.take(py));
        drop(self.task.take(py));
    }
}
