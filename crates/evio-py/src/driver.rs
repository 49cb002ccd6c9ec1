//! Drivers: who runs the turns of an engine, on which greenlet.
//!
//! A *solo* driver is one greenlet that runs turns and callbacks alike: all that a pure asyncio
//! program pays. When one of its callbacks blocks greenly it passes the *baton*, the right to run
//! turns, to a fresh greenlet. The driver of a *hub* runs turns on the hub's own greenlet, which
//! wakes green threads itself and has the callbacks run by carriers from a pool.
//!
//! Everything here can be switched away from at every call into Python, and may find, when it comes
//! back, that the driver drives another loop, on another greenlet. Look again, never remember.

use std::collections::VecDeque;

use evio_loop::Work;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{GilCell, intern};
use crate::core::LoopCore;
use crate::fast::waker::Waker;
use crate::fiber;
use crate::greenlet::{self, Greenlet};
use crate::host::EventletHub;
use crate::hub::HubCore;
use crate::job::Job;
use crate::step::{self, LeftWaiting, Step};

mod pool;
mod sent;
mod wait;

pub(crate) use sent::{Sent, Started, send};
use wait::begin_turn;

/// Drives an engine.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Driver {
    core: GilCell<Option<Py<LoopCore>>>,
    hub: GilCell<Option<Py<HubCore>>>,
    greenlet: GilCell<Option<Greenlet>>,
    caller: GilCell<Option<Greenlet>>,
    idle: GilCell<Vec<Py<Step>>>,
    /// Carriers that somebody has kept, which run nothing.
    kept: GilCell<VecDeque<Py<Step>>>,
    /// The parent of those of them that have ended.
    heir: GilCell<Option<Greenlet>>,
    /// Whom a carrier has switched to, until somebody else of the driver runs.
    next: GilCell<Option<Greenlet>>,
    failure: GilCell<Option<Py<PyBaseException>>>,
    left_waiting: GilCell<LeftWaiting>,
}

