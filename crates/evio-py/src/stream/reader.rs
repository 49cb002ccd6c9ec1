//! What `StreamReaderProtocol.data_received()` and `StreamReader.feed_data()` do, without their frames.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyType, PyWeakrefReference};

use super::sys;
use crate::cell::{Once, intern};

/// asyncio's classes, and their methods as they come.
struct Originals {
    protocol: Py<PyType>,
    reader: Py<PyType>,
    data_received: Py<PyAny>,
    feed_data: Py<PyAny>,
    wakeup_waiter: Py<PyAny>,
}

/// `None` where the program has put others in their place before anybody asked.
fn originals(py: Python<'_>) -> PyResult<Option<&'static Originals>> {
    static ORIGINALS: Once<Option<Originals>> = Once::new();
    let originals = ORIGINALS.get_or_try_init(py, || {
        let streams = py.import("asyncio.streams")?;
        let protocol = streams.getattr("StreamReaderProtocol")?;
        let reader = streams.getattr("StreamReader")?;
        let (Some(data_received), Some(feed_data), Some(wakeup_waiter)) = (
            original(&streams, &protocol, "data_received")?,
            original(&streams, &reader, "feed_data")?,
            original(&streams, &reader, "_wakeup_waiter")?,
        ) else {
            return Ok::<_, PyErr>(None);
        };
        Ok(Some(Originals {
            data_received,
            feed_data,
            wakeup_waiter,
            protocol: protocol.cast_into::<PyType>()?.unbind(),
            reader: reader.cast_into::<PyType>()?.unbind(),
        }))
    })?;
    Ok(originals.as_ref())
}

/// A method of a class, if it was written in the class's own module.
fn original(
    module: &Bound<'_, PyModule>,
    class: &Bound<'_, PyAny>,
    name: &str,
) -> PyResult<Option<Py<PyAny>>> {
    let method = class.getattr(name)?;
    let Some(code) = method.getattr_opt("__code__")? else {
        return Ok(None);
    };
    let is_from_here = code
        .getattr("co_filename")?
        .eq(module.getattr("__file__")?)?;
    Ok(is_from_here.then(|| method.unbind()))
}

/// Whether a protocol may be one that feeds a reader of asyncio's; later versions of Python may do
/// something else in these methods.
pub(super) fn may_feed(protocol: &Bound<'_, PyAny>) -> PyResult<bool> {
    if cfg!(Py_3_14) {
        return Ok(false);
    }
    let originals = originals(protocol.py())?;
    Ok(originals.is_some_and(|originals| protocol.get_type().is(&originals.protocol)))
}

/// A reader of asyncio's, and where it keeps what was received.
pub(super) struct Target<'py> {
    reader: Bound<'py, PyAny>,
    pub(super) buffer: Bound<'py, PyByteArray>,
}

/// The reader that a protocol feeds; `None` if what comes is for Python to see.
pub(super) fn target<'py>(protocol: &Bound<'py, PyAny>) -> PyResult<Option<Target<'py>>> {
    let py = protocol.py();
    let Some(originals) = originals(py)? else {
        return Ok(None);
    };
    let name = intern!(py, "data_received");
    if !sys::has_method(protocol, name, originals.data_received.bind(py))? {
        return Ok(None);
    }
    let reader = protocol.getattr(intern!(py, "_stream_reader_wr"))?;
    let Ok(reader) = reader.cast_exact::<PyWeakrefReference>() else {
        return Ok(None);
    };
    let Some(reader) = reader.upgrade() else {
        return Ok(None);
    };
    if !reader.get_type().is(&originals.reader)
        || !sys::has_method(
            &reader,
            intern!(py, "feed_data"),
            originals.feed_data.bind(py),
        )?
        || !sys::has_method(
            &reader,
            intern!(py, "_wakeup_waiter"),
            originals.wakeup_waiter.bind(py),
        )?
        || reader.getattr(intern!(py, "_eof"))?.is_truthy()?
    {
        return Ok(None);
    }
    let buffer = reader.getattr(intern!(py, "_buffer"))?;
    let Ok(buffer) = buffer.cast_into_exact::<PyByteArray>() else {
        return Ok(None);
    };
    Ok(Some(Target { reader, buffer }))
}

/// Tells a reader of what has come.
pub(super) fn tell(target: &Target<'_>) -> PyResult<()> {
    wake(&target.reader)?;
    pause_if_full(&target.reader, &target.buffer)
}

fn wake(reader: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = reader.py();
    let name = intern!(py, "_waiter");
    let waiter = reader.getattr(name)?;
    if waiter.is_none() {
        return Ok(());
    }
    reader.setattr(name, py.None())?;
    if !waiter.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
        waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

fn pause_if_full(reader: &Bound<'_, PyAny>, buffer: &Bound<'_, PyByteArray>) -> PyResult<()> {
    let py = reader.py();
    let limit = reader.getattr(intern!(py, "_limit"))?;
    let is_full = match limit.extract::<usize>() {
        Ok(limit) => buffer.len() / 2 >= limit && buffer.len() > limit.saturating_mul(2),
        Err(_) => limit.mul(2)?.lt(buffer.len())?,
    };
    if !is_full {
        return Ok(());
    }
    let transport = reader.getattr(intern!(py, "_transport"))?;
    let name = intern!(py, "_paused");
    if transport.is_none() || reader.getattr(name)?.is_truthy()? {
        return Ok(());
    }
    match transport.call_method0(intern!(py, "pause_reading")) {
        Ok(_) => reader.setattr(name, true),
        Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
            reader.setattr(intern!(py, "_transport"), py.None())
        }
        Err(error) => Err(error),
    }
}
