//! Tasks that a step is sent to start, while who sent it waits.

use pyo3::prelude::*;

use super::{Step, put_away};
use crate::core::LoopCore;
use crate::greenlet::Greenlet;
use crate::task;

/// A task that a step is to start, while somebody waits.
pub(crate) struct Errand {
    pub(crate) coroutine: Py<PyAny>,
    pub(crate) context: Py<PyAny>,
}

impl Step {
    /// Gives the step a task to start as soon as its carrier is switched to, and who switches.
    pub(crate) fn send(&self, py: Python<'_>, errand: Errand, caller: Greenlet) {
        drop(self.errand.replace(py, Some(errand)));
        drop(self.caller.replace(py, Some(caller)));
    }

    /// The task that was started, or why it was not.
    pub(crate) fn take_started(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        self.started.take(py)
    }

    /// Has nobody wait for the first step of the task that was started, which is not over.
    pub(crate) fn part_from_caller(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.caller.take(py).and_then(|_| self.task(py))
    }

    /// Starts the task that the step was sent for, if any; answers who waits for it, unless the task has
    /// blocked greenly.
    pub(crate) fn run_errand(
        slf: &Bound<'_, Self>,
        core: &Bound<'_, LoopCore>,
    ) -> PyResult<Option<Greenlet>> {
        let py = slf.py();
        let this = slf.get();
        let Some(Errand { coroutine, context }) = this.errand.take(py) else {
            return Ok(None);
        };
        Self::activate(slf, core)?;
        this.begin(None, context.bind(py), None);
        let task = task::start(coroutine.bind(py), core.as_any(), context.bind(py));
        drop((coroutine, context));
        this.end(py);
        this.busy.set(false);
        if this.has_parked.get() {
            Self::after_park(slf, core)?;
        }
        put_away(py)?;
        let caller = this.caller.take(py);
        match task {
            task if caller.is_some() => {
                drop(this.started.replace(py, Some(task.map(Bound::unbind))));
            }
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(caller)
    }
}