impl Driver {
    pub(crate) fn create<'py>(
        py: Python<'py>,
        core: Option<&Bound<'py, LoopCore>>,
    ) -> PyResult<Bound<'py, Self>> {
        Bound::new(
            py,
            Self {
                core: GilCell::new(core.map(|core| core.clone().unbind())),
                hub: GilCell::new(None),
                greenlet: GilCell::new(None),
                caller: GilCell::new(None),
                idle: GilCell::new(Vec::new()),
                kept: GilCell::new(VecDeque::new()),
                heir: GilCell::new(None),
                next: GilCell::new(None),
                failure: GilCell::new(None),
                left_waiting: GilCell::new(LeftWaiting::default()),
            },
        )
    }

    /// The loop whose engine is driven.
    pub(crate) fn core(&self, py: Python<'_>) -> Option<Py<LoopCore>> {
        self.core.get(py)
    }

    pub(crate) fn set_core(&self, py: Python<'_>, core: Option<Py<LoopCore>>) {
        drop(self.core.replace(py, core));
    }

    /// The hub that this driver serves.
    pub(crate) fn hub(&self, py: Python<'_>) -> Option<Py<HubCore>> {
        self.hub.get(py)
    }

    /// Notes that who had a task started waits for it now, until it is woken.
    pub(crate) fn note_left(
        &self,
        py: Python<'_>,
        place: usize,
        task: Py<PyAny>,
        waker: Py<Waker>,
    ) {
        self.left_waiting
            .with(py, |left| left.put(place, task, waker));
    }

    /// Whether it serves a hub.
    pub(crate) fn has_hub(&self, py: Python<'_>) -> bool {
        self.hub.with(py, |hub| hub.is_some())
    }

    pub(crate) fn set_hub(&self, py: Python<'_>, hub: Option<Py<HubCore>>) {
        drop(self.hub.replace(py, hub));
    }

    /// The greenlet that holds the baton.
    pub(crate) fn greenlet(&self, py: Python<'_>) -> Option<Greenlet> {
        self.greenlet.get(py)
    }

    pub(crate) fn set_greenlet(&self, py: Python<'_>, greenlet: Option<Greenlet>) {
        drop(self.greenlet.replace(py, greenlet));
    }

    /// The greenlet that is inside `run_forever`.
    pub(crate) fn caller(&self, py: Python<'_>) -> Option<Greenlet> {
        self.caller.get(py)
    }

    pub(crate) fn set_caller(&self, py: Python<'_>, caller: Option<Greenlet>) {
        drop(self.caller.replace(py, caller));
    }

    /// Whether the run for which somebody waits is over.
    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        if self.hub(py).is_some() {
            return self.caller(py).is_none();
        }
        self.greenlet(py)
            .is_none_or(|greenlet| greenlet::is_dead(greenlet.bind(py)))
    }

    /// Ends the carriers at rest, whose hub's greenlet has ended.
    pub(crate) fn dismiss(&self, py: Python<'_>) -> PyResult<()> {
        for step in self.idle.take(py).into_iter().chain(self.kept.take(py)) {
            pool::end(py, step.bind(py).get())?;
        }
        drop(self.heir.take(py));
        Ok(())
    }

    /// Ends the greenlets that drive, as their thread ends: what is on the stack of one that is parked
    /// would stay alive, and the garbage collector does not see it.
    pub(crate) fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.set_caller(py, None);
        self.dismiss(py)?;
        if let Some(holder) = self.greenlet(py) {
            let holder = holder.into_bound(py);
            // What is in the middle of a callback is the program's.
            if self.hub(py).is_some() || !step::is_busy(&holder)? {
                greenlet::set_parent(&holder, &greenlet::current(py)?)?;
                greenlet::exit(&holder)?;
            }
        }
        if let Some(core) = self.core(py) {
            core.bind(py).get().set_driver(py, None);
        }
        self.set_hub(py, None);
        Ok(())
    }

    /// Has the carriers at rest forget a loop that ends: they may rest for long.
    pub(crate) fn forget_loop(&self, core: &Bound<'_, LoopCore>) {
        let py = core.py();
        let copies = |step: &Py<Step>| step.clone_ref(py);
        let mut resting: Vec<_> = self.idle.with(py, |idle| idle.iter().map(copies).collect());
        self.kept
            .with(py, |kept| resting.extend(kept.iter().map(copies)));
        for step in resting {
            step.into_bound(py).get().forget_loop(core);
        }
    }

    /// Forgets the idle carriers, where nothing may be switched to any more.
    pub(crate) fn abandon(&self, py: Python<'_>) {
        drop((self.idle.take(py), self.kept.take(py), self.heir.take(py)));
    }

    /// Lets go of the hub, unless its greenlet is parked, and of that if it never ran: who holds neither
    /// is no part of a circle, and the hub ends with its thread instead of in the garbage collector.
    pub(crate) fn release_hub(&self, py: Python<'_>) {
        let Some(greenlet) = self.greenlet(py) else {
            return;
        };
        if !greenlet::is_active(greenlet.bind(py)) {
            self.set_hub(py, None);
        }
        if !greenlet::has_started(greenlet.bind(py)) {
            self.set_greenlet(py, None);
        }
    }

    /// For the `repr` of a loop.
    pub(crate) fn describe(&self, py: Python<'_>) -> String {
        if self.hub.with(py, |hub| hub.is_some()) {
            "the hub of this thread".to_owned()
        } else {
            "run_forever()".to_owned()
        }
    }

    pub(crate) fn holds_baton(&self, py: Python<'_>, greenlet: &Bound<'_, PyAny>) -> bool {
        self.greenlet.with(py, |holder| {
            holder.as_ref().is_some_and(|holder| holder.is(greenlet))
        })
    }

    fn check_failure(&self, py: Python<'_>) -> PyResult<()> {
        match self.failure.take(py) {
            Some(failure) => Err(PyErr::from_value(failure.into_bound(py).into_any())),
            None => Ok(()),
        }
    }
}

