//! Interior mutability under the interpreter's lock: the cells of our frozen Python classes.

use std::cell::{OnceCell, Ref, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyString;

/// A cell that only a thread attached to the interpreter can open.
///
/// The closure handed to [`with`](Self::with) must not call into Python: any such call can switch
/// greenlets, and the cell would stand open under another one. Copy out, call, look again.
#[derive(Default)]
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
#[derive(Default)]
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

    /// Sets it and answers what it was; whoever sets it is attached, so nobody comes between.
    pub(crate) fn replace(&self, value: bool) -> bool {
        let old = self.get();
        self.set(value);
        old
    }
}

/// What is made at its first use and then stays.
///
/// Whoever comes while it is being made makes it, too, and the first one stands. A lock would be
/// wrong here: making it runs Python code, which may switch greenlets or be in the middle of it in
/// another thread when the process is forked.
pub(crate) struct Once<T>(OnceCell<T>);

// SAFETY: as for `GilCell`; what is in the cell is written once, and before anybody sees it.
unsafe impl<T: Send + Sync> Sync for Once<T> {}

impl<T> Once<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// What was made, if it was.
    pub(crate) fn get(&self, _py: Python<'_>) -> Option<&T> {
        self.0.get()
    }

    /// What was made, or what a function makes now.
    pub(crate) fn get_or_try_init<E>(
        &self,
        _py: Python<'_>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&T, E> {
        if let Some(made) = self.0.get() {
            return Ok(made);
        }
        let made = make()?;
        let late = self.0.set(made);
        drop(late);
        Ok(self.0.get().expect("it was set"))
    }
}

/// A name as a Python string, made once for each place that has it; pyo3's waits for a lock.
macro_rules! intern {
    ($py:expr, $name:expr) => {{
        static NAME: $crate::cell::Once<pyo3::Py<pyo3::types::PyString>> =
            $crate::cell::Once::new();
        $crate::cell::interned($py, &NAME, $name)
    }};
}
pub(crate) use intern;

pub(crate) fn interned<'a, 'py>(
    py: Python<'py>,
    name: &'a Once<Py<PyString>>,
    text: &str,
) -> &'a Bound<'py, PyString> {
    let made = name.get_or_try_init(py, || {
        Ok::<_, std::convert::Infallible>(PyString::intern(py, text).unbind())
    });
    match made {
        Ok(name) => name.bind(py),
        Err(never) => match never {},
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
