//! Tasks and futures of asyncio by CPython's C interface, and what a task awaits, which only asyncio's C
//! code can set.
//!
//! `Task._fut_waiter` can be read, not written, and the place of that field is private to each build of
//! CPython. So it is looked for, once, in a task that is seen to await a certain future.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::cell::{Once, intern};
use crate::context;
use crate::core::LoopCore;
use crate::imported::Imported;
use crate::layout;

/// The tasks of asyncio's C code, and where they keep what they await.
struct Layout {
    class: Py<PyType>,
    /// In words from the beginning of the object.
    awaited: usize,
    /// Likewise, where futures, too, have what they ended with, which is null until then.
    result: Option<usize>,
}

fn layout(py: Python<'_>) -> PyResult<&Layout> {
    static LAYOUT: Once<Layout> = Once::new();
    LAYOUT.get_or_try_init(py, || {
        let class = py
            .import("_asyncio")?
            .getattr("Task")?
            .cast_into::<PyType>()?;
        let (task, awaited, finish) = py
            .import("eventlet_asyncio._probe")?
            .call_method0("waiting_task")?
            .extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
        let found = find(&class, &task, &awaited);
        let result = PyTuple::new(py, [&class])?;
        finish.call1((&result,))?;
        let result = find(&class, &task, result.as_any());
        let awaited = found.ok_or_else(|| {
            PyRuntimeError::new_err(
                "tasks of this Python cannot block greenly: it does not keep what a task awaits \
                 where it can be found; move the call out of the task by \
                 eventlet_asyncio.sync_to_async",
            )
        })?;
        Ok(Layout {
            class: class.unbind(),
            awaited,
            result,
        })
    })
}

/// Whether an object is a task of asyncio's, in C or in Python.
pub(crate) fn is_one(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    static IN_PYTHON: Imported = Imported::new("asyncio.tasks", "_PyTask");
    let py = object.py();
    // The class alone is looked at, as an object may answer anything.
    let class = object.get_type();
    if class.is_subclass(layout(py)?.class.bind(py))? {
        return Ok(true);
    }
    class.is_subclass(IN_PYTHON.get(py)?)
}

/// The one field of a task that points to something.
fn find(
    class: &Bound<'_, PyType>,
    task: &Bound<'_, PyAny>,
    wanted: &Bound<'_, PyAny>,
) -> Option<usize> {
    let is_known = task.get_type().is(class);
    is_known.then(|| layout::field_of(task, wanted)).flatten()
}

/// Looks for the place beforehand, since that calls into Python.
///
/// # Errors
///
/// RuntimeError where this Python's tasks are not understood.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    layout(py).map(drop)
}

/// Sets what a task awaits that runs: its own future when it is cancelled, or nothing. Hands out what
/// stood there, where that is known.
///
/// # Errors
///
/// RuntimeError where this Python's tasks are not understood.
pub(crate) fn set_awaited<'py>(
    task: &Bound<'py, PyAny>,
    awaited: Option<&Bound<'py, PyAny>>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = task.py();
    let layout = layout(py)?;
    if !task.is_instance(layout.class.bind(py))? {
        // A task written in Python has an attribute, or is none of asyncio's.
        task.setattr(intern!(py, "_fut_waiter"), awaited)?;
        return Ok(None);
    }
    let new = awaited.map_or(std::ptr::null_mut(), |awaited| awaited.clone().into_ptr());
    // SAFETY: the object is of the class, or of a subclass, whose objects have the field in the same
    // place. It holds a reference of its own or null, and both the old and the new one are owned by
    // one side. No Python code runs between the two lines.
    let old = unsafe {
        let field = task
            .as_ptr()
            .cast::<*mut ffi::PyObject>()
            .add(layout.awaited);
        Bound::from_owned_ptr_or_opt(py, field.replace(new))
    };
    Ok(old)
}

/// The result of a task of asyncio's own class, where it has one already and may be looked at there.
pub(crate) fn known_result<'py>(task: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: a live object or null, of which the task has a reference.
    Ok(unsafe { Bound::from_borrowed_ptr_or_opt(task.py(), result_pointer(task)?) })
}

