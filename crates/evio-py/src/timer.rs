//! Timers of the hub: what `schedule_call_global` and `schedule_call_local` return.

use evio_loop::TimerKey;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::fiber;
use crate::greenlet::{self, Greenlet};
use crate::host::Weak;
use crate::hub::HubCore;
use crate::step::CallbackRun;
use crate::{step, task, trace};

/// What a timer does when it is due.
pub(crate) enum Due {
    Call {
        callback: Py<PyAny>,
        args: Py<PyTuple>,
        kwargs: Option<Py<PyDict>>,
    },
    /// The call of a greenlet's own `throw`, which needs no objects for it.
    Throw {
        target: Greenlet,
        exception: Py<PyAny>,
    },
}

impl Due {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Call {
                callback,
                args,
                kwargs,
            } => Self::Call {
                callback: callback.clone_ref(py),
                args: args.clone_ref(py),
                kwargs: kwargs.as_ref().map(|kwargs| kwargs.clone_ref(py)),
            },
            Self::Throw { target, exception } => Self::Throw {
                target: target.clone_ref(py),
                exception: exception.clone_ref(py),
            },
        }
    }

    fn happen(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Call {
                callback,
                args,
                kwargs,
            } => {
                let kwargs = kwargs.as_ref().map(|kwargs| kwargs.bind(py));
                fiber::call(callback.bind(py), args.bind(py), kwargs).map(drop)
            }
            Self::Throw { target, exception } => {
                let target = target.into_bound(py);
                step::restore_before_switch(&target)?;
                greenlet::throw(&target, exception.bind(py)).map(drop)
            }
        }
    }

    /// Callback, arguments and keyword arguments.
    fn into_tuple(self, py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        let (callback, args, kwargs) = match self {
            Self::Call {
                callback,
                args,
                kwargs,
            } => (callback, args, kwargs),
            Self::Throw { target, exception } => (
                target.getattr(py, intern!(py, "throw"))?,
                PyTuple::new(py, [exception])?.unbind(),
                None,
            ),
        };
        let kwargs = match kwargs {
            Some(kwargs) => kwargs.into_bound(py),
            None => PyDict::new(py),
        };
        (callback, args, kwargs).into_pyobject(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Call {
                callback,
                args,
                kwargs,
            } => {
                visit.call(callback)?;
                visit.call(args)?;
                visit.call(kwargs)
            }
            Self::Throw { target, exception } => {
                visit.call(target)?;
                visit.call(exception)
            }
        }
    }
}

/// Whose end drops a timer that is local to the code which made it.
pub(crate) enum Local {
    Greenlet(Greenlet),
    /// A task, whatever carrier runs it, or the run of a callback.
    Step(Weak),
}

impl Local {
    /// To the green thread, task or callback that runs.
    pub(crate) fn here(py: Python<'_>) -> PyResult<Self> {
        let owner = step::owner(py)?;
        if greenlet::is_greenlet(&owner) {
            return Ok(Self::Greenlet(owner.unbind()));
        }
        Weak::new(&owner).map(Self::Step)
    }

    fn is_over(&self, py: Python<'_>) -> PyResult<bool> {
        match self {
            Self::Greenlet(owner) => Ok(greenlet::is_dead(owner.bind(py))),
            Self::Step(owner) => match owner.get(py) {
                None => Ok(true),
                Some(owner) if owner.is_instance_of::<CallbackRun>() => Ok(false),
                Some(task) => task::is_done(&task),
            },
        }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Greenlet(owner) => Self::Greenlet(owner.clone_ref(py)),
            Self::Step(owner) => Self::Step(owner.clone_ref(py)),
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Greenlet(owner) => visit.call(owner),
            Self::Step(owner) => owner.traverse(visit),
        }
    }
}

/// A call that a hub will make once, at or after a time.
#[pyclass(
    frozen,
    weakref,
    // No `dict`: CPython 3.11 makes it after it told the collector of the half-made object.
    name = "Timer",
    module = "eventlet_asyncio._evio"
)]
pub(crate) struct GreenTimer {
    seconds: Py<PyAny>,
    scheduled_time: f64,
    local_to: GilCell<Option<Local>>,
    due: GilCell<Option<Due>>,
    hub: GilCell<Option<Py<HubCore>>>,
    key: GilCell<Option<TimerKey>>,
    called: Flag,
    /// Where it was made, if somebody wants to know.
    traceback: Option<Py<PyAny>>,
}

