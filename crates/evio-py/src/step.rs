//! Steps: the greenlets that run asyncio callbacks, and the identity that belongs to each.
//!
//! A callback that blocks greenly parks the greenlet it runs on. Whatever identity is installed is
//! then put away for the step that it belongs to, and installed again when that step goes on. At
//! most one step of a thread is *active*, which is to say that its identity is installed.

use std::sync::atomic::{AtomicUsize, Ordering};

use evio_loop::Key;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, ThreadSlot, intern};
use crate::core::{Callback, LoopCore};
use crate::driver::Driver;
use crate::green_wait::GreenWait;
use crate::greenlet::Greenlet;
use crate::handle::Handle;
use crate::hooks::Hooks;
use crate::hub::{self, HubCore};
use crate::identity::Identity;
use crate::{block_check, clock, descent, driver, task};

mod errand;
mod kept;
mod owner;
mod restore;
mod run;
mod turn;

pub(crate) use errand::{Errand, LeftWaiting};
pub(crate) use kept::of_task;
pub(crate) use owner::{CallbackRun, owner};
pub(crate) use restore::{go_on, leave_for, restore_before_switch};
pub(crate) use turn::any_parked as any_transport_parked;

thread_local! {
    static ACTIVE: ThreadSlot<Step> = const { ThreadSlot::new() };
}

/// Threads with an active step, so that green programs need not look at the thread-local.
static ACTIVE_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Steps whose identity somebody else put away and that have not got it back.
static DISPLACED: AtomicUsize = AtomicUsize::new(0);

/// A cancel that is to be raised where the step blocks, and the task whose step it was.
struct DueCancel {
    exception: Py<PyAny>,
    task: Option<Py<PyAny>>,
}

fn take_active() -> Option<Py<Step>> {
    if ACTIVE_THREADS.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let active = ACTIVE.with(|slot| slot.replace(None));
    if let Some(step) = &active {
        step.get().is_active.set(false);
        ACTIVE_THREADS.fetch_sub(1, Ordering::Relaxed);
    }
    active
}

fn set_active(step: Py<Step>) {
    let old = take_active();
    step.get().is_active.set(true);
    ACTIVE_THREADS.fetch_add(1, Ordering::Relaxed);
    ACTIVE.with(|slot| slot.replace(Some(step)));
    drop(old);
}

/// Whether any step may be active.
pub(crate) fn any_active() -> bool {
    ACTIVE_THREADS.load(Ordering::Relaxed) != 0
}

/// Whether any step may have to be given its identity back before it is switched to.
pub(crate) fn any_displaced() -> bool {
    DISPLACED.load(Ordering::Relaxed) != 0
}

/// What a step runs, or ran last.
#[derive(Default)]
struct Running {
    /// How many callbacks were begun: names one of them.
    number: u64,
    handle: Option<Py<Handle>>,
    context: Option<Py<PyAny>>,
    /// The watcher whose readiness it is for.
    watch: Option<Key>,
    /// Stands for a callback that is no task's, where green code asks who runs.
    run: Option<Py<CallbackRun>>,
}

/// What one greenlet of a driver is busy with; calling it is the greenlet's whole life.
#[pyclass(frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct Step {
    driver: GilCell<Option<Py<Driver>>>,
    core: GilCell<Option<Py<LoopCore>>>,
    /// The hooks of `core`, if the step has needed them.
    hooks: GilCell<Option<Hooks>>,
    /// The keyword arguments by which it starts tasks of `core`, likewise.
    options: GilCell<Option<Py<PyDict>>>,
    greenlet: GilCell<Option<Greenlet>>,
    running: GilCell<Running>,
    kept: kept::Kept,
    turn: GilCell<Option<turn::Turn>>,
    saved: GilCell<Option<Identity>>,
    blocked: GilCell<Option<Greenlet>>,
    /// The greenlet that has left it by a switch that is no green block, where that is known.
    left_greenlet: GilCell<Option<Greenlet>>,
    due_cancel: GilCell<Option<DueCancel>>,
    deferred: GilCell<Vec<Callback>>,
    /// What this step is sent for, who waits for that, and what came of it.
    errand: GilCell<Option<Errand>>,
    caller: GilCell<Option<Greenlet>>,
    started: GilCell<Option<PyResult<Py<PyAny>>>>,
    /// The future for which `await_` waits in this step.
    waits_for: GilCell<Option<Py<PyAny>>>,
    /// For the next task that blocks greenly.
    spare_wait: GilCell<Option<Py<GreenWait>>>,
    /// Where the loop has it among its parked steps, if nothing has come between.
    parked_at: AtomicUsize,
    /// It is parked in `HubCore::block`, and so takes its identity up as soon as it is switched to.
    blocks: Flag,
    /// Its identity is installed.
    is_active: Flag,
    busy: Flag,
    /// It has left its context, as it blocks greenly.
    outside: Flag,
    parked: Flag,
    has_parked: Flag,
    parked_since: GilCell<u64>,
    parked_time: GilCell<u64>,
}

