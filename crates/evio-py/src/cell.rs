//! Interior mutability under the interpreter's lock: the cells of our frozen Python classes.

use std::cell::{Ref, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

/// A cell that only a thread attached to the interpreter can open.
///
/// The closure handed to [`with`](Self::with) must not call into Python: any such call can switch
/// greenlets, and the cell would stand open under another one. Copy out, call, look again.
pub(crate) struct GilCell<T>(RefCell<T>);

// SAFETY: the cell is opened only by holders of a `Python` token (or by the garbage collector, which
// runs attached), and builds without the global lock are refused when the module is made; so no two
// threads are ever inside at once.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Opens the cell for the time of a closure that must not call into Python.
    pub(crate) fn with<R>(&self, _py: Python<'_>, inspect: impl FnOnce(&mut T) -> R) -> R {
        inspect(&mut self.0.borrow_mut())
    }

    /// Puts another value in and hands out the old one, to be dropped when the cell is closed again.
    pub(crate) fn replace(&self, _py: Python<'_>, value: T) -> T {
        self.0.replace(value)
    }

    /// What the garbage collector may look at.
    pub(crate) fn peek(&self) -> Option<Ref<'_, T>> {
        self.0.try_borrow().ok()
    }
}

impl<T: Default> GilCell<T> {
    /// Takes the value out and leaves the default.
    pub(crate) fn take(&self, py: Python<'_>) -> T {
        self.replace(py, T::default())
    }
}

impl<T> GilCell<Option<Py<T>>> {
    /// Another reference to the object in the cell.
    pub(crate) fn get(&self, py: Python<'_>) -> Option<Py<T>> {
        self.with(py, |object| {
            object.as_ref().map(|object| object.clone_ref(py))
        })
    }
}

/// A boolean that any attached thread may read and set.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) const fn new(value: bool) -> Self {
        Self(AtomicBool::new(value))
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn replace(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::Relaxed)
    }
}

/// A thread-local slot for a Python object.
///
/// What is left in it when the thread ends stays unreleased: the thread-local's destructor may run
/// when there is no interpreter any more.
pub(crate) struct ThreadSlot<T>(RefCell<Option<Py<T>>>);

impl<T> ThreadSlot<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(None))
    }

    pub(crate) fn get(&self, py: Python<'_>) -> Option<Py<T>> {
        self.0.borrow().as_ref().map(|object| object.clone_ref(py))
    }

    /// Puts an object in and hands out the old one, to be dropped when the slot is closed again.
    pub(crate) fn replace(&self, object: Option<Py<T>>) -> Option<Py<T>> {
        self.0.replace(object)
    }
}

impl<T> Drop for ThreadSlot<T> {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}