/// The same, borrowed from the task; null where there is none.
#[inline]
fn result_pointer(task: &Bound<'_, PyAny>) -> PyResult<*mut ffi::PyObject> {
    let layout = layout(task.py())?;
    // SAFETY: of an object its class.
    let is_known = unsafe { ffi::Py_TYPE(task.as_ptr()) }.cast() == layout.class.as_ptr();
    let Some(place) = layout.result.filter(|_| is_known) else {
        return Ok(std::ptr::null_mut());
    };
    // SAFETY: the object is of exactly the class, whose objects have a reference or null in that place.
    Ok(unsafe { *task.as_ptr().cast::<*mut ffi::PyObject>().add(place) })
}

/// Whether an object is a coroutine of an `async def`.
pub(crate) fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a type check of a live object.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// What an iterator did.
pub(crate) enum Sent<'py> {
    /// It ended, with this result.
    Returned(Bound<'py, PyAny>),
    /// It goes on when what it gave is there.
    Yielded(Bound<'py, PyAny>),
}

/// Has a coroutine, or another iterator, go on.
pub(crate) fn send<'py>(iterator: &Bound<'py, PyAny>) -> PyResult<Sent<'py>> {
    let py = iterator.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: both are live objects; the answer says whether the result is a new reference, or an
    // exception is set.
    unsafe {
        let sent = ffi::PyIter_Send(iterator.as_ptr(), ffi::Py_None(), &raw mut result);
        match sent {
            ffi::PySendResult::PYGEN_RETURN => {
                Ok(Sent::Returned(Bound::from_owned_ptr(py, result)))
            }
            ffi::PySendResult::PYGEN_NEXT => Ok(Sent::Yielded(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// How tasks of a loop are to be made that start at once, but for their context.
pub(crate) fn options_to_start<'py>(
    running_loop: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = running_loop.py();
    let options = PyDict::new(py);
    options.set_item(intern!(py, "loop"), running_loop)?;
    options.set_item(intern!(py, "context"), py.None())?;
    options.set_item(intern!(py, "eager_start"), true)?;
    Ok(options)
}

/// Makes a task of a coroutine and runs its first step; from Python 3.12 on.
///
/// The options are the caller's again afterwards, and know the context no more.
pub(crate) fn start<'py>(
    coroutine: &Bound<'py, PyAny>,
    context: &Bound<'py, PyAny>,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = coroutine.py();
    let key = intern!(py, "context");
    options.set_item(key, context)?;
    let class = layout(py)?.class.bind(py);
    let task = class.call((coroutine,), Some(options));
    options.set_item(key, py.None())?;
    task
}

/// An object of a class of asyncio's, for a loop: a future, or the task of a coroutine.
fn make<'py>(
    class: &Bound<'py, PyAny>,
    coroutine: Option<&Bound<'py, PyAny>>,
    running_loop: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static NAMES: Once<Py<PyTuple>> = Once::new();
    let py = class.py();
    let names = NAMES.get_or_try_init(py, || {
        PyTuple::new(py, [intern!(py, "loop")]).map(Bound::unbind)
    })?;
    let both = [
        coroutine.map_or(std::ptr::null_mut(), |coroutine| coroutine.as_ptr()),
        running_loop.as_ptr(),
    ];
    let arguments = &both[usize::from(coroutine.is_none())..];
    // SAFETY: live objects, of which the last belongs to the only name; null comes with an exception
    // set.
    unsafe {
        let (count, names) = (arguments.len() - 1, names.as_ptr());
        let made = ffi::PyObject_Vectorcall(class.as_ptr(), arguments.as_ptr(), count, names);
        Bound::from_owned_ptr_or_err(py, made)
    }
}

/// What a module has under a name.
fn member<'py>(
    module: &Bound<'py, PyModule>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    match module.dict().get_item(name)? {
        Some(member) => Ok(member),
        None => module.getattr(name),
    }
}

/// `loop.create_future()`.
pub(crate) fn make_future<'py>(running_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static FUTURES: Imported<PyModule> = Imported::module("asyncio.futures");
    let py = running_loop.py();
    // Looked up each time, as asyncio does: a program may replace it.
    let class = member(FUTURES.get(py)?, intern!(py, "Future"))?;
    make(&class, None, running_loop)
}

/// Whether a loop is one of ours and of no class of the program's, which may do more.
pub(crate) fn is_plain_loop(core: &Bound<'_, LoopCore>) -> PyResult<bool> {
    static CLASS: Imported = Imported::new("eventlet_asyncio.loop", "EventLoop");
    Ok(core.get_type().is(CLASS.get(core.py())?))
}

