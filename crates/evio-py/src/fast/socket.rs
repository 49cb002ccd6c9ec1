//! `GreenSocket._recv_loop`: what all receiving methods of a green socket do.

use std::ffi::c_void;
use std::io;
use std::os::fd::RawFd;

use evio_loop::Direction;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyEOFError, PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyInt, PyTuple};

use super::{Original, hub_of_thread, trampoline};
use crate::cell::{GilCell, intern};
use crate::hub::HubCore;
use crate::imported::Imported;
use crate::stream::os_error;

static ORIGINAL: Original = Original::new("eventlet.greenio.base:GreenSocket", "_recv_loop");

/// More than this, in bytes, there may be no memory for.
const MODEST: usize = 1 << 24;

/// Receives, and blocks greenly first when there is nothing.
///
/// eventlet finds that out by an exception, the dearest part of a green block. This looks before,
/// unless there was something at once the last time.
#[pyfunction]
#[pyo3(signature = (green, receive, empty, /, *args))]
pub(crate) fn recv_loop<'py>(
    green: &Bound<'py, PyAny>,
    receive: &Bound<'py, PyAny>,
    empty: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    static GREEN_SOCKET: Imported = Imported::new("eventlet.greenio.base", "GreenSocket");
    let py = green.py();
    if green
        .getattr(intern!(py, "act_non_blocking"))?
        .is_truthy()?
    {
        return receive.call1(args);
    }
    let fd = green.getattr(intern!(py, "fd"))?;
    // A method in C is the socket module's; TLS and others bring their own.
    let known =
        green.get_type().is(GREEN_SOCKET.get(py)?) && receive.is_instance_of::<PyCFunction>();
    let hub = hub_of_thread(py)?.filter(|_| known);
    let (Some(hub), true) = (hub, args.get_item(0)?.is_truthy()?) else {
        let (green, receive) = (green.clone(), receive.clone());
        let first = [green, receive, empty.clone()];
        let all: Vec<_> = first.into_iter().chain(args.iter()).collect();
        return ORIGINAL.call(PyTuple::new(py, all)?, None, py);
    };
    let fileno = fd.call_method0(intern!(py, "fileno"))?.extract()?;
    let ready = hub.get().ready_at_once();
    let mut attempt = if can_look(args)? && !ready.get(py, fileno) {
        look(fileno).err()
    } else {
        None
    };
    ready.set(py, fileno, attempt.is_none());
    loop {
        let error = match attempt.take() {
            Some(error) => error,
            None => match receive.call1(args) {
                Err(error) if error.is_instance_of::<PyOSError>(py) => match number(&error, py)? {
                    Some(code) if blocks(code) || is_closed(code) => {
                        io::Error::from_raw_os_error(code)
                    }
                    _ => return Err(error),
                },
                outcome => return outcome,
            },
        };
        match error.raw_os_error() {
            Some(code) if blocks(code) => {
                ready.set(py, fileno, false);
                wait(&hub, green, fileno)?;
            }
            Some(code) if is_closed(code) => return Ok(empty.clone()),
            Some(_) => return Err(os_error(py, &error)),
            None => return Err(error.into()),
        }
    }
}

/// By descriptor, whether there was something to receive without a wait the last time.
pub(crate) struct ReadyAtOnce(GilCell<Vec<u64>>);

impl ReadyAtOnce {
    pub(crate) fn new() -> Self {
        Self(GilCell::new(Vec::new()))
    }

    fn place(fd: RawFd) -> (usize, u64) {
        let fd = usize::try_from(fd).unwrap_or(0);
        (fd / 64, 1 << (fd % 64))
    }

    fn get(&self, py: Python<'_>, fd: RawFd) -> bool {
        let (word, bit) = Self::place(fd);
        self.0.with(py, |words| {
            words.get(word).is_some_and(|word| word & bit != 0)
        })
    }

