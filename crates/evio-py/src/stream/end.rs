//! How a transport ends: at the end of what its peer sends, by `close()`, and when its protocol is told.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;

use super::{Stream, Transport, call_loop, fail};
use crate::cell::intern;
use crate::core::LoopCore;

/// The peer sends no more: the protocol says whether the transport stays open.
pub(super) fn at_eof(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    let py = transport.py();
    let owner = transport.getattr(intern!(py, "_loop"))?;
    let debug = owner
        .cast::<LoopCore>()
        .is_ok_and(|owner| owner.get().debug());
    let protocol = stream.protocol.get(py).filter(|_| !debug);
    let Some(protocol) = protocol else {
        return transport
            .call_method0(intern!(py, "_read_ready__on_eof"))
            .map(drop);
    };
    let stays = protocol
        .call_method0(py, intern!(py, "eof_received"))
        .and_then(|stays| stays.is_truthy(py));
    match stays {
        // The transport may be another one's by now, where the protocol has blocked greenly.
        Ok(_) if stream.is_lost() => Ok(()),
        Ok(true) => call_loop(transport, stream, intern!(py, "_remove_reader"), None),
        Ok(false) => transport.call_method0(intern!(py, "close")).map(drop),
        Err(error) => fail(
            transport,
            error,
            "Fatal error: protocol.eof_received() call failed.",
        ),
    }
}

/// `transport.close()`: what is queued is still sent.
pub(super) fn close(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    let py = transport.py();
    if stream.closing.replace(true) {
        return Ok(());
    }
    call_loop(transport, stream, intern!(py, "_remove_reader"), None)?;
    if stream.queued.get() && !stream.queue(py)?.is_empty()? {
        return Ok(());
    }
    stream.count_lost();
    if stream.queued.get() {
        call_loop(transport, stream, intern!(py, "_remove_writer"), None)?;
    }
    let lose = transport.getattr(intern!(py, "_call_connection_lost"))?;
    transport
        .getattr(intern!(py, "_loop"))?
        .call_method1(intern!(py, "call_soon"), (lose, py.None()))
        .map(drop)
}

/// Tells the protocol that the connection is lost, and lets go of everything.
pub(super) fn lose<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    error: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let py = transport.py();
    let told = tell(transport, stream, error);
    let closed = let_go(transport, stream);
    match (told, closed) {
        (Err(error), Err(later)) if !ends(py, &error) => {
            // As an exception in a `finally` takes the place of another.
            later.set_context(py, Some(error));
            Err(later)
        }
        (Err(error), _) => Err(error),
        (Ok(()), closed) => closed,
    }
}

fn ends(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

fn tell<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    error: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let py = transport.py();
    let connected = transport.getattr(intern!(py, "_protocol_connected"))?;
    let mut protocol = stream.protocol.get(py);
    if protocol.is_none() && stream.has_sock(py) {
        // One of None fails as it does in asyncio.
        protocol = Some(py.None());
    }
    match protocol.filter(|_| connected.is_truthy().unwrap_or(true)) {
        Some(protocol) => protocol
            .call_method1(py, intern!(py, "connection_lost"), (error,))
            .map(drop),
        None => Ok(()),
    }
}

fn let_go(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    let py = transport.py();
    if let Some(sock) = stream.sock(py) {
        sock.call_method0(py, intern!(py, "close"))?;
    }
    stream.part_from_socket(py);
    drop(stream.protocol.take(py));
    transport.setattr(intern!(py, "_loop"), py.None())?;
    let Some(server) = stream.server.get(py) else {
        return Ok(());
    };
    let server = server.into_bound(py);
    #[cfg(Py_3_13)]
    server.call_method1(intern!(py, "_detach"), (transport,))?;
    #[cfg(not(Py_3_13))]
    server.call_method0(intern!(py, "_detach"))?;
    drop(stream.server.take(py));
    Ok(())
}
