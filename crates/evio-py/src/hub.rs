//! The native core of the hub: eventlet's view of the engine.

use std::os::fd::RawFd;

use evio_loop::{Direction, Lane, Mode, TimerKey};
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::cell::{Flag, GilCell, ThreadSlot};
use crate::core::LoopCore;
use crate::driver::{self, Driver};
use crate::greenlet::{self, Greenlet};
use crate::host::ForeignLoop;
use crate::job::Job;
use crate::listener::Listener;
use crate::listeners::{Listeners, Rank};
use crate::timer::GreenTimer;
use crate::{clock, context, errors, identity, run, step};

/// The native part of `Hub`.
#[pyclass(subclass, frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct HubCore {
    driver: GilCell<Option<Py<Driver>>>,
    own: GilCell<Option<Py<LoopCore>>>,
    foreign: GilCell<Option<Py<ForeignLoop>>>,
    listeners: Listeners,
    running: Flag,
    stopping: Flag,
    debug_blocking: Flag,
    canceled: GilCell<usize>,
}

thread_local! {
    /// The attributes that `eventlet.hubs._threadlocal` has in this thread.
    static CHOSEN: ThreadSlot<PyDict> = const { ThreadSlot::new() };
}

/// The hub of this thread, of whatever kind, if it has one.
pub(crate) fn of_thread(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let chosen = match CHOSEN.with(|slot| slot.get(py)) {
        Some(chosen) => chosen,
        None => match look_up(py)? {
            Some(chosen) => chosen,
            None => return Ok(None),
        },
    };
    chosen.bind(py).get_item(intern!(py, "hub"))
}

fn look_up(py: Python<'_>) -> PyResult<Option<Py<PyDict>>> {
    // No program that has not imported eventlet has a hub.
    let modules = py.import("sys")?.getattr(intern!(py, "modules"))?;
    let Ok(hubs) = modules.get_item("eventlet.hubs") else {
        return Ok(None);
    };
    let Some(threadlocal) = context::attribute(&hubs, intern!(py, "_threadlocal"))? else {
        return Ok(None);
    };
    let chosen = threadlocal
        .getattr(intern!(py, "__dict__"))?
        .cast_into::<PyDict>()?;
    let hub = chosen.get_item(intern!(py, "hub"))?;
    if hub.is_some_and(|hub| hub.is_instance_of::<HubCore>()) {
        // From now on the thread has an end that forgets it: see `forget_thread`.
        let old = CHOSEN.with(|slot| slot.replace(Some(chosen.clone().unbind())));
        drop(old);
    }
    Ok(Some(chosen.unbind()))
}

/// Lets go of the thread's hub, as the thread ends.
pub(crate) fn forget_thread() {
    let chosen = CHOSEN.with(|slot| slot.replace(None));
    drop(chosen);
}

