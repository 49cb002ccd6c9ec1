//! How a transport begins: what the constructors of the stdlib's classes do, of all its versions.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{Stream, Transport, optional, os_error, read, sys};
use crate::address::{self, Address};
use crate::cell::{Once, intern};
use crate::transports::Transports;

/// From how many bytes on in its queue a transport pauses its protocol.
const HIGH_WATER: usize = 64 * 1024;

/// What the stdlib has at hand by its own names.
struct Stdlib {
    transport_socket: Py<PyAny>,
    #[cfg(Py_3_12)]
    queue: Py<PyAny>,
    wake: Py<PyAny>,
}

fn stdlib(py: Python<'_>) -> PyResult<&'static Stdlib> {
    static STDLIB: Once<Stdlib> = Once::new();
    STDLIB.get_or_try_init(py, || {
        Ok(Stdlib {
            transport_socket: py
                .import("asyncio.trsock")?
                .getattr("TransportSocket")?
                .unbind(),
            #[cfg(Py_3_12)]
            queue: py.import("collections")?.getattr("deque")?.unbind(),
            wake: py
                .import("asyncio.futures")?
                .getattr("_set_result_unless_cancelled")?
                .unbind(),
        })
    })
}

/// What a transport is made of.
pub(super) struct Parts<'a, 'py> {
    pub(super) owner: &'a Bound<'py, PyAny>,
    pub(super) sock: &'a Bound<'py, PyAny>,
    pub(super) protocol: &'a Bound<'py, PyAny>,
    pub(super) waiter: Option<&'a Bound<'py, PyAny>>,
    pub(super) extra: Option<Bound<'py, PyDict>>,
    pub(super) server: &'a Bound<'py, PyAny>,
}

/// Fills in a new transport, and has the loop tell its protocol.
pub(super) fn begin<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    parts: &Parts<'_, 'py>,
) -> PyResult<()> {
    let py = transport.py();
    let Parts { owner, sock, .. } = *parts;
    let stdlib = stdlib(py)?;
    let set = |name, value: &Bound<'py, PyAny>| transport.setattr(name, value);
    // The flow control's.
    set(intern!(py, "_loop"), owner)?;
    transport.setattr(intern!(py, "_protocol_paused"), false)?;
    // As the stdlib's has it without arguments.
    transport.setattr(intern!(py, "_high_water"), HIGH_WATER)?;
    transport.setattr(intern!(py, "_low_water"), HIGH_WATER / 4)?;
    // What is known of the connection.
    let extra = match &parts.extra {
        Some(extra) => extra.clone(),
        None => PyDict::new(py),
    };
    set(intern!(py, "_extra"), extra.as_any())?;
    let view = stdlib.transport_socket.bind(py).call1((sock,))?;
    extra.set_item(intern!(py, "socket"), view)?;
    extra.set_item(intern!(py, "sockname"), own_address(sock)?)?;
    let peername = intern!(py, "peername");
    if !extra.contains(peername)? {
        let peer = none_for_os_error(py, sock.call_method0(intern!(py, "getpeername")))?;
        extra.set_item(peername, peer)?;
    }
    // Whose it is.
    sys::check_socket(sock)?;
    let fd = sys::descriptor(sock);
    drop(stream.sock.replace(py, Some(sock.clone().unbind())));
    stream.fd.store(fd, Ordering::Relaxed);
    transport.call_method1(intern!(py, "set_protocol"), (parts.protocol,))?;
    if !parts.server.is_none() {
        set(intern!(py, "_server"), parts.server)?;
    }
    #[cfg(Py_3_12)]
    let queue = stdlib.queue.bind(py).call0()?;
    #[cfg(not(Py_3_12))]
    let queue = pyo3::types::PyByteArray::new(py, b"").into_any();
    drop(stream.queue.replace(py, Some(queue.unbind())));
    stream.queued.set(false);
    if let Some(server) = optional(parts.server) {
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
        owner.call_method1(call_soon, (&stdlib.wake, waiter, py.None()))?;
    }
    Ok(())
}

/// `sock.getsockname()`, or `None` where that fails.
fn own_address<'py>(sock: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = sock.py();
    if address::is_known(sys::family(sock)) {
        let mut address = Address::new();
        return match sys::own_address(sys::descriptor(sock), &mut address) {
            Ok(()) => address.object(py),
            Err(_) => Ok(py.None().into_bound(py)),
        };
    }
    none_for_os_error(py, sock.call_method0(intern!(py, "getsockname")))
}

fn none_for_os_error<'py>(
    py: Python<'py>,
    outcome: PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    match outcome {
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyOSError>(py) => {
            Ok(py.None().into_bound(py))
        }
        outcome => outcome,
    }
}

/// Receives from now on, unless the protocol has other ideas.
pub(super) fn start_reading(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    if stream.closing.get() || stream.paused.get() {
        return Ok(());
    }
    let fd: RawFd = stream.fd.load(Ordering::Relaxed);
    read::watch(transport, fd)
}
