//! How a transport begins: what the constructors of the stdlib's classes do, of all its versions.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::{Stream, Transport, known, optional, os_error, read, sys};
use crate::cell::intern;
use crate::core::LoopCore;
use crate::imported::Imported;
#[cfg(Py_3_12)]
use crate::sockets;
use crate::transports::Transports;

/// What wakes a future, as the stdlib has it.
static WAKE: Imported = Imported::new("asyncio.futures", "_set_result_unless_cancelled");

/// What a transport is made of.
pub(super) struct Parts<'a, 'py> {
    pub(super) owner: &'a Bound<'py, PyAny>,
    pub(super) sock: &'a Bound<'py, PyAny>,
    pub(super) protocol: &'a Bound<'py, PyAny>,
    pub(super) waiter: Option<&'a Bound<'py, PyAny>>,
    pub(super) extra: Option<&'a Bound<'py, PyAny>>,
    pub(super) server: &'a Bound<'py, PyAny>,
}

/// A new transport of a class for a socket, as its constructor makes it but for the frames; `None` if the
/// socket is not one that the system can be called for.
#[pyfunction]
pub(crate) fn open_stream<'py>(
    class_: &Bound<'py, PyType>,
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    waiter: Option<&Bound<'py, PyAny>>,
    extra: Option<&Bound<'py, PyAny>>,
    server: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = class_.py();
    if !sys::can_stream(sock)? {
        return Ok(None);
    }
    #[cfg(Py_3_12)]
    sockets::ensure_free(owner, sock)?;
    let fields = Bound::new(py, Stream::new())?;
    let object = py.get_type::<PyAny>();
    let transport = object.call_method1(intern!(py, "__new__"), (class_,))?;
    transport.setattr(intern!(py, "_stream"), &fields)?;
    let parts = Parts {
        owner,
        sock,
        protocol,
        waiter,
        extra,
        server,
    };
    begin(transport.cast()?, fields.get(), &parts)?;
    Ok(Some(transport))
}

/// Fills in a new transport, and has the loop tell its protocol.
pub(super) fn begin<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    parts: &Parts<'_, 'py>,
) -> PyResult<()> {
    let py = transport.py();
    let Parts { owner, sock, .. } = *parts;
    sys::check_socket(sock)?;
    // The flow control's.
    transport.setattr(intern!(py, "_loop"), owner)?;
    let fd = sys::descriptor(sock);
    drop(stream.sock.replace(py, Some(sock.clone().unbind())));
    stream.fd.store(fd, Ordering::Relaxed);
    known::note(stream, sock, parts.extra)?;
    // Whose it is.
    transport.call_method1(intern!(py, "set_protocol"), (parts.protocol,))?;
    stream.queued.set(false);
    if let Some(server) = optional(parts.server) {
        drop(stream.server.replace(py, Some(server.clone().unbind())));
        #[cfg(Py_3_13)]
        server.call_method1(intern!(py, "_attach"), (transport,))?;
        #[cfg(not(Py_3_13))]
        server.call_method0(intern!(py, "_attach"))?;
    }
    let transports = owner.getattr(intern!(py, "_transports"))?;
    match transports.cast::<Transports>() {
        Ok(transports) => transports.get().insert(fd, transport.as_any())?,
        Err(_) => transports.set_item(fd, transport)?,
    }
    sys::set_nodelay(sock).map_err(|error| os_error(py, &error))?;
    // The protocol is told, then data is received, then who waits is woken.
    let call_soon = intern!(py, "call_soon");
    let protocol = stream.protocol.get(py).unwrap_or_else(|| py.None());
    let made = protocol.getattr(py, intern!(py, "connection_made"))?;
    owner.call_method1(call_soon, (made, transport))?;
    let start = transport.getattr(intern!(py, "_start_reading"))?;
    owner.call_method1(call_soon, (start,))?;
    if let Some(waiter) = parts.waiter {
        owner.call_method1(call_soon, (WAKE.get(py)?, waiter, py.None()))?;
    }
    Ok(())
}

/// Receives from now on, unless the protocol has other ideas.
pub(super) fn start_reading(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    if stream.closing.get() || stream.paused.get() {
        return Ok(());
    }
    let fd: RawFd = stream.fd.load(Ordering::Relaxed);
    read::watch(transport, fd)
}