impl HubCore {
    pub(crate) fn driver(&self, py: Python<'_>) -> Py<Driver> {
        self.driver
            .get(py)
            .expect("a hub has its driver from the start")
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(crate) fn detects_blocking(&self) -> bool {
        self.debug_blocking.get()
    }

    /// The loop whose engine the hub shares, made if there is none yet.
    pub(crate) fn core<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, LoopCore>> {
        let py = slf.py();
        let driver = slf.get().driver(py);
        if let Some(core) = driver.bind(py).get().core(py) {
            return Ok(core.into_bound(py));
        }
        let core = Self::own_core(slf)?;
        driver
            .bind(py)
            .get()
            .set_core(py, Some(core.clone().unbind()));
        core.get().set_driver(py, Some(driver));
        Ok(core)
    }

    fn own_core<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, LoopCore>> {
        let py = slf.py();
        if let Some(own) = slf.get().own.get(py) {
            return Ok(own.into_bound(py));
        }
        let own = slf
            .call_method0(intern!(py, "_make_loop"))?
            .cast_into::<LoopCore>()?;
        own.get().set_running(py, true)?;
        drop(slf.get().own.replace(py, Some(own.clone().unbind())));
        Ok(own)
    }

    /// Whether a loop that this greenlet wants to run can take the hub's green work over.
    pub(crate) fn can_host(slf: &Bound<'_, Self>, caller: &Bound<'_, PyAny>) -> bool {
        let py = slf.py();
        let driver = slf.get().driver(py);
        let driver = driver.bind(py).get();
        if driver.waiter(py).is_some() {
            return false;
        }
        if let Some(core) = driver.core(py) {
            if core.bind(py).get().was_used() {
                return false;
            }
        }
        let Some(hub) = driver.greenlet(py) else {
            return false;
        };
        let hub = hub.into_bound(py);
        !greenlet::is_active(&hub) || greenlet::parent(&hub).is_some_and(|parent| parent.is(caller))
    }

    /// Runs a loop on the hub's greenlet until it is stopped: one engine for both.
    pub(crate) fn run_loop(
        slf: &Bound<'_, Self>,
        core: &Bound<'_, LoopCore>,
        caller: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let driver = slf.get().driver(py).into_bound(py);
        Self::ensure_greenlet(slf)?;
        let hub = Self::greenlet_of(slf)?;
        if !greenlet::is_active(&hub) {
            greenlet::set_parent(&hub, caller)?;
        }
        Self::move_to(slf, core)?;
        core.get().set_driver(py, Some(driver.clone().unbind()));
        driver.get().set_waiter(py, Some(caller.clone().unbind()));
        let outcome = run::await_end(&driver, &hub);
        Self::leave_loop(slf, core)?;
        outcome
    }

    /// Takes the green work back from a loop that no longer runs.
    pub(crate) fn leave_loop(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let py = slf.py();
        let driver = slf.get().driver(py).into_bound(py);
        driver.get().set_waiter(py, None);
        step::put_away(py)?;
        core.get().set_driver(py, None);
        let own = Self::own_core(slf)?;
        Self::move_to(slf, &own)?;
        own.get().set_driver(py, Some(driver.unbind()));
        Ok(())
    }

    fn move_to(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let py = slf.py();
        let driver = slf.get().driver(py).into_bound(py);
        let old = driver.get().core(py);
        driver.get().set_core(py, Some(core.clone().unbind()));
        let Some(old) = old else { return Ok(()) };
        if old.is(core) {
            return Ok(());
        }
        let adopted = core
            .get()
            .engines(old.bind(py).get(), py, |new, old| new.adopt_fibers(old));
        let Some(adopted) = adopted else {
            return Ok(());
        };
        for listener in slf.get().listeners.all(py) {
            let this = listener.bind(py).get();
            let key = this.key(py);
            let moved = adopted.moved.iter().find(|(old, _)| Some(*old) == key);
            this.set_key(py, moved.map(|(_, new)| *new));
        }
        // What could not be moved has lost its descriptor: its owner is told as by a close.
        for (_, _, job) in adopted.refused {
            if let Job::Listener(listener) = job {
                slf.call_method1(
                    intern!(py, "mark_as_reopened"),
                    (listener.bind(py).get().fd(),),
                )?;
            }
        }
        Ok(())
    }

    /// The loop, not ours, that is the hub's host; it is let go of when it no longer runs.
    pub(crate) fn foreign_host<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<Option<Bound<'py, ForeignLoop>>> {
        let py = slf.py();
        let Some(host) = slf.get().foreign.get(py) else {
            return Ok(None);
        };
        if host.bind(py).get().is_running(py)? {
            return Ok(Some(host.into_bound(py)));
        }
        drop(slf.get().foreign.take(py));
        host.bind(py).get().detach(py)?;
        Ok(None)
    }

    /// Finds out whether a loop that is not ours runs here: it is then the hub's host, and called
    /// because the hub has got something to do.
    fn notice_foreign(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(running) = identity::foreign_loop(py)? else {
            return Ok(());
        };
        let host = match Self::foreign_host(slf)? {
            Some(host) if host.get().is(&running) => host,
            _ => {
                let host = ForeignLoop::attach(&running, slf)?;
                drop(slf.get().foreign.replace(py, Some(host.clone().unbind())));
                host
            }
        };
        ForeignLoop::call_soon(&host)
    }

    /// A hub greenlet that can be switched to, in the place of one that has ended.
    pub(crate) fn revive(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::ensure_greenlet(slf)
    }

