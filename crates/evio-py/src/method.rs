//! Methods of Python classes made from native functions, and calls of native functions.
//!
//! CPython has `instancemethod` for it, but must make a bound method for each call of one. These say
//! what functions say of themselves: that they can be called with the instance as first argument.

use std::ffi::{c_int, c_uint, c_void};
use std::mem;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::cell::Once;

/// A native function that is called by its address, where it is of the kind that allows it.
pub(crate) struct Direct {
    function: Py<PyAny>,
    address: Option<Address>,
}

struct Address {
    call: ffi::PyCFunction,
    flags: c_int,
}

impl Direct {
    pub(crate) fn new(function: Bound<'_, PyAny>) -> Self {
        let object = function.as_ptr();
        // SAFETY: a live object, which is asked only when it is a native function.
        let address = unsafe {
            if ffi::PyCFunction_Check(object) == 0 {
                None
            } else {
                let flags = ffi::PyCFunction_GetFlags(object);
                ffi::PyCFunction_GetFunction(object).map(|call| Address { call, flags })
            }
        };
        Self {
            function: function.unbind(),
            address,
        }
    }

    #[inline]
    fn call<'py>(
        &self,
        py: Python<'py>,
        flags: c_int,
        argument: *mut ffi::PyObject,
    ) -> Option<PyResult<Bound<'py, PyAny>>> {
        let address = self
            .address
            .as_ref()
            .filter(|address| address.flags == flags)?;
        // SAFETY: the flags say that it takes its own object and one argument, which is null where it
        // has none; null comes with an exception set.
        Some(unsafe {
            let own = ffi::PyCFunction_GetSelf(self.function.as_ptr());
            Bound::from_owned_ptr_or_err(py, (address.call)(own, argument))
        })
    }

    #[inline]
    pub(crate) fn call0<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.call(py, ffi::METH_NOARGS, std::ptr::null_mut()) {
            Some(answer) => answer,
            None => self.function.bind(py).call0(),
        }
    }

    #[inline]
    pub(crate) fn call1<'py>(&self, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = argument.py();
        match self.call(py, ffi::METH_O, argument.as_ptr()) {
            Some(answer) => answer,
            None => self.function.bind(py).call1((argument,)),
        }
    }
}

#[repr(C)]
struct Method {
    header: ffi::PyObject,
    vectorcall: ffi::vectorcallfunc,
    function: *mut ffi::PyObject,
}

/// A method of a class made from a native function: its first argument is the instance.
#[pyfunction]
pub(crate) fn method<'py>(function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Once<Py<PyType>> = Once::new();
    let py = function.py();
    let class = CLASS.get_or_try_init(py, || make_class(py).map(Bound::unbind))?;
    // SAFETY: the class was made with room for a `Method`, which is filled before anybody sees it.
    unsafe {
        let method = ffi::PyType_GenericAlloc(class.bind(py).as_type_ptr(), 0);
        let method = Bound::from_owned_ptr_or_err(py, method)?;
        let fields = method.as_ptr().cast::<Method>();
        (&raw mut (*fields).vectorcall).write(call);
        (&raw mut (*fields).function).write(function.clone().into_ptr());
        Ok(method)
    }
}

fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
    let mut members = [
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: mem::offset_of!(Method, vectorcall) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        },
        ffi::PyMemberDef {
            name: c"__func__".as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: mem::offset_of!(Method, function) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: std::ptr::null(),
        },
        // SAFETY: the end of the table is an entry of zeros.
        unsafe { mem::zeroed() },
    ];
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_descr_get, bind as *mut c_void),
        slot(ffi::Py_tp_dealloc, free as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, std::ptr::null_mut()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT
        | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR
        | ffi::Py_TPFLAGS_HAVE_VECTORCALL
        | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION
        | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    let mut spec = ffi::PyType_Spec {
        name: c"eventlet_asyncio._evio.method_of_native_function".as_ptr(),
        basicsize: size_of::<Method>() as c_int,
        itemsize: 0,
        flags: flags as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: CPython copies what the tables say; the functions have the types of their slots.
    let class = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))? };
    Ok(class.cast_into()?)
}

unsafe extern "C" fn call(
    method: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls it with a live method and passes its own arguments on.
    unsafe { ffi::PyObject_Vectorcall((*method.cast::<Method>()).function, args, count, names) }
}

unsafe extern "C" fn bind(
    method: *mut ffi::PyObject,
    instance: *mut ffi::PyObject,
    _class: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    unsafe extern "C" {
        fn PyMethod_New(
            function: *mut ffi::PyObject,
            instance: *mut ffi::PyObject,
        ) -> *mut ffi::PyObject;
    }
    // SAFETY: CPython calls it with a live method, and an instance or null.
    unsafe {
        let function = (*method.cast::<Method>()).function;
        if instance.is_null() {
            return ffi::Py_NewRef(function);
        }
        PyMethod_New(function, instance)
    }
}

unsafe extern "C" fn free(method: *mut ffi::PyObject) {
    // SAFETY: CPython calls it once, with nobody else left who knows the method.
    unsafe {
        let class = ffi::Py_TYPE(method);
        let function = (*method.cast::<Method>()).function;
        ffi::PyObject_Free(method.cast());
        ffi::Py_XDECREF(function);
        ffi::Py_DECREF(class.cast());
    }
}