fn active(py: Python<'_>) -> Option<Py<Step>> {
    if ACTIVE_THREADS.load(Ordering::Relaxed) == 0 {
        return None;
    }
    ACTIVE.with(|slot| slot.get(py))
}

/// The step that runs, if the running code belongs to one.
pub(crate) fn current(py: Python<'_>) -> Option<Py<Step>> {
    active(py).filter(|step| step.bind(py).get().busy.get())
}

/// The carrier of the step that runs.
pub(crate) fn current_carrier(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    current(py).and_then(|step| step.bind(py).get().greenlet(py))
}

/// Puts away whatever identity is installed, for the step that it belongs to.
pub(crate) fn put_away(py: Python<'_>) -> PyResult<()> {
    let Some(step) = take_active() else {
        return Ok(());
    };
    let this = step.bind(py).get();
    let identity = this.take_off(py)?;
    // Between two callbacks there is nothing to come back to.
    if this.busy.get() && identity.is_some() {
        DISPLACED.fetch_add(1, Ordering::Relaxed);
        drop(this.saved.replace(py, identity));
        this.has_parked.set(true);
        if let Some(core) = this.core.get(py) {
            core.bind(py).get().add_parked(py, step);
        }
    }
    Ok(())
}

/// In a forked child, gives the step that forked its running loop back.
pub(crate) fn after_fork(py: Python<'_>) -> PyResult<()> {
    // The other threads are not here.
    let mine = ACTIVE.with(|slot| slot.get(py).is_some());
    ACTIVE_THREADS.store(usize::from(mine), Ordering::Relaxed);
    // Without a hub it could not step aside for `asyncio.run()`, which a child wants more.
    if !hub::of_thread(py)?.is_some_and(|hub| hub.is_instance_of::<HubCore>()) {
        return Ok(());
    }
    let core = active(py).and_then(|step| step.bind(py).get().core.get(py));
    match core {
        Some(core) => Identity::remind(core.bind(py)),
        None => Ok(()),
    }
}

/// Leaves the active step without an identity if another hub than the thread's drives it: a program
/// that chooses a hub anew, as forked children do, leaves the old one's work behind.
pub(crate) fn abandon(py: Python<'_>) -> PyResult<()> {
    let Some(driver) = active(py).and_then(|step| step.bind(py).get().driver.get(py)) else {
        return Ok(());
    };
    let Some(hub) = driver.bind(py).get().hub(py) else {
        return Ok(());
    };
    if !hub::of_thread(py)?.is_some_and(|chosen| chosen.is(&hub)) {
        if let Some(step) = take_active() {
            step.bind(py).get().take_off(py)?;
        }
    }
    Ok(())
}

/// Parks the active step, if there is one, because the running greenlet is about to block greenly.
///
/// The answer goes to [`unpark`] when the greenlet is switched to again.
///
/// # Errors
///
/// What the program raises against green blocks where they are not welcome; nothing has changed then.
pub(crate) fn park(current: &Bound<'_, PyAny>) -> PyResult<Option<Py<Step>>> {
    park_before(current, None)
}

