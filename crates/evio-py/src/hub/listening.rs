//! The hub's interest in descriptors.

use std::os::fd::RawFd;

use evio_loop::{Direction, Lane, Mode};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::HubCore;
use crate::errors;
use crate::job::Job;
use crate::listener::Listener;

impl HubCore {
    /// Has a listener called when its descriptor is ready.
    pub(crate) fn listen<'py>(
        slf: &Bound<'py, Self>,
        listener: &Bound<'py, Listener>,
    ) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let (fileno, direction) = (listener.get().fd(), listener.get().direction());
        if fileno < 0 {
            return Err(PyValueError::new_err(format!(
                "Invalid file descriptor: {fileno}"
            )));
        }
        if this.traces_listeners.get() {
            listener.get().trace(py)?;
        }
        this.listeners.refuse_second(listener)?;
        Self::notice_foreign(slf)?;
        let core = Self::core(slf)?;
        let job = Job::Listener(listener.clone().unbind());
        let outcome = core.get().open_engine(py, |engine| {
            engine.watch(Lane::Fiber, fileno, direction, Mode::Oneshot, job)
        })?;
        match outcome {
            Ok(key) => listener.get().set_key(py, Some(key)),
            Err(refused) => {
                let error = errors::reactor(&refused.error);
                drop(refused);
                return Err(error);
            }
        }
        this.listeners.insert(listener);
        Ok(())
    }

    /// Calls a listener no more; one that is removed already, or defanged, stays so.
    pub(crate) fn unlisten(slf: &Bound<'_, Self>, listener: &Bound<'_, Listener>) {
        let py = slf.py();
        let this = slf.get();
        let entry = listener.get();
        let removed = this.listeners.remove(listener);
        let Some(key) = entry.key(py) else { return };
        entry.set_key(py, None);
        let job = this.engine(py, |engine| engine.unwatch(key));
        drop((removed, job));
    }

    /// Whether anybody listens on a descriptor.
    pub(crate) fn has_listeners(&self, py: Python<'_>, fileno: RawFd) -> bool {
        let directions = [Direction::Read, Direction::Write];
        !self.listeners.of(py, fileno, &directions).is_empty()
    }

    /// Arms a listener that has fired and is still wanted.
    pub(crate) fn rearm(slf: &Bound<'_, Self>, listener: &Bound<'_, Listener>) {
        let py = slf.py();
        let this = listener.get();
        let Some(key) = this.key(py).filter(|_| !this.is_spent()) else {
            return;
        };
        // A descriptor that was closed cannot be armed; its listener is told when the number is used again.
        drop(slf.get().engine(py, |engine| engine.arm(key)));
    }
}
