//! Green blocks: leaving the running greenlet for the hub's, or for the next green thread.

use pyo3::exceptions::{PyAssertionError, PyRuntimeError};
use pyo3::prelude::*;

use super::HubCore;
use crate::cell::intern;
use crate::core::LoopCore;
use crate::job::Job;
use crate::step::Step;
use crate::{block_check, clock, context, descent, fast, greenlet, identity, run, step};

impl HubCore {
    /// Blocks the running greenlet until somebody switches to it; the hub, or `next`, goes on.
    ///
    /// What stands on the stack here is memory of every green thread that waits, so the work before
    /// and after the switch has frames of its own.
    pub(crate) fn block<'py>(
        slf: &Bound<'py, Self>,
        current: &Bound<'py, PyAny>,
        next: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut parked = None;
        let Some(target) = Self::leave(slf, current, next, &mut parked)? else {
            return Ok(slf.py().None().into_bound(slf.py()));
        };
        let brought = greenlet::switch_bare(&target);
        Self::come_back(slf.py(), brought, parked)
    }

    /// Everything before the switch: whom to switch to, if not to itself, and the step that parks.
    #[inline(never)]
    fn leave<'py>(
        slf: &Bound<'py, Self>,
        current: &Bound<'py, PyAny>,
        next: Option<Bound<'py, PyAny>>,
        parked: &mut Option<Py<Step>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
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
        if next.is_none() && greenlet::is_dead(&hub) {
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
        if next.as_ref().is_some_and(|next| next.is(current)) {
            // Nobody else wants to run.
            return Ok(None);
        }
        let free = if run::is_occupied(&hub) {
            Err(fast::blocking_in_hub())
        } else {
            Ok(())
        };
        match free.and_then(|()| step::park_before(current, next.as_ref())) {
            Ok(step) => {
                if let Some(step) = &step {
                    step.get().set_blocks();
                }
                *parked = step;
            }
            Err(error) => {
                if let Some(next) = next {
                    let core = Self::core(slf)?;
                    Self::schedule(&core, 0, Job::Wake(next.unbind()))?;
                }
                return Err(error);
            }
        }
        Ok(Some(next.unwrap_or(hub)))
    }

    /// Everything after the switch.
    #[inline(never)]
    fn come_back<'py>(
        py: Python<'py>,
        brought: greenlet::Brought<'py>,
        parked: Option<Py<Step>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let outcome = brought.outcome(py);
        match parked {
            Some(step) => step::come_back(step, outcome, py),
            None => {
                step::put_away(py)?;
                outcome
            }
        }
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
        if !Self::may_be_passed(slf, core) {
            return None;
        }
        let engine = core.get();
        let mut next = engine.engine(py, |engine| engine.next_fiber_if(is_wake));
        if let Some(None) = next {
            let now = clock::now(py);
            next = engine.engine(py, |engine| {
                engine
                    .begin_fibers(now)
                    .then(|| engine.next_fiber_if(is_wake))?
            });
        }
        woken(py, next.flatten())
    }

    /// The green thread whose turn it is after the callbacks of a turn, where the hub has nothing else
    /// to do before it.
    pub(crate) fn next_after_callbacks<'py>(
        slf: &Bound<'py, Self>,
        core: &Bound<'py, LoopCore>,
    ) -> Option<Bound<'py, PyAny>> {
        let py = slf.py();
        if !Self::may_be_passed(slf, core) {
            return None;
        }
        let next = core
            .get()
            .engine(py, |engine| engine.next_fiber_if(is_wake))
            .flatten();
        woken(py, next).filter(|next| !greenlet::is_dead(next))
    }

    /// Begins a turn whose callbacks go on where those of the last one ran, where the hub has nothing else
    /// to do before it.
    pub(crate) fn begin_callbacks(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> bool {
        let py = slf.py();
        let engine = core.get();
        let later = engine.engine(py, |engine| engine.has_later_callbacks());
        if later != Some(true) || !Self::may_be_passed(slf, core) {
            return false;
        }
        let now = clock::now(py);
        engine.engine(py, |engine| engine.begin_callbacks(now)) == Some(true)
    }

    /// Whether a greenlet may be left to wait where it has switched to another, as if it had blocked.
    pub(crate) fn can_be_left(
        slf: &Bound<'_, Self>,
        greenlet: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let hub = Self::greenlet_of(slf)?;
        Ok(Self::is_child(greenlet, &hub)
            && !greenlet::is_dead(&hub)
            && !block_check::is_set()
            && context::attribute(greenlet, intern!(slf.py(), "switch_out"))?.is_none())
    }

    /// Whether the hub has no business of its own between two green threads.
    fn may_be_passed(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> bool {
        let this = slf.get();
        !this.is_stopping()
            && !this.is_calling()
            && !this.watch().is_watched()
            && !core.get().is_stopping()
    }

    /// A green thread returns to the hub at its end, whoever made it; greenlets of a step do not.
    fn adopt_child(current: &Bound<'_, PyAny>, hub: &Bound<'_, PyAny>) -> PyResult<()> {
        if greenlet::parent(current).is_none()
            || greenlet::parent(hub).is_some_and(|parent| parent.is(current))
            || descent::is_below_a_task(current)?
        {
            return Ok(());
        }
        // A circle of parents is left as it is, as in eventlet's own hubs.
        drop(greenlet::set_parent(current, hub));
        Ok(())
    }

    /// Puts a greenlet in the place of the hub's when that has ended.
    pub(crate) fn ensure_greenlet(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let old = Self::greenlet_of(slf)?;
        if !greenlet::is_dead(&old) {
            return Ok(());
        }
        let parent = match greenlet::parent(&old) {
            Some(parent) => parent,
            None => greenlet::current(py)?,
        };
        let new = greenlet::new(&slf.getattr(intern!(py, "run"))?, &parent)?;
        // Children of the old one must not end up past the hub.
        greenlet::set_parent(&old, &new)?;
        let driver = slf.get().driver(py);
        driver.bind(py).get().set_greenlet(py, Some(new.unbind()));
        driver.bind(py).get().dismiss(py)
    }
}

fn is_wake(job: &Job) -> bool {
    matches!(job, Job::Wake(_))
}

fn woken(py: Python<'_>, job: Option<Job>) -> Option<Bound<'_, PyAny>> {
    match job {
        Some(Job::Wake(next)) => Some(next.into_bound(py)),
        _ => None,
    }
}