    fn set(&self, py: Python<'_>, fd: RawFd, ready: bool) {
        let (word, bit) = Self::place(fd);
        self.0.with(py, |words| {
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] = if ready {
                words[word] | bit
            } else {
                words[word] & !bit
            };
        });
    }
}

/// Whether a call takes what is there first: no flags, and nothing wrong with its arguments, of which
/// the program must be told before any wait.
fn can_look(args: &Bound<'_, PyTuple>) -> PyResult<bool> {
    let exactly = |place: usize| -> PyResult<Option<usize>> {
        let value = args.get_item(place)?;
        let int = value.cast_exact::<PyInt>().ok();
        Ok(int.and_then(|int| int.extract().ok()))
    };
    match args.len() {
        2 => Ok(exactly(0)?.is_some_and(|size| size <= MODEST) && exactly(1)? == Some(0)),
        3 => {
            let Ok(buffer) = PyBuffer::<u8>::get(&args.get_item(0)?) else {
                return Ok(false);
            };
            let whole = !buffer.readonly() && buffer.is_c_contiguous();
            let fits = exactly(1)?.is_some_and(|size| size <= buffer.item_count());
            Ok(whole && fits && exactly(2)? == Some(0))
        }
        _ => Ok(false),
    }
}

/// Whether something can be received, or why not; what only `receive` can find out is no error.
fn look(fileno: RawFd) -> io::Result<()> {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: the buffer is a live byte, as long as the call says, and the kernel checks the number.
    let received = unsafe { libc::recv(fileno, (&raw mut byte).cast::<c_void>(), 1, flags) };
    if received >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINTR | libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) => {
            Ok(())
        }
        _ => Err(error),
    }
}

/// On Linux a socket that is not connected yet is expected to block.
fn blocks(code: i32) -> bool {
    code == libc::EAGAIN || code == libc::EWOULDBLOCK || code == libc::ENOTCONN
}

fn is_closed(code: i32) -> bool {
    matches!(code, libc::ECONNRESET | libc::ESHUTDOWN | libc::EPIPE)
}

fn number(error: &PyErr, py: Python<'_>) -> PyResult<Option<i32>> {
    let value = error.value(py);
    let number = value.getattr(intern!(py, "errno"))?;
    number.extract()
}

fn wait<'py>(hub: &Bound<'py, HubCore>, green: &Bound<'py, PyAny>, fileno: RawFd) -> PyResult<()> {
    let waiting = begin_wait(hub, green, fileno)?;
    match trampoline::block(hub, waiting) {
        Ok(_) => Ok(()),
        Err(error) => Err(end_wait(green, error)),
    }
}

#[inline(never)]
fn begin_wait<'py>(
    hub: &Bound<'py, HubCore>,
    green: &Bound<'py, PyAny>,
    fileno: RawFd,
) -> PyResult<trampoline::Waiting<'py>> {
    let py = hub.py();
    if green.getattr(intern!(py, "_closed"))?.is_truthy()? {
        return Err(PyEOFError::new_err(()));
    }
    let mark = green.getattr(intern!(py, "_mark_as_closed"))?;
    let seconds = green.getattr(intern!(py, "_timeout"))?;
    if seconds.is_none() {
        return trampoline::listen(hub, Direction::Read, fileno, None, Some(&mark));
    }
    let late = PyTimeoutError::new_err("timed out").into_value(py);
    let timeout = Some((&seconds, late.bind(py).as_any()));
    trampoline::listen(hub, Direction::Read, fileno, timeout, Some(&mark))
}

/// What a wait that failed means for the socket.
#[inline(never)]
fn end_wait(green: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    static CLOSED: Imported = Imported::new("eventlet.greenio.base", "IOClosed");
    let py = green.py();
    let is_closed = |closed| error.matches(py, closed).map_err(PyErr::from);
    let noted = match CLOSED.get(py).and_then(is_closed) {
        Ok(true) => green.setattr(intern!(py, "_closed"), true),
        Ok(false) => return error,
        Err(error) => Err(error),
    };
    noted.err().unwrap_or_else(|| PyEOFError::new_err(()))
}
