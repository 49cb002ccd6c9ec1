//! Handles that are over, kept for those to come.
//!
//! CPython's collector counts the objects that are made, and looks at all young ones each time there
//! are some hundreds: a loop would have it do so for ever. What is kept is not made again; and a handle
//! that only the queue of its loop knows is not looked at by itself, as the loop shows what it refers to.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::Handle;
use super::state::State;
use crate::cell::{GilCell, Once};
use crate::stack;

/// How many are kept: some 1 MB.
const KEPT: usize = 8192;

/// Objects without references, which refer to nothing but their class and are not known to the
/// garbage collector.
struct Pool(Vec<NonNull<ffi::PyObject>>);

// SAFETY: objects of the interpreter, of whose threads one at a time is attached.
unsafe impl Send for Pool {}

static POOL: GilCell<Pool> = GilCell::new(Pool(Vec::new()));

/// PyO3's function that frees a handle.
static DEALLOCATE: Once<ffi::destructor> = Once::new();

/// The class of handles.
static CLASS: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" {
    fn _Py_NewReference(object: *mut ffi::PyObject);
}

/// Has handles kept from now on, instead of freed.
pub(crate) fn keep_handles(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Handle>();
    DEALLOCATE.get_or_try_init(py, || {
        // SAFETY: the class is one of PyO3's, which are on the heap, and nobody has made an object of
        // it or a class based on it yet. The function in the slot is PyO3's.
        unsafe {
            let slot = &raw mut (*class.as_type_ptr()).tp_dealloc;
            let before = slot.read().expect("PyO3 gives classes one");
            slot.write(Some(deallocate));
            CLASS.store(class.as_type_ptr(), Ordering::Relaxed);
            Ok::<_, PyErr>(before)
        }
    })?;
    Ok(())
}

/// A handle, made anew only where none is kept; one that is for a queue alone, and for nobody else to see,
/// may be hidden from the collector.
#[inline]
pub(super) fn make(py: Python<'_>, state: State, hidden: bool) -> PyResult<Bound<'_, Handle>> {
    let Some(kept) = POOL.with(py, |pool| pool.0.pop()) else {
        let handle = Bound::new(py, Handle::with(state))?;
        if hidden {
            handle.get().hidden.set(true);
            // SAFETY: a live object, of a class that the collector looks at.
            unsafe { ffi::PyObject_GC_UnTrack(handle.as_ptr().cast()) };
        }
        return Ok(handle);
    };
    // SAFETY: it was an object of the class without references, is nobody else's, and now has one.
    // The collector is told of it as soon as it is whole, unless it is hidden.
    unsafe {
        let object = kept.as_ptr();
        _Py_NewReference(object);
        let handle = Bound::from_owned_ptr(py, object).cast_into_unchecked::<Handle>();
        handle.get().fill(py, state);
        if hidden {
            handle.get().hidden.set(true);
        } else {
            ffi::PyObject_GC_Track(object.cast());
        }
        Ok(handle)
    }
}

/// Tells the collector of a handle that was hidden, now that it leaves the queue.
#[inline]
pub(super) fn show(handle: &Py<Handle>) {
    if handle.get().hidden.replace(false) {
        // SAFETY: a live object, which the collector does not know; our caller is attached.
        unsafe { ffi::PyObject_GC_Track(handle.as_ptr().cast()) };
    }
}

/// Shows the collector a handle in a queue, or in the place of a hidden one what that refers to.
///
/// Somebody else may have a hidden one all the same, who then keeps what it refers to.
pub(super) fn traverse(handle: &Py<Handle>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    if !handle.get().hidden.get() {
        return visit.call(handle);
    }
    // SAFETY: reads a field of a live object.
    if unsafe { ffi::Py_REFCNT(handle.as_ptr()) } == 1 {
        return handle.get().traverse(visit);
    }
    Ok(())
}

/// Whether there is no other reference to a handle.
pub(super) fn is_last(handle: &Bound<'_, Handle>) -> bool {
    // SAFETY: reads a field of a live object.
    unsafe { ffi::Py_REFCNT(handle.as_ptr()) == 1 }
}

/// Keeps a handle, or has it freed.
unsafe extern "C" fn deallocate(object: *mut ffi::PyObject) {
    // SAFETY: CPython calls it attached and once, with a handle or an object of a class based on that,
    // to which nobody has a reference.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let py = Python::assume_attached();
        let class = ffi::Py_TYPE(object);
        if class != CLASS.load(Ordering::Relaxed) {
            return free(py, object);
        }
        let references = object.byte_offset((*class).tp_weaklistoffset);
        if !references.cast::<*mut ffi::PyObject>().read().is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        let handle = Borrowed::from_ptr(py, object).cast_unchecked::<Handle>();
        handle.get().hidden.set(false);
        end(py, handle.get());
        let kept = POOL.with(py, |pool| {
            let room = pool.0.len() < KEPT;
            if room {
                pool.0.push(NonNull::new_unchecked(object));
            }
            room
        });
        if !kept {
            free(py, object);
        }
    }
}

/// How many handles may end within the end of one another before the stack is looked at, of which each takes some.
const DEEP: usize = 50;

/// How many handles are ending; some, perhaps, in code that blocks greenly as they do.
static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// What handles referred to that ended too deep, to be let go of further up.
static LEFT: GilCell<Vec<State>> = GilCell::new(Vec::new());

/// Lets go of what a handle refers to, which may be the last reference to another handle.
#[inline]
fn end(py: Python<'_>, handle: &Handle) {
    let state = handle.take_state(py);
    if DEPTH.load(Ordering::Relaxed) >= DEEP && !stack::has_room() {
        LEFT.with(py, |left| left.push(state));
        return;
    }
    DEPTH.fetch_add(1, Ordering::Relaxed);
    state.release(py);
    while let Some(state) = LEFT.with(py, Vec::pop) {
        state.release(py);
    }
    DEPTH.fetch_sub(1, Ordering::Relaxed);
}

#[cold]
unsafe fn free(py: Python<'_>, object: *mut ffi::PyObject) {
    let free = DEALLOCATE.get(py).expect("it was kept");
    // SAFETY: the caller's.
    unsafe { free(object) };
}
