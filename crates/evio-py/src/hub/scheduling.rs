//! The hub's timers: green threads to wake and calls to make.

use std::cmp::Reverse;

use evio_loop::{Lane, TimerKey};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use super::HubCore;
use crate::cell::intern;
use crate::core::LoopCore;
use crate::fast::home;
use crate::greenlet;
use crate::identity::foreign_loop;
use crate::job::Job;
use crate::timer::{Due, GreenTimer, Local};
use crate::{clock, context, descent, step};

impl HubCore {
    /// A timer of the green lane.
    pub(crate) fn schedule(
        core: &Bound<'_, LoopCore>,
        deadline: u64,
        job: Job,
    ) -> PyResult<TimerKey> {
        let py = core.py();
        let key = core
            .get()
            .open_engine(py, |engine| engine.schedule(Lane::Fiber, deadline, job))?;
        core.get().kick(py);
        Ok(key)
    }

    /// Cancels a timer of the green lane, wherever it is now; what it held must be dropped by the
    /// caller.
    pub(crate) fn cancel_timer(slf: &Bound<'_, Self>, key: TimerKey) -> Option<Job> {
        let py = slf.py();
        let (deadline, job, left) = slf.get().engine(py, |engine| {
            let deadline = engine.deadline(key)?;
            let job = engine.cancel(key)?;
            Some((deadline, job, engine.timer_count(Lane::Fiber)))
        })??;
        slf.get().count_canceled(py, deadline, left);
        Some(job)
    }

    /// Keeps the books of eventlet's own hubs, where a cancelled timer stays until it is due or
    /// until half of more than a thousand are cancelled. Ours is gone already.
    pub(super) fn count_canceled(&self, py: Python<'_>, deadline: u64, left: usize) {
        self.canceled.with(py, |canceled| {
            if left == 0 {
                canceled.clear();
                return;
            }
            canceled.push(Reverse(deadline));
            let total = left + canceled.len();
            if total > 1000 && total / 2 <= canceled.len() {
                canceled.clear();
            }
        });
    }

    /// Takes a timer of eventlet's own class, and returns when it is due.
    pub(super) fn schedule_eventlet(
        slf: &Bound<'_, Self>,
        timer: &Bound<'_, PyAny>,
    ) -> PyResult<f64> {
        let py = slf.py();
        let seconds = clock::delay(&timer.getattr(intern!(py, "seconds"))?)?;
        let now = clock::now(py);
        let job = Job::EventletTimer(timer.clone().unbind());
        let key = Self::schedule(&Self::core(slf)?, later(now, seconds), job)?;
        slf.get().eventlet_timers.with(py, |timers| {
            timers.insert(timer.as_ptr() as usize, key);
        });
        Ok(clock::seconds(now) + seconds)
    }

    /// The key of a timer of eventlet's own class, which is no longer pending.
    pub(crate) fn forget_eventlet(&self, timer: &Bound<'_, PyAny>) -> Option<TimerKey> {
        let address = timer.as_ptr() as usize;
        self.eventlet_timers
            .with(timer.py(), |timers| timers.remove(&address))
    }

    /// A call in the hub's next turn; any thread may ask for it.
    pub(crate) fn call_soon(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        args: Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        let now = 0u8.into_pyobject(slf.py())?;
        Self::schedule_call(slf, &now.into_any(), callback, args, None, None).map(drop)
    }

    /// A call that eventlet schedules.
    pub(crate) fn schedule_call<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        callback: &Bound<'py, PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
        local_to: Option<Local>,
    ) -> PyResult<Bound<'py, GreenTimer>> {
        let has_host = foreign_loop(slf.py())?.is_some();
        let due = Due::Call {
            callback: prepare(callback, has_host)?.unbind(),
            args: args.unbind(),
            kwargs: kwargs.map(|kwargs| kwargs.clone().unbind()),
        };
        Self::schedule_due(slf, seconds, due, local_to, has_host)
    }

    /// Has an exception raised in a greenlet, as its `throw` of this moment would do it.
    pub(crate) fn schedule_throw<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        target: &Bound<'py, PyAny>,
        exception: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, GreenTimer>> {
        let py = slf.py();
        let has_host = foreign_loop(py)?.is_some();
        let due = if greenlet::has_own_methods(target)
            && !has_host
            && !(step::any_active() && descent::is_below_a_task(target)?)
        {
            Due::Throw {
                target: target.clone().unbind(),
                exception: exception.clone().unbind(),
            }
        } else {
            Due::Call {
                callback: descent::throw_of(target)?.unbind(),
                args: PyTuple::new(py, [exception])?.unbind(),
                kwargs: None,
            }
        };
        Self::schedule_due(slf, seconds, due, None, has_host)
    }

    fn schedule_due<'py>(
        slf: &Bound<'py, Self>,
        seconds: &Bound<'py, PyAny>,
        due: Due,
        local_to: Option<Local>,
        has_host: bool,
    ) -> PyResult<Bound<'py, GreenTimer>> {
        let py = slf.py();
        let delay = clock::delay(seconds)?;
        let now = clock::now(py);
        let scheduled_time = clock::seconds(now) + delay;
        let timer = GreenTimer::new(slf, seconds, scheduled_time, due, local_to)?;
        let timer = Bound::new(py, timer)?;
        if has_host {
            Self::notice_foreign(slf)?;
        }
        let key = Self::schedule(
            &Self::core(slf)?,
            later(now, delay),
            Job::Timer(timer.clone().unbind()),
        )?;
        timer.get().set_key(py, key);
        Ok(timer)
    }
}

/// What is to be called for a callback: where that is greenlet's own `throw` of one that a task has made,
/// what throws into the task; where it is its `switch`, what does so while it lives.
///
/// A green thread that has not started will run in a copy of its maker's context, and have its maker's home.
fn prepare<'py>(callback: &Bound<'py, PyAny>, has_host: bool) -> PyResult<Bound<'py, PyAny>> {
    let py = callback.py();
    let Some(green) = context::attribute(callback, intern!(py, "__self__"))? else {
        return Ok(callback.clone());
    };
    if !greenlet::is_greenlet(&green) {
        return Ok(callback.clone());
    }
    if greenlet::has_started(&green) {
        if !callback.is_instance_of::<PyCFunction>() {
            return Ok(callback.clone());
        }
        let is_below = descent::is_below_a_task(&green)?;
        if !is_below && !has_host {
            return Ok(callback.clone());
        }
        let name = callback.getattr(intern!(py, "__name__"))?;
        return if name.eq(intern!(py, "throw"))? {
            descent::throw_of(&green)
        } else if is_below && name.eq(intern!(py, "switch"))? {
            descent::switch_of(&green)
        } else {
            Ok(callback.clone())
        };
    }
    let name = intern!(py, "gr_context");
    if green.getattr(name)?.is_none() {
        green.setattr(name, context::copy(py)?)?;
        home::give(&green)?;
    }
    Ok(callback.clone())
}

/// The time that lies some seconds from now; without a delay, the next turn.
///
/// Calls without delay keep their order, whatever the clock says between them, and cost no look at
/// it.
pub(crate) fn after(py: Python<'_>, seconds: f64) -> u64 {
    let now = if seconds > 0.0 { clock::now(py) } else { 0 };
    later(now, seconds)
}

/// The same by a clock that was read already. Not-a-number never comes.
fn later(now: u64, seconds: f64) -> u64 {
    if seconds.is_nan() {
        return u64::MAX;
    }
    if seconds <= 0.0 {
        return 0;
    }
    now.saturating_add((seconds * 1e9).ceil() as u64)
}
