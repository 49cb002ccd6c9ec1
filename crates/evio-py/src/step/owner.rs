//! Whom green code takes for the running green thread.

use pyo3::prelude::*;

use super::{Step, current};
use crate::identity::Identity;
use crate::{descent, greenlet};

/// One run of a callback that belongs to no task.
#[pyclass(frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct CallbackRun;

/// Whom green code takes for the running green thread: the task in whose step it runs, something that
/// stands for the callback, or the greenlet itself.
pub(crate) fn owner(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let greenlet = greenlet::current(py)?;
    let Some(step) = current(py) else {
        return Ok(greenlet);
    };
    let this = step.bind(py).get();
    let Some(core) = this.core.get(py) else {
        return Ok(greenlet);
    };
    if !this.runs(&greenlet)? {
        return Ok(greenlet);
    }
    if let Some(task) = Identity::current_task(py, &core.into_any())? {
        return Ok(task);
    }
    let known = this.running.with(py, |running| {
        let run = running.run.as_ref()?;
        Some(run.clone_ref(py))
    });
    if let Some(run) = known {
        return Ok(run.into_bound(py).into_any());
    }
    let run = Bound::new(py, CallbackRun)?;
    let kept = Some(run.clone().unbind());
    let old = this
        .running
        .with(py, |running| std::mem::replace(&mut running.run, kept));
    drop(old);
    Ok(run.into_any())
}

impl Step {
    /// Whether the running greenlet is part of the step, which is the active one: also where it was made
    /// in another, since this one has switched to it then.
    fn runs(&self, current: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.owns(current)? || descent::is_made_below_a_task(current)?)
    }
}
