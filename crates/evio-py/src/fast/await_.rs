//! `await_` where nothing goes wrong: a coroutine that green code waits for under our hub, and an
//! awaitable that is driven in the task whose step runs the caller.
//!
//! What is rarer is left to `_await.py` and `_drive.py`: other hubs and loops, other awaitables, and whatever is thrown
//! at who waits.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::waker::Waker;
use super::{home, is_hub};
use crate::cell::intern;
use crate::driver::{self, Sent, Started};
use crate::hub::{self, HubCore};
use crate::identity::Identity;
use crate::imported::Imported;
use crate::job::Job;
use crate::step::{self, Step};
use crate::task;
use crate::{block_check, context, greenlet};

/// A function that does what is not done here.
const fn otherwise(name: &'static str) -> Imported {
    Imported::new("eventlet_asyncio._await", name)
}

/// Wait here for an awaitable: in green code, or in plain code called from a task of ours.
#[pyfunction]
#[pyo3(signature = (awaitable))]
pub(crate) fn await_<'py>(awaitable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match begin(awaitable)? {
        Begun::Task { hub, current, sent } => {
            let brought = sent.switch();
            match sent.come_back(brought)? {
                Some(started) => wait(&hub, &current, started),
                None => in_other_cases(awaitable),
            }
        }
        Begun::Iterator {
            hub,
            current,
            step,
            iterator,
        } => drive(&hub, &step, &current, &iterator),
        Begun::Nothing => in_other_cases(awaitable),
    }
}

/// What is to be waited for, and by whom.
enum Begun<'py> {
    Task {
        hub: Bound<'py, HubCore>,
        current: Bound<'py, PyAny>,
        sent: Sent<'py>,
    },
    Iterator {
        hub: Bound<'py, HubCore>,
        current: Bound<'py, PyAny>,
        step: Bound<'py, Step>,
        iterator: Bound<'py, PyAny>,
    },
    /// It is for Python to find out.
    Nothing,
}

/// Everything before the wait, in a stack frame that is gone while it lasts.
#[inline(never)]
fn begin<'py>(awaitable: &Bound<'py, PyAny>) -> PyResult<Begun<'py>> {
    let py = awaitable.py();
    let Some(hub) = hub_that_can_wait(py)? else {
        return Ok(Begun::Nothing);
    };
    let current = greenlet::current(py)?;
    if let Some(step) = step::current(py) {
        let step = step.into_bound(py);
        let iterator = to_drive(&step, &current, awaitable)?;
        return Ok(iterator.map_or(Begun::Nothing, |iterator| Begun::Iterator {
            hub,
            current,
            step,
            iterator,
        }));
    }
    let sent = send(&hub, &current, awaitable)?;
    Ok(sent.map_or(Begun::Nothing, |sent| Begun::Task { hub, current, sent }))
}

#[inline(never)]
fn in_other_cases<'py>(awaitable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static OTHERWISE: Imported = otherwise("await_otherwise");
    OTHERWISE.get(awaitable.py())?.call1((awaitable,))
}

fn hub_that_can_wait(py: Python<'_>) -> PyResult<Option<Bound<'_, HubCore>>> {
    if block_check::is_set() {
        return Ok(None);
    }
    Ok(hub::of_thread(py)?.and_then(|hub| hub.cast_into::<HubCore>().ok()))
}

// In green code

/// Has a task made of a coroutine, which runs at once until it has to wait.
fn send<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    awaitable: &Bound<'py, PyAny>,
) -> PyResult<Option<Sent<'py>>> {
    let py = hub.py();
    // Before Python 3.12 tasks do not start at once.
    if cfg!(not(Py_3_12))
        || !task::is_coroutine(awaitable)
        || is_hub(hub, current)
        || !greenlet::has_plain_switch(current)?
        || home::may_be_elsewhere(current)?
        || crate::identity::running_loop(py)?.is_some()
    {
        return Ok(None);
    }
    let core = HubCore::core(hub)?;
    if !task::is_plain_loop(&core)? || !core.get().makes_plain_tasks(py) {
        return Ok(None);
    }
    let Some(context) = own_context(py)? else {
        return Ok(None);
    };
    driver::send(hub, awaitable, context, current).map(Some)
}

/// The context of the running greenlet, if a task can enter it.
fn own_context(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    static MAKE: Imported = Imported::new("eventlet_asyncio._sides", "current_context");
    // The other way asks greenlet, which makes one where there is none.
    let own = match context::entered(py) {
        Some(own) => own,
        None => MAKE.get(py)?.call0()?,
    };
    Ok((!context::is_entered(&own)?).then_some(own))
}

/// Blocks until a task is done, and returns its result or raises its exception.
#[inline(never)]
fn wait<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    started: Started<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let Started {
        task,
        waker,
        thrown,
    } = started;
    if waker.is_none() && thrown.is_ok() {
        if let Some(result) = task::known_result(&task)? {
            return Ok(result);
        }
    }
    let waited = match waker {
        Some(waker) => wait_for_waker(hub, current, &task, &waker, thrown),
        None => thrown.and_then(|()| wait_until_done(hub, current, &task)),
    };
    match waited {
        Ok(()) => result_of(&task),
        Err(error) => go_on_interrupted(&task, error),
    }
}

fn result_of<'py>(task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match task::known_result(task)? {
        Some(result) => Ok(result),
        None => task.call_method0(intern!(task.py(), "result")),
    }
}

#[inline(never)]
fn go_on_interrupted<'py>(task: &Bound<'py, PyAny>, error: PyErr) -> PyResult<Bound<'py, PyAny>> {
    static INTERRUPTED: Imported = otherwise("wait_for_interrupted");
    let py = task.py();
    INTERRUPTED.get(py)?.call1((task, error.into_value(py)))
}

