//! Green threads that stand for futures, `FutureGreenThread` of `bridge.py`: all but what is rare.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::{event, home};
use crate::cell::intern;
use crate::core::LoopCore;
use crate::crossing::{Crossing, Wake};
use crate::hub::{self, HubCore};
use crate::imported::Imported;
use crate::job::Job;
use crate::{context, greenlet, task, trace};

/// What a green thread stands for, until that has ended.
pub(crate) struct Awaited {
    pub(crate) green: Py<PyAny>,
    /// Until it is started.
    pub(crate) awaitable: Option<Py<PyAny>>,
    pub(crate) running_loop: Py<PyAny>,
}

impl Awaited {
    /// For its start, after which only the green thread is of interest.
    pub(crate) fn take(&mut self, py: Python<'_>) -> Self {
        Self {
            green: self.green.clone_ref(py),
            awaitable: self.awaitable.take(),
            running_loop: self.running_loop.clone_ref(py),
        }
    }
}

/// `FutureGreenThread.__init__`, after that of its base, with the hub whose greenlet is its parent.
#[pyfunction]
#[pyo3(signature = (green, awaitable, running_loop, autostart, autocancel, autokill, /))]
pub(crate) fn init_future_green_thread<'py>(
    green: &Bound<'py, PyAny>,
    awaitable: &Bound<'py, PyAny>,
    running_loop: &Bound<'py, PyAny>,
    autostart: bool,
    autocancel: bool,
    autokill: bool,
) -> PyResult<()> {
    let py = green.py();
    let hub = hub_here(py)?;
    let own = hub.cast::<HubCore>().ok();
    let parent = match own {
        Some(own) => HubCore::greenlet_of(own)?,
        None => hub.getattr(intern!(py, "greenlet"))?,
    };
    greenlet::GREEN_THREAD
        .get(py)?
        .getattr(intern!(py, "__init__"))?
        .call1((green, parent))?;
    let awaited = Awaited {
        green: green.clone().unbind(),
        awaitable: Some(awaitable.clone().unbind()),
        running_loop: running_loop.clone().unbind(),
    };
    let policy = evio_bridge::Policy {
        autostart,
        end_source: autocancel,
        end_awaiters: autokill,
    };
    let crossing = Bound::new(py, Crossing::of_future(awaited, policy))?;
    green.setattr(intern!(py, "_crossing"), &crossing)?;
    crossing.get().begin(py)?;
    match own {
        Some(own) if !trace::wants_timers(py)? => {
            green.setattr(intern!(py, "gr_context"), context::copy(py)?)?;
            HubCore::notice_foreign(own)?;
            let begin = Job::Begin(green.clone().unbind());
            HubCore::schedule(&HubCore::core(own)?, 0, begin).map(drop)
        }
        _ => {
            let begin = green.getattr(intern!(py, "_begin"))?;
            schedule(&hub, (0, begin))
        }
    }
}

/// The hub of this thread; where none was chosen and a loop of ours runs, it is ours.
fn hub_here(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET_HUB: Imported = Imported::new("eventlet_asyncio._sides", "get_hub");
    if let Some(hub) = hub::of_thread(py)?.filter(|hub| hub.is_instance_of::<HubCore>()) {
        return Ok(hub);
    }
    GET_HUB.get(py)?.call0()
}

fn schedule<'py>(hub: &Bound<'py, PyAny>, call: impl pyo3::call::PyCallArgs<'py>) -> PyResult<()> {
    hub.call_method1(intern!(hub.py(), "schedule_call_global"), call)
        .map(drop)
}

fn crossing_of<'py>(green: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Crossing>> {
    let crossing = green.getattr(intern!(green.py(), "_crossing"))?;
    Ok(crossing.cast_into::<Crossing>()?)
}

/// Has a green thread ask for its result, as the hub has come to it.
#[pyfunction]
#[pyo3(signature = (green, /))]
pub(crate) fn begin_future_green_thread(green: &Bound<'_, PyAny>) -> PyResult<()> {
    let crossing = crossing_of(green)?;
    crossing.get().set_begun();
    let wake = Wake::Finish(green.clone().unbind());
    crossing.get().awaited_by(green.py(), wake).map(drop)
}

