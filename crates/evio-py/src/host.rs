//! The hosts that need Python: the interpreter's lock around the kernel's wait, and a hub of eventlet.

use std::time::Duration;

use evio_loop::{Host, Waited, Waiter};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::core::LoopCore;
use crate::driver::Driver;
use crate::{errors, greenlet, hub, step};

/// The kernel, waited for with the interpreter's lock released.
pub(crate) struct Interpreter<'py>(pub(crate) Python<'py>);

impl Host for Interpreter<'_> {
    type Error = PyErr;

    fn wait(&mut self, waiter: &mut Waiter, timeout: Option<Duration>) -> PyResult<Waited> {
        let outcome = if timeout == Some(Duration::ZERO) {
            waiter.block(timeout)
        } else {
            self.0.detach(|| waiter.block(timeout))
        };
        outcome
            .map(|()| Waited::Polled)
            .map_err(|error| errors::reactor(&error, -1))
    }
}

/// A hub of eventlet, ours or any other: the driver parks in it like a green thread.
pub(crate) struct EventletHub<'a, 'py> {
    hub: Bound<'py, PyAny>,
    core: &'a Bound<'py, LoopCore>,
}

impl<'a, 'py> EventletHub<'a, 'py> {
    /// The hub in which a driver must park: the thread's, unless that is the one it drives.
    pub(crate) fn of_driver(
        driver: &Bound<'py, Driver>,
        core: &'a Bound<'py, LoopCore>,
    ) -> PyResult<Option<Self>> {
        let py = driver.py();
        if driver.get().hub(py).is_some() {
            return Ok(None);
        }
        Ok(hub::of_thread(py)?.map(|hub| Self { hub, core }))
    }

    fn park(&self, timeout: Option<Duration>) -> PyResult<()> {
        let py = self.hub.py();
        let current = greenlet::current(py);
        let switch = current.getattr(intern!(py, "switch"))?;
        let timer = match timeout {
            None => None,
            Some(timeout) => Some(self.hub.call_method1(
                intern!(py, "schedule_call_global"),
                (timeout.as_secs_f64(), &switch),
            )?),
        };
        let listener = if timeout == Some(Duration::ZERO) {
            None
        } else {
            let fd = self.core.get().open_engine(py, |engine| engine.raw_fd())?;
            let throw = current.getattr(intern!(py, "throw"))?;
            // Eventlet's own hubs compare the type by identity.
            let read = self.hub.getattr(intern!(py, "READ"))?;
            let arguments = (read, fd, &switch, throw, py.None());
            Some(self.hub.call_method1(intern!(py, "add"), arguments)?)
        };
        let switched = self.hub.call_method0(intern!(py, "switch"));
        if let Some(listener) = listener {
            self.hub.call_method1(intern!(py, "remove"), (listener,))?;
        }
        if let Some(timer) = timer {
            timer.call_method("cancel", (), None::<&Bound<'_, PyDict>>)?;
        }
        switched.map(drop)
    }
}

impl Host for EventletHub<'_, '_> {
    type Error = PyErr;

    fn wait(&mut self, waiter: &mut Waiter, timeout: Option<Duration>) -> PyResult<Waited> {
        let py = self.hub.py();
        step::put_away(py)?;
        let parked = self.park(timeout);
        let polled = waiter.block(Some(Duration::ZERO));
        parked?;
        polled.map_err(|error| errors::reactor(&error, -1))?;
        Ok(Waited::Polled)
    }
}
