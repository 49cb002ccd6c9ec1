//! The hosts that need Python: the interpreter's lock around the kernel's wait, a hub of eventlet, and
//! an asyncio loop that is not ours.

use std::os::fd::RawFd;
use std::time::Duration;

use evio_loop::{Host, Waited, Waiter};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::core::LoopCore;
use crate::driver::Driver;
use crate::greenlet::Greenlet;
use crate::hub::HubCore;
use crate::identity::Identity;
use crate::imported::Imported;
use crate::{errors, fast, fiber, greenlet, hub, run, step, threads};

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
            .map_err(|error| errors::reactor(&error))
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
        let Some(hub) = hub::of_thread(py)? else {
            return Ok(None);
        };
        let Some(caller) = driver.get().caller(py) else {
            return Ok(Some(Self { hub, core }));
        };
        // A hub that runs a loop itself, as eventlet's asyncio hub does, waits in that loop.
        let own = hub.getattr(intern!(py, "greenlet"))?;
        if caller.is(&own) || run::is_occupied(&own) {
            return Ok(None);
        }
        Self::place(&hub, caller.bind(py))?;
        Ok(Some(Self { hub, core }))
    }

    /// Has a hub that is yet to run, which a callback of the loop may have made, run below whoever runs the loop.
    pub(crate) fn place(hub: &Bound<'py, PyAny>, caller: &Bound<'py, PyAny>) -> PyResult<()> {
        let own = hub.getattr(intern!(hub.py(), "greenlet"))?;
        if !greenlet::has_started(&own) && !hub.is_instance_of::<HubCore>() {
            greenlet::set_parent(&own, caller)?;
        }
        Ok(())
    }

    /// Waits like a green thread; the poller is to be looked at afterwards.
    pub(crate) fn park(&self, timeout: Option<Duration>) -> PyResult<()> {
        let py = self.hub.py();
        if timeout == Some(Duration::ZERO) && self.hub.is_instance_of::<HubCore>() {
            return fast::sleep::sleep(py, 0.0);
        }
        let current = greenlet::current(py)?;
        let switch = current.getattr(intern!(py, "switch"))?;
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
        let timer = match timeout {
            None => None,
            Some(timeout) => Some(self.hub.call_method1(
                intern!(py, "schedule_call_global"),
                (timeout.as_secs_f64(), &switch),
            )?),
        };
        let switched = self.hub.call_method0(intern!(py, "switch"));
        if threads::has_ended() {
            // The hub is gone, and eventlet's timers would ask for another.
            return switched.map(drop);
        }
        if let Some(listener) = listener {
            self.hub.call_method1(intern!(py, "remove"), (listener,))?;
        }
        if let Some(timer) = timer {
            timer.call_method("cancel", (), None::<&Bound<'_, PyDict>>)?;
        }
        switched.map(drop)
    }
}

/// Something that is kept alive by others, unless it knows no weak references.
pub(crate) enum Weak {
    Reference(Py<PyWeakrefReference>),
    Object(Py<PyAny>),
}

impl Weak {
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        match PyWeakrefReference::new(object) {
            Ok(reference) => Ok(Self::Reference(reference.unbind())),
            Err(error) if error.is_instance_of::<PyTypeError>(object.py()) => {
                Ok(Self::Object(object.clone().unbind()))
            }
            Err(error) => Err(error),
        }
    }

    /// The object, as long as there is one.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        match self {
            Self::Reference(reference) => reference.bind(py).upgrade(),
            Self::Object(object) => Some(object.bind(py).clone()),
        }
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Reference(reference) => Self::Reference(reference.clone_ref(py)),
            Self::Object(object) => Self::Object(object.clone_ref(py)),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Reference(reference) => visit.call(reference),
            Self::Object(object) => visit.call(object),
        }
    }
}

