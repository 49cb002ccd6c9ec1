//! The identity of a greenlet that goes on by a switch which ends no green block.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::{DISPLACED, Step, active, any_displaced, put_away, set_active};
use crate::{descent, greenlet};

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
        drop(this.left.replace(py, Some(current)));
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
        drop(self.left.take(py));
        if let Some(core) = self.core.get(py) {
            core.bind(py).get().remove_parked(py, slf);
        }
    }
}