/// `loop.create_task()`: natively where no factory makes the task and nobody wants to know where it
/// was made.
pub(crate) fn create<'py>(
    core: &Bound<'py, LoopCore>,
    coroutine: &Bound<'py, PyAny>,
    name: Option<&Bound<'py, PyAny>>,
    options: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    static TASKS: Imported<PyModule> = Imported::module("asyncio.tasks");
    static OTHERWISE: Once<Py<PyAny>> = Once::new();
    let py = core.py();
    let plain = core.get().makes_plain_tasks(py);
    let class = member(TASKS.get(py)?, intern!(py, "Task"))?;
    if plain && name.is_none() && options.is_none() {
        return make(&class, Some(coroutine), core);
    }
    let options = match options {
        Some(options) => options.copy()?,
        None => PyDict::new(py),
    };
    if let Some(name) = name {
        options.set_item(intern!(py, "name"), name)?;
    }
    let names = [intern!(py, "name"), intern!(py, "context")];
    let mut others = options.len();
    for name in names {
        others -= usize::from(options.contains(name)?);
    }
    // Which others there are depends on the version of Python.
    if plain && others == 0 {
        options.set_item(intern!(py, "loop"), core)?;
        return class.call((coroutine,), Some(&options));
    }
    let otherwise = OTHERWISE.get_or_try_init(py, || {
        let class = py.import("asyncio.base_events")?.getattr("BaseEventLoop")?;
        class.getattr("create_task").map(Bound::unbind)
    })?;
    otherwise.bind(py).call((core, coroutine), Some(&options))
}

/// Whether a future is done.
pub(crate) fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    if !result_pointer(future)?.is_null() {
        return Ok(true);
    }
    future
        .call_method0(intern!(future.py(), "done"))?
        .is_truthy()
}

/// The value of a task or future of asyncio's C code that has one.
pub(crate) fn value<'py>(future: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static FUTURE: Imported = Imported::new("_asyncio", "Future");
    let py = future.py();
    let class = future.get_type();
    if !class.is(&layout(py)?.class) && !class.is(FUTURE.get(py)?) {
        return Ok(None);
    }
    let finished = future
        .getattr(intern!(py, "_state"))?
        .eq(intern!(py, "FINISHED"))?;
    if !finished || !future.getattr(intern!(py, "_exception"))?.is_none() {
        return Ok(None);
    }
    future.getattr(intern!(py, "_result")).map(Some)
}

/// Has a callback of ours called when a future is done; it sees no context variables.
pub(crate) fn add_done_callback(
    future: &Bound<'_, PyAny>,
    callback: &Bound<'_, PyAny>,
) -> PyResult<()> {
    static EMPTY: Once<(Py<PyTuple>, Py<PyAny>)> = Once::new();
    let py = future.py();
    let (names, context) = EMPTY.get_or_try_init(py, || {
        let names = PyTuple::new(py, [intern!(py, "context")])?.unbind();
        let context = py.import("contextvars")?.getattr("Context")?.call0()?;
        Ok::<_, PyErr>((names, context.unbind()))
    })?;
    let arguments = [future.as_ptr(), callback.as_ptr(), context.as_ptr()];
    // SAFETY: three live objects, of which the last belongs to the name; null comes with an exception
    // set.
    let answer = unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            ffi::PyObject_VectorcallMethod(
                intern!(py, "add_done_callback").as_ptr(),
                arguments.as_ptr(),
                2,
                names.as_ptr(),
            ),
        )
    };
    answer.map(drop)
}

/// Takes a future of a loop from an iterator that yields it, as a task does; `false` when it is
/// something else.
pub(crate) fn takes_future(
    yielded: &Bound<'_, PyAny>,
    running_loop: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let py = yielded.py();
    let blocking = intern!(py, "_asyncio_future_blocking");
    let Some(blocks) = context::attribute(yielded, blocking)? else {
        return Ok(false);
    };
    let Some(own_loop) = context::attribute(yielded, intern!(py, "_loop"))? else {
        return Ok(false);
    };
    if !blocks.is_truthy()? || !running_loop.is_some_and(|running| own_loop.is(running)) {
        return Ok(false);
    }
    yielded.setattr(blocking, false)?;
    Ok(true)
}