/// The same in `HubCore::block`, where `next` is switched to at once if there is one.
///
/// Where that is a step of the same loop it gets its identity already here: then only the task changes.
pub(crate) fn park_before(
    current: &Bound<'_, PyAny>,
    next: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Py<Step>>> {
    let py = current.py();
    block_check::check(current)?;
    if !any_active() {
        return Ok(None);
    }
    task::prepare(py)?;
    let Some(step) = take_active() else {
        return Ok(None);
    };
    let step = step.into_bound(py);
    let this = step.get();
    if !this.owns(current)? {
        let adopted = descent::adopt(current, this);
        if !matches!(adopted, Ok(true)) {
            set_active(step.unbind());
            // It was left for a green thread by a kill(), and is not what blocks.
            return adopted.and_then(|_| put_away(py)).map(|()| None);
        }
    }
    let handed_over = match next {
        Some(next) => this.hand_over(next)?,
        None => None,
    };
    let identity = match handed_over {
        Some(own) => Some(own),
        None => this.take_off(py)?,
    };
    if !this.busy.get() {
        return Ok(None);
    }
    if let Some(task) = identity.as_ref().and_then(Identity::task) {
        GreenWait::begin(&step, task.bind(py), this.spare_wait.take(py))?;
        this.leave_context(py);
    } else if !this.has_parked.get() {
        this.keep_turn(py)?;
    }
    drop(this.saved.replace(py, identity));
    drop(this.blocked.replace(py, Some(current.clone().unbind())));
    this.parked.set(true);
    this.has_parked.set(true);
    if let Some(core) = this.core.get(py) {
        let core = core.bind(py).get();
        if core.debug() {
            this.parked_since.replace(py, clock::now(py));
        }
        if let Some(key) = this.running.with(py, |running| running.watch) {
            core.engine(py, |engine| engine.disarm(key));
        }
        core.add_parked(py, step.clone().unbind());
    }
    if let Some(driver) = this.driver.get(py) {
        driver::pass_baton(driver.bind(py), &step)?;
        if let Some(caller) = this.caller.take(py) {
            let task = this.task(py).ok_or_else(|| {
                PyRuntimeError::new_err("a task blocks greenly that is not the current one")
            });
            drop(this.started.replace(py, Some(task)));
            driver::release_caller(driver.bind(py), caller)?;
        }
    }
    Ok(Some(step.unbind()))
}

/// What a green block in a step comes back with: a cancel that is due is raised there and then.
pub(crate) fn come_back<'py>(
    step: Py<Step>,
    outcome: PyResult<Bound<'py, PyAny>>,
    py: Python<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let step = step.into_bound(py);
    unpark(py, step.clone().unbind())?;
    // Where something else was thrown, that comes first, and the cancel where the step next waits.
    let value = outcome?;
    match step.get().take_due_cancel(py) {
        Some(cancel) => Err(PyErr::from_value(cancel.into_bound(py))),
        None => Ok(value),
    }
}

/// Whether the step of a carrier is in the middle of a callback.
pub(crate) fn is_busy(greenlet: &Bound<'_, PyAny>) -> PyResult<bool> {
    let step = greenlet.getattr(intern!(greenlet.py(), "step"))?;
    Ok(step.cast::<Step>().is_ok_and(|step| step.get().busy.get()))
}

/// Makes a parked step the active one again.
pub(crate) fn unpark(py: Python<'_>, step: Py<Step>) -> PyResult<()> {
    let step = step.into_bound(py);
    let this = step.get();
    let has_identity = this.is_active.get();
    if !has_identity {
        put_away(py)?;
    }
    this.enter_context(py)?;
    this.parked.set(false);
    this.blocks.set(false);
    drop(this.blocked.take(py));
    if let Some(core) = this.core.get(py) {
        let core = core.bind(py).get();
        core.remove_parked(py, &step);
        let since = this.parked_since.replace(py, 0);
        if since != 0 {
            let parked = clock::now(py).saturating_sub(since);
            this.parked_time.with(py, |time| *time += parked);
        }
    }
    if has_identity {
        return Ok(());
    }
    if let Some(identity) = this.saved.take(py) {
        if let Some(task) = identity.task() {
            this.end_wait(task.bind(py))?;
        }
        identity.install(py)?;
    }
    set_active(step.unbind());
    Ok(())
}

