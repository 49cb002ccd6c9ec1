//! Stream transports: what is hot of asyncio's `_SelectorSocketTransport`, in front of it.
//!
//! The stdlib's class has the rest, and reads and sets here by its own names what both sides need. It
//! has a layout of its own, beside which no native class can have fields; so those are an object in a
//! slot of the transport.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicUsize, Ordering};

use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError, PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::imported::Imported;

mod begin;
mod end;
mod known;
mod queue;
mod read;
mod reader;
#[allow(unsafe_code)] // The system calls, and the memory that they use.
pub(crate) mod sys;
mod write;

pub(crate) use begin::open_stream;
use known::Known;
pub(crate) use known::Peer;
pub(crate) use sys::write_method;

/// The native part of `SocketTransport`.
#[pyclass(subclass, frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct StreamCore;

/// The fields of a stream transport.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Stream {
    protocol: GilCell<Option<Py<PyAny>>>,
    /// Whether the protocol brings the memory into which is received.
    buffered: Flag,
    /// Whether the protocol may be asyncio's that feeds a reader.
    feeds: Flag,
    sock: GilCell<Option<Py<PyAny>>>,
    /// Whether the socket is closed, and stays only for who asks what it was.
    gone: Flag,
    fd: AtomicI32,
    known: Known,
    server: GilCell<Option<Py<PyAny>>>,
    /// What the socket has not taken yet: a container of the class that the stdlib uses, made when it is
    /// needed.
    queue: GilCell<Option<Py<PyAny>>>,
    /// Whether there may be something in the queue, or no queue yet.
    queued: Flag,
    /// The future of who waits until the queue is empty.
    empty_waiter: GilCell<Option<Py<PyAny>>>,
    /// How often something was written in vain since the connection was lost; 0 while it is not.
    lost: AtomicI64,
    eof: Flag,
    closing: Flag,
    paused: Flag,
    /// How much was received the last time, in bytes.
    last: AtomicUsize,
}

#[pymethods]
impl Stream {
    #[new]
    fn new() -> Self {
        Self {
            protocol: GilCell::new(None),
            buffered: Flag::new(false),
            feeds: Flag::new(false),
            sock: GilCell::new(None),
            gone: Flag::new(false),
            fd: AtomicI32::new(-1),
            known: Known::new(),
            server: GilCell::new(None),
            queue: GilCell::new(None),
            queued: Flag::new(true),
            empty_waiter: GilCell::new(None),
            lost: AtomicI64::new(0),
            eof: Flag::new(false),
            closing: Flag::new(false),
            paused: Flag::new(false),
            last: AtomicUsize::new(0),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for cell in self.objects() {
            if let Some(object) = cell.peek() {
                visit.call(&*object)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        for cell in self.objects() {
            drop(cell.take(py));
        }
    }
}

impl Stream {
    fn objects(&self) -> [&GilCell<Option<Py<PyAny>>>; 6] {
        [
            &self.protocol,
            &self.sock,
            &self.queue,
            &self.empty_waiter,
            &self.server,
            &self.known.extra,
        ]
    }

    /// The socket, while the connection is there.
    fn sock(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.sock.get(py).filter(|_| !self.gone.get())
    }

    fn has_sock(&self, py: Python<'_>) -> bool {
        !self.gone.get() && self.sock.with(py, |sock| sock.is_some())
    }

    /// Has no socket any more, but for who asks what it was.
    fn part_from_socket(&self, py: Python<'_>) {
        self.gone.set(true);
        if self.known.is_whole() {
            drop(self.sock.take(py));
        }
    }

    /// The socket's descriptor as it is now; no valid one if somebody has closed the socket.
    fn descriptor(&self, py: Python<'_>) -> RawFd {
        self.sock.with(py, |sock| match sock {
            Some(sock) if !self.gone.get() => sys::descriptor(sock.bind(py)),
            _ => -1,
        })
    }

    fn last(&self) -> usize {
        self.last.load(Ordering::Relaxed)
    }

    fn set_last(&self, size: usize) {
        self.last.store(size, Ordering::Relaxed);
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) != 0
    }

    fn count_lost(&self) -> i64 {
        self.lost.fetch_add(1, Ordering::Relaxed)
    }

    fn queue<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(queue) = self.queue.get(py) {
            return Ok(queue.into_bound(py));
        }
        if self.fd.load(Ordering::Relaxed) < 0 {
            return Err(unmade());
        }
        let queue = queue::make(py)?;
        // Making it may have let somebody else come first.
        let first = self.queue.with(py, |place| {
            let first = place.get_or_insert_with(|| queue.clone().unbind());
            first.clone_ref(py)
        });
        Ok(first.into_bound(py))
    }

    /// Refuses to write where nothing more may be written.
    fn check_writable(&self, py: Python<'_>, method: &str) -> PyResult<()> {
        if self.eof.get() {
            return Err(PyRuntimeError::new_err(format!(
                "Cannot call {method}() after write_eof()"
            )));
        }
        if self.empty_waiter.with(py, |waiter| waiter.is_some()) {
            return Err(PyRuntimeError::new_err(format!(
                "unable to {method}; sendfile is in progress"
            )));
        }
        Ok(())
    }
}

pub(crate) fn unmade() -> PyErr {
    PyRuntimeError::new_err("the transport was not initialised")
}

type Transport<'py> = Bound<'py, StreamCore>;

/// Does what the stdlib does with an exception, of whatever kind, in a callback of a transport.
///
/// # Errors
///
/// Those that end the loop.
fn fail(transport: &Transport<'_>, error: PyErr, what: &str) -> PyResult<()> {
    let py = transport.py();
    if error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py) {
        return Err(error);
    }
    let error = error.into_value(py);
    transport
        .call_method1(intern!(py, "_fail"), (error, what))
        .map(drop)
}