/// Blocks until a future is done; what is thrown meanwhile is the error.
fn wait_until_done<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    future: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let Some(waker) = listen(hub, current, future)? else {
        return Ok(());
    };
    let outcome = HubCore::block(hub, current, None).map(drop);
    wait_for_waker(hub, current, future, &waker, outcome)
}

/// The same where the greenlet listens already, and has waited once.
fn wait_for_waker<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    future: &Bound<'py, PyAny>,
    waker: &Bound<'py, Waker>,
    mut outcome: PyResult<()>,
) -> PyResult<()> {
    while outcome.is_ok() && !task::is_done(future)? {
        outcome = HubCore::block(hub, current, None).map(drop);
    }
    stop_listening(waker, future, outcome)
}

/// Has the greenlet woken when a future is done; `None`: it is.
#[inline(never)]
fn listen<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    future: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, Waker>>> {
    if task::is_done(future)? {
        return Ok(None);
    }
    let waker = Waker::create(hub, current, future)?;
    task::add_done_callback(future, waker.as_any())?;
    Ok(Some(waker))
}

#[inline(never)]
fn stop_listening(
    waker: &Bound<'_, Waker>,
    future: &Bound<'_, PyAny>,
    outcome: PyResult<()>,
) -> PyResult<()> {
    Waker::disarm(waker);
    if outcome.is_err() {
        future.call_method1(intern!(future.py(), "remove_done_callback"), (waker,))?;
    }
    outcome
}

// Below a task

/// What drives an awaitable, if it can be driven here.
fn to_drive<'py>(
    step: &Bound<'py, Step>,
    current: &Bound<'py, PyAny>,
    awaitable: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = step.py();
    let Some(core) = step.get().core(py) else {
        return Ok(None);
    };
    if !greenlet::has_plain_switch(current)?
        || Identity::current_task(py, &core.into_any())?.is_none()
    {
        return Ok(None);
    }
    if task::is_coroutine(awaitable) {
        return Ok(Some(awaitable.clone()));
    }
    match context::attribute(&awaitable.get_type(), intern!(py, "__await__"))? {
        Some(iterate) => {
            let iterator = iterate.call1((awaitable,))?;
            if context::attribute(&iterator.get_type(), intern!(py, "__next__"))?.is_none() {
                let class = iterator.get_type().name()?;
                let message = format!("__await__() returned non-iterator of type '{class}'");
                return Err(PyTypeError::new_err(message));
            }
            Ok(Some(iterator))
        }
        None => Ok(None),
    }
}

/// Drives an iterator as its task would, which is in the middle of a step.
#[inline(never)]
fn drive<'py>(
    hub: &Bound<'py, HubCore>,
    step: &Bound<'py, Step>,
    current: &Bound<'py, PyAny>,
    iterator: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static OTHERWISE: Imported = Imported::new("eventlet_asyncio._drive", "go_on_in_task");
    let py = step.py();
    loop {
        let awaited = match task::send(iterator)? {
            task::Sent::Returned(value) => return Ok(value),
            task::Sent::Yielded(awaited) => awaited,
        };
        let outcome = if awaited.is_none() {
            wait_a_turn(hub, current)
        } else {
            wait_for(hub, step, current, &awaited)
        };
        if let Err(trouble) = outcome {
            let (error, interrupted) = match trouble {
                Trouble::Interrupted(error) => (error, true),
                Trouble::Raised(error) => (error, false),
            };
            let awaited = Some(awaited).filter(|awaited| !awaited.is_none());
            let arguments = (iterator, error.into_value(py), awaited, interrupted);
            return OTHERWISE.get(py)?.call1(arguments);
        }
    }
}

/// Why an iterator does not simply go on.
enum Trouble {
    /// Something was thrown at who waits.
    Interrupted(PyErr),
    /// What was awaited raised something, or cannot be awaited.
    Raised(PyErr),
}

fn wait_a_turn<'py>(hub: &Bound<'py, HubCore>, current: &Bound<'py, PyAny>) -> Result<(), Trouble> {
    let key = HubCore::core(hub)
        .and_then(|core| HubCore::schedule(&core, 0, Job::Wake(current.clone().unbind())))
        .map_err(Trouble::Raised)?;
    let outcome = HubCore::block(hub, current, None).map(drop);
    drop(HubCore::cancel_timer(hub, key));
    outcome.map_err(Trouble::Interrupted)
}

fn wait_for<'py>(
    hub: &Bound<'py, HubCore>,
    step: &Bound<'py, Step>,
    current: &Bound<'py, PyAny>,
    awaited: &Bound<'py, PyAny>,
) -> Result<(), Trouble> {
    let py = hub.py();
    take(step, awaited).map_err(Trouble::Raised)?;
    let outer = step.get().set_waits_for(py, Some(awaited.clone().unbind()));
    let outcome = wait_until_done(hub, current, awaited);
    drop(step.get().set_waits_for(py, outer));
    outcome.map_err(Trouble::Interrupted)?;
    let result = awaited.call_method0(intern!(py, "result"));
    result.map(drop).map_err(Trouble::Raised)
}

/// Takes what an awaitable yields, as a task does.
fn take<'py>(step: &Bound<'py, Step>, awaited: &Bound<'py, PyAny>) -> PyResult<()> {
    static CHECK: Imported = Imported::new("eventlet_asyncio._drive", "check_yielded");
    let py = step.py();
    let core = step.get().core(py);
    if task::takes_future(awaited, core.as_ref().map(|core| core.bind(py).as_any()))? {
        return Ok(());
    }
    CHECK.get(py)?.call1((awaited, core)).map(drop)
}
