//! The green part of a turn: waking green threads and making the calls that eventlet scheduled.

use pyo3::PyErr;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::cell::intern;
use crate::fast::future::begin_future_green_thread;
use crate::hub::HubCore;
use crate::job::Job;
use crate::listener::Listener;
use crate::step::{self, Step};
use crate::timer::GreenTimer;
use crate::{context, descent, greenlet};

/// A piece of green work, resolved.
pub(crate) enum Fiber {
    Run(Job),
    Ready(Py<Listener>),
    Gone,
}

/// Runs a piece of green work on the hub's greenlet.
///
/// # Errors
///
/// The hub's `SYSTEM_EXCEPTIONS`, which end its run; all others are squelched as eventlet does.
pub(crate) fn run(hub: &Bound<'_, HubCore>, work: Fiber) -> PyResult<()> {
    let py = hub.py();
    let by_timer = intern!(py, "squelch_timer_exception");
    match work {
        Fiber::Run(Job::Wake(target)) => {
            let target = target.into_bound(py);
            if greenlet::is_dead(&target) {
                return Ok(());
            }
            if descent::is_carrier(&target)? {
                // Nothing that it runs comes out here.
                let outcome = greenlet::pass_to(target).outcome(py).map(drop);
                return squelch(hub, outcome, by_timer, hub.as_any());
            }
            let outcome = greenlet::switch(&target).map(drop);
            squelch(hub, outcome, by_timer, &target)
        }
        Fiber::Run(Job::Start(start)) => {
            let target = start.target.bind(py).clone();
            if greenlet::is_dead(&target) {
                return Ok(());
            }
            let (args, kwargs) = (start.args.bind(py), start.kwargs.as_ref());
            let kwargs = kwargs.map(|kwargs| kwargs.bind(py));
            let outcome = greenlet::switch_with(&target, args, kwargs).map(drop);
            squelch(hub, outcome, by_timer, &target)
        }
        Fiber::Run(Job::Begin(green)) => {
            let green = green.into_bound(py);
            let outcome = hub.get().calling(|| begin_future_green_thread(&green));
            squelch(hub, outcome, by_timer, &green)
        }
        Fiber::Run(Job::Deliver(delivery)) => {
            let waiter = delivery.waiter(py);
            // What it brings is kept here until the waiter has switched back.
            let outcome = hub.get().calling(|| delivery.happen(py));
            squelch(hub, outcome, by_timer, &waiter)
        }
        Fiber::Run(Job::Timer(timer)) => {
            let timer = timer.into_bound(py);
            let outcome = hub.get().calling(|| GreenTimer::fire(&timer));
            squelch(hub, outcome, by_timer, timer.as_any())
        }
        Fiber::Run(Job::EventletTimer(timer)) => {
            let timer = timer.into_bound(py);
            hub.get().forget_eventlet(&timer);
            let outcome = hub.get().calling(|| timer.call0().map(drop));
            squelch(hub, outcome, by_timer, &timer)
        }
        Fiber::Ready(listener) => {
            let listener = listener.into_bound(py);
            let outcome = hub.get().calling(|| Listener::fire(&listener));
            HubCore::rearm(hub, &listener);
            let fd = listener.get().fd().into_pyobject(py)?;
            squelch(hub, outcome, intern!(py, "squelch_exception"), &fd)
        }
        Fiber::Run(Job::Handle(_) | Job::Listener(_) | Job::Wakeup) | Fiber::Gone => Ok(()),
    }
}

/// Calls back into green code, whose identity may have to be restored first.
pub(crate) fn call<'py>(
    callback: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, pyo3::types::PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = callback.py();
    if step::any_displaced() {
        if let Some(target) = context::attribute(callback, intern!(py, "__self__"))? {
            if greenlet::is_greenlet(&target) {
                step::restore_before_switch(&target)?;
            }
        }
    }
    callback.call(args, kwargs)
}

fn is_system(hub: &Bound<'_, HubCore>, error: &PyErr) -> PyResult<bool> {
    let py = hub.py();
    let kinds = hub.getattr(intern!(py, "SYSTEM_EXCEPTIONS"))?;
    Ok(error.matches(py, kinds)?)
}

fn exc_info(py: Python<'_>, error: PyErr) -> PyResult<Bound<'_, PyTuple>> {
    let traceback = error.traceback(py);
    (error.get_type(py), error.value(py), traceback).into_pyobject(py)
}

/// Has the hub report what green code raised, by the method for that kind of work, unless it ends
/// the hub.
fn squelch(
    hub: &Bound<'_, HubCore>,
    outcome: PyResult<()>,
    method: &Bound<'_, PyString>,
    subject: &Bound<'_, PyAny>,
) -> PyResult<()> {
    hub.get().watch().end(hub.py());
    let Err(error) = outcome else { return Ok(()) };
    if hub.get().has_left() || is_system(hub, &error)? {
        return Err(error);
    }
    let info = exc_info(hub.py(), error)?;
    guard(hub, hub.call_method1(method, (subject, info)))
}

/// Switches from the hub's greenlet to one that does not run green work. What comes back may all the
/// same be the end of a green thread, which was killed there.
///
/// # Errors
///
/// Those of [`run`].
pub(crate) fn switch_to<'py>(
    hub: &Bound<'py, HubCore>,
    target: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let outcome = greenlet::switch(target).map(drop);
    came_back(hub, outcome)
}

/// The same, to the carrier of a step, which alone holds it.
pub(crate) fn switch_to_carrier(hub: &Bound<'_, HubCore>, step: &Step) -> PyResult<()> {
    let outcome = step.switch_to_carrier(hub.py()).outcome(hub.py()).map(drop);
    came_back(hub, outcome)
}

fn came_back(hub: &Bound<'_, HubCore>, outcome: PyResult<()>) -> PyResult<()> {
    hub.get().watch().end(hub.py());
    let Err(error) = outcome else { return Ok(()) };
    if hub.get().has_left() || is_system(hub, &error)? {
        return Err(error);
    }
    let info = exc_info(hub.py(), error)?;
    let method = intern!(hub.py(), "squelch_generic_exception");
    guard(hub, hub.call_method1(method, (info,)))
}

/// A report that fails must not end the hub: its own failure is shown where Python shows such.
fn guard(hub: &Bound<'_, HubCore>, reported: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
    let py = hub.py();
    match reported {
        Err(error) if error.is_instance_of::<PyException>(py) => {
            error.write_unraisable(py, Some(hub.as_any()));
            Ok(())
        }
        other => other.map(drop),
    }
}
