//! `eventlet.sleep`.

use evio_loop::TimerKey;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};

use super::{Original, blocking_in_hub, hub_of_thread, is_hub};
use crate::cell::intern;
use crate::hub::{self, HubCore};
use crate::job::Job;
use crate::{block_check, clock, greenlet};

static ORIGINAL: Original = Original::new("eventlet.greenthread", "sleep");

/// Yields to others until at least `seconds` have passed.
#[pyfunction]
#[pyo3(signature = (seconds = 0.0))]
pub(crate) fn sleep(
    py: Python<'_>,
    #[pyo3(from_py_with = clock::delay)] seconds: f64,
) -> PyResult<()> {
    let Some(Sleeper {
        hub,
        current,
        key,
        next,
    }) = lie_down(py, seconds)?
    else {
        return Ok(());
    };
    let outcome = HubCore::block(&hub, &current, next).map(drop);
    let job = HubCore::cancel_timer(&hub, key);
    drop(job);
    outcome
}

struct Sleeper<'py> {
    hub: Bound<'py, HubCore>,
    current: Bound<'py, PyAny>,
    key: TimerKey,
    /// Whose turn it is.
    next: Option<Bound<'py, PyAny>>,
}

/// Everything before the block, in a stack frame that is gone while it lasts; `None`: there is no
/// block, or it is over.
#[inline(never)]
fn lie_down(py: Python<'_>, seconds: f64) -> PyResult<Option<Sleeper<'_>>> {
    let Some(hub) = hub_of_thread(py)? else {
        return ORIGINAL.call((seconds,), None, py).map(|_| None);
    };
    let current = greenlet::current(py)?;
    if is_hub(&hub, &current) {
        return if seconds <= 0.0 {
            Ok(None)
        } else {
            Err(blocking_in_hub())
        };
    }
    if !greenlet::has_plain_switch(&current)? {
        return sleep_by_timer(&hub, seconds, &current).map(|()| None);
    }
    let deadline = hub::after(py, seconds);
    let core = HubCore::core(&hub)?;
    let key = HubCore::schedule(&core, deadline, Job::Wake(current.clone().unbind()))?;
    let mut next = None;
    if deadline == 0 && !block_check::is_set() {
        next = HubCore::next_yielded(&hub, &core);
        while let Some(dead) = next.take_if(|next| greenlet::is_dead(next)) {
            drop(dead);
            next = HubCore::next_yielded(&hub, &core);
        }
    }
    Ok(Some(Sleeper {
        hub,
        current,
        key,
        next,
    }))
}

/// The same for a greenlet whose class may have a `switch` of its own, by which it wants to be woken.
fn sleep_by_timer<'py>(
    hub: &Bound<'py, HubCore>,
    delay: f64,
    current: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let py = hub.py();
    let seconds = PyFloat::new(py, delay).into_any();
    let switch = current.getattr(intern!(py, "switch"))?;
    let args = PyTuple::empty(py);
    let timer = HubCore::schedule_call(hub, &seconds, &switch, args, None, None)?;
    let outcome = HubCore::block(hub, current, None);
    timer.get().cancel(py);
    outcome.map(drop)
}
