//! Signals that do not interrupt the wait they should end, and Python's wakeup descriptor, which tells
//! of them.
//!
//! Python runs signal handlers in the main thread. A signal that is caught between its last look and
//! the wait, or by another thread, interrupts nothing: the interpreter only sets a flag, and writes a
//! byte to the one descriptor that the process may name for this. While an engine waits in the main
//! thread that is ours, and the engine watches the other end. The byte means "look again": handlers of
//! ours tell the loops themselves. It is only where the program has put a handler of its own in the
//! place of ours that the loops are told by the byte.

use std::cell::Cell;
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::cell::{Flag, GilCell};

/// How long the descriptor is believed to be ours: anybody may set another.
const BELIEVED: u64 = 10_000_000;

/// How long a wait may be that a signal may not end, because the descriptor is somebody else's.
pub(crate) const UNHEARD_WAIT: Duration = Duration::from_millis(500);

/// The end that the engines of the main thread watch, and the one that Python writes to.
static ENDS: GilCell<Option<(UnixStream, UnixStream)>> = GilCell::new(None);

/// When to look again whose descriptor it is.
static LOOK_AGAIN: AtomicU64 = AtomicU64::new(0);

/// Whether it was ours when last looked at.
static IS_OURS: Flag = Flag::new(false);

/// Counts the processes since the first: in a forked child another thread may be the main one.
static FORKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this is the main thread, as far as that is known, and in which process it was found out.
    static IS_MAIN: Cell<(u64, Option<bool>)> = const { Cell::new((0, None)) };
}

fn is_main() -> Option<bool> {
    let (process, is_main) = IS_MAIN.get();
    is_main.filter(|_| process == FORKS.load(Ordering::Relaxed))
}

/// What a wait in this thread has to heed.
pub(crate) struct Heed {
    /// Signals make this descriptor readable; in other threads than the main one there is none.
    pub(crate) fd: Option<RawFd>,
    /// Wait no longer than this.
    pub(crate) most: Option<Duration>,
}

/// Sees to it that a signal ends the wait that is about to begin in this thread.
///
/// Nobody else can set the descriptor in the middle of a wait, so one that begins with a look at it
/// may be long. The others end when the look is too long ago.
pub(crate) fn prepare(py: Python<'_>, now: u64) -> PyResult<Heed> {
    let elsewhere = Heed {
        fd: None,
        most: None,
    };
    let mut most = None;
    match is_main() {
        Some(false) => return Ok(elsewhere),
        Some(true) if now < LOOK_AGAIN.load(Ordering::Relaxed) => {
            let believed = LOOK_AGAIN.load(Ordering::Relaxed) - now;
            most = Some(Duration::from_nanos(believed));
        }
        _ => {
            let is_main = claim(py)?;
            IS_MAIN.set((FORKS.load(Ordering::Relaxed), Some(is_main)));
            if !is_main {
                return Ok(elsewhere);
            }
            LOOK_AGAIN.store(now.saturating_add(BELIEVED), Ordering::Relaxed);
        }
    }
    let fd = ENDS.with(py, |ends| ends.as_ref().map(|(near, _)| near.as_raw_fd()));
    Ok(match fd.filter(|_| IS_OURS.get()) {
        Some(fd) => Heed { fd: Some(fd), most },
        None => Heed {
            fd: None,
            most: Some(UNHEARD_WAIT),
        },
    })
}

/// Makes the descriptor ours, unless somebody has set another; `false` outside the main thread.
fn claim(py: Python<'_>) -> PyResult<bool> {
    let ours = far_end(py);
    // Without descriptors left, this only finds out where it is.
    let Some(old) = exchange(py, ours.unwrap_or(-1))? else {
        return Ok(false);
    };
    let is_free = old == -1 || Some(old) == ours;
    IS_OURS.set(is_free && ours.is_some());
    if !is_free {
        give_back(py, old)?;
    }
    Ok(true)
}

