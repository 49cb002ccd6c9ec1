//! `run_forever`: which driver runs a loop, by where it is called.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

use crate::cell::{ThreadSlot, intern};
use crate::chunks;
use crate::core::LoopCore;
use crate::driver::Driver;
use crate::hub::{self, HubCore};
use crate::step::{self, Step};
use crate::{descent, fast, greenlet, identity, wakeup};

thread_local! {
    static OUTERMOST: ThreadSlot<Driver> = const { ThreadSlot::new() };

    /// The greenlet of a hub that waits in `run_forever`, called by what the hub called.
    static OCCUPIED: ThreadSlot<PyAny> = const { ThreadSlot::new() };
}

/// Threads with an occupied hub, so that others need not look at the thread-local.
static OCCUPIED_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Whether the greenlet of a hub waits for a loop that what it called runs: it wakes nobody then.
pub(crate) fn is_occupied(hub: &Bound<'_, PyAny>) -> bool {
    OCCUPIED_THREADS.load(Ordering::Relaxed) != 0
        && OCCUPIED.with(|slot| slot.get(hub.py()).is_some_and(|own| own.is(hub)))
}

/// Refuses to wait for what the hub of this thread would have to wake.
#[pyfunction]
pub(crate) fn check_hub(py: Python<'_>) -> PyResult<()> {
    if OCCUPIED_THREADS.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let Some(hub) = hub::of_thread(py)? else {
        return Ok(());
    };
    if is_occupied(&hub.getattr(intern!(py, "greenlet"))?) {
        return Err(fast::blocking_in_hub());
    }
    Ok(())
}

/// Notes whose greenlet is occupied, or that none is; answers what was noted before.
fn occupy(hub: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
    if hub.is_some() {
        OCCUPIED_THREADS.fetch_add(1, Ordering::Relaxed);
    }
    let old = OCCUPIED.with(|slot| slot.replace(hub));
    if old.is_some() {
        OCCUPIED_THREADS.fetch_sub(1, Ordering::Relaxed);
    }
    old
}

/// The solo driver that waits in the kernel in this thread: a hub that is made now takes it over.
pub(crate) fn outermost(py: Python<'_>) -> Option<Py<Driver>> {
    OUTERMOST.with(|slot| slot.get(py))
}

/// Runs a loop until it is stopped.
pub(crate) fn run_forever(core: &Bound<'_, LoopCore>) -> PyResult<()> {
    let py = core.py();
    let caller = greenlet::current(py)?;
    // In a forked child asyncio has forgotten the loop of the step that forked.
    let is_forgotten = step::any_active() && identity::running_loop(py)?.is_none();
    // A step that runs another loop waits for it as for any green block.
    let step = step::park(&caller)?;
    let outcome = core
        .get()
        .set_running(py, true)
        .and_then(|()| match host(py, &caller)? {
            Some(hub) => HubCore::run_loop(&hub, core, &caller),
            None => run_solo(core, &caller),
        });
    core.get().stop_seen();
    core.get().set_running(py, false)?;
    match step {
        Some(step) => {
            let outcome = outcome.map(|()| py.None().into_bound(py));
            let outcome = step::come_back(step, outcome, py).map(drop);
            if is_forgotten {
                identity::forget_running_loop(py)?;
            }
            outcome
        }
        None => outcome,
    }
}

fn host<'py>(py: Python<'py>, caller: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, HubCore>>> {
    let Some(hub) = hub::of_thread(py)? else {
        return Ok(None);
    };
    let Ok(hub) = hub.cast_into::<HubCore>() else {
        return Ok(None);
    };
    Ok(Some(hub).filter(|hub| HubCore::can_host(hub, caller)))
}

