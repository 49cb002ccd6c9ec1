//! The queue of what a socket has not taken yet, in a container of the stdlib's choice: before Python
//! 3.12 a bytearray, then a deque of memoryviews.
//!
//! Nothing here runs Python code, or lets go of anything that does, before the queue is as it shall be.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
#[cfg(not(Py_3_12))]
use pyo3::types::PyByteArray;
#[cfg(Py_3_12)]
use pyo3::types::PyMemoryView;
use pyo3::types::{PyBytes, PySlice};

#[cfg(Py_3_12)]
use crate::cell::intern;
#[cfg(Py_3_12)]
use crate::imported::Imported;

#[cfg(Py_3_12)]
static DEQUE: Imported = Imported::new("collections", "deque");

/// An empty queue.
#[cfg(Py_3_12)]
pub(super) fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    DEQUE.get(py)?.call0()
}

/// An empty queue.
#[cfg(not(Py_3_12))]
#[expect(clippy::unnecessary_wraps)] // As its counterpart has it.
pub(super) fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(PyByteArray::new(py, b"").into_any())
}

/// Refuses what cannot be a queue.
pub(super) fn check(queue: &Bound<'_, PyAny>) -> PyResult<()> {
    #[cfg(not(Py_3_12))]
    let fits = queue.is_exact_instance_of::<PyByteArray>();
    #[cfg(Py_3_12)]
    let fits = queue.get_type().is(DEQUE.get(queue.py())?);
    if fits {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "a transport cannot keep what it has to send in a {}",
        queue.get_type().name()?
    )))
}

/// Queues data from a place on: its owner's memory where that stays as it is, otherwise a copy.
#[cfg(Py_3_12)]
pub(super) fn push(
    queue: &Bound<'_, PyAny>,
    data: &[u8],
    owner: Option<&Bound<'_, PyBytes>>,
    from: usize,
) -> PyResult<()> {
    let py = queue.py();
    let view = match owner {
        Some(owner) => rest(PyMemoryView::from(owner.as_any())?.as_any(), from)?,
        None => PyMemoryView::from(PyBytes::new(py, &data[from..]).as_any())?.into_any(),
    };
    queue.call_method1(intern!(py, "append"), (view,)).map(drop)
}

/// Queues data from a place on.
#[cfg(not(Py_3_12))]
pub(super) fn push(
    queue: &Bound<'_, PyAny>,
    data: &[u8],
    _owner: Option<&Bound<'_, PyBytes>>,
    from: usize,
) -> PyResult<()> {
    super::sys::extend(queue.cast_exact::<PyByteArray>()?, &data[from..])
}

/// Up to so many of the first pieces of the queue.
#[cfg(Py_3_12)]
pub(super) fn first<'py>(
    queue: &Bound<'py, PyAny>,
    most: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    queue.try_iter()?.take(most).collect()
}

/// The queue, which is one piece.
#[cfg(not(Py_3_12))]
pub(super) fn first<'py>(
    queue: &Bound<'py, PyAny>,
    _most: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    Ok(vec![queue.clone()])
}

/// Takes what was sent of the first pieces, whose lengths are given, out of the queue.
#[cfg(Py_3_12)]
pub(super) fn pop(queue: &Bound<'_, PyAny>, lengths: &[usize], mut sent: usize) -> PyResult<()> {
    let py = queue.py();
    let mut whole = 0;
    for length in lengths {
        if sent < *length {
            break;
        }
        sent -= length;
        whole += 1;
    }
    if sent > 0 {
        let piece = queue.get_item(whole)?;
        queue.set_item(whole, rest(&piece, sent)?)?;
    }
    let sent = (0..whole).map(|_| queue.call_method0(intern!(py, "popleft")));
    let sent = sent.collect::<PyResult<Vec<_>>>()?;
    drop(sent);
    Ok(())
}

/// Takes what was sent out of the queue.
#[cfg(not(Py_3_12))]
pub(super) fn pop(queue: &Bound<'_, PyAny>, _lengths: &[usize], sent: usize) -> PyResult<()> {
    if sent > 0 {
        queue.del_item(slice(queue.py(), 0, Some(sent))?)?;
    }
    Ok(())
}

#[cfg(Py_3_12)]
fn rest<'py>(view: &Bound<'py, PyAny>, from: usize) -> PyResult<Bound<'py, PyAny>> {
    view.get_item(slice(view.py(), from, None)?)
}

/// PyO3's own constructor keeps the numbers for ever.
fn slice(py: Python<'_>, from: usize, to: Option<usize>) -> PyResult<Bound<'_, PyAny>> {
    py.get_type::<PySlice>().call1((from, to))
}
