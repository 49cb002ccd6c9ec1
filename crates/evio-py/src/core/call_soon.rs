//! `call_soon()` as a method that CPython calls with the arguments as they stand on its stack.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use super::LoopCore;
use crate::cell::{GilCell, intern};
use crate::context;
use crate::fast::waker::Wakes;
use crate::handle::{Args, Handle};

/// The table entry of the method that [`call_soon_method`] makes.
struct Definition(UnsafeCell<ffi::PyMethodDef>);

// SAFETY: CPython only reads it.
unsafe impl Sync for Definition {}

static CALL_SOON: Definition = Definition(UnsafeCell::new(ffi::PyMethodDef {
    ml_name: c"call_soon".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        PyCFunctionFastWithKeywords: call_soon,
    },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: c"call_soon($self, callback, *args, context=None)\n--\n\n\
        Calls back in the next turn, behind what stands there already."
        .as_ptr(),
}));

/// `call_soon` as a method of a class of loops, for whose own objects CPython calls it directly.
#[pyfunction]
#[pyo3(signature = (class_, /), text_signature = "(class_, /)")]
pub(crate) fn call_soon_method<'py>(class_: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class_.py();
    if !class_.is_subclass_of::<LoopCore>()? {
        return Err(PyTypeError::new_err("a class of loops is needed"));
    }
    OUR_EVENT_LOOP.store(class_.as_type_ptr(), Ordering::Relaxed);
    // SAFETY: both live as long as the program or the method; null comes with an exception set.
    unsafe {
        let method = ffi::PyDescr_NewMethod(class_.as_type_ptr(), CALL_SOON.0.get());
        Bound::from_owned_ptr_or_err(py, method)
    }
}

/// The class of loops for whose own objects asyncio's tasks call the method, and nobody's override.
static OUR_EVENT_LOOP: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// The class of the callbacks that are steps of asyncio's own tasks, once there was one.
static STEP: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// Whether a callback is asked for by a task, which lets go of the handle at once.
#[inline]
fn is_asked_by_task(core: &Bound<'_, LoopCore>, callback: &Bound<'_, PyAny>) -> bool {
    let class = callback.get_type_ptr();
    let step = STEP.load(Ordering::Relaxed);
    let is_step = class == step || step.is_null() && learn_step_class(class);
    is_step && core.get_type_ptr() == OUR_EVENT_LOOP.load(Ordering::Relaxed)
}

#[cold]
fn learn_step_class(class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: the class of a live object, which has a name.
    let name = unsafe { CStr::from_ptr((*class).tp_name) };
    let is_step = name.to_bytes().ends_with(b"TaskStepMethWrapper");
    if is_step {
        STEP.store(class, Ordering::Relaxed);
    }
    is_step
}

unsafe extern "C" fn call_soon(
    core: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls it attached, with live objects, the first of the class that it was made for,
    // which is one of loops; there are as many arguments as it says, and then one for each name.
    let (core, positional, names, named) = unsafe {
        // PyO3 is not told, which would cost some: nothing is dropped that has to know.
        let py = Python::assume_attached();
        let core = Borrowed::from_ptr(py, core).cast_unchecked::<LoopCore>();
        let names =
            Borrowed::from_ptr_or_opt(py, names).map(|names| names.cast_unchecked::<PyTuple>());
        let count = count.unsigned_abs();
        let all = match count + names.map_or(0, |names| names.len()) {
            0 => &[],
            all => std::slice::from_raw_parts(args.cast::<Argument<'_, '_>>(), all),
        };
        let (positional, named) = all.split_at(count);
        (core, positional, names, named)
    };
    let run = || schedule(&core, positional, names, named);
    let panicked = |_| Err(PanicException::new_err("a loop cannot schedule"));
    match catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(panicked) {
        Ok(handle) => handle.into_ptr(),
        Err(error) => {
            // What an exception is made of has to know.
            Python::attach(|py| error.restore(py));
            std::ptr::null_mut()
        }
    }
}

type Argument<'a, 'py> = Borrowed<'a, 'py, PyAny>;
type Names<'a, 'py> = Borrowed<'a, 'py, PyTuple>;

