//! How a transport writes: at once what the socket takes, the rest when it takes more.
//!
//! No Python code runs between a send and the queueing of what it left, so that nobody else's data
//! comes between.

use std::io::{self, IoSlice};

use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::sys::View;
use super::{Stream, Transport, call_loop, fail, os_error, queue, sys};
use crate::cell::intern;
use crate::{step, task};

const WRITE_ERROR: &str = "Fatal write error on socket transport";

/// Buffers that one call may send.
const MOST_PIECES: usize = 1024;

/// Writes in vain of which nobody is told, after the connection was lost.
const SILENT_LOSSES: i64 = 5;

/// `transport.write()`.
pub(super) fn write<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    data: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let py = transport.py();
    if let Ok(bytes) = data.cast::<PyBytes>() {
        stream.check_writable(py, "write")?;
        return write_piece(transport, stream, bytes.as_bytes(), Some(bytes));
    }
    if !data.is_instance_of::<PyByteArray>() && !data.is_instance_of::<PyMemoryView>() {
        return Err(PyTypeError::new_err(format!(
            "data argument must be a bytes-like object, not '{}'",
            data.get_type().name()?
        )));
    }
    stream.check_writable(py, "write")?;
    if !data.is_truthy()? {
        return Ok(());
    }
    match View::of(data) {
        // A copy, since its owner may change it while it is sent.
        Ok(view) => write_piece(transport, stream, view.bytes(), None),
        Err(error) => fail(transport, error, WRITE_ERROR),
    }
}

/// Writes one piece of memory, and where it is the program's, which keeps it as it is.
fn write_piece<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    data: &[u8],
    owner: Option<&Bound<'py, PyBytes>>,
) -> PyResult<()> {
    let py = transport.py();
    if data.is_empty() {
        return Ok(());
    }
    if stream.is_lost() {
        return warn_of_loss(py, stream);
    }
    if stream.queued.get() {
        let queue = stream.queue(py)?;
        if !queue.is_empty()? {
            queue::push(&queue, data, owner, 0)?;
            return maybe_pause(transport);
        }
        stream.queued.set(false);
    }
    let sent = match sent(sys::send(stream.descriptor(py), data)) {
        Ok(sent) => sent,
        Err(error) => return fail(transport, os_error(py, &error), WRITE_ERROR),
    };
    if sent == data.len() {
        return Ok(());
    }
    stream.queued.set(true);
    queue::push(&stream.queue(py)?, data, owner, sent)?;
    await_room(transport, stream)
}

/// `transport.writelines()`.
pub(super) fn write_lines<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    pieces: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let py = transport.py();
    let Some(pieces) = pieces_of(pieces, stream)? else {
        return Ok(());
    };
    let views = match views_of(&pieces)? {
        Ok(views) => views,
        Err(_) if stream.is_lost() => return warn_of_loss(py, stream),
        Err(error) => return fail(transport, error, WRITE_ERROR),
    };
    // What was looked at may be the program's.
    stream.check_writable(py, "writelines")?;
    let whole = views.iter().map(|view| view.bytes().len()).sum::<usize>();
    if whole == 0 {
        return Ok(());
    }
    if stream.is_lost() {
        return warn_of_loss(py, stream);
    }
    let queue = stream.queue(py)?;
    let was_empty = queue.is_empty()?;
    let mut sent = 0;
    if was_empty {
        match send_all(py, stream, views.iter().map(View::bytes)) {
            Ok(count) => sent = count,
            Err(error) => {
                drop(views);
                return fail(transport, os_error(py, &error), WRITE_ERROR);
            }
        }
    }
    if sent == whole {
        return Ok(());
    }
    stream.queued.set(true);
    for (piece, view) in pieces.iter().zip(&views) {
        let data = view.bytes();
        let skipped = sent.min(data.len());
        sent -= skipped;
        if skipped < data.len() {
            queue::push(&queue, data, piece.cast().ok(), skipped)?;
        }
    }
    drop(views);
    if stream.is_lost() {
        // By who let go of a buffer.
        return Ok(());
    }
    if was_empty {
        await_room(transport, stream)
    } else {
        maybe_pause(transport)
    }
}

/// What there is to write, unless it is nothing: from Python 3.12 on asyncio looks whether it may be written
/// first, and takes whatever is false for nothing. Before that it joins the pieces.
fn pieces_of<'py>(
    pieces: &Bound<'py, PyAny>,
    stream: &Stream,
) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    if cfg!(Py_3_12) {
        stream.check_writable(pieces.py(), "writelines")?;
        if !pieces.is_truthy()? {
            return Ok(None);
        }
    }
    pieces.try_iter()?.collect::<PyResult<Vec<_>>>().map(Some)
}