impl Step {
    /// A greenlet of a driver, and the step that is its life.
    pub(crate) fn create<'py>(
        driver: &Bound<'py, Driver>,
        parent: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = driver.py();
        let step = Bound::new(
            py,
            Self {
                driver: GilCell::new(Some(driver.clone().unbind())),
                core: GilCell::new(None),
                hooks: GilCell::new(None),
                options: GilCell::new(None),
                greenlet: GilCell::new(None),
                running: GilCell::new(Running::default()),
                kept: kept::Kept::default(),
                turn: GilCell::new(None),
                saved: GilCell::new(None),
                blocked: GilCell::new(None),
                left_greenlet: GilCell::new(None),
                due_cancel: GilCell::new(None),
                deferred: GilCell::new(Vec::new()),
                errand: GilCell::new(None),
                caller: GilCell::new(None),
                started: GilCell::new(None),
                waits_for: GilCell::new(None),
                spare_wait: GilCell::new(None),
                parked_at: AtomicUsize::new(0),
                blocks: Flag::new(false),
                is_active: Flag::new(false),
                busy: Flag::new(false),
                outside: Flag::new(false),
                parked: Flag::new(false),
                has_parked: Flag::new(false),
                parked_since: GilCell::new(0),
                parked_time: GilCell::new(0),
            },
        )?;
        let greenlet = descent::carrier_class(py)?.call1((&step, parent))?;
        greenlet.setattr(intern!(py, "step"), &step)?;
        step.get().greenlet.replace(py, Some(greenlet.unbind()));
        Ok(step)
    }

    /// Whether a greenlet belongs to this step.
    fn owns(&self, greenlet: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = greenlet.py();
        let is_it = |own: &mut Option<Greenlet>| own.as_ref().is_some_and(|own| own.is(greenlet));
        if self.greenlet.with(py, is_it) {
            return Ok(true);
        }
        let (carrier, context) = (self.greenlet(py), self.context(py));
        let context = context.as_ref().map(|context| context.bind(py));
        descent::belongs(greenlet, carrier.as_ref(), context, || {
            self.current_task(py)
        })
    }

    /// Whether it is this greenlet that waits in the step, which has blocked or was left there.
    pub(crate) fn was_left_in(&self, greenlet: &Bound<'_, PyAny>) -> bool {
        let py = greenlet.py();
        let is_it = |own: &mut Option<Greenlet>| own.as_ref().is_some_and(|own| own.is(greenlet));
        self.blocked.with(py, is_it) || self.left_greenlet.with(py, is_it)
    }

    /// The context in which the step runs.
    pub(crate) fn context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.running.with(py, |running| {
            let context = running.context.as_ref()?;
            Some(context.clone_ref(py))
        })
    }

    /// Whether the step runs in a context.
    pub(crate) fn runs_in(&self, py: Python<'_>, context: &Bound<'_, PyAny>) -> bool {
        self.running.with(py, |running| {
            let own = running.context.as_ref();
            own.is_some_and(|own| own.is(context))
        })
    }

    /// The loop whose callback the step runs.
    pub(crate) fn core(&self, py: Python<'_>) -> Option<Py<LoopCore>> {
        self.core.get(py)
    }

    /// Notes the future for which `await_` waits here; hands out the one before.
    pub(crate) fn set_waits_for(
        &self,
        py: Python<'_>,
        future: Option<Py<PyAny>>,
    ) -> Option<Py<PyAny>> {
        self.waits_for.replace(py, future)
    }

    pub(crate) fn parked_at(&self) -> usize {
        self.parked_at.load(Ordering::Relaxed)
    }

    pub(crate) fn set_parked_at(&self, place: usize) {
        self.parked_at.store(place, Ordering::Relaxed);
    }

    /// Puts the identity away that is installed for this step.
    fn take_off(&self, py: Python<'_>) -> PyResult<Option<Identity>> {
        let core = self.core.get(py);
        core.map(|core| Identity::put_away(py, core.into_any(), self.busy.get()))
            .transpose()
    }

    /// The task waits for nothing any more.
    fn end_wait(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let spare = GreenWait::end(task)?;
        drop(self.spare_wait.replace(task.py(), spare));
        Ok(())
    }

    /// Notes that its greenlet is about to block in the hub.
    pub(crate) fn set_blocks(&self) {
        self.blocks.set(true);
    }

    /// The greenlet that called `Hub.switch()`, while the step is parked.
    pub(crate) fn blocked_greenlet(&self, py: Python<'_>) -> Option<Greenlet> {
        self.blocked.get(py)
    }

    pub(crate) fn greenlet<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.greenlet
            .get(py)
            .map(|greenlet| greenlet.into_bound(py))
    }
}

