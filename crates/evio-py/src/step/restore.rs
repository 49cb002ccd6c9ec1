//! The identity of a greenlet that goes on by a switch which ends no green block, or by one from a step that does.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::{DISPLACED, Step, active, any_displaced, put_away, set_active};
use crate::core::LoopCore;
use crate::descent;
use crate::driver::Driver;
use crate::greenlet::{self, Greenlet};
use crate::identity::Identity;

/// Installs the identity of a step that is about to be switched to past its own park.
///
/// `kill()` leaves the caller's step that way: what wakes it is a plain `greenlet.switch`.
pub(crate) fn restore_before_switch(target: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = target.py();
    if !any_displaced() {
        return Ok(());
    }
    let Some(step) = descent::step_of(target)? else {
        return Ok(());
    };
    let this = step.get();
    if this.parked.get() {
        return Ok(());
    }
    if let Some(identity) = this.saved.take(py) {
        this.forget_displaced(&step);
        put_away(py)?;
        identity.install(py)?;
        set_active(step.unbind());
    }
    Ok(())
}

/// Leaves the running step without an identity before a greenlet runs that is not part of it, and that
/// is no green block: the step has it again by [`go_on`].
pub(crate) fn leave_for(target: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = target.py();
    let Some(step) = active(py) else {
        return Ok(());
    };
    let this = step.bind(py).get();
    if this.owns(target)? {
        return Ok(());
    }
    if this.busy.get() {
        let current = greenlet::current(py)?.unbind();
        drop(this.left_greenlet.replace(py, Some(current)));
    }
    put_away(py)
}

/// Sees to it that a greenlet which goes on without having blocked greenly has its own identity, or none.
pub(crate) fn go_on(current: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = current.py();
    if let Some(step) = active(py) {
        if step.bind(py).get().owns(current)? {
            return Ok(());
        }
        put_away(py)?;
    }
    restore_before_switch(current)
}

impl Step {
    pub(super) fn forget_displaced(&self, slf: &Bound<'_, Self>) {
        let py = slf.py();
        DISPLACED.fetch_sub(1, Ordering::Relaxed);
        drop(self.left_greenlet.take(py));
        if let Some(core) = self.core.get(py) {
            core.bind(py).get().remove_parked(py, slf);
        }
    }

    /// Has the identity of the active step, this one, become that of a step which goes on next, if it can.
    /// Hands out this one's.
    pub(super) fn hand_over(&self, next: &Bound<'_, PyAny>) -> PyResult<Option<Identity>> {
        let py = next.py();
        let Some(heir) = descent::carried(next)?.filter(|heir| heir.get().blocks.get()) else {
            return Ok(None);
        };
        let this = heir.get();
        let is_its = |core: Py<LoopCore>| {
            this.core
                .with(py, |own| own.as_ref().is_some_and(|own| own.is(&core)))
        };
        let has_hub = |driver: Py<Driver>| driver.bind(py).get().has_hub(py);
        // A greenlet below the carrier may be what blocks.
        let is_blocked = |own: &mut Option<Greenlet>| own.as_ref().is_some_and(|own| own.is(next));
        if !self.busy.get()
            || !this.blocked.with(py, is_blocked)
            || !self.core.get(py).is_some_and(is_its)
            || !self.driver.get(py).is_some_and(has_hub)
        {
            return Ok(None);
        }
        let Some(mut identity) = this.saved.take(py) else {
            return Ok(None);
        };
        let task = identity.task().map(|task| task.clone_ref(py));
        let exchanged = identity.exchange_task(py);
        if !matches!(exchanged, Ok(true)) {
            drop(this.saved.replace(py, Some(identity)));
            return exchanged.map(|_| None);
        }
        if let Some(task) = task {
            this.end_wait(task.bind(py))?;
        }
        set_active(heir.unbind());
        Ok(Some(identity))
    }
}
