//! The frame of ours on which a green thread stands.
//!
//! The frames in which greenlet starts a greenlet do not bear the unwind that [`crate::exit`] is
//! about: they let go of Python objects. So a frame of ours, which stops it, lies above them.
//! That of a `GreenThread` does in place of `GreenThread.main` what that does.
//!
//! The frames are small and made by hand, as each green thread that waits keeps a copy of its stack.

use std::ffi::CStr;
use std::{hint, mem, ptr};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use crate::cell::{GilCell, Once, intern};
use crate::{primitives, step};

type Object = *mut ffi::PyObject;
type Call = unsafe extern "C-unwind" fn(Object, Object, Object) -> Object;

/// Something to clean up, without which the unwinder would not ask about a frame.
struct Met;

impl Drop for Met {
    fn drop(&mut self) {
        hint::black_box(());
    }
}

/// `callable(*args, **kwargs)`, from a frame that an unwind does not pass.
#[inline(always)]
unsafe fn call(callable: Object, args: Object, kwargs: Object) -> Object {
    // SAFETY: the same function, but for the unwinds of others; the compiler is not to see that.
    let call =
        hint::black_box(unsafe { mem::transmute::<*const (), Call>(ffi::PyObject_Call as _) });
    let met = Met;
    // SAFETY: the caller's.
    let result = unsafe { call(callable, args, kwargs) };
    drop(met);
    result
}

unsafe extern "C" fn run(callable: Object, args: Object, kwargs: Object) -> Object {
    // SAFETY: CPython passes its own objects on.
    unsafe { call(callable, args, kwargs) }
}

unsafe extern "C" fn run_green_thread(green: Object, args: Object, kwargs: Object) -> Object {
    // SAFETY: CPython passes its own objects on, and holds them until this returns.
    unsafe {
        match work_of(green, args) {
            Ok(Work::Function(function, args, kwargs)) => {
                conclude(green, call(function, args, kwargs))
            }
            Ok(Work::Main(main)) => {
                let result = call(main, args, kwargs);
                ffi::Py_DECREF(main);
                result
            }
            Err(Raised) => ptr::null_mut(),
        }
    }
}

/// What a green thread has to do.
enum Work {
    /// To call a function, and to tell how that ended. Borrowed from the arguments of `main`.
    Function(Object, Object, Object),
    /// To call its `main`, as that is not eventlet's own. A new reference.
    Main(Object),
}

/// An exception that is set in CPython.
struct Raised;

#[inline(never)]
unsafe fn work_of(green: Object, args: Object) -> Result<Work, Raised> {
    Python::attach(|py| {
        // SAFETY: they are the caller's.
        let (green, args) = unsafe {
            (
                Bound::from_borrowed_ptr(py, green),
                Bound::from_borrowed_ptr(py, args),
            )
        };
        // A callback may have switched here by itself, from within a step.
        let work = match step::leave_for(&green).and_then(|()| own_work(&green, &args)) {
            Ok(Some(work)) => return Ok(work),
            Ok(None) => green.getattr(intern!(py, "main")),
            Err(error) => Err(error),
        };
        match work {
            Ok(main) => Ok(Work::Main(main.into_ptr())),
            Err(error) => {
                error.restore(py);
                Err(Raised)
            }
        }
    })
}

fn own_work(green: &Bound<'_, PyAny>, args: &Bound<'_, PyAny>) -> PyResult<Option<Work>> {
    let py = green.py();
    let main = green.get_type().getattr(intern!(py, "main"))?;
    if !own_main(py)?.is_some_and(|own| main.is(own)) {
        return Ok(None);
    }
    let Ok((function, positional, keywords)) =
        args.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>)>()
    else {
        return Ok(None);
    };
    let usual =
        positional.is_exact_instance_of::<PyTuple>() && keywords.is_exact_instance_of::<PyDict>();
    Ok(usual.then(|| Work::Function(function.as_ptr(), positional.as_ptr(), keywords.as_ptr())))
}

/// eventlet's `GreenThread.main`, unless the program has put its own there.
fn own_main(py: Python<'_>) -> PyResult<Option<&Bound<'_, PyAny>>> {
    static MAIN: Once<Option<Py<PyAny>>> = Once::new();
    let main = MAIN.get_or_try_init(py, || {
        let main = py
            .import("eventlet_asyncio._patches")?
            .call_method0("own_main")?;
        PyResult::Ok((!main.is_none()).then(|| main.unbind()))
    })?;
    Ok(main.as_ref().map(|main| main.bind(py)))
}

/// Tells who waits for the green thread, and whoever was linked, how its function ended.
#[inline(never)]
unsafe fn conclude(green: Object, result: Object) -> Object {
    Python::attach(|py| {
        // SAFETY: the first is the caller's, the second a new reference, or null beside an exception.
        let (green, result) = unsafe {
            (
                Bound::from_borrowed_ptr(py, green),
                Bound::from_owned_ptr_or_err(py, result),
            )
        };
        let concluded = match result {
            Ok(result) => primitives::conclude(&green, &result),
            Err(error) => raised(&green, error),
        };
        match concluded {
            Ok(()) => py.None().into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    })
}

/// Has eventlet's own method handle the exception: the links are called while it is being handled.
fn raised(green: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = green.py();
    // Taken out, as the traceback will know the function, and the collector knows no closures.
    let error = GilCell::new(Some(error));
    let raises = PyCFunction::new_closure(py, None, None, move |args, _| {
        Err::<(), _>(error.take(args.py()).expect("it is called once"))
    })?;
    let main = own_main(py)?.expect("the function was called for it");
    main.call1((green, raises, PyTuple::empty(py), PyDict::new(py)))
        .map(drop)
}

/// A definition of a function that knows its first argument.
struct Definition(ffi::PyMethodDef);

// SAFETY: nobody writes to it.
unsafe impl Sync for Definition {}

impl Definition {
    const fn new(name: &'static CStr, function: ffi::PyCFunctionWithKeywords) -> Self {
        Self(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionWithKeywords: function,
            },
            ml_flags: ffi::METH_VARARGS | ffi::METH_KEYWORDS,
            ml_doc: ptr::null(),
        })
    }

    fn bind<'py>(&'static self, first: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let definition = ptr::from_ref(&self.0).cast_mut();
        // SAFETY: the definition is static, and CPython does not write to it.
        unsafe {
            let function = ffi::PyCFunction_NewEx(definition, first.as_ptr(), ptr::null_mut());
            Bound::from_owned_ptr_or_err(first.py(), function)
        }
    }
}

/// Something to run in a plain greenlet: what is given.
pub(crate) fn below<'py>(callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static RUN: Definition = Definition::new(c"run", run);
    RUN.bind(callable)
}

/// Something to run in a `GreenThread`: its `main`.
pub(crate) fn below_main<'py>(green: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static RUN: Definition = Definition::new(c"main", run_green_thread);
    RUN.bind(green)
}
