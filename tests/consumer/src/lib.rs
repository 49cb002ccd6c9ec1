//! A small event loop for Python, made of somebody else's timers and reactor.
//!
//! ```python
//! import consumer
//!
//! loop = consumer.Loop()
//! loop.call_later(0.1, print, "later")
//! loop.run()
//! ```

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use evio_reactor::{Direction, Mode, Reactor};
use evio_timers::Wheel;
use pyo3::exceptions::{PyOSError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A Python function with its arguments.
struct Call {
    function: Py<PyAny>,
    arguments: Py<PyTuple>,
}

impl Call {
    fn run(self, py: Python<'_>) -> PyResult<()> {
        self.function.call1(py, self.arguments)?;
        Ok(())
    }
}

/// Calls functions later, and when descriptors are readable.
#[pyclass(frozen, unsendable)]
struct Loop {
    origin: Instant,
    timers: RefCell<Wheel<Call>>,
    reactor: RefCell<Reactor<Call>>,
}

impl Loop {
    /// Nanoseconds since the loop was made.
    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// How long to wait; `None` when nothing is left to wait for, an inner `None` for ever.
    fn timeout(&self) -> Option<Option<Duration>> {
        match self.timers.borrow_mut().next_deadline() {
            Some(deadline) => {
                let left = deadline.saturating_sub(self.now());
                Some(Some(Duration::from_nanos(left)))
            }
            None if self.reactor.borrow().is_empty() => None,
            None => Some(None),
        }
    }

    fn next_due(&self, now: u64) -> Option<Call> {
        let (_, _, call) = self.timers.borrow_mut().pop_due(now)?;
        Some(call)
    }
}

#[pymethods]
impl Loop {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self {
            origin: Instant::now(),
            timers: RefCell::default(),
            reactor: RefCell::new(Reactor::new().map_err(os_error)?),
        })
    }

    #[pyo3(signature = (seconds, function, *arguments))]
    fn call_later(
        &self,
        seconds: f64,
        function: Py<PyAny>,
        arguments: Py<PyTuple>,
    ) -> PyResult<()> {
        let delay = Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyOverflowError::new_err(error.to_string()))?;
        let deadline = self.now().saturating_add(delay.as_nanos() as u64);
        let call = Call {
            function,
            arguments,
        };
        self.timers.borrow_mut().insert(deadline, call);
        Ok(())
    }

    #[pyo3(signature = (fd, function, *arguments))]
    fn call_when_readable(
        &self,
        fd: RawFd,
        function: Py<PyAny>,
        arguments: Py<PyTuple>,
    ) -> PyResult<()> {
        let call = Call {
            function,
            arguments,
        };
        let added = self
            .reactor
            .borrow_mut()
            .add(fd, Direction::Read, Mode::Oneshot, call);
        added.map_err(|refused| os_error(refused.error))?;
        Ok(())
    }

    /// Runs until there is nothing left to wait for.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let mut waiter = self.reactor.borrow().waiter();
        let mut ready = Vec::new();
        while let Some(timeout) = self.timeout() {
            py.detach(|| waiter.block(timeout)).map_err(os_error)?;
            py.check_signals()?;
            self.reactor.borrow_mut().collect(&mut waiter, &mut ready);
            for key in ready.drain(..) {
                let call = self.reactor.borrow_mut().remove(key);
                if let Some(call) = call {
                    call.run(py)?;
                }
            }
            let now = self.now();
            while let Some(call) = self.next_due(now) {
                call.run(py)?;
            }
        }
        Ok(())
    }
}

fn os_error(error: evio_reactor::Error) -> PyErr {
    PyOSError::new_err(error.to_string())
}

#[pymodule]
fn consumer(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Loop>()
}
