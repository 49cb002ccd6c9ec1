//! The native core of an event loop: its engine, and the scheduling calls of asyncio.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use evio_loop::{Direction, Engine, Key, Lane, Mode, Waiter, Waker, Work};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::driver::Driver;
use crate::files::Files;
use crate::handle::{Args, Handle, TimerHandle};
use crate::job::Job;
use crate::step::Step;
use crate::{clock, errors, task, threads, wakeup};

#[allow(unsafe_code)] // A method that CPython calls directly.
pub(crate) mod call_soon;
mod watching;

/// The native part of `EventLoop`.
#[pyclass(subclass, frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct LoopCore {
    engine: GilCell<Option<Engine<Job>>>,
    waiter: GilCell<Option<Waiter>>,
    waker: GilCell<Option<Waker>>,
    driver: GilCell<Option<Py<Driver>>>,
    parked: GilCell<Vec<Py<Step>>>,
    debug: Flag,
    closed: Flag,
    /// What makes the loop's tasks, if that is not asyncio's class of them.
    task_factory: GilCell<Option<Py<PyAny>>>,
    elsewhere: Flag,
    stopping: Flag,
    /// The last run was left by what was thrown at its caller.
    left: Flag,
    /// A hub has run on the engine.
    had_hub: Flag,
    waiting: Flag,
    callbacks_used: Flag,
    wakeup: GilCell<Option<Key>>,
    files: Files,
    thread: AtomicU64,
    /// Whether the class of the loop has a `call_at()` of its own, which `call_later()` then goes through.
    overrides_call_at: bool,
    /// Whether it has a `_timer_handle_cancelled()` of its own, which is then called.
    overrides_timer_cancelled: bool,
}

impl LoopCore {
    /// Opens the engine; `None` when the loop is closed.
    ///
    /// The closure must not call into Python, nor own the last reference to anything: on a closed
    /// loop it is dropped uncalled, and what a call displaces must be handed out.
    pub(crate) fn engine<R>(
        &self,
        py: Python<'_>,
        inspect: impl FnOnce(&mut Engine<Job>) -> R,
    ) -> Option<R> {
        self.engine.with(py, |engine| engine.as_mut().map(inspect))
    }

    pub(crate) fn open_engine<R>(
        &self,
        py: Python<'_>,
        inspect: impl FnOnce(&mut Engine<Job>) -> R,
    ) -> PyResult<R> {
        self.engine(py, inspect).ok_or_else(errors::closed_loop)
    }

    /// Opens the engines of two loops.
    pub(crate) fn engines<R>(
        &self,
        other: &Self,
        py: Python<'_>,
        inspect: impl FnOnce(&mut Engine<Job>, &mut Engine<Job>) -> R,
    ) -> Option<R> {
        self.engine(py, |engine| {
            other.engine(py, |other| inspect(engine, other))
        })
        .flatten()
    }

    pub(crate) fn debug(&self) -> bool {
        self.debug.get()
    }

    /// Whether a task of this loop is nothing but a task of asyncio's, and nobody wants to know where it was made.
    pub(crate) fn makes_plain_tasks(&self, py: Python<'_>) -> bool {
        !self.debug()
            && !self.is_closed()
            && self.task_factory.with(py, |factory| factory.is_none())
    }

