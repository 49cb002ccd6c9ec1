//! What an engine holds for us: the payloads of its timers, watchers and queues.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::greenlet::Greenlet;
use crate::handle::Handle;
use crate::listener::Listener;
use crate::timer::GreenTimer;

pub(crate) enum Job {
    /// An asyncio callback.
    Handle(Py<Handle>),
    /// A green thread to switch to.
    Wake(Greenlet),
    /// A green thread to start.
    Start(Box<Start>),
    /// A call that eventlet scheduled.
    Timer(Py<GreenTimer>),
    /// A timer object of eventlet's own class.
    EventletTimer(Py<PyAny>),
    /// Eventlet's interest in a descriptor.
    Listener(Py<Listener>),
    /// The descriptor that tells of signals.
    Wakeup,
}

/// The first switch to a green thread.
pub(crate) struct Start {
    pub(crate) target: Greenlet,
    pub(crate) args: Py<PyTuple>,
    pub(crate) kwargs: Option<Py<PyDict>>,
}

impl Job {
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Handle(handle) => visit.call(handle),
            Self::Wake(object) | Self::EventletTimer(object) => visit.call(object),
            Self::Start(start) => {
                visit.call(&start.target)?;
                visit.call(&start.args)?;
                visit.call(&start.kwargs)
            }
            Self::Timer(timer) => visit.call(timer),
            Self::Listener(listener) => visit.call(listener),
            Self::Wakeup => Ok(()),
        }
    }
}