#[inline]
fn schedule<'py>(
    core: &Bound<'py, LoopCore>,
    positional: &[Argument<'_, 'py>],
    names: Option<Names<'_, 'py>>,
    named: &[Argument<'_, 'py>],
) -> PyResult<Bound<'py, Handle>> {
    let py = core.py();
    let (callback, context) = match (positional.first(), names) {
        (Some(callback), None) => (*callback, None),
        (Some(callback), Some(names)) if is_context(names) => (*callback, named.first().copied()),
        (first, names) => by_name(first.copied(), names, named)?,
    };
    let args = match positional {
        [] | [_] => Args::None,
        [_, arg] => Args::One((*arg).to_owned().unbind()),
        [_, args @ ..] => Args::Many(PyTuple::new(py, args)?.unbind()),
    };
    let context = context.filter(|context| !context.is_none());
    LoopCore::call_soon(core, &callback, args, context.as_deref())
}

/// The last names of which `context` was the only one, but not the usual string: asyncio's C code has one
/// of its own.
static OTHER_NAMES: GilCell<Option<Py<PyTuple>>> = GilCell::new(None);

/// Whether the only name is `context`, where that is quickly seen.
#[inline]
fn is_context(names: Names<'_, '_>) -> bool {
    let py = names.py();
    let are_known = |known: &mut Option<Py<PyTuple>>| {
        let known = known.as_ref();
        known.is_some_and(|known| known.is(&*names))
    };
    if OTHER_NAMES.with(py, are_known) {
        return true;
    }
    match names.as_slice() {
        [name] => name.is(intern!(py, "context")),
        _ => false,
    }
}

/// The callback, and the context if one was given.
fn by_name<'a, 'py>(
    mut callback: Option<Argument<'a, 'py>>,
    names: Option<Names<'_, 'py>>,
    named: &[Argument<'a, 'py>],
) -> PyResult<(Argument<'a, 'py>, Option<Argument<'a, 'py>>)> {
    let mut context = None;
    if let Some(names) = names {
        let py = names.py();
        let (known, other) = (intern!(py, "context"), intern!(py, "callback"));
        for (name, value) in names.iter().zip(named) {
            if name.is(known) || name.eq(known)? {
                context = Some(*value);
                if names.len() == 1 {
                    let old = OTHER_NAMES.replace(py, Some((*names).clone().unbind()));
                    drop(old.map(|old| old.into_bound(py)));
                }
            } else if !name.eq(other)? {
                return Err(PyTypeError::new_err(format!(
                    "call_soon() got an unexpected keyword argument '{name}'"
                )));
            } else if callback.replace(*value).is_some() {
                return Err(PyTypeError::new_err(
                    "call_soon() got multiple values for argument 'callback'",
                ));
            }
        }
    }
    let missing = "call_soon() missing 1 required positional argument: 'callback'";
    let callback = callback.ok_or_else(|| PyTypeError::new_err(missing))?;
    Ok((callback, context))
}

impl LoopCore {
    /// `call_soon()`; may be called where PyO3 does not know of being attached.
    #[inline]
    pub(crate) fn call_soon<'py>(
        slf: &Bound<'py, Self>,
        callback: &Bound<'py, PyAny>,
        args: Args,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Handle>> {
        let closed = slf.get().closed.get();
        if closed {
            // Which runs code that has to know of being attached.
            match Python::attach(|_| Self::wake_without_turn(callback, &args)) {
                Ok(true) => return Handle::create(slf, callback, args, context),
                Ok(false) => {}
                Err(error) => {
                    args.release(slf.py());
                    return Err(error);
                }
            }
        }
        if closed || slf.get().debug() {
            if let Err(error) = Self::check_call(slf, callback) {
                args.release(slf.py());
                return Err(error);
            }
        }
        let waker = Wakes::of(callback, &args);
        let hidden = is_asked_by_task(slf, callback);
        let handle = Handle::create_queued(slf, callback, args, context, hidden)?;
        if let Some(waker) = waker {
            if Python::attach(|_| waker.wakes_at_once(slf))? {
                return Ok(handle);
            }
        }
        Self::push(slf, handle.clone())?;
        Ok(handle)
    }

    /// Calls a callback for which a closed loop has no turn, if it wakes green code that waits for a task
    /// which has gone on without the loop; `false` if it is no such.
    #[cold]
    fn wake_without_turn(callback: &Bound<'_, PyAny>, args: &Args) -> PyResult<bool> {
        if let Some(wakes) = Wakes::of(callback, args) {
            return wakes.wake().map(|()| true);
        }
        let name = intern!(callback.py(), "_wakes_without_turns");
        if context::attribute(&callback.get_type(), name)?.is_none() {
            return Ok(false);
        }
        callback.call0().map(|_| true)
    }

    #[cold]
    fn check_call(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        slf.get().check_open()?;
        Self::check_debug(slf, callback, "call_soon")
    }
}