fn run_solo(core: &Bound<'_, LoopCore>, caller: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = core.py();
    chunks::keep_for_loops(py);
    let driver = Driver::create(py, Some(core))?;
    let step = Step::create(&driver, caller)?;
    driver
        .get()
        .set_greenlet(py, step.get().greenlet(py).map(Bound::unbind));
    drop(step);
    driver.get().set_caller(py, Some(caller.clone().unbind()));
    core.get().set_driver(py, Some(driver.clone().unbind()));
    let hub = hub::of_thread(py)?;
    let mut occupies = false;
    if let Some(hub) = &hub {
        tell_of_engine(hub, core)?;
        // eventlet's asyncio hub waits in a loop of its own, in which others do run.
        let is_its_own = hub.getattr_opt(intern!(py, "loop"))?;
        occupies = hub.getattr(intern!(py, "greenlet"))?.is(caller)
            && !is_its_own.is_some_and(|own| own.is(core));
    }
    let registered = hub.is_none() && outermost(py).is_none();
    if registered {
        let old = OUTERMOST.with(|slot| slot.replace(Some(driver.clone().unbind())));
        drop(old);
    }
    let outcome = if occupies {
        let before = occupy(Some(caller.clone().unbind()));
        let outcome = await_end(&driver);
        let own = occupy(before);
        drop(own);
        outcome
    } else {
        await_end(&driver)
    };
    note_how_left(core, &driver, &outcome);
    if registered {
        let old = OUTERMOST.with(|slot| slot.replace(None));
        drop(old);
    }
    finish(core, &driver)?;
    if registered && driver.get().hub(py).is_none() {
        wakeup::release(py)?;
    }
    outcome
}

/// Tells a hub of the descriptor by which it will wait for an engine: its number may be one on whose
/// former descriptor somebody still listens.
fn tell_of_engine(hub: &Bound<'_, PyAny>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
    let py = core.py();
    let fd = core.get().open_engine(py, |engine| engine.raw_fd())?;
    if let Ok(ours) = hub.cast::<HubCore>() {
        if !ours.get().has_listeners(py, fd) {
            return Ok(());
        }
    }
    hub.call_method1(intern!(py, "mark_as_reopened"), (fd,))
        .map(drop)
}

/// Waits on the greenlet that called `run_forever` until the run is over.
///
/// Somebody may wake it before that, as eventlet's primitives may wake any green thread once too
/// often: it then waits on.
pub(crate) fn await_end(driver: &Bound<'_, Driver>) -> PyResult<()> {
    let py = driver.py();
    driver.get().switch_to_holder(py)?;
    let current = greenlet::current(py)?;
    while !driver.get().has_ended(py) {
        let hub = hub::of_thread(py)?;
        let own = hub.as_ref().map(|hub| hub.getattr(intern!(py, "greenlet")));
        match (hub, own.transpose()?) {
            (Some(hub), Some(own)) if !own.is(&current) => {
                hub.call_method0(intern!(py, "switch"))?;
            }
            // Where the hub runs the loop, whoever blocks in it comes by here.
            _ => match driver.get().greenlet(py) {
                Some(holder) => {
                    step::restore_before_switch(holder.bind(py))?;
                    drop(holder);
                    driver.get().switch_to_holder(py)?;
                }
                None => return Ok(()),
            },
        }
    }
    Ok(())
}

/// Notes whether a run was left by what somebody threw at its caller, and not by what it raised itself.
pub(crate) fn note_how_left(
    core: &Bound<'_, LoopCore>,
    driver: &Bound<'_, Driver>,
    outcome: &PyResult<()>,
) {
    let py = core.py();
    let this = driver.get();
    let runs = || {
        let holder = this.greenlet(py);
        !this.has_ended(py) && holder.is_some_and(|holder| !greenlet::is_dead(holder.bind(py)))
    };
    core.get().set_left(outcome.is_err() && runs());
}

/// Leaves nothing of a run behind, whether it was stopped, failed or was left by an exception that
/// somebody threw at its caller.
fn finish(core: &Bound<'_, LoopCore>, driver: &Bound<'_, Driver>) -> PyResult<()> {
    let py = core.py();
    if let Some(hub) = driver.get().hub(py) {
        return HubCore::leave_loop(hub.bind(py), core);
    }
    step::put_away(py)?;
    // While it still holds the baton, so that at its end it comes back here.
    if let Some(holder) = driver.get().greenlet(py) {
        let holder = holder.into_bound(py);
        // One that is in the middle of a callback, which killed its own run, loses the baton and
        // ends with the callback.
        if greenlet::is_active(&holder) && !step::is_busy(&holder)? {
            greenlet::exit(&holder)?;
        }
        // The hub that has switched to the carrier holds it until it goes on.
        if let Some(step) = descent::carried(&holder)? {
            step.get().forget_loop(core);
        }
    }
    driver.get().dismiss(py)?;
    core.get().set_driver(py, None);
    driver.get().set_greenlet(py, None);
    driver.get().set_caller(py, None);
    driver.get().set_core(py, None);
    Ok(())
}
