//! `eventlet.spawn`, `eventlet.spawn_n` and the making of a `GreenThread`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyTuple};

use super::{Original, event, floor, home, hub_of_thread, with_first};
use crate::cell::{Once, intern};
use crate::hub::HubCore;
use crate::imported::Imported;
use crate::job::{Job, Start};
use crate::{context, greenlet, trace};

static SPAWN: Original = Original::new("eventlet.greenthread", "spawn");
static SPAWN_N: Original = Original::new("eventlet.greenthread", "spawn_n");

/// Has a green thread run `func(*args, **kwargs)` when its turn comes, and returns it.
#[pyfunction]
#[pyo3(signature = (func, *args, **kwargs))]
pub(crate) fn spawn<'py>(
    func: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = func.py();
    let Some(hub) = hub_of_thread(py)? else {
        return SPAWN.call(with_first(func, &args)?, kwargs.as_ref(), py);
    };
    let green = module(py)?
        .getattr(intern!(py, "GreenThread"))?
        .call1((HubCore::greenlet_of(&hub)?,))?;
    let kwargs = kwargs.unwrap_or_else(|| PyDict::new(py));
    let args = (func, args, kwargs).into_pyobject(py)?;
    start(&hub, &green, args, None)?;
    Ok(green)
}

/// As `spawn`, with a plain greenlet, whose result nobody can ask for.
#[pyfunction]
#[pyo3(signature = (func, *args, **kwargs))]
pub(crate) fn spawn_n<'py>(
    func: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = func.py();
    let Some(hub) = hub_of_thread(py)? else {
        let green = SPAWN_N.call(with_first(func, &args)?, kwargs.as_ref(), py)?;
        home::give(&green)?;
        return Ok(green);
    };
    let green = greenlet::new(&floor::below(func)?, &HubCore::greenlet_of(&hub)?)?;
    home::give(&green)?;
    start(&hub, &green, args, kwargs)?;
    Ok(green)
}

/// `GreenThread.__init__`.
#[pyfunction]
#[pyo3(signature = (green, /, parent))]
pub(crate) fn init_green_thread(
    green: &Bound<'_, PyAny>,
    parent: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = green.py();
    greenlet::init(green, &floor::below_main(green)?, parent)?;
    home::give(green)?;
    green.setattr(intern!(py, "_exit_event"), event::new(py)?)?;
    green.setattr(intern!(py, "_resolving_links"), false)?;
    green.setattr(intern!(py, "_exit_funcs"), py.None())
}

/// Whether `wait()` of a green thread is eventlet's own, so that what it would give may be taken without it.
pub(crate) fn has_own_wait(green: &Bound<'_, PyAny>) -> PyResult<bool> {
    static WAIT: Once<Py<PyAny>> = Once::new();
    let py = green.py();
    let name = intern!(py, "wait");
    let own = WAIT.get_or_try_init(py, || {
        py.import("eventlet_asyncio._patches")?
            .call_method0("own_wait")
            .map(Bound::unbind)
    })?;
    if !green.get_type().getattr(name)?.is(own) {
        return Ok(false);
    }
    Ok(!green.getattr(intern!(py, "__dict__"))?.contains(name)?)
}

fn module(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: Imported<PyModule> = Imported::module("eventlet.greenthread");
    MODULE.get(py)
}

fn start<'py>(
    hub: &Bound<'py, HubCore>,
    green: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<Bound<'py, PyDict>>,
) -> PyResult<()> {
    let py = hub.py();
    green.setattr(intern!(py, "gr_context"), context::copy(py)?)?;
    if !greenlet::has_plain_switch(green)? || trace::wants_timers(py)? {
        let seconds = PyInt::new(py, 0).into_any();
        let switch = green.getattr(intern!(py, "switch"))?;
        return HubCore::schedule_call(hub, &seconds, &switch, args, kwargs.as_ref(), None)
            .map(drop);
    }
    HubCore::notice_foreign(hub)?;
    let start = Start {
        target: green.clone().unbind(),
        args: args.unbind(),
        kwargs: kwargs.map(Bound::unbind),
    };
    HubCore::schedule(&HubCore::core(hub)?, 0, Job::Start(Box::new(start))).map(drop)
}