    fn greenlet_of<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let driver = slf.get().driver(py);
        driver
            .bind(py)
            .get()
            .greenlet(py)
            .map(|hub| hub.into_bound(py))
            .ok_or_else(|| PyRuntimeError::new_err("the hub was torn down"))
    }

    /// A timer of the green lane.
    pub(crate) fn schedule(
        core: &Bound<'_, LoopCore>,
        deadline: u64,
        job: Job,
    ) -> PyResult<TimerKey> {
        let py = core.py();
        let key = core
            .get()
            .open_engine(py, |engine| engine.schedule(Lane::Fiber, deadline, job))?;
        core.get().kick(py);
        Ok(key)
    }

    /// Cancels a timer of the green lane, wherever it is now; what it held must be dropped by the
    /// caller.
    pub(crate) fn cancel_timer(slf: &Bound<'_, Self>, key: TimerKey) -> Option<Job> {
        let py = slf.py();
        let driver = slf.get().driver.get(py)?;
        let core = driver.bind(py).get().core(py)?;
        let core = core.bind(py).get();
        let (job, left) = core.engine(py, |engine| {
            (engine.cancel(key), engine.timer_count(Lane::Fiber))
        })?;
        if job.is_some() {
            slf.get().count_canceled(py, left);
        }
        job
    }

    /// Keeps the books of eventlet's own hubs, where a cancelled timer stays until it is due or
    /// until half of more than a thousand are cancelled. Ours is gone already.
    fn count_canceled(&self, py: Python<'_>, left: usize) {
        self.canceled.with(py, |canceled| {
            *canceled += 1;
            let total = left + *canceled;
            if left == 0 || (total > 1000 && total / 2 <= *canceled) {
                *canceled = 0;
            }
        });
    }

    /// Arms a listener that has fired and is still wanted.
    pub(crate) fn rearm(slf: &Bound<'_, Self>, listener: &Bound<'_, Listener>) {
        let py = slf.py();
        let this = listener.get();
        let Some(key) = this.key(py).filter(|_| !this.is_spent()) else {
            return;
        };
        let driver = slf.get().driver(py);
        if let Some(core) = driver.bind(py).get().core(py) {
            // A descriptor that was closed cannot be armed; `notify_close` tells its listener.
            drop(core.bind(py).get().engine(py, |engine| engine.arm(key)));
        }
    }

    /// Blocks the running greenlet until somebody switches to it; the hub, or `next`, goes on.
    pub(crate) fn block<'py>(
        slf: &Bound<'py, Self>,
        current: &Bound<'py, PyAny>,
        next: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let mut hub = Self::greenlet_of(slf)?;
        if current.is(&hub) {
            return Err(PyAssertionError::new_err(
                "Cannot switch to MAINLOOP from MAINLOOP",
            ));
        }
        if let Some(switch_out) = context::attribute(current, intern!(py, "switch_out"))? {
            if let Err(error) = switch_out.call0() {
                let info = (error.get_type(py), error.value(py), error.traceback(py));
                slf.call_method1(intern!(py, "squelch_generic_exception"), (info,))?;
            }
        }
        if greenlet::is_dead(&hub) {
            Self::ensure_greenlet(slf)?;
            hub = Self::greenlet_of(slf)?;
        }
        if !Self::is_child(current, &hub) {
            if let Some(running) = identity::foreign_loop(py)? {
                return Err(PyRuntimeError::new_err(format!(
                    "cannot block greenly in a callback or task of {}, which is not an \
                     eventlet_asyncio loop and would stall: run it on one of ours \
                     (asyncio.Runner(loop_factory=eventlet_asyncio.new_event_loop), uvicorn --loop \
                     eventlet_asyncio:new_event_loop), or move the call out of the task by \
                     eventlet_asyncio.sync_to_async",
                    running.repr()?
                )));
            }
            Self::adopt_child(current, &hub)?;
        }
        let parked = step::park(current)?;
        let outcome = greenlet::switch(next.as_ref().unwrap_or(&hub));
        match parked {
            Some(step) => step::unpark(py, step)?,
            None => step::put_away(py)?,
        }
        outcome
    }

    fn is_child(current: &Bound<'_, PyAny>, hub: &Bound<'_, PyAny>) -> bool {
        greenlet::parent(current).is_some_and(|parent| parent.is(hub))
    }

    /// The green thread whose turn it is after one that has just yielded, where the hub has nothing
    /// else to do before it: it can be switched to without going by way of the hub.
    pub(crate) fn next_yielded<'py>(
        slf: &Bound<'py, Self>,
        core: &Bound<'py, LoopCore>,
    ) -> Option<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        if this.is_stopping() || this.detects_blocking() || core.get().is_stopping() {
            return None;
        }
        let now = clock::now(py);
        let next = core.get().engine(py, |engine| {
            let is_wake = |job: &Job| matches!(job, Job::Wake(_));
            if let Some(job) = engine.next_fiber_if(is_wake) {
                return Some(job);
            }
            if engine.begin_fibers(now) {
                return engine.next_fiber_if(is_wake);
            }
            None
        });
        match next.flatten() {
            Some(Job::Wake(next)) => Some(next.into_bound(py)),
            _ => None,
        }
    }

    /// A green thread returns to the hub at its end, whoever made it; greenlets of a step do not.
    fn adopt_child(current: &Bound<'_, PyAny>, hub: &Bound<'_, PyAny>) -> PyResult<()> {
        if greenlet::parent(current).is_none()
            || greenlet::parent(hub).is_some_and(|parent| parent.is(current))
            || step::in_step(current)?
        {
            return Ok(());
        }
        // A circle of parents is left as it is, as in eventlet's own hubs.
        drop(greenlet::set_parent(current, hub));
        Ok(())
    }

    fn ensure_greenlet(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let old = Self::greenlet_of(slf)?;
        if !greenlet::is_dead(&old) {
            return Ok(());
        }
        let parent = match greenlet::parent(&old) {
            Some(parent) => parent,
            None => greenlet::current(py),
        };
        let new = greenlet::new(&slf.getattr(intern!(py, "run"))?, &parent)?;
        // Children of the old one must not end up past the hub.
        greenlet::set_parent(&old, &new)?;
        let driver = slf.get().driver(py);
        driver.bind(py).get().set_greenlet(py, Some(new.unbind()));
        driver.bind(py).get().dismiss(py);
        Ok(())
    }
}

