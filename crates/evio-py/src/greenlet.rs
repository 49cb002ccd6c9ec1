//! The C interface of the `greenlet` package, through its capsule.

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::cell::{GilCell, Once, intern};
use crate::imported::Imported;
use crate::{context, descent};

/// A reference to a greenlet of any class.
pub(crate) type Greenlet = Py<PyAny>;

type New = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;
type GetCurrent = unsafe extern "C" fn() -> *mut ffi::PyObject;
type Throw = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;
type Switch = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;
type SetParent = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> c_int;
type Ask = unsafe extern "C" fn(*mut ffi::PyObject) -> c_int;
type GetParent = unsafe extern "C" fn(*mut ffi::PyObject) -> *mut ffi::PyObject;

struct Api {
    greenlet_type: *mut ffi::PyTypeObject,
    exit: *mut ffi::PyObject,
    new: New,
    get_current: GetCurrent,
    throw: Throw,
    switch: Switch,
    set_parent: SetParent,
    started: Ask,
    active: Ask,
    get_parent: GetParent,
}

// SAFETY: the table holds addresses of functions and immortal objects and is never written again.
unsafe impl Send for Api {}
// SAFETY: as above; its users hold the interpreter's lock.
unsafe impl Sync for Api {}

static API: Once<Api> = Once::new();

/// Loads the interface; everything else here expects it to have been loaded.
///
/// # Errors
///
/// `ImportError` when greenlet is missing.
pub(crate) fn load(py: Python<'_>) -> PyResult<()> {
    API.get_or_try_init(py, || {
        py.import("greenlet")?;
        // SAFETY: attached; the name is a C string.
        let table = unsafe { ffi::PyCapsule_Import(c"greenlet._C_API".as_ptr(), 0) };
        if table.is_null() {
            return Err(PyErr::take(py).unwrap_or_else(|| {
                PyImportError::new_err("greenlet has no C interface: install greenlet 2 or later")
            }));
        }
        let table = table.cast::<*mut c_void>();
        // SAFETY: the layout of this table is fixed by greenlet.h and has at least 12 entries.
        unsafe {
            let entry = |index: usize| *table.add(index);
            Ok(Api {
                greenlet_type: entry(0).cast(),
                exit: entry(2).cast(),
                new: std::mem::transmute::<*mut c_void, New>(entry(3)),
                get_current: std::mem::transmute::<*mut c_void, GetCurrent>(entry(4)),
                throw: std::mem::transmute::<*mut c_void, Throw>(entry(5)),
                switch: std::mem::transmute::<*mut c_void, Switch>(entry(6)),
                set_parent: std::mem::transmute::<*mut c_void, SetParent>(entry(7)),
                started: std::mem::transmute::<*mut c_void, Ask>(entry(9)),
                active: std::mem::transmute::<*mut c_void, Ask>(entry(10)),
                get_parent: std::mem::transmute::<*mut c_void, GetParent>(entry(11)),
            })
        }
    })
    .map(|_| ())
}

fn api(py: Python<'_>) -> &'static Api {
    API.get(py)
        .expect("the module loads greenlet's interface first")
}

/// The running greenlet.
///
/// # Errors
///
/// `RuntimeError` when the thread has no greenlets any more, at the end of the interpreter.
pub(crate) fn current(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached; the answer is a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, (api(py).get_current)()) }
}

/// A new greenlet that will run a callable, with a parent to which it returns.
pub(crate) fn new<'py>(
    run: &Bound<'py, PyAny>,
    parent: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = run.py();
    // SAFETY: both are live objects; null comes with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, (api(py).new)(run.as_ptr(), parent.as_ptr())) }
}

/// Does what `greenlet.__init__` does.
pub(crate) fn init(
    greenlet: &Bound<'_, PyAny>,
    run: &Bound<'_, PyAny>,
    parent: &Bound<'_, PyAny>,
) -> PyResult<()> {
    greenlet.setattr(intern!(greenlet.py(), "run"), run)?;
    if parent.is_none() {
        // That of its making, which is whoever ran then.
        return Ok(());
    }
    set_parent(greenlet, parent)
}

/// Whether an object is a greenlet.
pub(crate) fn is_greenlet(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: both are live objects.
    unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), api(object.py()).greenlet_type) != 0 }
}

/// eventlet's class of green threads.
pub(crate) static GREEN_THREAD: Imported = Imported::new("eventlet.greenthread", "GreenThread");

