//! The hooks for asynchronous generators, which CPython keeps for the running OS thread.
//!
//! `sys` gets and sets them by calls that cost more than all the rest of a switch between a task and
//! a green thread. So their place in the state of a thread is looked for, once, by setting known ones.

use std::mem;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::Once;
use crate::layout;

/// What is called when an asynchronous generator is first iterated, and when it is finalized.
#[derive(Default)]
pub(crate) struct Hooks {
    first_iteration: Option<Py<PyAny>>,
    finalizer: Option<Py<PyAny>>,
}

enum Place {
    /// In words from the beginning of the state; the finalizer follows.
    Found(usize),
    /// Nowhere known: by the functions of `sys`.
    Calls { get: Py<PyAny>, set: Py<PyAny> },
}

fn place(py: Python<'_>) -> PyResult<&Place> {
    static PLACE: Once<Place> = Once::new();
    PLACE.get_or_try_init(py, || {
        let sys = py.import("sys")?;
        let get = sys.getattr("get_asyncgen_hooks")?;
        let set = sys.getattr("set_asyncgen_hooks")?;
        let before = get.call0()?.cast_into::<PyTuple>()?;
        // Two objects that stand nowhere else in it.
        set.call1((&get, &set))?;
        let found = layout::place_in_thread(py, [&get, &set]);
        set.call1((before.get_item(0)?, before.get_item(1)?))?;
        Ok(match found {
            Some(place) => Place::Found(place),
            None => Place::Calls {
                get: get.unbind(),
                set: set.unbind(),
            },
        })
    })
}

/// Whether two hooks are one object, or the same method of one.
///
/// # Safety
///
/// Both must be live objects, or null.
unsafe fn is_same(one: *mut ffi::PyObject, other: *mut ffi::PyObject) -> bool {
    unsafe extern "C" {
        static mut PyMethod_Type: ffi::PyTypeObject;
        fn PyMethod_Self(method: *mut ffi::PyObject) -> *mut ffi::PyObject;
        fn PyMethod_Function(method: *mut ffi::PyObject) -> *mut ffi::PyObject;
    }
    if one == other {
        return true;
    }
    // SAFETY: neither is null where it is asked for its type, and methods have both.
    unsafe {
        !one.is_null()
            && !other.is_null()
            && ffi::Py_TYPE(one) == &raw mut PyMethod_Type
            && ffi::Py_TYPE(other) == &raw mut PyMethod_Type
            && PyMethod_Self(one) == PyMethod_Self(other)
            && PyMethod_Function(one) == PyMethod_Function(other)
    }
}

impl Hooks {
    pub(crate) fn new(first_iteration: Bound<'_, PyAny>, finalizer: Bound<'_, PyAny>) -> Self {
        let [first_iteration, finalizer] = [first_iteration, finalizer]
            .map(|hook| Some(hook).filter(|hook| !hook.is_none()).map(Bound::unbind));
        Self {
            first_iteration,
            finalizer,
        }
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            first_iteration: self.first_iteration.as_ref().map(|hook| hook.clone_ref(py)),
            finalizer: self.finalizer.as_ref().map(|hook| hook.clone_ref(py)),
        }
    }

    /// Whether these are the hooks of the running thread, as far as that is seen at once.
    pub(crate) fn are_installed(&self, py: Python<'_>) -> PyResult<bool> {
        let Place::Found(place) = place(py)? else {
            return Ok(false);
        };
        let pointer =
            |hook: &Option<Py<PyAny>>| hook.as_ref().map_or(std::ptr::null_mut(), Py::as_ptr);
        // SAFETY: the thread's state has a reference or null in each of the two words.
        Ok(unsafe {
            let field = ffi::PyThreadState_Get()
                .cast::<*mut ffi::PyObject>()
                .add(*place);
            is_same(*field, pointer(&self.first_iteration))
                && is_same(*field.add(1), pointer(&self.finalizer))
        })
    }

    /// Makes these the hooks of the running thread, and hands out those before.
    pub(crate) fn exchange(self, py: Python<'_>) -> PyResult<Self> {
        match place(py)? {
            Place::Found(place) => Ok(self.exchange_at(py, *place)),
            Place::Calls { get, set } => {
                let before = get.bind(py).call0()?.cast_into::<PyTuple>()?;
                set.call1(py, (self.first_iteration, self.finalizer))?;
                Ok(Self::new(before.get_item(0)?, before.get_item(1)?))
            }
        }
    }

    fn exchange_at(self, py: Python<'_>, place: usize) -> Self {
        let pointer = |hook: Option<Py<PyAny>>| hook.map_or(std::ptr::null_mut(), Py::into_ptr);
        // SAFETY: the thread's state has a reference or null in each of the two words. Both are owned by
        // one side, before and after, and no Python code runs in between.
        unsafe {
            let field = ffi::PyThreadState_Get()
                .cast::<*mut ffi::PyObject>()
                .add(place);
            let first_iteration = mem::replace(&mut *field, pointer(self.first_iteration));
            let finalizer = mem::replace(&mut *field.add(1), pointer(self.finalizer));
            let [first_iteration, finalizer] = [first_iteration, finalizer]
                .map(|hook| Bound::from_owned_ptr_or_opt(py, hook).map(Bound::unbind));
            Self {
                first_iteration,
                finalizer,
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.first_iteration)?;
        visit.call(&self.finalizer)
    }
}