/// Lets go of the descriptor when nobody of ours waits in the main thread any more.
pub(crate) fn release(py: Python<'_>) -> PyResult<()> {
    if is_main() != Some(true) || !IS_OURS.replace(false) {
        return Ok(());
    }
    LOOK_AGAIN.store(0, Ordering::Relaxed);
    let ours = ENDS.with(py, |ends| ends.as_ref().map(|(_, far)| far.as_raw_fd()));
    match exchange(py, -1)? {
        Some(old) if old != -1 && Some(old) != ours => give_back(py, old),
        _ => Ok(()),
    }
}

/// Sets the descriptor that somebody else had set, and passes on what they missed meanwhile.
fn give_back(py: Python<'_>, fd: RawFd) -> PyResult<()> {
    if exchange(py, fd)?.is_some() {
        let missed = drain(py);
        if !missed.is_empty() {
            // As when Python writes there: it may be full.
            drop(py.import("posix")?.call_method1("write", (fd, &missed[..])));
        }
    }
    Ok(())
}

/// Sets the descriptor and returns the one that was set; `None` outside the main thread, or when the
/// new one was closed.
fn exchange(py: Python<'_>, fd: RawFd) -> PyResult<Option<RawFd>> {
    let options = PyDict::new(py);
    options.set_item("warn_on_full_buffer", false)?;
    let old = py
        .import("_signal")?
        .call_method("set_wakeup_fd", (fd,), Some(&options));
    match old {
        Ok(old) => old.extract().map(Some),
        Err(error)
            if error.is_instance_of::<PyValueError>(py)
                || error.is_instance_of::<PyOSError>(py) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Makes the ends while there are descriptors: where none is left, a forked child has these to spare.
pub(crate) fn reserve(py: Python<'_>) {
    far_end(py);
}

fn far_end(py: Python<'_>) -> Option<RawFd> {
    ENDS.with(py, |ends| {
        if ends.is_none() {
            *ends = pair();
        }
        ends.as_ref().map(|(_, far)| far.as_raw_fd())
    })
}

fn pair() -> Option<(UnixStream, UnixStream)> {
    let (near, far) = UnixStream::pair().ok()?;
    near.set_nonblocking(true).ok()?;
    far.set_nonblocking(true).ok()?;
    Some((near, far))
}

/// Takes note of the signals so far, in the main thread: it must not sleep on because another thread
/// has looked.
pub(crate) fn drain(py: Python<'_>) -> Vec<u8> {
    let mut signals = Vec::new();
    if is_main() == Some(true) {
        ENDS.with(py, |ends| {
            if let Some((near, _)) = ends {
                // It ends by the error that there is nothing left.
                drop((&*near).read_to_end(&mut signals));
            }
        });
    }
    signals
}

/// Takes note of the signals so far, and tells the loops of those that have no handler of ours.
///
/// # Errors
///
/// What another signal's handler raises meanwhile.
pub(crate) fn tell(py: Python<'_>) -> PyResult<()> {
    let signals = drain(py);
    if signals.is_empty() {
        return Ok(());
    }
    py.import("eventlet_asyncio._signals")?
        .call_method1("noticed", (&signals[..],))
        .map(drop)
}

/// In a forked child, parts from the parent's ends. Its loops watch them no more once rebuilt.
pub(crate) fn after_fork(py: Python<'_>) -> PyResult<()> {
    let ours = ENDS.with(py, |ends| ends.as_ref().map(|(_, far)| far.as_raw_fd()));
    FORKS.fetch_add(1, Ordering::Relaxed);
    LOOK_AGAIN.store(0, Ordering::Relaxed);
    IS_OURS.set(false);
    // Whoever forks is the main thread.
    match exchange(py, -1)? {
        Some(old) if old != -1 && Some(old) != ours => drop(exchange(py, old)?),
        _ => {}
    }
    drop(ENDS.take(py));
    Ok(())
}