/// Whether the running loop runs, and does so in this thread and greenlet, or a thread that it does not name.
pub(crate) fn runs_here(running_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    static RUNS_HERE: Imported<PyAny> = Imported::new("eventlet_asyncio._stdlib", "runs_here");
    let runs_here = RUNS_HERE.get(running_loop.py())?;
    runs_here.call1((running_loop,))?.is_truthy()
}

/// An asyncio loop that is not ours and runs in the hub's thread: it watches the engine's descriptor
/// and deadline, and runs the hub's turns in a callback.
#[pyclass(frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct ForeignLoop {
    running_loop: Weak,
    hub: GilCell<Option<Py<HubCore>>>,
    /// Of the hub; a loop may run in another one later.
    thread: u64,
    /// Whose poller the loop has: a forked child shares it.
    process: u32,
    /// What the loop watches, until it is let go of.
    fd: GilCell<Option<RawFd>>,
    /// Below whose code this loop runs: the hub's host again once it ends.
    outer: GilCell<Option<Py<Self>>>,
    /// Who wait for the turn to end: in a turn, green threads may run the loop once more. The last goes on first.
    callers: GilCell<Vec<Greenlet>>,
    timer: GilCell<Option<Weak>>,
    called: Flag,
}

impl ForeignLoop {
    /// Makes a loop the host of a hub.
    pub(crate) fn attach<'py>(
        running_loop: &Bound<'py, PyAny>,
        hub: &Bound<'py, HubCore>,
        outer: Option<Bound<'py, Self>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = hub.py();
        let core = HubCore::core(hub)?;
        let fd = core.get().open_engine(py, |engine| engine.raw_fd())?;
        let this = Self {
            running_loop: Weak::new(running_loop)?,
            hub: GilCell::new(Some(hub.clone().unbind())),
            thread: threads::ident(py)?,
            process: std::process::id(),
            fd: GilCell::new(Some(fd)),
            outer: GilCell::new(outer.map(Bound::unbind)),
            callers: GilCell::new(Vec::new()),
            timer: GilCell::new(None),
            called: Flag::new(false),
        };
        let host = Bound::new(py, this)?;
        running_loop.call_method1(intern!(py, "add_reader"), (fd, &host))?;
        Ok(host)
    }

    /// Whether this is the loop that runs.
    pub(crate) fn is(&self, running_loop: &Bound<'_, PyAny>) -> bool {
        let known = self.running_loop.get(running_loop.py());
        known.is_some_and(|known| known.is(running_loop))
    }

    /// The loop, which is there when it runs.
    fn running_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.running_loop
            .get(py)
            .ok_or_else(|| PyRuntimeError::new_err("the loop that hosts the hub is gone"))
    }

    /// Gives the hub back; the loop may be running, stopped or closed.
    pub(crate) fn detach(&self, py: Python<'_>) -> PyResult<()> {
        drop(self.hub.take(py));
        let Some(running_loop) = self.running_loop.get(py) else {
            return Ok(());
        };
        if running_loop
            .call_method0(intern!(py, "is_closed"))?
            .is_truthy()?
        {
            return Ok(());
        }
        self.stop_watching(&running_loop)
    }

    fn stop_watching(&self, running_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = running_loop.py();
        let fd = self.fd.take(py);
        let is_own = self.process == std::process::id();
        if let Some(fd) = fd.filter(|_| is_own) {
            running_loop.call_method1(intern!(py, "remove_reader"), (fd,))?;
        }
        self.cancel_timer(py)
    }

    pub(crate) fn take_outer(&self, py: Python<'_>) -> Option<Py<Self>> {
        self.outer.take(py)
    }

    /// Asks the loop to call, because the hub has got something to do.
    pub(crate) fn call_soon(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.called.replace(true) {
            return Ok(());
        }
        let asked = this
            .running_loop(py)?
            .call_method1(intern!(py, "call_soon"), (slf,));
        if asked.is_err() {
            this.called.set(false);
        }
        asked.map(drop)
    }

    /// Goes back to the loop until it calls again, unless it did not call.
    pub(crate) fn park(
        slf: &Bound<'_, Self>,
        hub: &Bound<'_, HubCore>,
        timeout: Option<Duration>,
    ) -> PyResult<Option<Waited>> {
        let py = slf.py();
        let Some(caller) = slf.get().callers.with(py, Vec::pop) else {
            return Ok(None);
        };
        // The loop has its turn too, even when there is work left here.
        let busy = timeout == Some(Duration::ZERO);
        if busy {
            Self::call_soon(slf)?;
        } else {
            Self::set_deadline(slf, timeout)?;
        }
        // It may be a green thread, which ends.
        fiber::switch_to(hub, caller.bind(py))?;
        Ok(Some(if busy {
            Waited::Polled
        } else {
            Waited::Suspended
        }))
    }

    pub(crate) fn is_running(&self, py: Python<'_>) -> PyResult<bool> {
        match self.running_loop.get(py) {
            Some(running_loop) if self.fd.with(py, |fd| fd.is_some()) => running_loop
                .call_method0(intern!(py, "is_running"))?
                .is_truthy(),
            _ => Ok(false),
        }
    }

    fn cancel_timer(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(timer) = self.timer.take(py).and_then(|timer| timer.get(py)) {
            timer.call_method0(intern!(py, "cancel"))?;
        }
        Ok(())
    }

    fn set_deadline(slf: &Bound<'_, Self>, timeout: Option<Duration>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.cancel_timer(py)?;
        if let Some(timeout) = timeout {
            let arguments = (timeout.as_secs_f64(), slf);
            let running_loop = this.running_loop(py)?;
            let timer = running_loop.call_method1(intern!(py, "call_later"), arguments)?;
            drop(this.timer.replace(py, Some(Weak::new(&timer)?)));
        }
        Ok(())
    }
}