#[pymethods]
impl Step {
    #[pyo3(signature = (*_args))]
    fn __call__(slf: &Bound<'_, Self>, _args: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        match slf.get().driver.get(py) {
            Some(driver) => driver::live(driver.bind(py), slf),
            None => Ok(()),
        }
    }

    /// The greenlet whose life this is.
    #[getter]
    fn carrier(&self, py: Python<'_>) -> Option<Greenlet> {
        self.greenlet.get(py)
    }

    /// The task whose step is parked here.
    #[getter]
    fn task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.saved.with(py, |saved| {
            let task = saved.as_ref().and_then(Identity::task)?;
            Some(task.clone_ref(py))
        })
    }

    /// Whether what this greenlet stands for is not over: `None` where it stands for nothing but itself.
    #[getter]
    fn lives(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        self.stands_for_living(py)
    }

    /// The task for which this greenlet stands, as the program has kept it.
    #[getter]
    #[pyo3(name = "stood_for")]
    fn py_stood_for<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.stood_for(py)
    }

    /// The number of the callback that is under way, or was last.
    #[getter]
    fn callback(&self, py: Python<'_>) -> u64 {
        self.running.with(py, |running| running.number)
    }

    /// Whether a callback is under way.
    #[getter]
    fn busy(&self) -> bool {
        self.busy.get()
    }

    /// The greenlet that called `Hub.switch()`, while the step is parked.
    #[getter]
    fn blocked(&self, py: Python<'_>) -> Option<Greenlet> {
        self.blocked_greenlet(py)
    }

    /// The greenlet that waits in this step, which is not running: its carrier or one below that.
    #[getter]
    fn waits(&self, py: Python<'_>) -> Option<Greenlet> {
        let blocked = self.blocked.get(py).or_else(|| self.left_greenlet.get(py));
        blocked.or_else(|| self.greenlet.get(py))
    }

    /// The future for which `await_` waits in this step.
    #[getter]
    fn waits_for(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.waits_for.get(py)
    }

    #[setter(waits_for)]
    fn py_set_waits_for(&self, py: Python<'_>, future: Option<Py<PyAny>>) {
        drop(self.set_waits_for(py, future));
    }

    /// The CancelledError that the step raises where it is parked, as soon as it goes on.
    #[getter]
    fn due_cancel(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.due_cancel.with(py, |due| {
            due.as_ref().map(|due| due.exception.clone_ref(py))
        })
    }

    /// Makes a cancel due; `False` when one is due already.
    fn set_due_cancel(
        &self,
        py: Python<'_>,
        exception: Py<PyAny>,
        task: Option<Py<PyAny>>,
    ) -> bool {
        let first = self.due_cancel.with(py, |due| due.is_none());
        if first {
            let due = DueCancel { exception, task };
            drop(self.due_cancel.replace(py, Some(due)));
        }
        first
    }

    /// The cancel that is due, which is due no more.
    pub(crate) fn take_due_cancel(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.due_cancel.take(py).map(|due| due.exception)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for cell in [
            &self.greenlet,
            &self.blocked,
            &self.left_greenlet,
            &self.caller,
            &self.waits_for,
        ] {
            if let Some(object) = cell.peek() {
                visit.call(&*object)?;
            }
        }
        if let Some(driver) = self.driver.peek() {
            visit.call(&*driver)?;
        }
        if let Some(running) = self.running.peek() {
            visit.call(&running.handle)?;
            visit.call(&running.context)?;
            visit.call(&running.run)?;
        }
        self.kept.traverse(&visit)?;
        if let Some(turn) = self.turn.peek() {
            turn.as_ref().map_or(Ok(()), |turn| turn.traverse(&visit))?;
        }
        if let Some(core) = self.core.peek() {
            visit.call(&*core)?;
        }
        if let Some(hooks) = self.hooks.peek() {
            hooks
                .as_ref()
                .map_or(Ok(()), |hooks| hooks.traverse(&visit))?;
        }
        if let Some(options) = self.options.peek() {
            visit.call(&*options)?;
        }
        if let Some(spare) = self.spare_wait.peek() {
            visit.call(&*spare)?;
        }
        if let Some(saved) = self.saved.peek() {
            if let Some(identity) = saved.as_ref() {
                identity.traverse(&visit)?;
            }
        }
        if let Some(due) = self.due_cancel.peek() {
            if let Some(due) = due.as_ref() {
                visit.call(&due.exception)?;
                visit.call(&due.task)?;
            }
        }
        if let Some(errand) = self.errand.peek() {
            if let Some(errand) = errand.as_ref() {
                visit.call(&errand.coroutine)?;
                visit.call(&errand.context)?;
            }
        }
        if let Some(deferred) = self.deferred.peek() {
            for (handle, _) in deferred.iter() {
                visit.call(handle)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.driver.take(py));
        drop((self.core.take(py), self.hooks.take(py)));
        drop((self.options.take(py), self.spare_wait.take(py)));
        drop(self.greenlet.take(py));
        drop(self.running.take(py));
        self.kept.clear(py);
        self.end_turn(py);
        drop(self.saved.take(py));
        drop((self.blocked.take(py), self.left_greenlet.take(py)));
        drop(self.due_cancel.take(py));
        drop(self.deferred.take(py));
        drop(self.errand.take(py));
        drop(self.caller.take(py));
        drop(self.started.take(py));
        drop(self.waits_for.take(py));
    }
}
