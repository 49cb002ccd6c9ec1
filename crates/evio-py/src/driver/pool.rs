//! The carriers that a driver has at rest: for the next callbacks, and those that the program has kept.

use pyo3::prelude::*;

use super::Driver;
use crate::cell::intern;
use crate::greenlet::{self, Greenlet};
use crate::step::Step;
use crate::{descent, hub};

/// Carriers that are kept for the next callbacks when they have nothing to do.
const IDLE_CARRIERS: usize = 64;

/// How many that were set aside are looked at when there is one more: so those that could be ended are never many
/// more than those that cannot.
const LOOKED_AT: usize = 2;

impl Driver {
    /// A carrier that nobody has, to run the next callbacks.
    pub(crate) fn take_idle<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Step>>> {
        self.look_at_kept(py, 1)?;
        while let Some(step) = self.idle.with(py, Vec::pop) {
            let step = step.into_bound(py);
            let this = step.get();
            if !this.stands_aside() {
                return Ok(Some(step));
            }
            if !this.is_kept(py) {
                this.stand_aside_no_more(py);
                return Ok(Some(step));
            }
            self.set_aside(&step)?;
        }
        Ok(None)
    }

    /// Sets a carrier aside, which rests or is about to.
    pub(super) fn set_aside(&self, step: &Bound<'_, Step>) -> PyResult<()> {
        let py = step.py();
        self.look_at_kept(py, LOOKED_AT)?;
        let step = step.clone().unbind();
        self.kept.with(py, |kept| kept.push_back(step));
        Ok(())
    }

    /// Ends some of the carriers that were set aside, if nobody has them any more or their tasks are done.
    #[inline]
    pub(super) fn look_at_kept(&self, py: Python<'_>, most: usize) -> PyResult<()> {
        if self.kept.with(py, |kept| kept.is_empty()) {
            return Ok(());
        }
        self.look_at(py, most)
    }

    #[cold]
    #[inline(never)]
    fn look_at(&self, py: Python<'_>, most: usize) -> PyResult<()> {
        for _ in 0..most {
            let Some(step) = self.kept.with(py, |kept| kept.pop_front()) else {
                return Ok(());
            };
            let this = step.bind(py).get();
            let is_kept = this.is_kept(py);
            let stands = is_kept && matches!(this.stands_for_living(py), Ok(Some(true)));
            if stands || !end(py, this)? {
                self.kept.with(py, |kept| kept.push_back(step));
            } else if let (true, Some(carrier)) = (is_kept, this.greenlet(py)) {
                drop(step);
                greenlet::set_parent(&carrier, &self.heir(&carrier)?)?;
            }
        }
        Ok(())
    }

    /// To whom greenlets come back whose parent, a carrier that was kept, has ended.
    fn heir<'py>(&self, carrier: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = carrier.py();
        if let Some(heir) = self.heir.get(py) {
            return Ok(heir.into_bound(py));
        }
        let heir = descent::heir_of(carrier)?;
        drop(self.heir.replace(py, Some(heir.clone().unbind())));
        Ok(heir)
    }

    /// Has the carrier of a step rest; whether it may.
    pub(super) fn rest(&self, step: &Bound<'_, Step>, sent: bool) -> PyResult<bool> {
        let py = step.py();
        let room = self.idle.with(py, |idle| {
            // The place of one that was sent is free.
            let room = sent || idle.len() < IDLE_CARRIERS;
            if room {
                idle.push(step.clone().unbind());
            }
            room
        });
        if !room && step.get().stands_aside() {
            self.set_aside(step)?;
            return Ok(true);
        }
        Ok(room)
    }

    /// Lets go of a greenlet that was switched to and runs now.
    pub(crate) fn forget_next(&self, greenlet: &Bound<'_, PyAny>) {
        let next = self
            .next
            .with(greenlet.py(), |next| next.take_if(|next| next.is(greenlet)));
        drop(next);
    }

    /// Switches to the greenlet that holds the baton, which the driver alone holds meanwhile.
    pub(crate) fn switch_to_holder<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        greenlet::switch_to_kept(&self.greenlet, py)
    }
}

/// Ends a carrier that rests; whether that can be.
pub(super) fn end(py: Python<'_>, step: &Step) -> PyResult<bool> {
    let Some(carrier) = step.greenlet(py) else {
        return Ok(true);
    };
    if greenlet::is_dead(&carrier) {
        return Ok(true);
    }
    let parent = greenlet::parent(&carrier);
    if greenlet::set_parent(&carrier, &greenlet::current(py)?).is_err() {
        // The running greenlet has it for an ancestor.
        return Ok(false);
    }
    step.end_life();
    greenlet::exit(&carrier)?;
    step.leave_loop(py);
    if let Some(parent) = parent {
        drop(greenlet::set_parent(&carrier, &parent));
    }
    Ok(true)
}

/// Gives the baton of a solo driver to a fresh carrier, as the program has kept this one: who goes on.
#[cold]
#[inline(never)]
pub(super) fn leave_to_another(
    driver: &Bound<'_, Driver>,
    step: &Bound<'_, Step>,
) -> PyResult<Option<Greenlet>> {
    let py = driver.py();
    let this = driver.get();
    let Some(me) = step.get().greenlet(py) else {
        return Ok(None);
    };
    let Some(caller) = this.caller(py).filter(|_| this.holds_baton(py, &me)) else {
        return Ok(None);
    };
    let next = Step::create(driver, caller.bind(py))?;
    let next = next.get().greenlet(py).map(Bound::unbind);
    this.set_greenlet(py, next.as_ref().map(|next| next.clone_ref(py)));
    Ok(next)
}

/// Sets the carrier of a solo driver aside, which has not got the baton; who goes on.
///
/// A greenlet counts its recursion from where it was begun. So the fresh one is not begun here, on one that was begun
/// like that itself, but by the hub, or else by who waits for the loop.
pub(super) fn leave(
    driver: &Driver,
    step: &Bound<'_, Step>,
    fresh: Option<Greenlet>,
) -> PyResult<Option<Greenlet>> {
    let py = step.py();
    driver.set_aside(step)?;
    let caller = driver.caller(py);
    let Some(hub) = hub::of_thread(py)? else {
        return Ok(fresh.and(caller));
    };
    let own = hub.getattr(intern!(py, "greenlet"))?.unbind();
    match fresh {
        Some(_) if caller.as_ref().is_some_and(|caller| caller.is(&own)) => Ok(caller),
        Some(fresh) => {
            let begin = fresh.bind(py).getattr(intern!(py, "switch"))?;
            hub.call_method1(intern!(py, "schedule_call_global"), (0, begin))?;
            Ok(Some(own))
        }
        None => Ok(Some(own)),
    }
}
