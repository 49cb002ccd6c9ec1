//! `eventlet.hubs.trampoline`: the green block of every green socket.

use std::os::fd::RawFd;

use evio_loop::Direction;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;

use super::{Original, blocking_in_hub, hub_of_thread, is_hub};
use crate::hub::HubCore;
use crate::listener::Listener;
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
    let timeout_exc = match timeout_exc {
        Some(exception) => exception,
        None => py
            .import("eventlet.timeout")?
            .getattr(intern!(py, "Timeout"))?,
    };
    let Some(hub) = hub_of_thread(py)? else {
        let arguments = (fd, read, write, timeout, timeout_exc, mark_as_closed);
        return ORIGINAL.call(arguments, None, py);
    };
    let current = greenlet::current(py);
    if is_hub(&hub, &current) {
        return Err(blocking_in_hub());
    }
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
    let timer = timeout
        .map(|timeout| HubCore::schedule_throw(&hub, timeout, &current, &timeout_exc))
        .transpose()?;
    let outcome = wait(&hub, &current, direction, fileno, mark_as_closed);
    if let Some(timer) = timer {
        timer.get().cancel(py);
    }
    outcome
}

/// The number of a file object, or of what is a number already.
fn number(fd: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let py = fd.py();
    match fd.extract() {
        Ok(number) => Ok(number),
        Err(_) => match context::attribute(fd, intern!(py, "fileno"))? {
            Some(fileno) => fileno.call0()?.extract(),
            None => fd.extract(),
        },
    }
}

fn wait<'py>(
    hub: &Bound<'py, HubCore>,
    current: &Bound<'py, PyAny>,
    direction: Direction,
    fileno: RawFd,
    mark_as_closed: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let listener = Listener::of_greenlet(direction, fileno, mark_as_closed, current)?;
    HubCore::listen(hub, &listener)?;
    let outcome = HubCore::block(hub, current, None);
    HubCore::unlisten(hub, &listener);
    outcome
}
