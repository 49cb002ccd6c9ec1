//! What wakes one greenlet, once, when it is called back.

use evio_loop::{Engine, TimerKey};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::GilCell;
use crate::core::LoopCore;
use crate::crossing::Crossing;
use crate::greenlet::Greenlet;
use crate::handle::Args;
use crate::hub::HubCore;
use crate::job::Job;

/// Wakes a greenlet that waits in a hub of ours, when its turn comes.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Waker {
    hub: GilCell<Option<Py<HubCore>>>,
    greenlet: GilCell<Option<Greenlet>>,
    /// The future whose end wakes it, for who asks what it waits for.
    awaited: GilCell<Option<Py<PyAny>>>,
    wake: GilCell<Option<TimerKey>>,
}

impl Waker {
    pub(crate) fn create<'py>(
        hub: &Bound<'py, HubCore>,
        greenlet: &Bound<'py, PyAny>,
        awaited: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let waker = Self {
            hub: GilCell::new(Some(hub.clone().unbind())),
            greenlet: GilCell::new(Some(greenlet.clone().unbind())),
            awaited: GilCell::new(Some(awaited.clone().unbind())),
            wake: GilCell::new(None),
        };
        Bound::new(hub.py(), waker)
    }

    /// Has the greenlet woken; a second time it does nothing.
    pub(crate) fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if let (Some(greenlet), Some(hub)) = (this.greenlet.take(py), this.hub.get(py)) {
            let core = HubCore::core(hub.bind(py))?;
            let key = HubCore::schedule(&core, 0, Job::Wake(greenlet))?;
            this.wake.replace(py, Some(key));
        }
        Ok(())
    }

    /// Sees to it that a wake that is still to come does not end what the greenlet waits for next.
    pub(crate) fn disarm(slf: &Bound<'_, Self>) {
        let py = slf.py();
        let this = slf.get();
        let (greenlet, awaited) = (this.greenlet.take(py), this.awaited.take(py));
        let (key, hub) = (this.wake.take(py), this.hub.take(py));
        let job = match (key, &hub) {
            (Some(key), Some(hub)) => HubCore::cancel_timer(hub.bind(py), key),
            _ => None,
        };
        drop((greenlet, awaited, job, hub));
    }
}

/// A callback that does no more than to wake who waits, with what it is called with.
pub(crate) enum Wakes<'py> {
    Greenlet(Bound<'py, Waker>),
    Awaiters(Bound<'py, Crossing>, Bound<'py, PyAny>),
}

impl<'py> Wakes<'py> {
    #[inline]
    pub(crate) fn of(callback: &Bound<'py, PyAny>, args: &Args) -> Option<Self> {
        if let Ok(waker) = callback.cast_exact::<Waker>() {
            return Some(Self::Greenlet(waker.clone()));
        }
        match (callback.cast_exact::<Crossing>(), args) {
            (Ok(crossing), Args::One(future)) => {
                let future = future.bind(callback.py()).clone();
                Some(Self::Awaiters(crossing.clone(), future))
            }
            _ => None,
        }
    }

    /// Wakes who waits.
    pub(crate) fn wake(&self) -> PyResult<()> {
        match self {
            Self::Greenlet(waker) => Waker::wake(waker),
            Self::Awaiters(crossing, future) => crossing.get().settle(future),
        }
    }

    /// Whether it is done already: who waits goes on in this turn where that overtakes no other callback.
    pub(crate) fn wakes_at_once(&self, core: &Bound<'_, LoopCore>) -> PyResult<bool> {
        let later = |engine: &mut Engine<Job>| engine.has_later_callbacks();
        if core.get().engine(core.py(), later) != Some(false) {
            return Ok(false);
        }
        match self {
            Self::Greenlet(waker) => Waker::wake(waker).map(|()| true),
            Self::Awaiters(crossing, future) => crossing.get().settles_at_once(future),
        }
    }
}

#[pymethods]
impl Waker {
    #[pyo3(signature = (*_args))]
    fn __call__(slf: &Bound<'_, Self>, _args: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::wake(slf)
    }

    /// The greenlet that waits.
    #[getter]
    fn greenlet(&self, py: Python<'_>) -> Option<Greenlet> {
        self.greenlet.get(py)
    }

    /// The future that it waits for.
    #[getter]
    fn awaited(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.awaited.get(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(hub) = self.hub.peek() {
            visit.call(&*hub)?;
        }
        for cell in [&self.greenlet, &self.awaited] {
            if let Some(object) = cell.peek() {
                visit.call(&*object)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.hub.take(py));
        drop(self.greenlet.take(py));
        drop(self.awaited.take(py));
    }
}
