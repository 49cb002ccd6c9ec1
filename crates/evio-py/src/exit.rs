//! Threads that outlive the interpreter.
//!
//! Once the interpreter finalizes, CPython before 3.14 ends whatever other thread asks for its
//! lock, by `pthread_exit()`. That unwinds the thread's stack, and Rust aborts the process when an
//! unwind that it did not begin comes to its frames. So where the first of our frames is met, the
//! thread stops for good, as CPython 3.14 has such threads do: `personality.c` puts the function
//! here in the place of Rust's own, which the unwinder asks about each frame.

use std::ffi::{c_int, c_void};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// `_UA_FORCE_UNWIND` of the Itanium C++ ABI: no exception, and nobody may catch it.
const FORCE_UNWIND: c_int = 8;

unsafe extern "C" {
    fn rust_eh_personality(
        version: c_int,
        actions: c_int,
        class: u64,
        exception: *mut c_void,
        context: *mut c_void,
    ) -> c_int;
}

/// Says of a frame of ours what an unwind does there, as Rust's own; see the Itanium C++ ABI.
#[unsafe(no_mangle)]
unsafe extern "C" fn evio_eh_personality(
    version: c_int,
    actions: c_int,
    class: u64,
    exception: *mut c_void,
    context: *mut c_void,
) -> c_int {
    if actions & FORCE_UNWIND != 0 {
        loop {
            // SAFETY: it takes nothing, and returns after a signal.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: the arguments are the unwinder's own.
    unsafe { rust_eh_personality(version, actions, class, exception, context) }
}

/// Calls a function, below which no unwind comes of a thread that outlives the interpreter.
///
/// What begins a greenlet would drop references there that it has lost by then.
#[pyfunction]
#[pyo3(signature = (function, /, *args, **kwargs))]
pub(crate) fn call_to_stop_at_exit<'py>(
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    function.call(args, kwargs)
}
