//! Where CPython keeps what it has no function for: the place of a value that is known to stand there.
//!
//! It is looked for once and in memory whose size is known, and counts as found where the value stands in one place only.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

const WORD: usize = size_of::<usize>();

/// The words of a thread's state that are its own on every Python.
const OF_THREAD: usize = 35;

/// The only place of a range of which something is true.
pub(crate) fn only(mut range: Range<usize>, is_it: impl Fn(usize) -> bool) -> Option<usize> {
    let found = range.find(|&place| is_it(place))?;
    range.all(|place| !is_it(place)).then_some(found)
}

/// The places of an object's fields, in words from its beginning.
pub(crate) fn fields(object: &Bound<'_, PyAny>) -> Range<usize> {
    // SAFETY: reads a field of a live type.
    let size = unsafe { (*ffi::Py_TYPE(object.as_ptr())).tp_basicsize };
    size_of::<ffi::PyObject>() / WORD..usize::try_from(size).unwrap_or(0) / WORD
}

/// What stands in one of the [`fields`] of an object.
pub(crate) fn word(object: &Bound<'_, PyAny>, place: usize) -> usize {
    debug_assert!(fields(object).contains(&place), "no place of a field");
    // SAFETY: the object's type says that it is at least so large.
    unsafe { *object.as_ptr().cast::<usize>().add(place) }
}

/// The only field of an object that points to another.
pub(crate) fn field_of(object: &Bound<'_, PyAny>, wanted: &Bound<'_, PyAny>) -> Option<usize> {
    let wanted = wanted.as_ptr() as usize;
    only(fields(object), |place| word(object, place) == wanted)
}

/// The only place in the state of the running thread, in words from its beginning, where these objects stand in a row.
pub(crate) fn place_in_thread<const N: usize>(
    _py: Python<'_>,
    wanted: [&Bound<'_, PyAny>; N],
) -> Option<usize> {
    let wanted = wanted.map(|object| object.as_ptr() as usize);
    // SAFETY: the state of the running thread has that many words. Other threads write some of them, as
    // who wants the lock does, so they are read atomically.
    let word = |place| unsafe {
        (*ffi::PyThreadState_Get().cast::<AtomicUsize>().add(place)).load(Ordering::Relaxed)
    };
    only(0..OF_THREAD - (N - 1), |place| {
        (0..N).all(|offset| word(place + offset) == wanted[offset])
    })
}
