//! Tasks that a step is sent to start, while who sent it waits.

use pyo3::prelude::*;
use pyo3::types::PyDict;

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

    fn keep_options(&self, core: &Bound<'_, LoopCore>, options: Bound<'_, PyDict>) {
        let py = core.py();
        let same = |own: &mut Option<Py<LoopCore>>| own.as_ref().is_some_and(|own| own.is(core));
        if self.core.with(py, same) {
            drop(self.options.replace(py, Some(options.unbind())));
        }
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
        let options = match this.options.take(py) {
            Some(options) => Ok(options.into_bound(py)),
            None => task::options_to_start(core.as_any()),
        };
        let task = options.and_then(|options| {
            let task = task::start(coroutine.bind(py), context.bind(py), &options);
            this.keep_options(core, options);
            task
        });
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
