//! Which loop the hub shares its engine with, and which loop, not ours, is its host.

use pyo3::prelude::*;

use super::{HubCore, of_thread};
use crate::cell::intern;
use crate::core::LoopCore;
use crate::host::{ForeignLoop, runs_here};
use crate::job::Job;
use crate::{greenlet, identity, run, step};

impl HubCore {
    /// The loop whose engine the hub shares, made if there is none yet.
    pub(crate) fn core<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, LoopCore>> {
        let py = slf.py();
        let driver = slf.get().driver(py).into_bound(py);
        if let Some(core) = driver.get().core(py) {
            return Ok(core.into_bound(py));
        }
        let core = Self::own_core(slf)?;
        driver.get().set_core(py, Some(core.clone().unbind()));
        core.get().set_driver(py, Some(driver.unbind()));
        Ok(core)
    }

    pub(super) fn own_core<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, LoopCore>> {
        let py = slf.py();
        if let Some(own) = slf.get().own.get(py) {
            return Ok(own.into_bound(py));
        }
        let own = slf
            .call_method0(intern!(py, "_make_loop"))?
            .cast_into::<LoopCore>()?;
        if let Some(first) = slf.get().own.get(py) {
            // Another thread, which has work for this hub, was faster.
            return Ok(first.into_bound(py));
        }
        let (thread, _) = slf.get().home.with(py, |home| *home);
        own.get().set_thread_id(Some(thread));
        drop(slf.get().own.replace(py, Some(own.clone().unbind())));
        Ok(own)
    }

    /// Whether a loop that this greenlet wants to run can take the hub's green work over.
    pub(crate) fn can_host(slf: &Bound<'_, Self>, caller: &Bound<'_, PyAny>) -> bool {
        let py = slf.py();
        let driver = slf.get().driver(py);
        let driver = driver.bind(py).get();
        if driver.caller(py).is_some() {
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
        if greenlet::is_active(&hub) {
            return greenlet::parent(&hub).is_some_and(|parent| parent.is(caller));
        }
        // A step may run below a hub that was never switched to.
        !greenlet::is_below(caller, &hub)
    }

    /// Runs a loop on the hub's greenlet until it is stopped: one engine for both.
    pub(crate) fn run_loop(
        slf: &Bound<'_, Self>,
        core: &Bound<'_, LoopCore>,
        caller: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let driver = slf.get().driver(py).into_bound(py);
        // What it will run on afterwards must be there: descriptors may run out meanwhile.
        Self::own_core(slf)?;
        Self::ensure_greenlet(slf)?;
        let hub = Self::greenlet_of(slf)?;
        if !greenlet::is_active(&hub) {
            greenlet::set_parent(&hub, caller)?;
        }
        Self::move_to(slf, core)?;
        core.get().note_hub();
        core.get().set_driver(py, Some(driver.clone().unbind()));
        driver.get().set_caller(py, Some(caller.clone().unbind()));
        let outcome = run::await_end(&driver);
        run::note_how_left(core, &driver, &outcome);
        Self::leave_loop(slf, core)?;
        outcome
    }

    /// Takes the green work back from a loop that no longer runs.
    pub(crate) fn leave_loop(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let py = slf.py();
        let driver = slf.get().driver(py).into_bound(py);
        driver.get().set_caller(py, None);
        step::put_away(py)?;
        core.get().set_driver(py, None);
        driver.get().forget_loop(core);
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

    /// The loop, not ours, that is the hub's host; those that no longer run are let go of.
    pub(crate) fn foreign_host<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<Option<Bound<'py, ForeignLoop>>> {
        let py = slf.py();
        while let Some(host) = slf.get().foreign.get(py) {
            let host = host.into_bound(py);
            if host.get().is_running(py)? {
                return Ok(Some(host));
            }
            Self::let_go(slf, &host)?;
        }
        Ok(None)
    }

    /// Has the host of before, if there was one, be it again.
    fn let_go(slf: &Bound<'_, Self>, host: &Bound<'_, ForeignLoop>) -> PyResult<()> {
        let py = slf.py();
        let outer = host.get().take_outer(py);
        drop(slf.get().foreign.replace(py, outer));
        host.get().detach(py)
    }

    /// Lets go of all hosts, whether they run or not.
    pub(super) fn leave_foreign(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let mut outcome = Ok(());
        while let Some(host) = slf.get().foreign.get(py) {
            outcome = outcome.and(Self::let_go(slf, host.bind(py)));
        }
        outcome
    }

    /// Finds out whether a loop that is not ours runs here: it is then the hub's host, and called
    /// because the hub has got something to do.
    pub(crate) fn notice_foreign(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(running) = identity::foreign_loop(py)? else {
            return Ok(());
        };
        // Another thread may have green work for this hub too; its loop is not this one's host.
        if !of_thread(py)?.is_some_and(|hub| hub.is(slf)) {
            return Ok(());
        }
        let host = match Self::foreign_host(slf)? {
            Some(host) if host.get().is(&running) => host,
            // The one of before runs too, but below this one.
            before if runs_here(&running)? => {
                let host = ForeignLoop::attach(&running, slf, before)?;
                drop(slf.get().foreign.replace(py, Some(host.clone().unbind())));
                host
            }
            _ => return Ok(()),
        };
        ForeignLoop::call_soon(&host)
    }

    /// The running loop is another: where green work may wait already, one that is not ours is the hub's host
    /// from now on.
    ///
    /// In a green thread it is not, as the hub is in the middle of a turn.
    pub(crate) fn meet_foreign(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        Self::foreign_host(slf)?;
        if !Self::may_have_work(slf) || greenlet::parent(&greenlet::current(py)?).is_some() {
            return Ok(());
        }
        Self::notice_foreign(slf)
    }

    /// Whether there are jobs, or green threads that others may wake.
    fn may_have_work(slf: &Bound<'_, Self>) -> bool {
        let py = slf.py();
        let driver = slf.get().driver(py);
        let driver = driver.bind(py).get();
        let has_run = driver
            .greenlet(py)
            .is_some_and(|hub| greenlet::has_started(hub.bind(py)));
        has_run
            || driver.core(py).is_some_and(|core| {
                let has_jobs = core.bind(py).get().engine(py, |engine| {
                    let mut jobs = engine.payloads();
                    jobs.any(|job| !matches!(job, Job::Wakeup))
                });
                has_jobs == Some(true)
            })
    }
}
