//! The identity of a loop, installed for a step that is about to run its callbacks.

use pyo3::prelude::*;

use super::{ACTIVE, Step, active, any_active, put_away, set_active};
use crate::core::LoopCore;
use crate::identity::Identity;

impl Step {
    /// Installs the loop's identity for this step, unless it is installed already.
    pub(super) fn activate(slf: &Bound<'_, Self>, core: &Bound<'_, LoopCore>) -> PyResult<()> {
        let py = slf.py();
        let same = |own: &mut Option<Py<LoopCore>>| own.as_ref().is_some_and(|own| own.is(core));
        if any_active() && ACTIVE.with(|slot| slot.holds(slf)) && slf.get().core.with(py, same) {
            return Ok(());
        }
        if let Some(step) = active(py) {
            let this = step.bind(py).get();
            let same_loop = this.core.with(py, |active| {
                active.as_ref().is_some_and(|active| active.is(core))
            });
            if same_loop && (step.is(slf) || !this.busy.get()) {
                if !step.is(slf) {
                    let other = slf.get().core.replace(py, Some(core.clone().unbind()));
                    if !other.is_some_and(|other| other.is(core)) {
                        drop(slf.get().hooks.take(py));
                    }
                    set_active(slf.clone().unbind());
                }
                return Ok(());
            }
            put_away(py)?;
        }
        let running_loop = core.clone().into_any();
        let known = slf.get().core.with(py, same);
        let kept = slf.get().hooks.with(py, |hooks| {
            let hooks = hooks.as_ref().filter(|_| known)?;
            Some(hooks.clone_ref(py))
        });
        let hooks = match kept {
            Some(hooks) => hooks,
            None => {
                let hooks = Identity::hooks_of(&running_loop)?;
                drop(slf.get().hooks.replace(py, Some(hooks.clone_ref(py))));
                hooks
            }
        };
        drop(slf.get().core.replace(py, Some(core.clone().unbind())));
        Identity::of_loop(running_loop.unbind(), hooks).install(py)?;
        set_active(slf.clone().unbind());
        Ok(())
    }
}
