//! What a hub is busy with, for a watcher in another thread that looks for blocking code.

use std::ffi::c_ulong;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::clock;

#[derive(Default)]
struct Work {
    /// The thread that does it, as Python numbers threads.
    thread: c_ulong,
    /// Names the piece of work; each has another number.
    number: u64,
    /// When it began, in nanoseconds; `None` while the hub itself runs or waits.
    since: Option<u64>,
    /// What is to be raised in it, and whether a signal handler does that.
    struck: Option<(Py<PyType>, bool)>,
}

/// One piece of a hub's work at a time, while somebody watches.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Watch {
    watched: Flag,
    work: GilCell<Work>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            watched: Flag::new(false),
            work: GilCell::new(Work::default()),
        }
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched.get()
    }

    /// A piece of work begins.
    pub(crate) fn begin(&self, py: Python<'_>) {
        if !self.watched.get() {
            return;
        }
        self.end(py);
        let now = clock::now(py);
        self.work.with(py, |work| {
            work.number += 1;
            work.since = Some(now);
        });
    }

    /// The work is done, or has given way; what was to be raised in it and was not yet, is not.
    pub(crate) fn end(&self, py: Python<'_>) {
        if !self.watched.get() {
            return;
        }
        let struck = self.work.with(py, |work| {
            work.since = None;
            work.struck.take()
        });
        match struck {
            Some((class, false)) => take_raised(class.bind(py)),
            other => drop(other),
        }
    }
}

#[pymethods]
impl Watch {
    /// Has the work of the running thread noted from now on.
    fn start(&self, py: Python<'_>) {
        // SAFETY: attached.
        let thread = unsafe { ffi::PyThread_get_thread_ident() };
        self.work.with(py, |work| work.thread = thread);
        self.watched.set(true);
    }

    /// Has no work noted any more.
    fn stop(&self, py: Python<'_>) {
        self.end(py);
        self.watched.set(false);
    }

    /// The number of the work under way, and how many seconds it has taken.
    fn busy(&self, py: Python<'_>) -> Option<(u64, f64)> {
        let now = clock::now(py);
        self.work.with(py, |work| {
            let age = now.saturating_sub(work.since?);
            Some((work.number, clock::seconds(age)))
        })
    }

    /// Has an exception raised in a piece of work, unless it is over: at its next bytecode, or by
    /// the signal handler that asks for it.
    fn strike(&self, number: u64, class: &Bound<'_, PyType>, by_signal: bool) -> bool {
        let py = class.py();
        let (old, thread) = self.work.with(py, |work| {
            let under_way = work.since.is_some() && work.number == number;
            let struck = under_way.then(|| (class.clone().unbind(), by_signal));
            (
                std::mem::replace(&mut work.struck, struck),
                under_way.then_some(work.thread),
            )
        });
        drop(old);
        match thread {
            Some(thread) if !by_signal => raise_in(thread, class),
            other => other.is_some(),
        }
    }

    /// What is to be raised in the work under way, for the signal handler that raises it.
    fn take_struck(&self, py: Python<'_>) -> Option<Py<PyType>> {
        let struck = self.work.with(py, |work| work.struck.take());
        struck.map(|(class, _)| class)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.work.peek() {
            Some(work) => visit.call(work.struck.as_ref().map(|(class, _)| class)),
            None => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.work.with(py, |work| work.struck.take()));
    }
}

/// Has a thread raise an exception at its next bytecode.
fn raise_in(thread: c_ulong, class: &Bound<'_, PyType>) -> bool {
    // SAFETY: attached; the class is live, and the interpreter takes a reference of its own.
    unsafe { ffi::PyThreadState_SetAsyncExc(thread as _, class.as_ptr()) == 1 }
}

/// Has an exception raised here and now, and forgets it, if this thread was to raise it at its next
/// bytecode.
///
/// It cannot be withdrawn: CPython would look for it for ever.
fn take_raised(class: &Bound<'_, PyType>) {
    let py = class.py();
    let run = || {
        let module = py.import("eventlet_asyncio._blocking")?;
        module.call_method0(intern!(py, "run_bytecode"))
    };
    if let Err(error) = run() {
        if !error.matches(py, class).unwrap_or(false) {
            error.write_unraisable(py, None);
        }
    }
}
