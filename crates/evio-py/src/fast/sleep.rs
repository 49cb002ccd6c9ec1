//! `eventlet.sleep`.

use pyo3::prelude::*;

use super::{Original, blocking_in_hub, hub_of_thread, is_hub};
use crate::hub::{self, HubCore};
use crate::job::Job;
use crate::{greenlet, policy, step};

static ORIGINAL: Original = Original::new("eventlet.greenthread", "sleep");

/// Yields to others until at least `seconds` have passed.
#[pyfunction]
#[pyo3(signature = (seconds = None))]
pub(crate) fn sleep(py: Python<'_>, seconds: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let Some(hub) = hub_of_thread(py)? else {
        return match seconds {
            Some(seconds) => ORIGINAL.call((seconds,), None, py),
            None => ORIGINAL.call((), None, py),
        }
        .map(drop);
    };
    let delay: f64 = match seconds {
        Some(seconds) => seconds.extract()?,
        None => 0.0,
    };
    let current = greenlet::current(py);
    if is_hub(&hub, &current) {
        return if delay <= 0.0 {
            Ok(())
        } else {
            Err(blocking_in_hub())
        };
    }
    let deadline = hub::after(py, delay);
    let core = HubCore::core(&hub)?;
    let key = HubCore::schedule(&core, deadline, Job::Wake(current.clone().unbind()))?;
    let mut next = None;
    if deadline == 0 && !step::any_active() && !policy::is_set() {
        next = HubCore::next_yielded(&hub, &core);
        while let Some(dead) = next.take_if(|next| greenlet::is_dead(next)) {
            drop(dead);
            next = HubCore::next_yielded(&hub, &core);
        }
    }
    let outcome = HubCore::block(&hub, &current, next);
    let job = HubCore::cancel_timer(&hub, key);
    drop(job);
    outcome.map(drop)
}