/// The memory of each piece.
///
/// # Errors
///
/// Outside, that one has none. Inside, that the memory of one is in several pieces, by which asyncio's transport,
/// from Python 3.12 on, loses its connection.
fn views_of(pieces: &[Bound<'_, PyAny>]) -> PyResult<PyResult<Vec<View>>> {
    let mut views = Ok(Vec::with_capacity(pieces.len()));
    for (index, piece) in pieces.iter().enumerate() {
        match View::of(piece) {
            Ok(view) => {
                if let Ok(views) = &mut views {
                    views.push(view);
                }
            }
            Err(_) if cfg!(not(Py_3_12)) => {
                return Err(PyTypeError::new_err(format!(
                    "sequence item {index}: expected a bytes-like object, {} found",
                    piece.get_type().name()?
                )));
            }
            Err(error) if error.is_instance_of::<PyBufferError>(piece.py()) => views = Err(error),
            Err(error) => return Err(error),
        }
    }
    Ok(views)
}

/// Sends what is queued, now that the socket takes more.
pub(super) fn send_queued(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    let py = transport.py();
    if stream.is_lost() {
        return Ok(());
    }
    let queue = stream.queue(py)?;
    let pieces = queue::first(&queue, MOST_PIECES)?;
    let views = pieces.iter().map(View::of).collect::<PyResult<Vec<_>>>()?;
    let lengths: Vec<usize> = views.iter().map(|view| view.bytes().len()).collect();
    let outcome = send_all(py, stream, views.iter().map(View::bytes));
    drop((views, pieces));
    let sent = match outcome {
        Ok(sent) => sent,
        Err(error) => {
            let error = os_error(py, &error);
            return lose(transport, stream, &queue, error);
        }
    };
    queue::pop(&queue, &lengths, sent)?;
    transport.call_method0(intern!(py, "_maybe_resume_protocol"))?;
    // Whom that tells may have written, or given the connection up.
    if stream.is_lost() || !queue.is_empty()? {
        return Ok(());
    }
    call_loop(transport, stream, intern!(py, "_remove_writer"), None)?;
    if let Some(waiter) = waiting(py, stream)? {
        waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    if stream.closing.get() {
        stream.count_lost();
        let lose = transport.getattr(intern!(py, "_call_connection_lost"))?;
        if step::any_transport_parked() {
            // Perhaps in a callback of this transport, which comes first.
            let owner = transport.getattr(intern!(py, "_loop"))?;
            owner.call_method1(intern!(py, "call_soon"), (lose, py.None()))?;
        } else {
            lose.call1((py.None(),))?;
        }
    } else if stream.eof.get() {
        if let Some(sock) = stream.sock(py) {
            sock.call_method1(py, intern!(py, "shutdown"), (libc::SHUT_WR,))?;
        }
    }
    Ok(())
}

fn send_all<'a>(
    py: Python<'_>,
    stream: &Stream,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> io::Result<usize> {
    let pieces: Vec<IoSlice<'_>> = pieces
        .filter(|piece| !piece.is_empty())
        .take(MOST_PIECES)
        .map(IoSlice::new)
        .collect();
    let fd = stream.descriptor(py);
    sent(match pieces.as_slice() {
        [] => Ok(0),
        [piece] => sys::send(fd, piece),
        pieces => sys::send_pieces(fd, pieces),
    })
}

/// Nothing was sent, either, where the socket takes nothing now.
fn sent(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        outcome => outcome,
    }
}

/// Gives the connection up, because what is queued cannot be sent.
fn lose(
    transport: &Transport<'_>,
    stream: &Stream,
    queue: &Bound<'_, PyAny>,
    error: PyErr,
) -> PyResult<()> {
    let py = transport.py();
    call_loop(transport, stream, intern!(py, "_remove_writer"), None)?;
    queue.call_method0(intern!(py, "clear"))?;
    fail(transport, error.clone_ref(py), WRITE_ERROR)?;
    let waiter = waiting(py, stream)?;
    // The loss of the connection is no second answer.
    drop(stream.empty_waiter.take(py));
    if let Some(waiter) = waiter {
        waiter.call_method1(intern!(py, "set_exception"), (error.into_value(py),))?;
    }
    Ok(())
}

/// The future of who waits until the queue is empty, if somebody still does.
fn waiting<'py>(py: Python<'py>, stream: &Stream) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(waiter) = stream.empty_waiter.get(py) else {
        return Ok(None);
    };
    let waiter = waiter.into_bound(py);
    let done = task::is_done(&waiter)?;
    Ok(Some(waiter).filter(|_| !done))
}

fn await_room(transport: &Transport<'_>, stream: &Stream) -> PyResult<()> {
    let py = transport.py();
    let callback = transport.getattr(intern!(py, "_send_queued"))?;
    let method = intern!(py, "_add_writer");
    call_loop(transport, stream, method, Some(callback))?;
    maybe_pause(transport)
}

fn maybe_pause(transport: &Transport<'_>) -> PyResult<()> {
    transport
        .call_method0(intern!(transport.py(), "_maybe_pause_protocol"))
        .map(drop)
}

fn warn_of_loss(py: Python<'_>, stream: &Stream) -> PyResult<()> {
    if stream.count_lost() >= SILENT_LOSSES {
        py.import("asyncio.log")?
            .getattr("logger")?
            .call_method1("warning", ("socket.send() raised exception.",))?;
    }
    Ok(())
}