/// Whether a greenlet is of a class that is known to have greenlet's own `switch` and `throw`.
pub(crate) fn has_own_methods(greenlet: &Bound<'_, PyAny>) -> bool {
    let py = greenlet.py();
    let class = greenlet.get_type();
    if class.as_type_ptr() == api(py).greenlet_type {
        return true;
    }
    GREEN_THREAD
        .get(py)
        .is_ok_and(|green_thread| class.is(green_thread))
}

/// Whether a greenlet is of a class that has greenlet's own `switch`.
///
/// Those of other classes are to be entered by the method, which may do more. That of a carrier does
/// nothing more for a hub.
pub(crate) fn has_plain_switch(greenlet: &Bound<'_, PyAny>) -> PyResult<bool> {
    static SWITCH: Once<Py<PyAny>> = Once::new();
    if has_own_methods(greenlet) {
        return Ok(true);
    }
    let py = greenlet.py();
    if greenlet.get_type().is(descent::carrier_class(py)?) {
        return Ok(true);
    }
    let name = intern!(py, "switch");
    let plain = SWITCH.get_or_try_init(py, || {
        let class = py.import("greenlet")?.getattr("greenlet")?;
        class.getattr(name).map(Bound::unbind)
    })?;
    Ok(greenlet.get_type().getattr(name)?.is(plain))
}

/// What somebody brought who switched back: an object, or an exception that is still set.
#[must_use]
pub(crate) struct Brought<'py>(Option<Bound<'py, PyAny>>);

impl<'py> Brought<'py> {
    /// Must be called before anything else that calls Python.
    pub(crate) fn outcome(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.ok_or_else(|| PyErr::fetch(py))
    }
}

/// Switches to a greenlet: returns when somebody switches back, with what they brought.
pub(crate) fn switch<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    switch_bare(greenlet).outcome(greenlet.py())
}

/// The same, with the smallest stack frame: who waits in it keeps a copy of that.
#[inline(always)]
pub(crate) fn switch_bare<'py>(greenlet: &Bound<'py, PyAny>) -> Brought<'py> {
    let py = greenlet.py();
    // SAFETY: the callers hand in greenlets only; no argument means no value; the answer is a new
    // reference, or null with an exception set.
    Brought(unsafe {
        Bound::from_owned_ptr_or_opt(
            py,
            (api(py).switch)(greenlet.as_ptr(), ptr::null_mut(), ptr::null_mut()),
        )
    })
}

/// Switches to a greenlet as [`switch_bare`] does, and lets go of it before if it runs already and others
/// hold it, too: who waits here, maybe for long, then holds nothing.
#[inline(always)]
pub(crate) fn pass_to<'py>(target: Bound<'py, PyAny>) -> Brought<'py> {
    if !context::is_shared(&target) || !is_active(&target) {
        return switch_bare(&target);
    }
    let py = target.py();
    let greenlet = target.as_ptr();
    drop(target);
    // SAFETY: others hold the greenlet, and no Python code runs before it does, of which greenlet then
    // holds it. The rest is as above.
    Brought(unsafe {
        Bound::from_owned_ptr_or_opt(
            py,
            (api(py).switch)(greenlet, ptr::null_mut(), ptr::null_mut()),
        )
    })
}

/// Switches to the greenlet in a cell, which alone holds it: the frame that waits here does not.
pub(crate) fn switch_to_kept<'py>(
    cell: &GilCell<Option<Greenlet>>,
    py: Python<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    switch_to_kept_bare(cell, py).outcome(py)
}

/// The same, with the smallest stack frame.
#[inline(always)]
pub(crate) fn switch_to_kept_bare<'py>(
    cell: &GilCell<Option<Greenlet>>,
    py: Python<'py>,
) -> Brought<'py> {
    let target = cell.with(py, |kept| kept.as_ref().map_or(ptr::null_mut(), Py::as_ptr));
    if target.is_null() {
        return Brought(Some(py.None().into_bound(py)));
    }
    // SAFETY: a greenlet that the cell holds, which nobody empties before the greenlet runs; greenlet
    // then holds it. The rest is as above.
    Brought(unsafe {
        Bound::from_owned_ptr_or_opt(
            py,
            (api(py).switch)(target, ptr::null_mut(), ptr::null_mut()),
        )
    })
}