#[pymethods]
impl Driver {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(core) = self.core.peek() {
            visit.call(&*core)?;
        }
        if let Some(hub) = self.hub.peek() {
            visit.call(&*hub)?;
        }
        for cell in [&self.greenlet, &self.caller, &self.next, &self.heir] {
            if let Some(greenlet) = cell.peek() {
                visit.call(&*greenlet)?;
            }
        }
        if let Some(failure) = self.failure.peek() {
            visit.call(&*failure)?;
        }
        if let Some(left) = self.left_waiting.peek() {
            left.traverse(&visit)?;
        }
        if let Some(idle) = self.idle.peek() {
            for step in idle.iter() {
                visit.call(step)?;
            }
        }
        if let Some(kept) = self.kept.peek() {
            for step in kept.iter() {
                visit.call(step)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        self.set_core(py, None);
        self.set_hub(py, None);
        self.set_greenlet(py, None);
        self.set_caller(py, None);
        drop((self.failure.take(py), self.next.take(py)));
        drop(self.left_waiting.take(py));
        self.abandon(py);
    }
}

/// The life of a carrier: it runs turns while it holds the baton, and callbacks of a hub's turns
/// when it does not.
pub(crate) fn live(driver: &Bound<'_, Driver>, step: &Bound<'_, Step>) -> PyResult<()> {
    let py = driver.py();
    let this = driver.get();
    let Some(me) = step.get().greenlet(py) else {
        return Ok(());
    };
    let mut fresh = None;
    if this.holds_baton(py, &me) {
        let ended = drive_solo(driver, step, &me);
        if this.holds_baton(py, &me) {
            // A hub in which it parked may have made itself the parent.
            if let Some(caller) = this.caller(py) {
                greenlet::set_parent(&me, caller.bind(py))?;
            }
            return ended.map(drop);
        }
        // Demoted: the loop learns of what this greenlet brings from whoever drives it now.
        match ended {
            Ok(next) => fresh = next,
            Err(error) => fail(driver, error),
        }
    }
    carry(driver, step, fresh)?;
    // A hub that is not ours leaves that to who comes back to it.
    step::put_away(py)?;
    // Nobody waits for the end of a greenlet without the baton, least of all in run_forever.
    if let Some(hub) = crate::hub::of_thread(py)? {
        greenlet::set_parent(&me, &hub.getattr(intern!(py, "greenlet"))?)?;
    }
    Ok(())
}

/// Hands an exception that ends the loop to the greenlet that drives it.
#[cold]
#[inline(never)]
fn fail(driver: &Bound<'_, Driver>, error: PyErr) {
    let py = driver.py();
    let error = error.into_value(py);
    drop(driver.get().failure.replace(py, Some(error)));
    if let Some(core) = driver.get().core(py) {
        core.bind(py).get().kick(py);
    }
}

/// Runs turns, and their callbacks, on one greenlet, until the loop is stopped or the baton is lost; to whom, if
/// that one has not begun.
#[inline(never)]
fn drive_solo(
    driver: &Bound<'_, Driver>,
    step: &Bound<'_, Step>,
    me: &Bound<'_, PyAny>,
) -> PyResult<Option<Greenlet>> {
    let py = driver.py();
    let this = driver.get();
    loop {
        let Some(core) = this.core(py) else {
            return Ok(None);
        };
        let core = core.into_bound(py);
        begin_turn(driver, &core)?;
        this.check_failure(py)?;
        this.look_at_kept(py, 1)?;
        step.get().begin_stretch(py);
        while this.holds_baton(py, me) {
            let Some(callback) = core.get().next_callback(py)? else {
                break;
            };
            Step::run_callback(step, &core, callback)?;
            if step.get().stands_aside() {
                return pool::leave_to_another(driver, step);
            }
        }
        if !this.holds_baton(py, me) {
            return Ok(None);
        }
        if core.get().is_stopping() {
            return Ok(None);
        }
    }
}

/// Wakes who waits for the errand of a step that blocks greenly.
pub(crate) fn release_caller(driver: &Bound<'_, Driver>, caller: Greenlet) -> PyResult<()> {
    match driver.get().core(driver.py()) {
        Some(core) => HubCore::schedule(core.bind(driver.py()), 0, Job::Wake(caller)).map(drop),
        None => Ok(()),
    }
}

/// The life of a carrier that has not the baton.
///
/// One of a hub runs callbacks of its turns and rests, until there are enough of them. One of a loop without a hub was
/// kept by the program, and stands aside until its task is done; `fresh` drives on.
fn carry(
    driver: &Bound<'_, Driver>,
    step: &Bound<'_, Step>,
    mut fresh: Option<Greenlet>,
) -> PyResult<()> {
    let py = driver.py();
    let this = driver.get();
    loop {
        let serves_hub = this.has_hub(py);
        if !serves_hub && !step.get().stands_aside() {
            return Ok(());
        }
        step.get().begin_stretch(py);
        let mut caller = None;
        if let Some(core) = this.core(py).filter(|_| !step.get().stands_aside()) {
            match go(driver, step, core.bind(py)) {
                Ok(waits) => caller = waits,
                Err(error) => fail(driver, error),
            }
        }
        if caller.is_none() {
            step::put_away(py)?;
        }
        let next = if serves_hub {
            if !this.rest(step, caller.is_some())? {
                return Ok(());
            }
            let next = caller.or_else(|| next_after_callbacks(driver));
            next.or_else(|| this.greenlet(py))
        } else {
            pool::leave(this, step, fresh.take())?
        };
        let Some(next) = next else {
            return Ok(());
        };
        // Not held by the frame of a carrier that may stay idle for long.
        drop(this.next.replace(py, Some(next)));
        let brought = greenlet::switch_to_kept(&this.next, py);
        Step::answer(step, brought)?;
    }
}

/// The green thread that goes on after the callbacks, where the hub need not be asked.
#[inline(never)]
fn next_after_callbacks(driver: &Bound<'_, Driver>) -> Option<Greenlet> {
    let py = driver.py();
    let this = driver.get();
    let (hub, core) = (this.hub(py)?, this.core(py)?);
    if this.failure.with(py, |failure| failure.is_some()) {
        return None;
    }
    HubCore::next_after_callbacks(hub.bind(py), core.bind(py)).map(Bound::unbind)
}

/// Does what a carrier was switched to for; answers who waits for it, if not the hub.
fn go(
    driver: &Bound<'_, Driver>,
    step: &Bound<'_, Step>,
    core: &Bound<'_, LoopCore>,
) -> PyResult<Option<Greenlet>> {
    let caller = Step::run_errand(step, core)?;
    if caller.is_none() && !step.get().stands_aside() {
        run_callbacks(driver, step, core)?;
    }
    Ok(caller)
}

#[inline(never)]
fn run_callbacks(
    driver: &Bound<'_, Driver>,
    step: &Bound<'_, Step>,
    core: &Bound<'_, LoopCore>,
) -> PyResult<()> {
    let py = driver.py();
    loop {
        let Some(callback) = core.get().next_callback(py)? else {
            if begin_callbacks(driver, core) {
                continue;
            }
            return Ok(());
        };
        if let Some(hub) = driver.get().hub(py) {
            hub.bind(py).get().watch().begin(py);
        }
        Step::run_callback(step, core, callback)?;
        if step.get().stands_aside() {
            return Ok(());
        }
    }
}

/// Begins the next turn where the hub has nothing to do before its callbacks: so these go on here.
#[inline(never)]
fn begin_callbacks(driver: &Bound<'_, Driver>, core: &Bound<'_, LoopCore>) -> bool {
    let py = driver.py();
    let this = driver.get();
    let Some(hub) = this.hub(py) else {
        return false;
    };
    let moved_on = this
        .core
        .with(py, |now| !now.as_ref().is_some_and(|now| now.is(core)));
    !moved_on
        && this.failure.with(py, |failure| failure.is_none())
        && HubCore::begin_callbacks(hub.bind(py), core)
}

/// Runs turns on the hub's greenlet, until the hub is aborted.
pub(crate) fn drive_hub(hub: &Bound<'_, HubCore>) -> PyResult<()> {
    let py = hub.py();
    let driver = hub.get().driver(py).into_bound(py);
    let this = driver.get();
    loop {
        begin_turn(&driver, &HubCore::core(hub)?)?;
        this.check_failure(py)?;
        loop {
            if let Some(core) = this.core(py) {
                run_callback_part(hub, &driver, core.bind(py))?;
            }
            step::put_away(py)?;
            if run_fiber_part(hub, &driver)? {
                break;
            }
        }
        if hub.get().is_stopping() {
            return Ok(());
        }
        let is_stopping = |core: &mut Option<Py<LoopCore>>| {
            core.as_ref()
                .is_some_and(|core| core.bind(py).get().is_stopping())
        };
        if !this.core.with(py, is_stopping) {
            continue;
        }
        if let Some(caller) = this.caller(py) {
            // The greenlet in run_forever goes on; whoever blocks next comes back here, where nothing
            // holds the loop meanwhile.
            this.set_caller(py, None);
            fiber::switch_to(hub, caller.bind(py))?;
        }
    }
}

fn run_callback_part(
    hub: &Bound<'_, HubCore>,
    driver: &Bound<'_, Driver>,
    core: &Bound<'_, LoopCore>,
) -> PyResult<()> {
    let py = driver.py();
    let this = driver.get();
    while core.get().engine(py, |engine| engine.has_callbacks()) == Some(true) {
        let step = match this.take_idle(py)? {
            Some(step) => step,
            None => {
                let Some(parent) = this.greenlet(py) else {
                    return Ok(());
                };
                Step::create(driver, parent.bind(py))?
            }
        };
        let outcome = fiber::switch_to_carrier(hub, step.get());
        drop(this.next.take(py));
        outcome?;
        this.check_failure(py)?;
        let moved_on = this
            .core
            .with(py, |now| !now.as_ref().is_some_and(|now| now.is(core)));
        if moved_on {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether it came to the end of the turn: one that a carrier has begun may have callbacks left, which
/// come first.
fn run_fiber_part(hub: &Bound<'_, HubCore>, driver: &Bound<'_, Driver>) -> PyResult<bool> {
    let py = driver.py();
    let this = driver.get();
    loop {
        let Some(core) = this.core(py) else {
            return Ok(true);
        };
        let mut callbacks_first = false;
        let work = core.bind(py).get().engine(py, |engine| {
            callbacks_first = engine.has_callbacks();
            if callbacks_first {
                return None;
            }
            let work = engine.next_fiber()?;
            Some(match work {
                Work::Run(job) => fiber::Fiber::Run(job),
                Work::Ready(key) => match engine.watcher(key) {
                    Some(Job::Listener(listener)) => fiber::Fiber::Ready(listener.clone_ref(py)),
                    _ => fiber::Fiber::Gone,
                },
            })
        });
        let Some(Some(work)) = work else {
            return Ok(!callbacks_first);
        };
        hub.get().watch().begin(py);
        let outcome = fiber::run(hub, work);
        drop(this.next.take(py));
        outcome?;
        step::put_away(py)?;
        this.check_failure(py)?;
    }
}

/// Gives the baton of a solo driver whose callback parks to a fresh greenlet.
pub(crate) fn pass_baton(driver: &Bound<'_, Driver>, step: &Bound<'_, Step>) -> PyResult<()> {
    let py = driver.py();
    let this = driver.get();
    let Some(me) = step.get().greenlet(py) else {
        return Ok(());
    };
    if !this.holds_baton(py, &me) {
        return Ok(());
    }
    let (Some(caller), Some(hub)) = (this.caller(py), crate::hub::of_thread(py)?) else {
        return Ok(());
    };
    EventletHub::place(&hub, caller.bind(py))?;
    let next = Step::create(driver, caller.bind(py))?;
    let Some(greenlet) = next.get().greenlet(py) else {
        return Ok(());
    };
    this.set_greenlet(py, Some(greenlet.clone().unbind()));
    hub.call_method1("schedule_call_global", (0, greenlet.getattr("switch")?))
        .map(drop)
}
