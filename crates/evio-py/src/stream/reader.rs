//! What `StreamReaderProtocol.data_received()` and `StreamReader.feed_data()` do, without their frames.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyType, PyWeakrefReference};

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

fn originals(py: Python<'_>) -> PyResult<&'static Originals> {
    static ORIGINALS: Once<Originals> = Once::new();
    ORIGINALS.get_or_try_init(py, || {
        let streams = py.import("asyncio.streams")?;
        let protocol = streams.getattr("StreamReaderProtocol")?;
        let reader = streams.getattr("StreamReader")?;
        Ok(Originals {
            data_received: protocol.getattr("data_received")?.unbind(),
            feed_data: reader.getattr("feed_data")?.unbind(),
            wakeup_waiter: reader.getattr("_wakeup_waiter")?.unbind(),
            protocol: protocol.cast_into::<PyType>()?.unbind(),
            reader: reader.cast_into::<PyType>()?.unbind(),
        })
    })
}

/// Whether a protocol may be one that feeds a reader of asyncio's; later versions of Python may do
/// something else in these methods.
pub(super) fn may_feed(protocol: &Bound<'_, PyAny>) -> PyResult<bool> {
    let known = cfg!(not(Py_3_14));
    Ok(known && protocol.get_type().is(&originals(protocol.py())?.protocol))
}

/// Gives data to the reader of a protocol; `false` if that is for Python to do, and nothing has happened.
pub(super) fn feed(protocol: &Bound<'_, PyAny>, data: &Bound<'_, PyBytes>) -> PyResult<bool> {
    let py = protocol.py();
    let originals = originals(py)?;
    let name = intern!(py, "data_received");
    if !sys::has_method(protocol, name, originals.data_received.bind(py))? {
        return Ok(false);
    }
    let reader = protocol.getattr(intern!(py, "_stream_reader_wr"))?;
    let Ok(reader) = reader.cast_exact::<PyWeakrefReference>() else {
        return Ok(false);
    };
    let Some(reader) = reader.upgrade() else {
        // Nobody reads.
        return Ok(true);
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
        return Ok(false);
    }
    let buffer = reader.getattr(intern!(py, "_buffer"))?;
    let Ok(buffer) = buffer.cast_exact::<PyByteArray>() else {
        return Ok(false);
    };
    sys::extend(buffer, data.as_bytes())?;
    wake(&reader)?;
    pause_if_full(&reader, buffer)?;
    Ok(true)
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
