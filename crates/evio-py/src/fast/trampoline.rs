//! `eventlet.hubs.trampoline`: the green block of every green socket.

use std::os::fd::RawFd;

use evio_loop::Direction;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use super::{Original, blocking_in_hub, hub_of_thread, is_hub};
use crate::cell::intern;
use crate::hub::HubCore;
use crate::listener::Listener;
use crate::timer::GreenTimer;
use crate::{context, greenlet};

static ORIGINAL: Original = Original::new("eventlet.hubs", "trampoline");

/// Blocks greenly until a descriptor is ready, or raises `timeout_exc` after `timeout` seconds.
#[pyfunction]
#[pyo3(signature = (fd, read = None, write = None, timeout = None, timeout_exc = None, mark_as_closed = None))]
pub(crate) fn trampoline<'py>(
    fd: &Bound<'py, PyAny>,
    read: Option<&Bound<'py, PyAny>>,
    write: Option<&Bound<'py, PyAny>>,
    timeout: Option<&Bound<'py, PyAny>>,
    timeout_exc: Option<Bound<'py, PyAny>>,
    mark_as_closed: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = fd.py();
    let exception = || match timeout_exc {
        Some(exception) => Ok(exception),
        None => py
            .import("eventlet.timeout")?
            .getattr(intern!(py, "Timeout")),
    };
    let Some(hub) = hub_of_thread(py)? else {
        let arguments = (fd, read, write, timeout, exception()?, mark_as_closed);
        return ORIGINAL.call(arguments, None, py);
    };
    let wanted = |flag: Option<&Bound<'py, PyAny>>| flag.map_or(Ok(false), Bound::is_truthy);
    let direction = match (wanted(read)?, wanted(write)?) {
        (true, false) => Direction::Read,
        (false, true) => Direction::Write,
        (true, true) => {
            return Err(PyRuntimeError::new_err(
                "not allowed to trampoline for reading and writing",
            ));
        }
        (false, false) => {
            return Err(PyRuntimeError::new_err(
                "trampoline has nothing to wait for: pass read=True or write=True",
            ));
        }
    };
    let fileno = number(fd)?;
    match timeout {
        Some(timeout) => wait(
            &hub,
            direction,
            fileno,
            Some((timeout, &exception()?)),
            mark_as_closed,
        ),
        None => wait(&hub, direction, fileno, None, mark_as_closed),
    }
}

/// The number of a file object, or of what is a number already.
fn number(fd: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let py = fd.py();
    if fd.is_instance_of::<PyInt>() {
        return fd.extract();
    }
    match context::attribute(fd, intern!(py, "fileno"))? {
        Some(fileno) => fileno.call0()?.extract(),
        None => fd.extract(),
    }
}

/// Blocks the running greenlet until a descriptor is ready, or raises an exception after some
/// seconds.
fn wait<'py>(
    hub: &Bound<'py, HubCore>,
    direction: Direction,
    fileno: RawFd,
    timeout: Option<(&Bound<'py, PyAny>, &Bound<'py, PyAny>)>,
    mark_as_closed: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    block(
        hub,
        listen(hub, direction, fileno, timeout, mark_as_closed)?,
    )
}

/// Blocks the running greenlet for what it has begun to wait for.
pub(super) fn block<'py>(
    hub: &Bound<'py, HubCore>,
    waiting: Waiting<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let outcome = HubCore::block(hub, &waiting.current, None);
    HubCore::unlisten(hub, &waiting.listener);
    if let Some(timer) = waiting.timer {
        timer.get().cancel(hub.py());
    }
    outcome
}

/// A wait that has begun.
pub(super) struct Waiting<'py> {
    current: Bound<'py, PyAny>,
    listener: Bound<'py, Listener>,
    timer: Option<Bound<'py, GreenTimer>>,
}

/// Begins a wait: everything before the block, in a stack frame that is gone while it lasts.
#[inline(never)]
pub(super) fn listen<'py>(
    hub: &Bound<'py, HubCore>,
    direction: Direction,
    fileno: RawFd,
    timeout: Option<(&Bound<'py, PyAny>, &Bound<'py, PyAny>)>,
    mark_as_closed: Option<&Bound<'py, PyAny>>,
) -> PyResult<Waiting<'py>> {
    let current = greenlet::current(hub.py())?;
    if is_hub(hub, &current) {
        return Err(blocking_in_hub());
    }
    let listener = listener(&current, direction, fileno, mark_as_closed)?;
    let timer = match timeout {
        Some((seconds, exception)) => {
            Some(HubCore::schedule_throw(hub, seconds, &current, exception)?)
        }
        None => None,
    };
    if let Err(error) = HubCore::listen(hub, &listener) {
        if let Some(timer) = timer {
            timer.get().cancel(hub.py());
        }
        return Err(error);
    }
    Ok(Waiting {
        current,
        listener,
        timer,
    })
}

fn listener<'py>(
    current: &Bound<'py, PyAny>,
    direction: Direction,
    fileno: RawFd,
    mark_as_closed: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, Listener>> {
    if greenlet::has_plain_switch(current)? {
        return Listener::of_greenlet(direction, fileno, mark_as_closed, current);
    }
    let py = current.py();
    let switch = current.getattr(intern!(py, "switch"))?;
    let throw = current.getattr(intern!(py, "throw"))?;
    let mark = mark_as_closed.map_or_else(|| py.None().into_bound(py), Bound::clone);
    let current = current.clone();
    Bound::new(
        py,
        Listener::new(direction, fileno, &switch, &throw, &mark, current),
    )
}
