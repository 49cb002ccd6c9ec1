//! Threads that outlive the interpreter.
//!
//! Once the interpreter finalizes, CPython before 3.14 ends whatever other thread asks for its
//! lock, by `pthread_exit()`. That unwinds the thread's stack, and Rust aborts the process when an
//! unwind that it did not begin comes to its frames. So where the first of our frames is met, the
//! thread stops for good, as CPython 3.14 has such threads do: `personality.c` puts the function
//! here in the place of Rust's own, which the unwinder asks about each frame.
//!
//! The frames in which greenlet starts a greenlet do not bear that unwind either: they let go of
//! Python objects. So what a green thread runs is called by a frame of ours, which is met before.

use std::ffi::{c_int, c_void};
use std::{hint, mem, ptr};

use pyo3::ffi;
use pyo3::prelude::*;

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

type Call = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// Something to clean up, without which a frame would not be met.
struct Met;

impl Drop for Met {
    fn drop(&mut self) {
        hint::black_box(());
    }
}

unsafe extern "C" fn call_above(
    callable: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the same function, but for the unwinds of others; the compiler is not to see that.
    let call =
        hint::black_box(unsafe { mem::transmute::<*const (), Call>(ffi::PyObject_Call as _) });
    let met = Met;
    // SAFETY: CPython passes its own objects on.
    let result = unsafe { call(callable, args, kwargs) };
    drop(met);
    result
}

struct Definition(ffi::PyMethodDef);

// SAFETY: nobody writes to it.
unsafe impl Sync for Definition {}

static CALL_ABOVE: Definition = Definition(ffi::PyMethodDef {
    ml_name: c"run".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        PyCFunctionWithKeywords: call_above,
    },
    ml_flags: ffi::METH_VARARGS | ffi::METH_KEYWORDS,
    ml_doc: ptr::null(),
});

/// A function that calls another, above a frame of ours.
pub(crate) fn above_our_frame<'py>(run: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let definition = ptr::from_ref(&CALL_ABOVE.0).cast_mut();
    // SAFETY: the definition is static, and CPython does not write to it.
    unsafe {
        let function = ffi::PyCFunction_NewEx(definition, run.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(run.py(), function)
    }
}
