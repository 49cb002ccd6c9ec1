//! What an engine holds for us: the payloads of its timers, watchers and queues.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::intern;
use crate::fast::event::Delivery;
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
    /// A green thread that stands for a future, to begin.
    Begin(Greenlet),
    /// What an Event was sent, for one who waits for it.
    Deliver(Box<Delivery>),
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

/// What `hub.timers` shows of a job.
pub(crate) enum Shown {
    /// A timer object.
    Timer(Py<PyAny>),
    /// The switch that eventlet would have a timer object for.
    Switch(Start),
    /// Another call for which it would have one.
    Begin(Greenlet),
    Deliver(Delivery),
}

impl Shown {
    /// The timer object; or callback, arguments and keyword arguments.
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let start = match self {
            Self::Timer(timer) => return Ok(timer.into_bound(py)),
            Self::Switch(start) => start,
            Self::Begin(green) => {
                let begin = green.getattr(py, intern!(py, "_begin"))?;
                let call = (begin, PyTuple::empty(py), PyDict::new(py));
                return Ok(call.into_pyobject(py)?.into_any());
            }
            Self::Deliver(delivery) => {
                let (callback, args) = delivery.call(py)?;
                let call = (callback, args, PyDict::new(py)).into_pyobject(py)?;
                return Ok(call.into_any());
            }
        };
        let switch = start.target.getattr(py, intern!(py, "switch"))?;
        let kwargs = start.kwargs.unwrap_or_else(|| PyDict::new(py).unbind());
        let call = (switch, start.args, kwargs).into_pyobject(py)?;
        Ok(call.into_any())
    }
}

impl Job {
    pub(crate) fn shown(&self, py: Python<'_>) -> Option<Shown> {
        let start = match self {
            Self::Timer(timer) => return Some(Shown::Timer(timer.clone_ref(py).into_any())),
            Self::EventletTimer(timer) => return Some(Shown::Timer(timer.clone_ref(py))),
            Self::Begin(green) => return Some(Shown::Begin(green.clone_ref(py))),
            Self::Deliver(delivery) => return Some(Shown::Deliver(delivery.clone_ref(py))),
            Self::Wake(target) => Start {
                target: target.clone_ref(py),
                args: PyTuple::empty(py).unbind(),
                kwargs: None,
            },
            Self::Start(start) => Start {
                target: start.target.clone_ref(py),
                args: start.args.clone_ref(py),
                kwargs: start.kwargs.as_ref().map(|kwargs| kwargs.clone_ref(py)),
            },
            _ => return None,
        };
        Some(Shown::Switch(start))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Handle(handle) => Handle::traverse_queued(handle, visit),
            Self::Wake(object) | Self::Begin(object) | Self::EventletTimer(object) => {
                visit.call(object)
            }
            Self::Deliver(delivery) => delivery.traverse(visit),
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