#[pymethods]
impl ForeignLoop {
    /// Runs the hub's turns until it would wait.
    fn __call__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.called.set(false);
        let running_loop = this.running_loop(py)?;
        let Some(hub) = this.hub.get(py) else {
            return Ok(());
        };
        if threads::ident(py)? != this.thread {
            return this.stop_watching(&running_loop);
        }
        HubCore::ensure_greenlet(hub.bind(py))?;
        let hub = hub.bind(py).getattr(intern!(py, "greenlet"))?;
        let identity = Identity::put_away(py, running_loop.unbind(), true)?;
        let caller = greenlet::current(py)?.unbind();
        this.callers
            .with(py, |callers| callers.push(caller.clone_ref(py)));
        let outcome = greenlet::switch(&hub).map(drop);
        // Who parks takes it out: else it came out in the middle of a turn, which goes on.
        let left = this.callers.with(py, |callers| {
            let last = callers.iter().rposition(|other| other.is(&caller));
            last.map(|index| callers.remove(index))
        });
        let restored = step::put_away(py).and_then(|()| identity.install(py));
        let is_watched = this.fd.with(py, |fd| fd.is_some());
        let asked = if left.is_some() && is_watched {
            Self::call_soon(slf)
        } else {
            Ok(())
        };
        let outcome = match outcome {
            // The hub has been left for another in that turn, and finds no loop to go on with.
            Err(error) if !is_watched && error.is_instance_of::<PyRuntimeError>(py) => Ok(()),
            outcome => outcome,
        };
        outcome.and(restored).and(asked)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.running_loop.traverse(&visit)?;
        if let Some(hub) = self.hub.peek() {
            visit.call(&*hub)?;
        }
        if let Some(outer) = self.outer.peek() {
            visit.call(&*outer)?;
        }
        if let Some(callers) = self.callers.peek() {
            for caller in callers.iter() {
                visit.call(caller)?;
            }
        }
        match self.timer.peek() {
            Some(timer) => timer
                .as_ref()
                .map_or(Ok(()), |timer| timer.traverse(&visit)),
            None => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.hub.take(py));
        drop(self.outer.take(py));
        drop(self.callers.take(py));
        drop(self.timer.take(py));
    }
}