impl GreenTimer {
    pub(crate) fn new(
        hub: &Bound<'_, HubCore>,
        seconds: &Bound<'_, PyAny>,
        scheduled_time: f64,
        due: Due,
        local_to: Option<Local>,
    ) -> PyResult<Self> {
        let py = hub.py();
        let traceback = trace::wants_timers(py)?
            .then(|| trace::stack_in_file(py))
            .transpose()?;
        Ok(Self {
            seconds: seconds.clone().unbind(),
            scheduled_time,
            local_to: GilCell::new(local_to),
            due: GilCell::new(Some(due)),
            hub: GilCell::new(Some(hub.clone().unbind())),
            key: GilCell::new(None),
            called: Flag::new(false),
            traceback: traceback.map(Bound::unbind),
        })
    }

    pub(crate) fn set_key(&self, py: Python<'_>, key: TimerKey) {
        self.key.replace(py, Some(key));
    }

    fn owner_is_gone(&self, py: Python<'_>) -> PyResult<bool> {
        let owner = self
            .local_to
            .with(py, |owner| owner.as_ref().map(|owner| owner.clone_ref(py)));
        owner.map_or(Ok(false), |owner| owner.is_over(py))
    }

    /// Makes the call, unless it was made or cancelled, or is local to what has ended.
    pub(crate) fn fire(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.called.replace(true) {
            return Ok(());
        }
        drop(this.hub.take(py));
        let gone = this.owner_is_gone(py)?;
        match this.due.take(py).filter(|_| !gone) {
            Some(due) => due.happen(py),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl GreenTimer {
    /// Keeps the call from being made and frees its arguments; a timer that was called stays so.
    pub(crate) fn cancel(&self, py: Python<'_>) {
        if self.called.replace(true) {
            return;
        }
        let due = self.due.take(py);
        let owner = self.local_to.take(py);
        let job = match (self.hub.take(py), self.key.take(py)) {
            (Some(hub), Some(key)) => HubCore::cancel_timer(hub.bind(py), key),
            _ => None,
        };
        drop((due, owner, job));
    }

    #[pyo3(signature = (*_args))]
    fn __call__(slf: &Bound<'_, Self>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        Self::fire(slf)
    }

    /// Whether the call was made or cancelled.
    #[getter]
    fn called(&self) -> bool {
        self.called.get()
    }

    /// Whether the call is still to be made.
    #[getter]
    pub(crate) fn pending(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(!self.called.get() && !self.owner_is_gone(py)?)
    }

    /// The delay that was asked for, in seconds.
    #[getter]
    fn seconds(&self, py: Python<'_>) -> Py<PyAny> {
        self.seconds.clone_ref(py)
    }

    /// When the call is due, in seconds on the hub's clock.
    #[getter]
    fn scheduled_time(&self) -> f64 {
        self.scheduled_time
    }

    /// Callback, arguments and keyword arguments, until the call is made or cancelled.
    #[getter]
    fn tpl<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let due = self
            .due
            .with(py, |due| due.as_ref().map(|due| due.clone_ref(py)));
        match due {
            Some(due) => due.into_tuple(py),
            None => Err(PyAttributeError::new_err(
                "the timer was called or cancelled and has no call left",
            )),
        }
    }

    /// The stack of who made the timer, in a text file, if `eventlet.debug.hub_timer_stacks` was on.
    #[getter]
    fn traceback(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.traceback {
            Some(traceback) => Ok(traceback.clone_ref(py)),
            None => Err(PyAttributeError::new_err("traceback")),
        }
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        (slf.as_ptr() as isize) >> 4
    }

    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> bool {
        slf.is(other)
    }

    fn __lt__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> bool {
        (slf.as_ptr() as usize) < (other.as_ptr() as usize)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let seconds = this.seconds.bind(py);
        let stacks = trace::wants_timers(py)?;
        let call = slf.getattr(intern!(py, "tpl")).ok();
        let part = |index: usize| match &call {
            Some(call) => call.get_item(index),
            None => Ok(py.None().into_bound(py)),
        };
        let (callback, args, kwargs) = (part(0)?, part(1)?, part(2)?);
        let mut text = format!("Timer({seconds}, {callback}, *{args}, **{kwargs})");
        if let Some(traceback) = this.traceback.as_ref().filter(|_| stacks) {
            let lines = traceback.bind(py).call_method0(intern!(py, "getvalue"))?;
            text += &format!("\n{lines}");
        }
        Ok(text)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.seconds)?;
        visit.call(&self.traceback)?;
        if let Some(due) = self.due.peek() {
            if let Some(due) = due.as_ref() {
                due.traverse(&visit)?;
            }
        }
        if let Some(owner) = self.local_to.peek() {
            owner
                .as_ref()
                .map_or(Ok(()), |owner| owner.traverse(&visit))?;
        }
        if let Some(hub) = self.hub.peek() {
            visit.call(&*hub)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.due.take(py));
        drop(self.local_to.take(py));
        drop(self.hub.take(py));
    }
}
