//! The native core of the hub: eventlet's view of the engine.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::os::fd::RawFd;

use evio_loop::{Direction, Engine, Lane, TimerKey};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, ThreadSlot, intern};
use crate::core::LoopCore;
use crate::driver::{self, Driver};
use crate::fast::socket::ReadyAtOnce;
use crate::greenlet;
use crate::host::ForeignLoop;
use crate::imported::Imported;
use crate::job::{Job, Shown};
use crate::listener::Listener;
use crate::listeners::{Listeners, Rank};
use crate::timer::{GreenTimer, Local};
use crate::watch::Watch;
use crate::{clock, context, run, step, threads, wakeup};

mod blocking;
mod hosting;
mod listening;
mod scheduling;

pub(crate) use scheduling::after;

/// The native part of `Hub`.
#[pyclass(subclass, frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct HubCore {
    driver: GilCell<Option<Py<Driver>>>,
    own: GilCell<Option<Py<LoopCore>>>,
    foreign: GilCell<Option<Py<ForeignLoop>>>,
    listeners: Listeners,
    ready_at_once: ReadyAtOnce,
    running: Flag,
    /// Whether its greenlet is inside a call, which goes on when somebody switches there.
    calling: Flag,
    stopping: Flag,
    watch: Py<Watch>,
    traces_listeners: Flag,
    /// Keys of the timers of eventlet's own class, by the address of each.
    eventlet_timers: GilCell<HashMap<usize, TimerKey>>,
    /// When each cancelled timer would have come due that eventlet's own hubs would still hold.
    canceled: GilCell<BinaryHeap<Reverse<u64>>>,
    /// The ident of the hub's thread, and by what other threads find the hub.
    home: GilCell<(u64, usize)>,
    /// The process in which it was made, of which forked ones have a copy.
    process: GilCell<u32>,
    ended: Flag,
    was_left: Flag,
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
    static SYS: Imported<PyModule> = Imported::module("sys");
    let modules = SYS.get(py)?.getattr(intern!(py, "modules"))?;
    let name = intern!(py, "eventlet.hubs");
    let Some(hubs) = modules.cast_into::<PyDict>()?.get_item(name)? else {
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

    /// Opens the engine that the hub runs on now, as [`LoopCore::engine`] does.
    pub(crate) fn engine<R>(
        &self,
        py: Python<'_>,
        inspect: impl FnOnce(&mut Engine<Job>) -> R,
    ) -> Option<R> {
        let driver = self.driver.get(py)?.into_bound(py);
        let core = driver.get().core(py)?.into_bound(py);
        core.get().engine(py, inspect)
    }

    pub(crate) fn ready_at_once(&self) -> &ReadyAtOnce {
        &self.ready_at_once
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(crate) fn is_calling(&self) -> bool {
        self.calling.get()
    }

    /// Makes a call on the hub's greenlet that may switch to others before it has ended.
    pub(crate) fn calling<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calling.set(true);
        let outcome = call();
        self.calling.set(false);
        outcome
    }

    /// Whether the hub's greenlet is ending with its thread.
    pub(crate) fn has_left(&self) -> bool {
        self.was_left.get()
    }

    /// Whether the hub, or its thread, has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) fn watch(&self) -> &Watch {
        self.watch.get()
    }

    pub(crate) fn greenlet_of<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let driver = slf.get().driver.get(py);
        driver
            .and_then(|driver| driver.into_bound(py).get().greenlet(py))
            .map(|hub| hub.into_bound(py))
            .ok_or_else(|| PyRuntimeError::new_err("the hub was torn down"))
    }
}

#[pymethods]
impl HubCore {
    #[new]
    #[pyo3(signature = (*args, **_kwargs))]
    fn new(args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Ok(Self {
            driver: GilCell::new(None),
            own: GilCell::new(None),
            foreign: GilCell::new(None),
            listeners: Listeners::new(),
            ready_at_once: ReadyAtOnce::new(),
            running: Flag::new(false),
            calling: Flag::new(false),
            stopping: Flag::new(false),
            watch: Py::new(args.py(), Watch::new())?,
            traces_listeners: Flag::new(false),
            eventlet_timers: GilCell::new(HashMap::new()),
            canceled: GilCell::new(BinaryHeap::new()),
            home: GilCell::new((0, 0)),
            process: GilCell::new(0),
            ended: Flag::new(false),
            was_left: Flag::new(false),
        })
    }

    /// Gives the hub its driver: that of a loop of ours that runs in this thread, or a fresh one.
    fn _attach(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let home = (threads::ident(py)?, threads::enlist(slf)?);
        slf.get().home.replace(py, home);
        slf.get().process.replace(py, std::process::id());
        let run = slf.getattr(intern!(py, "run"))?;
        let (driver, parent) = match run::outermost(py) {
            Some(driver) => {
                let other = driver.bind(py).get().hub(py);
                if other.is_some_and(|other| {
                    other.get().process.with(py, |id| *id) == std::process::id()
                }) {
                    return Err(PyRuntimeError::new_err(
                        "the loop that runs in this thread has a hub already: choose hubs before \
                         asyncio.run(), or after it",
                    ));
                }
                // What the hub will run on afterwards: descriptors may run out meanwhile.
                Self::own_core(slf)?;
                let parent = driver.bind(py).get().caller(py);
                (
                    driver.into_bound(py),
                    parent.map(|parent| parent.into_bound(py)),
                )
            }
            None => {
                step::abandon(py)?;
                (Driver::create(py, None)?, None)
            }
        };
        if let Some(step) = step::current(py) {
            // Its carrier may lose the baton.
            step.bind(py).get().count_holders();
        }
        let parent = match parent {
            Some(parent) => parent,
            None => greenlet::current(py)?,
        };
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
        this.ended.set(true);
        if let Err(error) = Self::leave_foreign(slf) {
            // A loop that is not ours cannot keep the hub from its end.
            error.write_unraisable(py, Some(slf.as_any()));
        }
        threads::discharge(
            py,
            slf.as_ptr() as usize,
            this.home.with(py, |(_, key)| *key),
        );
        if let Some(driver) = this.driver.get(py) {
            driver.bind(py).get().abandon(py);
            driver.bind(py).get().release_hub(py);
        }
        drop(this.listeners.clear(py));
        let own = this.own.take(py);
        if let Some(own) = &own {
            drop(own.bind(py).get().set_running(py, false));
        }
        drop(wakeup::release(py));
        own
    }