/// What Python raises for a system call that failed.
pub(crate) fn os_error(py: Python<'_>, error: &std::io::Error) -> PyErr {
    let code = error.raw_os_error();
    let text = py
        .import("os")
        .and_then(|os| os.call_method1(intern!(py, "strerror"), (code,)));
    match text {
        Ok(text) => PyOSError::new_err((code, text.unbind())),
        Err(error) => error,
    }
}

pub(crate) fn optional<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    Some(object.clone()).filter(|object| !object.is_none())
}

static BUFFERED_PROTOCOL: Imported = Imported::new("asyncio.protocols", "BufferedProtocol");

/// Whether a buffered protocol would rather have its data in a `bytes`, as ours of TLS.
fn takes_bytes(protocol: &Bound<'_, PyAny>) -> PyResult<bool> {
    let name = intern!(protocol.py(), "_takes_bytes");
    match protocol.get_type().getattr_opt(name)? {
        Some(takes) => takes.is_truthy(),
        None => Ok(false),
    }
}

fn stream<'py>(transport: &Transport<'py>) -> PyResult<Bound<'py, Stream>> {
    sys::stream(transport)
}

/// What the loop does when a transport's socket is readable.
pub(crate) fn read_ready(transport: &Transport<'_>) -> PyResult<()> {
    read::ready(transport, stream(transport)?.get())
}

fn field(
    transport: &Transport<'_>,
    of: impl FnOnce(&Stream) -> &GilCell<Option<Py<PyAny>>>,
) -> PyResult<Option<Py<PyAny>>> {
    Ok(of(stream(transport)?.get()).get(transport.py()))
}

fn set_field(
    transport: &Transport<'_>,
    of: impl FnOnce(&Stream) -> &GilCell<Option<Py<PyAny>>>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let value = optional(value).map(Bound::unbind);
    let old = of(stream(transport)?.get()).replace(transport.py(), value);
    drop(old);
    Ok(())
}