#[pymethods]
impl HubCore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self {
            driver: GilCell::new(None),
            own: GilCell::new(None),
            foreign: GilCell::new(None),
            listeners: Listeners::new(),
            running: Flag::new(false),
            stopping: Flag::new(false),
            debug_blocking: Flag::new(false),
            canceled: GilCell::new(0),
        }
    }

    /// Gives the hub its driver: that of a loop of ours that runs in this thread, or a fresh one.
    fn _attach(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let run = slf.getattr(intern!(py, "run"))?;
        let (driver, parent) = match run::outermost(py) {
            Some(driver) => {
                let parent = driver.bind(py).get().waiter(py);
                (
                    driver.into_bound(py),
                    parent.map(|parent| parent.into_bound(py)),
                )
            }
            None => (Driver::create(py, None)?, None),
        };
        let parent = parent.unwrap_or_else(|| greenlet::current(py));
        let hub = greenlet::new(&run, &parent)?;
        driver.get().set_greenlet(py, Some(hub.unbind()));
        driver.get().set_hub(py, Some(slf.clone().unbind()));
        drop(slf.get().driver.replace(py, Some(driver.unbind())));
        Ok(())
    }

    /// Ends the hub: its own loop gives up its engine.
    fn _detach(slf: &Bound<'_, Self>) -> Option<Py<LoopCore>> {
        let py = slf.py();
        let this = slf.get();
        if let Some(driver) = this.driver.get(py) {
            driver.bind(py).get().dismiss(py);
        }
        drop(this.listeners.clear(py));
        let own = this.own.take(py);
        if let Some(own) = &own {
            drop(own.bind(py).get().set_running(py, false));
        }
        own
    }

    /// Blocks the running greenlet and lets others run, until somebody switches to it.
    fn switch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let current = greenlet::current(slf.py());
        Self::block(slf, &current, None)
    }

    /// Runs turns until `abort()`; it is what the hub's greenlet does.
    ///
    /// What a greenlet brings that ended before the hub first ran is ignored; it may be no tuple.
    #[pyo3(signature = (*_args, **_kwargs))]
    fn run(
        slf: &Bound<'_, Self>,
        _args: &Bound<'_, PyAny>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.running.replace(true) {
            return Err(PyRuntimeError::new_err("Already running!"));
        }
        this.stopping.set(false);
        let outcome = driver::drive_hub(slf);
        drop(step::put_away(py));
        this.running.set(false);
        if this.stopping.replace(false) {
            let jobs = this.driver(py).bind(py).get().core(py).and_then(|core| {
                core.bind(py)
                    .get()
                    .engine(py, |engine| engine.drain_timers(Lane::Fiber))
            });
            drop(jobs);
        }
        outcome
    }

    #[pyo3(signature = (seconds, cb, *args, **kw))]
    fn schedule_call_global<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        cb: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kw: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, GreenTimer>> {
        Self::schedule_call(slf, seconds, cb, args, kw, None)
    }

    #[pyo3(signature = (seconds, cb, *args, **kw))]
    fn schedule_call_local<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        cb: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kw: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, GreenTimer>> {
        let current = greenlet::current(slf.py()).unbind();
        Self::schedule_call(slf, seconds, cb, args, kw, Some(current))
    }

    /// Takes a timer of eventlet's own class, and returns when it is due.
    fn add_timer(slf: &Bound<'_, Self>, timer: &Bound<'_, PyAny>) -> PyResult<f64> {
        let py = slf.py();
        let seconds: f64 = timer.getattr(intern!(py, "seconds"))?.extract()?;
        let due = clock::seconds(clock::now(py)) + seconds;
        Self::schedule(
            &Self::core(slf)?,
            after(py, seconds),
            Job::ForeignTimer(timer.clone().unbind()),
        )?;
        Ok(due)
    }

    fn add<'py>(
        slf: &Bound<'py, Self>,
        evtype: &str,
        fileno: RawFd,
        cb: &Bound<'py, PyAny>,
        tb: &Bound<'py, PyAny>,
        mark_as_closed: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Listener>> {
        let py = slf.py();
        let this = slf.get();
        let direction = match evtype {
            "read" => Direction::Read,
            "write" => Direction::Write,
            _ => {
                return Err(PyTypeError::new_err("evtype must be hub.READ or hub.WRITE"));
            }
        };
        if fileno < 0 {
            return Err(PyValueError::new_err(format!(
                "Invalid file descriptor: {fileno}"
            )));
        }
        let current = greenlet::current(py);
        let listener = Bound::new(
            py,
            Listener::new(direction, fileno, cb, tb, mark_as_closed, current),
        )?;
        this.listeners.refuse_second(&listener)?;
        Self::notice_foreign(slf)?;
        let core = Self::core(slf)?;
        let job = Job::Listener(listener.clone().unbind());
        let outcome = core.get().open_engine(py, |engine| {
            engine.watch(Lane::Fiber, fileno, direction, Mode::Oneshot, job)
        })?;
        match outcome {
            Ok(key) => listener.get().set_key(py, Some(key)),
            Err(refused) => {
                let error = errors::reactor(&refused.error, fileno);
                drop(refused);
                return Err(error);
            }
        }
        this.listeners.insert(&listener);
        Ok(listener)
    }

    fn remove(slf: &Bound<'_, Self>, listener: &Bound<'_, Listener>) {
        let py = slf.py();
        let this = slf.get();
        let entry = listener.get();
        let removed = this.listeners.remove(listener);
        let Some(key) = entry.key(py) else { return };
        entry.set_key(py, None);
        let driver = this.driver(py);
        let job = driver.bind(py).get().core(py).and_then(|core| {
            core.bind(py)
                .get()
                .engine(py, |engine| engine.unwatch(key))
                .flatten()
        });
        drop((removed, job));
    }

    /// All listeners of a descriptor.
    fn _listeners_of(&self, py: Python<'_>, fileno: RawFd) -> Vec<Py<Listener>> {
        self.listeners
            .of(py, fileno, &[Direction::Read, Direction::Write])
    }

    /// Replaces the hub's greenlet when it has ended.
    #[pyo3(name = "ensure_greenlet")]
    fn py_ensure_greenlet(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::ensure_greenlet(slf)
    }

    /// Asks the hub to stop after this turn.
    fn _stop(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().running.get() {
            slf.get().stopping.set(true);
        }
        Ok(())
    }

    /// The hub's own greenlet.
    #[getter]
    fn greenlet<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::greenlet_of(slf)
    }

    /// The loop whose engine the hub shares.
    #[getter]
    #[pyo3(name = "loop")]
    fn primary_loop<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, LoopCore>> {
        Self::core(slf)
    }

    #[getter]
    fn running(&self) -> bool {
        self.running.get()
    }

    #[getter]
    fn stopping(&self) -> bool {
        self.stopping.get()
    }

    /// First listener of each descriptor, by `"read"` and `"write"`.
    #[getter]
    fn listeners<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.listeners.by_type(py, Rank::First)
    }

    /// Further listeners of each descriptor, by `"read"` and `"write"`.
    #[getter]
    fn secondaries<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.listeners.by_type(py, Rank::Further)
    }

    /// Pending timers with their times, as eventlet's hubs list them.
    #[getter]
    fn timers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let core = self.driver(py).bind(py).get().core(py);
        let timers: Option<Vec<(f64, Py<PyAny>)>> = core.and_then(|core| {
            core.bind(py).get().engine(py, |engine| {
                engine
                    .timers(Lane::Fiber)
                    .filter_map(|(deadline, job)| {
                        let timer = match job {
                            Job::Timer(timer) => timer.clone_ref(py).into_any(),
                            Job::Wake(object) | Job::ForeignTimer(object) => object.clone_ref(py),
                            _ => return None,
                        };
                        Some((clock::seconds(deadline), timer))
                    })
                    .collect()
            })
        });
        let mut timers = timers.unwrap_or_default();
        timers.sort_by(|a, b| a.0.total_cmp(&b.0));
        PyList::new(py, timers)
    }

    #[getter]
    fn debug_blocking(&self) -> bool {
        self.debug_blocking.get()
    }

    #[setter]
    fn set_debug_blocking(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug_blocking.set(value.is_truthy()?);
        Ok(())
    }

    /// Number of cancelled timers that eventlet's own hubs would still hold.
    #[getter]
    fn timers_canceled(&self, py: Python<'_>) -> usize {
        self.canceled.with(py, |canceled| *canceled)
    }

    #[setter]
    fn set_timers_canceled(&self, py: Python<'_>, canceled: usize) {
        self.canceled.replace(py, canceled);
    }

    /// Number of timers, pending and as by `timers_canceled`.
    fn get_timers_count(&self, py: Python<'_>) -> usize {
        let core = self.driver(py).bind(py).get().core(py);
        let pending = core.and_then(|core| {
            core.bind(py)
                .get()
                .engine(py, |engine| engine.timer_count(Lane::Fiber))
        });
        pending.unwrap_or(0) + self.timers_canceled(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(driver) = self.driver.peek() {
            visit.call(&*driver)?;
        }
        if let Some(own) = self.own.peek() {
            visit.call(&*own)?;
        }
        if let Some(foreign) = self.foreign.peek() {
            visit.call(&*foreign)?;
        }
        self.listeners.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.listeners.clear(py));
        drop(self.own.take(py));
        drop(self.foreign.take(py));
    }
}

impl HubCore {
    fn schedule_call<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        local_to: Option<Greenlet>,
    ) -> PyResult<Bound<'py, GreenTimer>> {
        let py = slf.py();
        let delay: f64 = seconds.extract()?;
        let deadline = after(py, delay);
        let due = clock::seconds(clock::now(py)) + delay;
        let timer = GreenTimer::new(slf, seconds, due, callback, args, kwargs, local_to);
        let timer = Bound::new(py, timer)?;
        Self::notice_foreign(slf)?;
        let key = Self::schedule(
            &Self::core(slf)?,
            deadline,
            Job::Timer(timer.clone().unbind()),
        )?;
        timer.get().set_key(py, key);
        Ok(timer)
    }
}

/// The time that lies some seconds from now; without a delay, the next turn.
///
/// Calls without delay keep their order, whatever the clock says between them, and cost no look at
/// it.
pub(crate) fn after(py: Python<'_>, seconds: f64) -> u64 {
    if seconds <= 0.0 {
        return 0;
    }
    let delay = (seconds * 1e9).ceil() as u64;
    clock::now(py).saturating_add(delay)
}
