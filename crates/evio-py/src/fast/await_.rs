//! `await_` where nothing goes wrong: a coroutine that green code waits for under our hub, and an
//! awaitable that is driven in the task whose step runs the caller.
//!
//! What is rarer is left to `bridge.py`: other hubs and loops, other awaitables, and whatever is thrown
//! at who waits.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::is_hub;
use super::waker::Waker;
use crate::core::LoopCore;
use crate::driver;
use crate::hub::{self, HubCore};
use crate::identity::Identity;
use crate::job::Job;
use crate::step::{self, Step};
use crate::task::{self, Sent};
use crate::{block_check, context, greenlet};

/// A function of the bridge.
fn bridge<'py>(
    cell: &'static PyOnceLock<Py<PyAny>>,
    py: Python<'py>,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let function = cell.get_or_try_init(py, || {
        py.import("eventlet_asyncio.bridge")?
            .getattr(name)
            .map(Bound::unbind)
    })?;
    Ok(function.bind(py).clone())
}

/// Wait here for an awaitable: in green code, or in plain code called from a task of ours.
#[pyfunction]
#[pyo3(signature = (awaitable))]
pub(crate) fn await_<'py>(awaitable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static OTHERWISE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = awaitable.py();
    if let Some(hub) = hub_that_can_wait(py)? {
        let current = greenlet::current(py);
        match step::current(py) {
            Some(step) => {
                let step = step.into_bound(py);
                if let Some(iterator) = to_drive(&step, &current, awaitable)? {
                    return drive(&hub, &step, &current, &iterator);
                }
            }
            None => {
                if let Some(task) = start(&hub, &current, awaitable)? {
                    return wait(&hub, &current, &task);
                }
            }
        }
    }
    bridge(&OTHERWISE, py, "_await_otherwise")?.call1((awaitable,))
}

fn hub_that_can_wait(py: Python<'_>) -> PyResult<Option<Bound<'_, HubCore>>> {
    if block_check::is_set() {
        return Ok(None);
    }
    Ok(hub::of_thread(py)?.and_then(|hub| hub.cast_into::<HubCore>().ok()))
}

// In green code

/// Makes a task of a coroutine, which runs at once until it has to wait.
fn start<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    awaitable: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = hub.py();
    // Before Python 3.11 a task cannot be given a context.
    if cfg!(not(Py_3_11))
        || !task::is_coroutine(awaitable)
        || is_hub(hub, current)
        || !greenlet::has_plain_switch(current)?
        || crate::identity::running_loop(py)?.is_some()
    {
        return Ok(None);
    }
    let core = HubCore::core(hub)?;
    if !makes_plain_tasks(&core)? {
        return Ok(None);
    }
    let Some(context) = own_context(current)? else {
        return Ok(None);
    };
    core.get().catch_callback(py, Some(&context));
    let task = task::new(awaitable, core.as_any(), &context);
    let first = core.get().catch_callback(py, None);
    let task = task?;
    if let Some(first) = first {
        driver::run_now(hub, first, current)?;
    }
    Ok(Some(task))
}

/// Whether a task of this loop is nothing but a task of asyncio's.
fn makes_plain_tasks(core: &Bound<'_, LoopCore>) -> PyResult<bool> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = core.py();
    let class = CLASS.get_or_try_init(py, || {
        py.import("eventlet_asyncio.loop")?
            .getattr("EventLoop")
            .map(Bound::unbind)
    })?;
    Ok(core.get_type().is(class)
        && !core.get().debug()
        && !core.get().is_closed()
        && core.getattr(intern!(py, "_task_factory"))?.is_none())
}

/// The context of a greenlet, if a task can enter it.
fn own_context<'py>(current: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = current.py();
    let own = current.getattr(intern!(py, "gr_context"))?;
    let own = if own.is_none() {
        bridge(&MAKE, py, "current_context")?.call0()?
    } else {
        own
    };
    if !context::enter(&own)? {
        return Ok(None);
    }
    context::exit(&own)?;
    Ok(Some(own))
}

/// Blocks until a task is done, and returns its result or raises its exception.
fn wait<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    task: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static INTERRUPTED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = hub.py();
    if !task::is_done(task)? {
        let waker = Waker::create(hub, current, task)?;
        task::add_done_callback(task, waker.as_any())?;
        while !task::is_done(task)? {
            if let Err(error) = HubCore::block(hub, current, None) {
                Waker::disarm(&waker);
                task.call_method1(intern!(py, "remove_done_callback"), (&waker,))?;
                let wait = bridge(&INTERRUPTED, py, "_wait_for_interrupted")?;
                return wait.call1((task, error.into_value(py)));
            }
        }
        Waker::disarm(&waker);
    }
    task.call_method0(intern!(py, "result"))
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
        Some(iterate) => iterate.call1((awaitable,)).map(Some),
        None => Ok(None),
    }
}

/// Drives an iterator as its task would, which is in the middle of a step.
fn drive<'py>(
    hub: &Bound<'py, HubCore>,
    step: &Bound<'py, Step>,
    current: &Bound<'py, PyAny>,
    iterator: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static OTHERWISE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = step.py();
    loop {
        let awaited = match task::send(iterator)? {
            Sent::Returned(value) => return Ok(value),
            Sent::Yielded(awaited) => awaited,
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
            let go_on = bridge(&OTHERWISE, py, "_go_on_in_task")?;
            return go_on.call1((iterator, error.into_value(py), awaited, interrupted));
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
    let waker = begin_to_wait(hub, step, current, awaited).map_err(Trouble::Raised)?;
    let outer = step.get().set_waits_for(py, Some(awaited.clone().unbind()));
    let mut outcome = Ok(());
    while outcome.is_ok() && !task::is_done(awaited).map_err(Trouble::Raised)? {
        outcome = HubCore::block(hub, current, None).map(drop);
    }
    drop(step.get().set_waits_for(py, outer));
    Waker::disarm(&waker);
    if let Err(error) = outcome {
        awaited
            .call_method1(intern!(py, "remove_done_callback"), (&waker,))
            .map_err(Trouble::Raised)?;
        return Err(Trouble::Interrupted(error));
    }
    let result = awaited.call_method0(intern!(py, "result"));
    result.map(drop).map_err(Trouble::Raised)
}

fn begin_to_wait<'py>(
    hub: &Bound<'py, HubCore>,
    step: &Bound<'py, Step>,
    current: &Bound<'py, PyAny>,
    awaited: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Waker>> {
    static CHECK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = hub.py();
    let core = step.get().core(py);
    if !task::takes_future(awaited, core.as_ref().map(|core| core.bind(py).as_any()))? {
        bridge(&CHECK, py, "_check_yielded")?.call1((awaited, core))?;
    }
    let waker = Waker::create(hub, current, awaited)?;
    task::add_done_callback(awaited, waker.as_any())?;
    Ok(waker)
}