#[pymethods]
impl StreamCore {
    /// Fills in a new transport, as the constructors of the stdlib's classes do.
    #[pyo3(signature = (owner, sock, protocol, waiter, extra, server))]
    fn _begin<'py>(
        slf: &Transport<'py>,
        owner: &Bound<'py, PyAny>,
        sock: &Bound<'py, PyAny>,
        protocol: &Bound<'py, PyAny>,
        waiter: Option<&Bound<'py, PyAny>>,
        extra: Option<&Bound<'py, PyAny>>,
        server: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let parts = begin::Parts {
            owner,
            sock,
            protocol,
            waiter,
            extra,
            server,
        };
        begin::begin(slf, stream(slf)?.get(), &parts)
    }

    /// Receives from now on.
    fn _start_reading(slf: &Transport<'_>) -> PyResult<()> {
        begin::start_reading(slf, stream(slf)?.get())
    }

    /// Receives once, and tells the protocol.
    fn _read_ready(slf: &Transport<'_>) -> PyResult<()> {
        read_ready(slf)
    }

    /// Writes data that is in several pieces.
    fn writelines(slf: &Transport<'_>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        write::write_lines(slf, stream(slf)?.get(), list_of_data)
    }

    /// Sends what is queued.
    fn _send_queued(slf: &Transport<'_>) -> PyResult<()> {
        write::send_queued(slf, stream(slf)?.get())
    }

    /// Ends the connection when what is queued is sent.
    fn close(slf: &Transport<'_>) -> PyResult<()> {
        end::close(slf, stream(slf)?.get())
    }

    /// Tells the protocol that the connection is lost.
    fn _call_connection_lost<'py>(slf: &Transport<'py>, exc: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let stream = stream(slf)?;
        if stream
            .get()
            .empty_waiter
            .with(py, |waiter| waiter.is_some())
        {
            let name = intern!(py, "_lose_with_waiter");
            return slf.call_method1(name, (exc,)).map(drop);
        }
        end::lose(slf, stream.get(), exc)
    }

    /// What the loop calls when the socket takes data again.
    #[getter]
    fn _write_ready<'py>(slf: &Transport<'py>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "_send_queued"))
    }

    /// The stdlib keeps it in the instance from 3.12 on, a circle that this does without.
    #[setter(_write_ready)]
    fn set_write_ready(_slf: &Transport<'_>, _value: &Bound<'_, PyAny>) {}

    /// Whether the transport is closed or on its way to it.
    fn is_closing(slf: &Transport<'_>) -> PyResult<bool> {
        Ok(stream(slf)?.get().closing.get())
    }

    /// Whether the transport receives.
    fn is_reading(slf: &Transport<'_>) -> PyResult<bool> {
        let stream = stream(slf)?;
        Ok(!stream.get().closing.get() && !stream.get().paused.get())
    }

    #[getter]
    fn _protocol(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        field(slf, |stream| &stream.protocol)
    }

    /// Has another protocol from now on.
    fn set_protocol(slf: &Transport<'_>, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::put_protocol(slf, protocol)
    }

    #[setter(_protocol)]
    fn put_protocol(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let buffered = value.is_instance(BUFFERED_PROTOCOL.get(slf.py())?)? && !takes_bytes(value)?;
        let feeds = reader::may_feed(value)?;
        stream(slf)?.get().buffered.set(buffered);
        stream(slf)?.get().feeds.set(feeds);
        set_field(slf, |stream| &stream.protocol, value)
    }

    #[getter]
    fn _sock(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(stream(slf)?.get().sock(slf.py()))
    }

    #[setter(_sock)]
    fn set_sock(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if value.is_none() {
            stream(slf)?.get().part_from_socket(slf.py());
            return Ok(());
        }
        sys::check_socket(value)?;
        stream(slf)?.get().gone.set(false);
        set_field(slf, |stream| &stream.sock, value)
    }

    #[getter]
    fn _server(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        field(slf, |stream| &stream.server)
    }

    #[setter(_server)]
    fn set_server(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        set_field(slf, |stream| &stream.server, value)
    }

    #[getter]
    fn _extra<'py>(slf: &Transport<'py>) -> PyResult<Bound<'py, PyAny>> {
        known::extra(slf.py(), stream(slf)?.get())
    }

    #[setter(_extra)]
    fn set_extra(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        stream(slf)?.get().known.set(value);
        Ok(())
    }

    #[getter]
    fn _buffer<'py>(slf: &Transport<'py>) -> PyResult<Bound<'py, PyAny>> {
        stream(slf)?.get().queue(slf.py())
    }

    #[setter(_buffer)]
    fn set_buffer(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        queue::check(value)?;
        stream(slf)?.get().queued.set(true);
        set_field(slf, |stream| &stream.queue, value)
    }

    #[getter]
    fn _empty_waiter(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        field(slf, |stream| &stream.empty_waiter)
    }

    #[setter(_empty_waiter)]
    fn set_empty_waiter(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        set_field(slf, |stream| &stream.empty_waiter, value)
    }

    #[getter]
    fn _sock_fd(slf: &Transport<'_>) -> PyResult<RawFd> {
        Ok(stream(slf)?.get().fd.load(Ordering::Relaxed))
    }

    #[setter(_sock_fd)]
    fn set_sock_fd(slf: &Transport<'_>, value: RawFd) -> PyResult<()> {
        stream(slf)?.get().fd.store(value, Ordering::Relaxed);
        Ok(())
    }

    #[getter]
    fn _conn_lost(slf: &Transport<'_>) -> PyResult<i64> {
        Ok(stream(slf)?.get().lost.load(Ordering::Relaxed))
    }

    #[setter(_conn_lost)]
    fn set_conn_lost(slf: &Transport<'_>, value: i64) -> PyResult<()> {
        stream(slf)?.get().lost.store(value, Ordering::Relaxed);
        Ok(())
    }

    #[getter]
    fn _eof(slf: &Transport<'_>) -> PyResult<bool> {
        Ok(stream(slf)?.get().eof.get())
    }

    #[setter(_eof)]
    fn set_eof(slf: &Transport<'_>, value: bool) -> PyResult<()> {
        stream(slf)?.get().eof.set(value);
        Ok(())
    }

    #[getter]
    fn _closing(slf: &Transport<'_>) -> PyResult<bool> {
        Ok(stream(slf)?.get().closing.get())
    }

    #[setter(_closing)]
    fn set_closing(slf: &Transport<'_>, value: bool) -> PyResult<()> {
        stream(slf)?.get().closing.set(value);
        Ok(())
    }

    #[getter]
    fn _paused(slf: &Transport<'_>) -> PyResult<bool> {
        Ok(stream(slf)?.get().paused.get())
    }

    #[setter(_paused)]
    fn set_paused(slf: &Transport<'_>, value: bool) -> PyResult<()> {
        stream(slf)?.get().paused.set(value);
        Ok(())
    }
}

/// Calls a method of the transport's loop with its descriptor.
fn call_loop<'py>(
    transport: &Transport<'py>,
    stream: &Stream,
    method: &Bound<'py, PyString>,
    callback: Option<Bound<'py, PyAny>>,
) -> PyResult<()> {
    let py = transport.py();
    let owner = transport.getattr(intern!(py, "_loop"))?;
    let fd = stream.fd.load(Ordering::Relaxed);
    match callback {
        Some(callback) => owner.call_method1(method, (fd, callback)),
        None => owner.call_method1(method, (fd,)),
    }
    .map(drop)
}
