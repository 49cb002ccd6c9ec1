//! The home loop of green code: the one on which what it awaits runs, unless it names another.
//!
//! It is the loop that ran where the green thread was made, or else the home of its maker. Where that
//! is the hub's own, as it mostly is, nothing is noted.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::cell::intern;
use crate::hub::{self, HubCore};
use crate::imported::Imported;
use crate::{context, greenlet, identity};

/// Whether any greenlet ever had a home that is not its hub's.
static ANY: AtomicBool = AtomicBool::new(false);

/// Notes the home of a greenlet that the running code has made.
pub(crate) fn give(green: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = green.py();
    let home = match identity::running_loop(py)? {
        Some(running) if is_hubs_own(&running)? => None,
        None if ANY.load(Ordering::Relaxed) => noted(&greenlet::current(py)?)?,
        running => running,
    };
    let Some(home) = home else { return Ok(()) };
    ANY.store(true, Ordering::Relaxed);
    if context::attribute(&home, intern!(py, "_eventlet_asyncio_ends"))?.is_none() {
        // What awaits there first may do so when the loop is ending already.
        homes(py)?.call_method1(intern!(py, "look_after"), (&home,))?;
    }
    // Weakly, since a green thread may outlive its home.
    let home = match PyWeakrefReference::new(&home) {
        Ok(reference) => reference.into_any(),
        Err(_) => home,
    };
    green.setattr(intern!(py, "_eventlet_asyncio_home"), home)
}

/// The home that was noted for a greenlet.
fn noted<'py>(green: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let home = context::attribute(green, intern!(green.py(), "_eventlet_asyncio_home"))?;
    Ok(
        home.and_then(|home| match home.cast_into::<PyWeakrefReference>() {
            Ok(reference) => reference.upgrade(),
            Err(error) => Some(error.into_inner()),
        }),
    )
}

/// Whether a greenlet's home may be another than its hub's loop.
pub(super) fn may_be_elsewhere(green: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(ANY.load(Ordering::Relaxed) && noted(green)?.is_some())
}

/// Has a future that green code waits for be done before its loop ends, if that is not the hub's.
pub(super) fn wait_there(
    future: &Bound<'_, PyAny>,
    running_loop: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if is_hubs_own(running_loop)? {
        return Ok(());
    }
    let py = future.py();
    let wait_there = intern!(py, "wait_there");
    homes(py)?
        .call_method1(wait_there, (future, running_loop))
        .map(drop)
}

/// A task of a loop that green code makes.
pub(super) fn create_task<'py>(
    running_loop: &Bound<'py, PyAny>,
    coroutine: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = coroutine.py();
    homes(py)?.call_method1(intern!(py, "create_task"), (running_loop, coroutine))
}

fn homes(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static HOMES: Imported<PyModule> = Imported::module("eventlet_asyncio._homes");
    HOMES.get(py)
}

fn is_hubs_own(running: &Bound<'_, PyAny>) -> PyResult<bool> {
    let hub = hub::of_thread(running.py())?.and_then(|hub| hub.cast_into::<HubCore>().ok());
    Ok(match hub {
        Some(hub) => HubCore::core(&hub)?.is(running),
        None => false,
    })
}
