//! Which OS thread a greenlet belongs to, and the hub that wakes it there.
//!
//! A greenlet can only be switched to in its own thread. Whoever wants to wake one therefore has a
//! call made by the hub of that thread. A greenlet's thread is known by the greenlet at the root of
//! its parents, which is the thread's main greenlet.

use std::cell::Cell;
use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::pyfunction;
use pyo3::types::{PyString, PyTuple, PyWeakrefMethods, PyWeakrefReference};

use crate::cell::{GilCell, intern};
use crate::greenlet;
use crate::hub::{self, HubCore};
use crate::imported::Imported;

struct Entry {
    hub: usize,
    reference: Py<PyWeakrefReference>,
}

/// The hub of each thread, by the address of the thread's main greenlet.
static HUBS: GilCell<BTreeMap<usize, Entry>> = GilCell::new(BTreeMap::new());

thread_local! {
    static ENDED: Cell<bool> = const { Cell::new(false) };
}

/// The number of the running thread, by which asyncio knows it.
pub(crate) fn ident(py: Python<'_>) -> PyResult<u64> {
    // The C function itself: monkey patching replaces its names in `threading` and `_thread`.
    static GET_IDENT: Imported = Imported::new("eventlet_asyncio._stdlib", "get_ident");
    GET_IDENT.get(py)?.call0()?.extract()
}

/// Says that no greenlet of the running thread can be switched to any more, or that they can again.
///
/// Its main greenlet carries that for other threads, which learn it from greenlet later.
pub(crate) fn set_ended(py: Python<'_>, ended: bool) -> PyResult<()> {
    ENDED.with(|flag| flag.set(ended));
    root(&greenlet::current(py)?).setattr(thread_ended(py), ended)
}

fn thread_ended(py: Python<'_>) -> &Bound<'_, PyString> {
    intern!(py, "_eventlet_asyncio_thread_ended")
}

/// Whether the thread of a greenlet has ended, so that nobody can switch to it.
#[pyfunction]
pub(crate) fn is_stranded(greenlet: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = greenlet.py();
    let root = root(greenlet);
    if root.getattr(intern!(py, "dead"))?.is_truthy()? {
        return Ok(true);
    }
    let ended = root.getattr_opt(thread_ended(py))?;
    ended.map_or(Ok(false), |ended| ended.is_truthy())
}

/// Whether the running thread is ending, and has no hub any more.
pub(crate) fn has_ended() -> bool {
    ENDED.with(Cell::get)
}

fn root<'py>(greenlet: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    let mut root = greenlet.clone();
    while let Some(parent) = greenlet::parent(&root) {
        root = parent;
    }
    root
}

fn address(object: &Bound<'_, PyAny>) -> usize {
    object.as_ptr() as usize
}

/// Makes a hub the one that other threads find for greenlets of the running thread; answers the
/// thread's key.
#[pyfunction]
pub(crate) fn enlist(hub: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = hub.py();
    set_ended(py, false)?;
    let key = address(&root(&greenlet::current(py)?));
    let entry = Entry {
        hub: address(hub),
        reference: PyWeakrefReference::new(hub)?.unbind(),
    };
    let old = HUBS.with(py, |hubs| hubs.insert(key, entry));
    drop(old);
    Ok(key)
}

/// Forgets a hub that has ended, unless its thread has another by now.
///
/// The hub is named by its address, because it may be gone.
#[pyfunction]
pub(crate) fn discharge(py: Python<'_>, hub: usize, key: usize) {
    let removed = HUBS.with(py, |hubs| {
        hubs.get(&key)
            .is_some_and(|entry| entry.hub == hub)
            .then(|| hubs.remove(&key))
    });
    drop(removed);
}

fn hub_of<'py>(greenlet: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = greenlet.py();
    let key = address(&root(greenlet));
    let reference = HUBS.with(py, |hubs| {
        hubs.get(&key).map(|entry| entry.reference.clone_ref(py))
    })?;
    reference.bind(py).upgrade()
}

/// Whether a greenlet belongs to the running thread.
#[pyfunction]
pub(crate) fn is_here(greenlet: &Bound<'_, PyAny>) -> bool {
    let py = greenlet.py();
    !has_ended()
        && greenlet::is_greenlet(greenlet)
        && greenlet::current(py).is_ok_and(|current| root(greenlet).is(root(&current)))
}

/// The hub of the running thread, which is made if there is none.
pub(crate) fn own_hub(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    match hub::of_thread(py)? {
        Some(hub) => Ok(hub),
        None => py
            .import("eventlet.hubs")?
            .call_method0(intern!(py, "get_hub")),
    }
}

/// `eventlet.hubs.get_hub()`, for code that is about to block where another thread may wake it.
#[pyfunction]
pub(crate) fn hub_to_wait_in(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let hub = own_hub(py)?;
    if !hub.is_instance_of::<HubCore>() {
        py.import("eventlet_asyncio._threads")?
            .call_method1(intern!(py, "enlist_foreign"), (&hub,))?;
    }
    Ok(hub)
}

/// The hub of the running thread, or `None`.
#[pyfunction]
pub(crate) fn hub_of_thread(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    if has_ended() {
        Ok(None)
    } else {
        hub::of_thread(py)
    }
}

/// Has the hub of a greenlet's thread make a call in its next turn; `False` when that thread has
/// ended, or has no hub that is known.
pub(crate) fn wake(
    greenlet: &Bound<'_, PyAny>,
    callback: &Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
) -> PyResult<bool> {
    let py = greenlet.py();
    let here = is_here(greenlet);
    let hub = if here {
        own_hub(py)?
    } else {
        match hub_of(greenlet) {
            Some(hub) => hub,
            None => return Ok(false),
        }
    };
    match hub.cast::<HubCore>() {
        Ok(hub) => match HubCore::call_soon(hub, callback, args) {
            Err(error) if !here && hub.get().has_ended() => {
                drop(error);
                Ok(false)
            }
            outcome => outcome.map(|()| true),
        },
        Err(_) => py
            .import("eventlet_asyncio._threads")?
            .call_method1(intern!(py, "call_in_foreign"), (hub, here, callback, args))?
            .is_truthy(),
    }
}

/// Has the hub of a greenlet's thread call back in its next turn; `False` when there is none.
#[pyfunction]
#[pyo3(name = "wake", signature = (greenlet, callback, /, *args))]
pub(crate) fn py_wake(
    greenlet: &Bound<'_, PyAny>,
    callback: &Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
) -> PyResult<bool> {
    if !greenlet::is_greenlet(greenlet) {
        return Ok(false);
    }
    wake(greenlet, callback, args)
}
