//! What a task waits for while its step is parked.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{GilCell, intern};
use crate::imported::Imported;
use crate::step::Step;
use crate::{context, task};

/// Stands where a suspended task has the future that it awaits.
///
/// `Task.cancel()` cancels what the task waits for. Without this a task that blocks greenly had
/// nothing there, and asyncio would only make a note that strikes at the next `await`.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct GreenWait {
    step: GilCell<Option<Py<Step>>>,
}

impl GreenWait {
    /// Has a task wait for the greenlet that blocks in its step.
    ///
    /// `spare` is one that [`end`](Self::end) gave, if any.
    pub(crate) fn begin(
        step: &Bound<'_, Step>,
        task: &Bound<'_, PyAny>,
        spare: Option<Py<Self>>,
    ) -> PyResult<()> {
        let py = step.py();
        let wait = match spare {
            Some(spare) => spare.into_bound(py),
            None => Bound::new(
                py,
                Self {
                    step: GilCell::new(None),
                },
            )?,
        };
        drop(wait.get().step.replace(py, Some(step.clone().unbind())));
        task::set_awaited(task, Some(wait.as_any())).map(drop)
    }

    /// Has the task wait for nothing, as one does whose step goes on. Hands out what may serve again,
    /// as nobody else knows it.
    pub(crate) fn end(task: &Bound<'_, PyAny>) -> PyResult<Option<Py<Self>>> {
        let py = task.py();
        let wait = task::set_awaited(task, None)?;
        let Some(wait) = wait.and_then(|wait| wait.cast_into_exact::<Self>().ok()) else {
            return Ok(None);
        };
        if context::is_shared(&wait) {
            return Ok(None);
        }
        drop(wait.get().step.take(py));
        Ok(Some(wait.unbind()))
    }
}

#[pymethods]
impl GreenWait {
    /// Raises CancelledError where the greenlet blocks; whether it will.
    #[pyo3(signature = (msg = None))]
    fn cancel<'py>(
        &self,
        py: Python<'py>,
        msg: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static CANCEL: Imported = Imported::new("eventlet_asyncio._strikes", "cancel_parked");
        let options = PyDict::new(py);
        options.set_item(intern!(py, "msg"), msg)?;
        CANCEL.get(py)?.call((self.step.get(py),), Some(&options))
    }

    /// The step that is parked, or was.
    #[getter]
    pub(crate) fn step(&self, py: Python<'_>) -> Option<Py<Step>> {
        self.step.get(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let blocked = self
            .step
            .get(py)
            .and_then(|step| step.bind(py).get().blocked_greenlet(py));
        Ok(match blocked {
            Some(greenlet) => format!("<green block of {}>", greenlet.bind(py).repr()?),
            None => "<green block that is over>".to_owned(),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.step.peek() {
            Some(step) => visit.call(&*step),
            None => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.step.take(py));
    }
}
