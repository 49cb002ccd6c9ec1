//! What a transport does when its socket is readable.

use std::io;
use std::os::fd::RawFd;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::{Stream, Transport, end, fail, os_error, reader, sys};
use crate::cell::intern;
use crate::datagram::is_idle;

const READ_ERROR: &str = "Fatal read error on socket transport";
const DATA_ERROR: &str = "Fatal error: protocol.data_received() call failed.";
const BUFFER_ERROR: &str = "Fatal error: protocol.buffer_updated() call failed.";

/// Receives what is there, and tells the protocol what came of it.
pub(super) fn ready(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    // There is more, or will be soon: who sends so much may wait for room.
    while once(transport, stream)? && may_go_on(transport, stream) {}
    Ok(())
}

/// Whether a transport may receive again before anybody else has a turn.
fn may_go_on(transport: &Transport<'_>, stream: &Stream) -> bool {
    if stream.closing.get() || stream.paused.get() {
        return false;
    }
    let owner = transport.getattr(intern!(transport.py(), "_loop"));
    owner.is_ok_and(|owner| is_idle(&owner))
}

/// Receives once, and tells the protocol what came of it; whether that was all there was room for.
fn once(transport: &Transport<'_>, stream: &Stream) -> PyResult<bool> {
    let py = transport.py();
    if stream.is_lost() || !stream.has_sock(py) {
        return Ok(false);
    }
    // One of None fails as it does in asyncio, instead of leaving the data there for ever.
    let protocol = stream.protocol.get(py).unwrap_or_else(|| py.None());
    let protocol = protocol.into_bound(py);
    if stream.buffered.get() {
        return into_buffer(transport, stream, &protocol);
    }
    let failed = |error| fail(transport, error, DATA_ERROR).map(|()| false);
    if stream.feeds.get() {
        match reader::target(&protocol) {
            Ok(Some(target)) => return into_reader(transport, stream, &target),
            Ok(None) => {}
            Err(error) => return failed(error),
        }
    }
    let (data, is_full) = match sys::receive(py, stream.descriptor(py), stream.last()) {
        Ok(Some(received)) => received,
        Ok(None) => return end::at_eof(transport, stream).map(|()| false),
        Err(error) => return refused(transport, &error).map(|()| false),
    };
    stream.set_last(data.as_bytes().len());
    match protocol.call_method1(intern!(py, "data_received"), (data,)) {
        Ok(_) => Ok(is_full),
        // Ours for TLS is a buffered protocol to everybody else.
        Err(error) if protocol.hasattr(intern!(py, "buffer_updated"))? => {
            fail(transport, error, BUFFER_ERROR).map(|()| false)
        }
        Err(error) => failed(error),
    }
}

/// Has the loop call when the socket is readable.
pub(super) fn watch(transport: &Transport<'_>, fd: RawFd) -> PyResult<()> {
    let py = transport.py();
    let owner = transport.getattr(intern!(py, "_loop"))?;
    let ready = transport.getattr(intern!(py, "_read_ready"))?;
    owner
        .call_method1(intern!(py, "_add_reader"), (fd, ready))
        .map(drop)
}

/// Receives for a reader of asyncio's, into its own memory.
fn into_reader(
    transport: &Transport<'_>,
    stream: &Stream,
    target: &reader::Target<'_>,
) -> PyResult<bool> {
    let py = transport.py();
    let failed = |error| fail(transport, error, DATA_ERROR).map(|()| false);
    let size = match sys::receive_onto(&target.buffer, stream.descriptor(py)) {
        Ok(Ok(0)) => return end::at_eof(transport, stream).map(|()| false),
        Ok(Ok(size)) => size,
        Ok(Err(error)) => return refused(transport, &error).map(|()| false),
        Err(error) => return failed(error),
    };
    match reader::tell(target) {
        Ok(()) => Ok(size == sys::MOST),
        Err(error) => failed(error),
    }
}

fn into_buffer<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    protocol: &Bound<'py, PyAny>,
) -> PyResult<bool> {
    let py = transport.py();
    let fail = |error, what| fail(transport, error, what).map(|()| false);
    let buffer = match take_buffer(protocol) {
        Ok(buffer) => buffer,
        Err(error) => {
            return fail(error, "Fatal error: protocol.get_buffer() call failed.");
        }
    };
    // The protocol may have closed the transport, or blocked while somebody else did.
    if stream.is_lost() {
        return Ok(false);
    }
    let (received, room) = match sys::receive_into(&buffer, || stream.descriptor(py)) {
        Ok(received) => received,
        Err(error) => return fail(error, READ_ERROR),
    };
    drop(buffer);
    let received = match received {
        Ok(0) => return end::at_eof(transport, stream).map(|()| false),
        Ok(received) => received,
        Err(error) => return refused(transport, &error).map(|()| false),
    };
    match protocol.call_method1(intern!(py, "buffer_updated"), (received,)) {
        Ok(_) => Ok(received == room),
        Err(error) => fail(error, BUFFER_ERROR),
    }
}

fn take_buffer<'py>(protocol: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let buffer = protocol.call_method1(intern!(protocol.py(), "get_buffer"), (-1,))?;
    if buffer.len()? == 0 {
        return Err(PyRuntimeError::new_err(
            "get_buffer() returned an empty buffer",
        ));
    }
    Ok(buffer)
}

fn refused(transport: &Transport<'_>, error: &io::Error) -> PyResult<()> {
    if error.kind() == io::ErrorKind::WouldBlock {
        return Ok(());
    }
    fail(transport, os_error(transport.py(), error), READ_ERROR)
}