    /// Ends the hub's greenlet, as its thread ends.
    fn _leave(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        slf.get().was_left.set(true);
        match slf.get().driver.get(py) {
            Some(driver) => driver.bind(py).get().leave(py),
            None => Ok(()),
        }
    }

    /// Blocks the running greenlet and lets others run, until somebody switches to it.
    fn switch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let current = greenlet::current(slf.py())?;
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
            let jobs = this.engine(py, |engine| engine.drain_timers(Lane::Fiber));
            drop(jobs);
            this.eventlet_timers.take(py);
            drop(this.canceled.take(py));
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
        let here = Local::here(slf.py())?;
        Self::schedule_call(slf, seconds, cb, args, kw, Some(here))
    }

    /// Takes a timer of eventlet's own class, and returns when it is due.
    fn add_timer(slf: &Bound<'_, Self>, timer: &Bound<'_, PyAny>) -> PyResult<f64> {
        Self::schedule_eventlet(slf, timer)
    }

    /// Lets go of a timer of eventlet's own class that was cancelled.
    fn timer_canceled(slf: &Bound<'_, Self>, timer: &Bound<'_, PyAny>) {
        let key = slf.get().forget_eventlet(timer);
        let job = key.and_then(|key| Self::cancel_timer(slf, key));
        drop(job);
    }

    /// Whether listeners are to say who made them.
    fn _trace_listeners(&self, state: bool) {
        self.traces_listeners.set(state);
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
        let direction = match evtype {
            "read" => Direction::Read,
            "write" => Direction::Write,
            _ => {
                return Err(PyTypeError::new_err("evtype must be hub.READ or hub.WRITE"));
            }
        };
        let current = greenlet::current(py)?;
        let listener = Bound::new(
            py,
            Listener::new(direction, fileno, cb, tb, mark_as_closed, current),
        )?;
        Self::listen(slf, &listener)?;
        Ok(listener)
    }

    #[pyo3(name = "remove")]
    fn py_remove(slf: &Bound<'_, Self>, listener: &Bound<'_, Listener>) {
        Self::unlisten(slf, listener);
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

    /// Has a loop that is not ours, and begins to run here, go on with the green work that waits.
    fn _meet_foreign(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::meet_foreign(slf)
    }

    /// Asks the hub to stop after this turn.
    fn _stop(&self) {
        if self.running.get() {
            self.stopping.set(true);
        }
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

    /// Pending timers with their times: timer objects, or callback, arguments and keyword arguments.
    fn _timers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let timers: Option<Vec<(u64, Shown)>> = self.engine(py, |engine| {
            let timers = engine.timers(Lane::Fiber);
            timers
                .filter_map(|(due, job)| Some((due, job.shown(py)?)))
                .collect()
        });
        let mut timers = timers.unwrap_or_default();
        timers.sort_by_key(|(due, _)| *due);
        let shown = PyList::empty(py);
        for (due, timer) in timers {
            shown.append((clock::seconds(due), timer.into_object(py)?))?;
        }
        Ok(shown)
    }

    /// The note of what the hub is busy with.
    #[getter]
    fn _watch(&self, py: Python<'_>) -> Py<Watch> {
        self.watch.clone_ref(py)
    }

    /// Number of cancelled timers that eventlet's own hubs would still hold.
    #[getter]
    fn timers_canceled(&self, py: Python<'_>) -> usize {
        let turn = self.engine(py, |engine| engine.turn()).unwrap_or(u64::MAX);
        self.canceled.with(py, |canceled| {
            while canceled.peek().is_some_and(|&Reverse(due)| due < turn) {
                canceled.pop();
            }
            canceled.len()
        })
    }

    /// Forgets them all, as eventlet's own hubs do when they sweep.
    #[setter]
    fn set_timers_canceled(&self, py: Python<'_>, canceled: usize) -> PyResult<()> {
        if canceled != 0 {
            return Err(PyValueError::new_err(
                "timers_canceled is counted by the hub; it can only be set to 0",
            ));
        }
        drop(self.canceled.take(py));
        Ok(())
    }

    /// Number of timers, pending and as by `timers_canceled`.
    fn get_timers_count(&self, py: Python<'_>) -> usize {
        let pending = self.engine(py, |engine| engine.timer_count(Lane::Fiber));
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
        visit.call(&self.watch)?;
        self.listeners.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.listeners.clear(py));
        drop(self.own.take(py));
        drop(self.foreign.take(py));
    }
}
