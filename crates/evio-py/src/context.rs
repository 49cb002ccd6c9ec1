//! What CPython has in its C interface only: the contexts in which callbacks run, the running frame, and
//! attributes of objects.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

mod lazy;

pub(crate) use lazy::{
    assume, blank, entered, exchange, give_back, is_entered, prepare, variables,
};

/// Enters a context; `false` when it is entered already.
#[inline]
pub(crate) fn enter(context: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: the object is a contextvars.Context, which `copy` and `check` see to.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0 {
        return Ok(true);
    }
    drop(PyErr::take(context.py()));
    Ok(false)
}

/// Leaves a context that [`enter`] entered on this greenlet.
#[inline]
pub(crate) fn exit(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: as above.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } == 0 {
        return Ok(());
    }
    Err(PyErr::take(context.py()).expect("CPython sets an exception when it fails"))
}

/// A copy of the context of the running code.
pub(crate) fn copy(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached; null comes with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

/// Refuses what is no context.
pub(crate) fn check(context: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: a type check of a live object.
    if unsafe { ffi::PyContext_CheckExact(context.as_ptr()) } != 0 {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "context must be a contextvars.Context, not {}",
        context.get_type().name()?
    )))
}

/// Whether this is the interpreter that the process began with.
pub(crate) fn is_main_interpreter(_py: Python<'_>) -> bool {
    // SAFETY: attached; both only look.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) == 0 }
}

/// Whether anybody else has a reference to an object.
pub(crate) fn is_shared(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) != 1 }
}

/// How many references there are to an object.
pub(crate) fn references(object: &Py<PyAny>, _py: Python<'_>) -> usize {
    // SAFETY: a live object.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) as usize }
}

/// The innermost Python frame; there is none below a driver.
pub(crate) fn frame(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    // SAFETY: attached; the answer is borrowed from the interpreter, or null.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) }
}

/// An attribute, if the object has it; unlike PyO3's, this makes no exception only to drop it.
pub(crate) fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    #[cfg(Py_3_13)]
    use ffi::PyObject_GetOptionalAttr as lookup;
    #[cfg(not(Py_3_13))]
    unsafe extern "C" {
        #[link_name = "_PyObject_LookupAttr"]
        fn lookup(
            object: *mut ffi::PyObject,
            name: *mut ffi::PyObject,
            result: *mut *mut ffi::PyObject,
        ) -> std::ffi::c_int;
    }
    let py = object.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: both objects are live; the answer is a new reference, or null with or without an
    // exception, as the returned number says.
    unsafe {
        if lookup(object.as_ptr(), name.as_ptr(), &raw mut result) < 0 {
            return Err(PyErr::take(py).expect("CPython sets an exception when it fails"));
        }
        Ok(Bound::from_owned_ptr_or_opt(py, result))
    }
}

/// A new object of a class, without its `__init__`.
pub(crate) fn instance<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let (py, args) = (class.py(), PyTuple::empty(class.py()));
    let class = class.as_type_ptr();
    // SAFETY: a live class, and a tuple of arguments; null comes with an exception set.
    unsafe {
        match (*class).tp_new {
            Some(new) => {
                let object = new(class, args.as_ptr(), std::ptr::null_mut());
                Bound::from_owned_ptr_or_err(py, object)
            }
            None => Err(PyTypeError::new_err("objects of the class cannot be made")),
        }
    }
}

/// The dictionary of an object that has one.
pub(crate) fn dictionary<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    // SAFETY: takes a live object; null comes with an exception set.
    let dict = unsafe {
        Bound::from_owned_ptr_or_err(
            object.py(),
            ffi::PyObject_GenericGetDict(object.as_ptr(), std::ptr::null_mut()),
        )
    }?;
    Ok(dict.cast_into()?)
}