    /// Whether the class of the loop is told of cancelled timers.
    pub(crate) fn is_told_of_cancelled_timers(&self) -> bool {
        self.overrides_timer_cancelled
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    pub(crate) fn note_hub(&self) {
        self.had_hub.set(true);
    }

    pub(crate) fn set_left(&self, left: bool) {
        self.left.set(left);
    }

    pub(crate) fn stop_seen(&self) {
        self.stopping.set(false);
    }

    /// Whether anybody ever scheduled asyncio work here.
    pub(crate) fn was_used(&self) -> bool {
        self.callbacks_used.get()
    }

    pub(crate) fn set_driver(&self, py: Python<'_>, driver: Option<Py<Driver>>) {
        drop(self.driver.replace(py, driver));
    }

    /// Marks the loop as running in this thread, or as not running.
    pub(crate) fn set_running(&self, py: Python<'_>, running: bool) -> PyResult<()> {
        self.set_thread_id(if running {
            Some(threads::ident(py)?)
        } else {
            None
        });
        Ok(())
    }

    /// Ends the wait of the loop's host, if it waits: there is work.
    ///
    /// Whoever adds work holds the interpreter's lock, so does whoever sets the flag: no other inbox
    /// is needed between threads.
    pub(crate) fn kick(&self, py: Python<'_>) {
        if self.waiting.replace(false) {
            self.wake(py);
        }
    }

    fn wake(&self, py: Python<'_>) {
        self.waker.with(py, |waker| {
            if let Some(waker) = waker {
                waker.wake();
            }
        });
    }

    pub(crate) fn set_waiting(&self, waiting: bool) {
        self.waiting.set(waiting);
    }

    /// Watches the descriptor that tells of signals, or no longer; `false` if that is refused.
    pub(crate) fn watch_wakeup(&self, py: Python<'_>, fd: Option<RawFd>) -> bool {
        let watched = self.wakeup.with(py, |key| *key);
        match (watched, fd) {
            (None, Some(fd)) => {
                let added = self.engine(py, |engine| {
                    let job = Job::Wakeup;
                    let key = engine.watch(Lane::Callback, fd, Direction::Read, Mode::Level, job);
                    key.ok()
                });
                self.wakeup.replace(py, added.flatten());
                added.flatten().is_some()
            }
            (Some(key), None) => {
                self.engine(py, |engine| engine.unwatch(key).is_some());
                self.wakeup.replace(py, None);
                true
            }
            _ => true,
        }
    }

    pub(crate) fn take_waiter(&self, py: Python<'_>) -> PyResult<Waiter> {
        match self.waiter.take(py) {
            Some(waiter) => Ok(waiter),
            None => self.open_engine(py, |engine| engine.waiter()),
        }
    }

    pub(crate) fn give_waiter(&self, py: Python<'_>, waiter: Waiter) {
        drop(self.waiter.replace(py, Some(waiter)));
    }

    /// Puts a callback that had to wait for its context at the head of the queue.
    pub(crate) fn push_again(&self, py: Python<'_>, handle: Py<Handle>) {
        let mut job = Some(Job::Handle(handle));
        self.engine(py, |engine| {
            engine.push_front(Work::Run(job.take().expect("taken once")));
        });
        drop(job);
        self.kick(py);
    }

    pub(crate) fn add_parked(&self, py: Python<'_>, step: Py<Step>) {
        self.parked.with(py, |parked| {
            step.get().set_parked_at(parked.len());
            parked.push(step);
        });
    }

    pub(crate) fn remove_parked(&self, py: Python<'_>, step: &Bound<'_, Step>) {
        let removed = self.parked.with(py, |parked| {
            let at = step.get().parked_at();
            let at = if parked.get(at).is_some_and(|other| other.is(step)) {
                at
            } else {
                parked.iter().position(|other| other.is(step))?
            };
            let removed = parked.swap_remove(at);
            if let Some(moved) = parked.get(at) {
                moved.get().set_parked_at(at);
            }
            Some(removed)
        });
        drop(removed);
    }

    /// The parked steps of this loop.
    pub(crate) fn parked(&self, py: Python<'_>) -> Vec<Py<Step>> {
        self.parked.with(py, |parked| {
            parked.iter().map(|step| step.clone_ref(py)).collect()
        })
    }

    fn check_open(&self) -> PyResult<()> {
        if self.closed.get() {
            return Err(errors::closed_loop());
        }
        Ok(())
    }

    /// The checks of asyncio's debug mode.
    fn check_debug(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>, name: &str) -> PyResult<()> {
        slf.call_method0(intern!(slf.py(), "_check_thread"))?;
        slf.call_method1(intern!(slf.py(), "_check_callback"), (callback, name))
            .map(drop)
    }

    #[inline]
    fn push(slf: &Bound<'_, Self>, handle: Bound<'_, Handle>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.callbacks_used.set(true);
        this.open_engine(py, |engine| engine.push(Job::Handle(handle.unbind())))?;
        this.kick(py);
        Ok(())
    }
}

#[pymethods]
impl LoopCore {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let py = class.py();
        wakeup::reserve(py);
        let ours = py.get_type::<Self>();
        let is_own = |name: &Bound<'_, PyString>| {
            PyResult::Ok(!class.getattr(name)?.is(&ours.getattr(name)?))
        };
        let engine = Engine::new().map_err(|error| errors::reactor(&error))?;
        let waker = GilCell::new(Some(engine.waker()));
        Ok(Self {
            engine: GilCell::new(Some(engine)),
            waiter: GilCell::new(None),
            waker,
            driver: GilCell::new(None),
            parked: GilCell::new(Vec::new()),
            debug: Flag::new(false),
            closed: Flag::new(false),
            task_factory: GilCell::new(None),
            elsewhere: Flag::new(false),
            stopping: Flag::new(false),
            left: Flag::new(false),
            had_hub: Flag::new(false),
            waiting: Flag::new(false),
            callbacks_used: Flag::new(false),
            wakeup: GilCell::new(None),
            files: Files::new(),
            thread: AtomicU64::new(0),
            overrides_call_at: is_own(intern!(py, "call_at"))?,
            overrides_timer_cancelled: is_own(intern!(py, "_timer_handle_cancelled"))?,
        })
    }

    /// Seconds on the loop's clock, which is `time.monotonic()`.
    fn time(&self, py: Python<'_>) -> f64 {
        clock::seconds(clock::now(py))
    }

    /// Whether the loop runs, in whatever thread.
    fn is_running(&self) -> bool {
        self._thread_id().is_some() && !self.elsewhere.get()
    }

    /// Whether the loop was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether the debug mode is on.
    fn get_debug(&self) -> bool {
        self.debug()
    }

    /// A future of this loop.
    fn create_future<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        task::make_future(slf.as_any())
    }

    /// A task of this loop, which runs a coroutine.
    #[pyo3(signature = (coro, *, name = None, **options))]
    fn create_task<'py>(
        slf: &Bound<'py, Self>,
        coro: &Bound<'py, PyAny>,
        name: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        task::create(slf, coro, name, options)
    }

    #[pyo3(signature = (callback, *args, context = None))]
    fn call_soon_threadsafe<'py>(
        slf: &Bound<'py, Self>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Handle>> {
        let this = slf.get();
        this.check_open()?;
        if this.debug() {
            slf.call_method1(
                intern!(slf.py(), "_check_callback"),
                (callback, "call_soon_threadsafe"),
            )?;
        }
        let handle = Handle::create(slf, callback, Args::of(args), context)?;
        Self::push(slf, handle.clone())?;
        Ok(handle)
    }

    #[pyo3(signature = (when, callback, *args, context = None))]
    fn call_at<'py>(
        slf: &Bound<'py, Self>,
        when: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, TimerHandle>> {
        if when.is_none() {
            return Err(PyTypeError::new_err("when cannot be None"));
        }
        let py = slf.py();
        let this = slf.get();
        this.check_open()?;
        if this.debug() {
            Self::check_debug(slf, callback, "call_at")?;
        }
        let when: f64 = when.extract()?;
        let handle = Handle::new(slf, callback, Args::of(args), context)?;
        let timer = TimerHandle::create(handle, py, when)?;
        let job = Job::Handle(timer.as_super().clone().unbind());
        let deadline = clock::deadline(when);
        this.callbacks_used.set(true);
        let key = this.open_engine(py, |engine| engine.schedule(Lane::Callback, deadline, job))?;
        timer.get().set_key(py, key);
        this.kick(py);
        Ok(timer)
    }

    #[pyo3(signature = (delay, callback, *args, context = None))]
    fn call_later<'py>(
        slf: &Bound<'py, Self>,
        delay: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if delay.is_none() {
            return Err(PyTypeError::new_err("delay must not be None"));
        }
        let py = slf.py();
        let when = slf.call_method0(intern!(py, "time"))?.add(delay)?;
        if !slf.get().overrides_call_at {
            return Self::call_at(slf, &when, callback, args, context).map(Bound::into_any);
        }
        let args = [when, callback.clone()].into_iter().chain(args.iter());
        let args = PyTuple::new(py, args.collect::<Vec<_>>())?;
        let options = PyDict::new(py);
        options.set_item(intern!(py, "context"), context)?;
        slf.getattr(intern!(py, "call_at"))?
            .call(args, Some(&options))
    }

    fn _timer_handle_cancelled(&self, _handle: &Bound<'_, PyAny>) {}

    fn _write_to_self(&self, py: Python<'_>) {
        self.wake(py);
    }

    #[pyo3(signature = (fd, callback, *args))]
    fn _add_reader(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<Handle>> {
        let fd = slf.get().files.note(fd)?;
        Self::watch(slf, fd, Direction::Read, callback, args)
    }

    #[pyo3(signature = (fd, callback, *args))]
    fn _add_writer(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<Handle>> {
        let fd = slf.get().files.note(fd)?;
        Self::watch(slf, fd, Direction::Write, callback, args)
    }

    fn _remove_reader(&self, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch_file(fd, Direction::Read)
    }

    fn _remove_writer(&self, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch_file(fd, Direction::Write)
    }

    /// The handles that watch a descriptor for reading and for writing.
    fn _watchers(&self, py: Python<'_>, fd: RawFd) -> (Option<Py<Handle>>, Option<Py<Handle>>) {
        let of = |direction| {
            self.engine(py, |engine| {
                let key = engine.watchers_of(Lane::Callback, fd, direction).next()?;
                match engine.watcher(key) {
                    Some(Job::Handle(handle)) => Some(handle.clone_ref(py)),
                    _ => None,
                }
            })
            .flatten()
        };
        (of(Direction::Read), of(Direction::Write))
    }

    /// Runs until `stop()` is called: the whole of `run_forever` but its checks.
    fn _run(slf: &Bound<'_, Self>) -> PyResult<()> {
        crate::run::run_forever(slf)
    }

    /// Ends the greenlets that drive the loop, as their thread ends.
    fn _leave(&self, py: Python<'_>) -> PyResult<()> {
        match self.driver.get(py) {
            Some(driver) => driver.bind(py).get().leave(py),
            None => Ok(()),
        }
    }

    /// Gives up the engine and everything scheduled.
    fn _release(&self, py: Python<'_>) {
        let mut engine = self.engine.take(py);
        let jobs = engine.as_mut().map(Engine::drain);
        drop((self.waiter.take(py), self.waker.take(py), engine));
        drop(jobs);
        self.files.clear(py);
    }

    /// In a forked child: a poller of its own, under the same descriptor.
    fn _rebuild(&self, py: Python<'_>) -> PyResult<()> {
        drop(self.waiter.take(py));
        let rebuilt = self.engine(py, Engine::rebuild);
        self.watch_wakeup(py, None);
        match rebuilt {
            Some(Err(error)) => Err(errors::reactor(&error)),
            _ => Ok(()),
        }
    }

    /// Whether the last run was left by what was thrown at its caller.
    fn _was_left(&self) -> bool {
        self.left.get()
    }

    /// Whether a hub runs on this loop's engine, which then watches those of other loops.
    fn _has_hub(&self, py: Python<'_>) -> bool {
        let driver = self.driver.get(py);
        driver.is_some_and(|driver| driver.bind(py).get().hub(py).is_some())
    }

    /// Whether a hub has run on this loop's engine, or steps of it block greenly.
    fn _had_green_code(&self, py: Python<'_>) -> bool {
        self.had_hub.get() || self.parked.with(py, |parked| !parked.is_empty())
    }

    /// The steps of this loop that block greenly, or were left by a `kill()`.
    fn _parked_steps(&self, py: Python<'_>) -> Vec<Py<Step>> {
        self.parked(py)
    }

    /// What drives the loop now, for its `repr`.
    fn _driven_by(&self, py: Python<'_>) -> String {
        match self.driver.get(py) {
            Some(driver) => driver.bind(py).get().describe(py),
            None => "nobody".to_owned(),
        }
    }

    #[getter]
    fn _debug(&self) -> bool {
        self.debug.get()
    }

    #[setter(_debug)]
    fn set_debug(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug.set(value.is_truthy()?);
        Ok(())
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.closed.get()
    }

    #[setter(_closed)]
    fn set_closed(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.closed.set(value.is_truthy()?);
        Ok(())
    }

    #[getter]
    fn _task_factory(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.task_factory.get(py)
    }

    #[setter(_task_factory)]
    fn set_task_factory(&self, py: Python<'_>, factory: Option<Py<PyAny>>) {
        drop(self.task_factory.replace(py, factory));
    }

    /// Whether a task is being made by code that runs outside of the loop.
    #[getter]
    fn _is_elsewhere(&self) -> bool {
        self.elsewhere.get()
    }

    #[setter(_is_elsewhere)]
    fn set_elsewhere(&self, value: bool) {
        self.elsewhere.set(value);
    }

    #[getter]
    fn _stopping(&self) -> bool {
        self.stopping.get()
    }

    #[setter(_stopping)]
    fn set_stopping(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.stopping.set(value.is_truthy()?);
        self.kick(value.py());
        Ok(())
    }

    /// The ident of the thread in which the loop runs.
    #[getter]
    fn _thread_id(&self) -> Option<u64> {
        match self.thread.load(Ordering::Relaxed) {
            0 => None,
            thread => Some(thread),
        }
    }

    #[setter(_thread_id)]
    pub(crate) fn set_thread_id(&self, value: Option<u64>) {
        self.thread.store(value.unwrap_or(0), Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(engine) = self.engine.peek() {
            if let Some(engine) = engine.as_ref() {
                for job in engine.payloads() {
                    job.traverse(&visit)?;
                }
            }
        }
        self.files.traverse(&visit)?;
        if let Some(factory) = self.task_factory.peek() {
            visit.call(&*factory)?;
        }
        if let Some(driver) = self.driver.peek() {
            visit.call(&*driver)?;
        }
        if let Some(parked) = self.parked.peek() {
            for step in parked.iter() {
                visit.call(step)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        self._release(py);
        drop(self.driver.replace(py, None));
        drop(self.task_factory.take(py));
        drop(self.parked.take(py));
    }
}

/// A handle that is about to run, and the watcher whose readiness it is for.
pub(crate) type Callback = (Py<Handle>, Option<Key>);

/// What is next in a turn.
enum Next {
    Callback(Callback),
    Signals,
}

impl LoopCore {
    /// The next callback of this turn, resolved to its handle.
    ///
    /// # Errors
    ///
    /// What a handler raises while loops are told of signals.
    pub(crate) fn next_callback(&self, py: Python<'_>) -> PyResult<Option<Callback>> {
        loop {
            let next = self.engine(py, |engine| {
                loop {
                    match engine.next_callback()? {
                        Work::Run(Job::Handle(handle)) => {
                            Handle::leave_queue(&handle);
                            return Some(Next::Callback((handle, None)));
                        }
                        Work::Run(_) => {}
                        Work::Ready(key) => match engine.watcher(key) {
                            Some(Job::Handle(handle)) => {
                                return Some(Next::Callback((handle.clone_ref(py), Some(key))));
                            }
                            Some(Job::Wakeup) => return Some(Next::Signals),
                            _ => {}
                        },
                    }
                }
            });
            match next.flatten() {
                Some(Next::Callback(callback)) => return Ok(Some(callback)),
                Some(Next::Signals) => wakeup::tell(py)?,
                None => return Ok(None),
            }
        }
    }
}
