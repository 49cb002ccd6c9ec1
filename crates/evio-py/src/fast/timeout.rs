//! The methods of `eventlet.Timeout`.

use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};

use super::hub_of_thread;
use crate::cell::intern;
use crate::hub::HubCore;
use crate::imported::Imported;
use crate::timer::GreenTimer;
use crate::{context, descent, greenlet, threads};

/// `Timeout.__init__`.
#[pyfunction]
#[pyo3(signature = (timeout, /, seconds = None, exception = None))]
pub(crate) fn init_timeout(
    timeout: &Bound<'_, PyAny>,
    seconds: Option<&Bound<'_, PyAny>>,
    exception: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = timeout.py();
    let attributes = Attributes::of(timeout)?;
    attributes.set(intern!(py, "seconds"), seconds)?;
    attributes.set(intern!(py, "exception"), exception)?;
    if let Attributes::Plain(_) = attributes {
        return begin(timeout, &attributes, seconds, exception);
    }
    attributes.set(intern!(py, "timer"), None)?;
    timeout.call_method0(intern!(py, "start")).map(drop)
}

/// `Timeout.start`.
#[pyfunction]
#[pyo3(signature = (timeout, /))]
pub(crate) fn start_timeout<'py>(timeout: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = timeout.py();
    if timeout.getattr(intern!(py, "pending"))?.is_truthy()? {
        return Err(PyAssertionError::new_err(format!(
            "{} is already started; to restart it, cancel it first",
            timeout.repr()?
        )));
    }
    let attributes = Attributes::of(timeout)?;
    let seconds = attributes.get(intern!(py, "seconds"))?;
    let exception = attributes.get(intern!(py, "exception"))?;
    begin(timeout, &attributes, seconds.as_ref(), exception.as_ref())?;
    Ok(timeout.clone())
}

/// `Timeout.cancel`.
#[pyfunction]
#[pyo3(signature = (timeout, /))]
pub(crate) fn cancel_timeout(timeout: &Bound<'_, PyAny>) -> PyResult<()> {
    let attributes = Attributes::of(timeout)?;
    let timer = attributes.get(intern!(timeout.py(), "timer"))?;
    cancel(&attributes, timer)
}

/// `Timeout.__enter__`.
#[pyfunction]
#[pyo3(signature = (timeout, /))]
pub(crate) fn enter_timeout<'py>(timeout: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = timeout.py();
    if Attributes::of(timeout)?
        .get(intern!(py, "timer"))?
        .is_none()
    {
        timeout.call_method0(intern!(py, "start"))?;
    }
    Ok(timeout.clone())
}

/// `Timeout.__exit__`, which a task may also reach by the cancel that stood for the timeout.
#[pyfunction]
#[pyo3(signature = (timeout, typ, value, tb))]
pub(crate) fn exit_timeout<'py>(
    timeout: &Bound<'py, PyAny>,
    typ: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    tb: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    static EXIT: Imported = Imported::new("eventlet_asyncio._strikes", "timeout_exit");
    let _ = (typ, tb);
    let py = timeout.py();
    let attributes = Attributes::of(timeout)?;
    let timer = attributes.get(intern!(py, "timer"))?;
    // One that is still to come has struck nobody.
    let quiet = match timer.as_ref().map(|timer| timer.cast::<GreenTimer>()) {
        Some(Ok(timer)) => timer.get().pending(py)?,
        _ => false,
    };
    match attributes {
        Attributes::Plain(_) => cancel(&attributes, timer)?,
        Attributes::Other(_) => drop(timeout.call_method0(intern!(py, "cancel"))?),
    }
    if quiet && value.is_none() {
        return Ok(py.None().into_bound(py));
    }
    EXIT.get(py)?.call1((timeout, value))
}

/// The attributes of a timeout: in its dictionary, when it is of eventlet's class and no subclass
/// can have made something else of them.
enum Attributes<'a, 'py> {
    Plain(Bound<'py, PyDict>),
    Other(&'a Bound<'py, PyAny>),
}

impl<'a, 'py> Attributes<'a, 'py> {
    fn of(timeout: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        static CLASS: Imported = Imported::new("eventlet.timeout", "Timeout");
        if timeout.get_type().is(CLASS.get(timeout.py())?) {
            return context::dictionary(timeout).map(Self::Plain);
        }
        Ok(Self::Other(timeout))
    }

    fn get(&self, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = match self {
            Self::Plain(dict) => dict.get_item(name)?,
            Self::Other(timeout) => Some(timeout.getattr(name)?),
        };
        Ok(value.filter(|value| !value.is_none()))
    }

    fn set(&self, name: &Bound<'py, PyString>, value: Option<&Bound<'py, PyAny>>) -> PyResult<()> {
        match self {
            Self::Plain(dict) => dict.set_item(name, value),
            Self::Other(timeout) => timeout.setattr(name, value),
        }
    }
}

fn begin<'py>(
    timeout: &Bound<'py, PyAny>,
    attributes: &Attributes<'_, 'py>,
    seconds: Option<&Bound<'py, PyAny>>,
    exception: Option<&Bound<'py, PyAny>>,
) -> PyResult<()> {
    let py = timeout.py();
    let timer = intern!(py, "timer");
    let Some(seconds) = seconds else {
        return attributes.set(timer, None);
    };
    let exception = exception
        .filter(|exception| !exception.is_instance_of::<PyBool>())
        .unwrap_or(timeout);
    let current = greenlet::current(py)?;
    let scheduled = match hub_of_thread(py)? {
        Some(hub) => HubCore::schedule_throw(&hub, seconds, &current, exception)?.into_any(),
        None => {
            attributes.set(timer, None)?;
            threads::own_hub(py)?.call_method1(
                intern!(py, "schedule_call_global"),
                (seconds, descent::throw_of(&current)?, exception),
            )?
        }
    };
    attributes.set(timer, Some(&scheduled))
}

fn cancel(attributes: &Attributes<'_, '_>, timer: Option<Bound<'_, PyAny>>) -> PyResult<()> {
    let Some(timer) = timer else {
        return Ok(());
    };
    let py = timer.py();
    match timer.cast::<GreenTimer>() {
        Ok(timer) => timer.get().cancel(py),
        Err(_) => drop(timer.call_method0("cancel")?),
    }
    attributes.set(intern!(py, "timer"), None)
}
