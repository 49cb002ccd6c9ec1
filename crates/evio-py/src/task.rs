//! What a task awaits, which only asyncio's C code can set.
//!
//! `Task._fut_waiter` can be read, not written, and the place of that field is private to each build of
//! CPython. So it is looked for, once, in a task that is seen to await a certain future.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

const WORD: usize = size_of::<*mut ffi::PyObject>();

/// The tasks of asyncio's C code, and where they keep what they await.
struct Layout {
    class: Py<PyType>,
    /// In words from the beginning of the object.
    awaited: usize,
}

fn layout(py: Python<'_>) -> PyResult<&Layout> {
    static LAYOUT: PyOnceLock<Layout> = PyOnceLock::new();
    LAYOUT.get_or_try_init(py, || {
        let class = py
            .import("_asyncio")?
            .getattr("Task")?
            .cast_into::<PyType>()?;
        let (task, awaited, finish) = py
            .import("eventlet_asyncio._steps")?
            .call_method0("waiting_task")?
            .extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
        let found = find(&class, &task, &awaited);
        finish.call0()?;
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
        })
    })
}

/// The one word of a task that points to what it awaits.
fn find(
    class: &Bound<'_, PyType>,
    task: &Bound<'_, PyAny>,
    awaited: &Bound<'_, PyAny>,
) -> Option<usize> {
    if !task.get_type().is(class) {
        return None;
    }
    let header = size_of::<ffi::PyObject>() / WORD;
    // SAFETY: the task is of exactly this type, and its type says how large it is.
    let words = unsafe {
        let size = (*class.as_type_ptr()).tp_basicsize;
        std::slice::from_raw_parts(
            task.as_ptr().cast::<usize>(),
            usize::try_from(size).ok()? / WORD,
        )
    };
    let wanted = awaited.as_ptr() as usize;
    let mut places = (header..words.len()).filter(|&place| words[place] == wanted);
    places.next().filter(|_| places.next().is_none())
}

/// Looks for the place beforehand, since that calls into Python.
///
/// # Errors
///
/// RuntimeError where this Python's tasks are not understood.
pub(crate) fn prepare(py: Python<'_>) -> PyResult<()> {
    layout(py).map(drop)
}

/// Sets what a task awaits that runs: its own future when it is cancelled, or nothing.
///
/// # Errors
///
/// RuntimeError where this Python's tasks are not understood.
pub(crate) fn set_awaited(
    task: &Bound<'_, PyAny>,
    awaited: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = task.py();
    let layout = layout(py)?;
    if !task.is_instance(layout.class.bind(py))? {
        // A task written in Python has an attribute, or is none of asyncio's.
        return task.setattr(intern!(py, "_fut_waiter"), awaited);
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
    drop(old);
    Ok(())
}
