//! Tasks that a step is sent to start, while who sent it waits.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use super::{Step, put_away};
use crate::cell::intern;
use crate::core::LoopCore;
use crate::fast::waker::Waker;
use crate::greenlet::Greenlet;
use crate::hub::HubCore;
use crate::task;

/// A task that a step is to start, while somebody waits.
pub(crate) struct Errand {
    pub(crate) coroutine: Py<PyAny>,
    pub(crate) context: Py<PyAny>,
    /// The number in the driver's [`LeftWaiting`] under which the caller is noted if the step leaves it waiting.
    pub(crate) place: usize,
}

/// Callers whose task has begun and is not done, by the number that each has reserved when it sent the step.
#[derive(Default)]
pub(crate) struct LeftWaiting {
    places: Vec<Option<(Py<PyAny>, Py<Waker>)>>,
    free: Vec<usize>,
}

impl LeftWaiting {
    pub(crate) fn reserve(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }

    pub(crate) fn put(&mut self, place: usize, task: Py<PyAny>, waker: Py<Waker>) {
        // The collector may have cleared the driver.
        if let Some(place) = self.places.get_mut(place) {
            *place = Some((task, waker));
        }
    }

    /// What was put there; the place is free then.
    pub(crate) fn take(&mut self, place: usize) -> Option<(Py<PyAny>, Py<Waker>)> {
        let left = self.places.get_mut(place)?.take();
        self.free.push(place);
        left
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for (task, waker) in self.places.iter().flatten() {
            visit.call(task)?;
            visit.call(waker)?;
        }
        Ok(())
    }
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

    /// Has who waits for the task's first step wait for its end instead, if it is not done; so nobody need
    /// switch there only to switch away again.
    fn leave_to_wait(
        &self,
        caller: &Bound<'_, PyAny>,
        task: &Bound<'_, PyAny>,
        place: usize,
    ) -> PyResult<bool> {
        let py = task.py();
        if task::is_done(task)? {
            return Ok(false);
        }
        let Some(driver) = self.driver.get(py) else {
            return Ok(false);
        };
        let driver = driver.bind(py).get();
        let Some(hub) = driver.hub(py) else {
            return Ok(false);
        };
        let hub = hub.bind(py);
        if !HubCore::can_be_left(hub, caller)? {
            return Ok(false);
        }
        let waker = Waker::create(hub, caller, task)?;
        task::add_done_callback(task, waker.as_any())?;
        driver.note_left(py, place, task.clone().unbind(), waker.unbind());
        Ok(true)
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
    #[inline(never)]
    pub(crate) fn run_errand(
        slf: &Bound<'_, Self>,
        core: &Bound<'_, LoopCore>,
    ) -> PyResult<Option<Greenlet>> {
        let py = slf.py();
        let this = slf.get();
        let Some(Errand {
            coroutine,
            context,
            place,
        }) = this.errand.take(py)
        else {
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
        coroutine.drop_ref(py);
        context.drop_ref(py);
        this.end(py);
        this.busy.set(false);
        if this.has_parked.get() {
            this.count_holders();
            Self::after_park(slf, core)?;
        }
        if this.is_held(py) {
            Self::note_held(slf, || Ok(task.as_ref().ok().cloned()))?;
        }
        let caller = this.caller.take(py);
        if let (Some(caller), Ok(task)) = (&caller, &task) {
            // Where that fails, who waits finds out by itself.
            if matches!(this.leave_to_wait(caller.bind(py), task, place), Ok(true)) {
                return Ok(None);
            }
        }
        put_away(py)?;
        match task {
            task if caller.is_some() => {
                drop(this.started.replace(py, Some(task.map(Bound::unbind))));
            }
            Err(error) if error.is_instance_of::<PyException>(py) => report(core, error)?,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(caller)
    }
}

/// Tells the loop's exception handler of a task that could not be started, or not go on, when nobody waits any more.
#[cold]
fn report(core: &Bound<'_, LoopCore>, error: PyErr) -> PyResult<()> {
    let py = core.py();
    let context = PyDict::new(py);
    context.set_item("message", "Exception in the first step of a task")?;
    context.set_item("exception", error.into_value(py))?;
    core.call_method1(intern!(py, "call_exception_handler"), (context,))
        .map(drop)
}