/// Switches to a greenlet with a value, or raises an exception there; like [`pass_to`] it holds nothing meanwhile.
pub(crate) fn pass_on<'py>(
    target: Bound<'py, PyAny>,
    brought: PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = target.py();
    let values = match &brought {
        Ok(value) => Some((value,).into_pyobject(py)?),
        Err(_) => None,
    };
    let error = brought.err().map(|error| error.into_value(py));
    let greenlet = target.as_ptr();
    let held = (!context::is_shared(&target) || !is_active(&target)).then_some(target);
    // SAFETY: as in `pass_to` and `throw`.
    let outcome = unsafe {
        let answer = match (&values, &error) {
            (Some(values), _) => (api(py).switch)(greenlet, values.as_ptr(), ptr::null_mut()),
            (None, error) => (api(py).throw)(
                greenlet,
                error.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                ptr::null_mut(),
                ptr::null_mut(),
            ),
        };
        Bound::from_owned_ptr_or_err(py, answer)
    };
    drop((held, values, error));
    outcome
}

/// Switches to a greenlet with arguments: those of its function when it has not started.
pub(crate) fn switch_with<'py>(
    greenlet: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = greenlet.py();
    let kwargs = kwargs.map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: as above; the arguments are a tuple and a dictionary or none.
    unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            (api(py).switch)(greenlet.as_ptr(), args.as_ptr(), kwargs),
        )
    }
}

/// Raises an exception at the point where a greenlet waits, and switches to it.
pub(crate) fn throw<'py>(
    greenlet: &Bound<'py, PyAny>,
    exception: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = greenlet.py();
    // SAFETY: as `switch`; an exception instance stands for type, value and traceback.
    unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            (api(py).throw)(
                greenlet.as_ptr(),
                exception.as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
            ),
        )
    }
}

/// Ends a greenlet that waits or has not started, by GreenletExit.
pub(crate) fn exit(greenlet: &Bound<'_, PyAny>) -> PyResult<()> {
    throw(greenlet, &exit_class(greenlet.py())).map(drop)
}

/// The class of GreenletExit.
pub(crate) fn exit_class(py: Python<'_>) -> Bound<'_, PyAny> {
    // SAFETY: the class is immortal as long as greenlet is loaded.
    unsafe { Bound::from_borrowed_ptr(py, api(py).exit) }
}

/// Whether a greenlet has run to its end.
pub(crate) fn is_dead(greenlet: &Bound<'_, PyAny>) -> bool {
    let api = api(greenlet.py());
    // SAFETY: the callers hand in greenlets only.
    unsafe { (api.active)(greenlet.as_ptr()) == 0 && (api.started)(greenlet.as_ptr()) != 0 }
}

/// Whether a greenlet has run at all.
pub(crate) fn has_started(greenlet: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the callers hand in greenlets only.
    unsafe { (api(greenlet.py()).started)(greenlet.as_ptr()) != 0 }
}

/// Whether a greenlet has started and not ended.
pub(crate) fn is_active(greenlet: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the callers hand in greenlets only.
    unsafe { (api(greenlet.py()).active)(greenlet.as_ptr()) != 0 }
}

/// The greenlet to which another returns at its end; `None` for a thread's main greenlet.
pub(crate) fn parent<'py>(greenlet: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = greenlet.py();
    // SAFETY: the callers hand in greenlets only; null means that there is none, or an error that
    // says the same.
    let parent =
        unsafe { Bound::from_owned_ptr_or_opt(py, (api(py).get_parent)(greenlet.as_ptr())) };
    if parent.is_none() {
        drop(PyErr::take(py));
    }
    parent.filter(|parent| !parent.is_none())
}

/// Whether a greenlet is among the ancestors of another.
pub(crate) fn is_below(greenlet: &Bound<'_, PyAny>, ancestor: &Bound<'_, PyAny>) -> bool {
    let mut next = parent(greenlet);
    while let Some(greenlet) = next {
        if greenlet.is(ancestor) {
            return true;
        }
        next = parent(&greenlet);
    }
    false
}

/// Makes a greenlet return to another at its end.
///
/// # Errors
///
/// `ValueError` when that would close a circle of parents or cross threads.
pub(crate) fn set_parent(greenlet: &Bound<'_, PyAny>, parent: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = greenlet.py();
    // SAFETY: the callers hand in greenlets only.
    if unsafe { (api(py).set_parent)(greenlet.as_ptr(), parent.as_ptr()) } == 0 {
        Ok(())
    } else {
        Err(PyErr::take(py).expect("greenlet sets an exception when it fails"))
    }
}