/// Makes a future of what a green thread stands for.
pub(crate) fn start(awaited: Awaited, py: Python<'_>) -> PyResult<()> {
    let Some(awaitable) = awaited.awaitable else {
        return Ok(());
    };
    let (green, awaitable) = (awaited.green.into_bound(py), awaitable.into_bound(py));
    let running_loop = awaited.running_loop.into_bound(py);
    let crossing = crossing_of(&green)?;
    let future = ensure_future(&awaitable, &running_loop)?;
    green.setattr(intern!(py, "future"), &future)?;
    if !future.is(&awaitable) {
        // A green thread that is left waiting at the end of the program is no news.
        future.setattr(intern!(py, "_log_destroy_pending"), false)?;
    }
    home::wait_there(&future, &running_loop)?;
    crossing.get().started(py)?;
    task::add_done_callback(&future, crossing.as_any())
}

fn ensure_future<'py>(
    awaitable: &Bound<'py, PyAny>,
    running_loop: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static ENSURE_FUTURE: Imported = Imported::new("asyncio", "ensure_future");
    let py = awaitable.py();
    if task::is_coroutine(awaitable) {
        return match running_loop.cast::<LoopCore>() {
            Ok(core) if task::is_plain_loop(core)? => task::create(core, awaitable, None, None),
            _ => home::create_task(running_loop, awaitable),
        };
    }
    let options = PyDict::new(py);
    options.set_item(intern!(py, "loop"), running_loop)?;
    ENSURE_FUTURE.get(py)?.call((awaitable,), Some(&options))
}

/// Cancels the future of a green thread.
pub(crate) fn cancel(green: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = green.py();
    let future = green.getattr(intern!(py, "future"))?;
    match future.call_method0(intern!(py, "cancel")) {
        Err(_) if has_closed_loop(&future)? => crossing_of(green)?.get().cancelled(py, None),
        Ok(taken) if !taken.is_truthy()? && task::is_done(&future)? => {
            // The future is done, so no cancel reaches it: the kill stays due, and who awaits sees it.
            crossing_of(green)?.get().kill_is_due(py);
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

/// Whether the loop of a future was closed, so that nothing cleans up there any more.
fn has_closed_loop(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = future.py();
    let owner = future.call_method0(intern!(py, "get_loop"))?;
    owner.call_method0(intern!(py, "is_closed"))?.is_truthy()
}

/// Does away with what was never started.
pub(crate) fn close(awaitable: &Bound<'_, PyAny>) -> PyResult<()> {
    if task::is_coroutine(awaitable) {
        awaitable.call_method0(intern!(awaitable.py(), "close"))?;
    }
    Ok(())
}

/// Ends a green thread, now that there is something to see.
pub(crate) fn finish(green: &Bound<'_, PyAny>) -> PyResult<()> {
    static NOTHING: Imported = Imported::new("eventlet_asyncio._stdlib", "nothing");
    let py = green.py();
    let crossing = crossing_of(green)?;
    if !green.getattr(intern!(py, "_exit_funcs"))?.is_truthy()? {
        if let Some(value) = crossing.get().value(py) {
            let nothing = NOTHING.get(py)?;
            let exit = green.getattr(intern!(py, "_exit_event"))?;
            if !greenlet::has_started(green) {
                // In place of its own main, so that it is in no circle.
                green.setattr(intern!(py, "run"), nothing)?;
            } else if exit.call_method0(intern!(py, "ready"))?.is_truthy()? {
                // The program has switched to it, which ended it.
                return Ok(());
            }
            return event::send(&exit, value.bind(py));
        }
    }
    // Links may block greenly, and an exception comes out in the hub as any green thread's.
    let switch = green.getattr(intern!(py, "switch"))?;
    let result = crossing.getattr(intern!(py, "result"))?;
    let (args, kwargs) = (PyTuple::empty(py), PyDict::new(py));
    schedule(&hub_here(py)?, (0, switch, result, args, kwargs))
}
