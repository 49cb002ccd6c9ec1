//! Handles of callbacks that are due at a time.

use evio_loop::TimerKey;
use pyo3::prelude::*;

use super::Handle;
use crate::cell::{GilCell, intern};

/// A callback that is scheduled for a time.
#[pyclass(extends = Handle, frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct TimerHandle {
    when: f64,
    key: GilCell<Option<TimerKey>>,
}

impl TimerHandle {
    /// Makes a handle that is due at `when`, in seconds on the loop's clock.
    pub(crate) fn create<'py>(
        handle: Handle,
        py: Python<'py>,
        when: f64,
    ) -> PyResult<Bound<'py, Self>> {
        let timer = Self {
            when,
            key: GilCell::new(None),
        };
        Bound::new(py, PyClassInitializer::from(handle).add_subclass(timer))
    }

    pub(crate) fn set_key(&self, py: Python<'_>, key: TimerKey) {
        self.key.replace(py, Some(key));
    }
}

#[pymethods]
impl TimerHandle {
    /// The time at which the callback is due, in seconds on the loop's clock.
    pub(super) fn when(&self) -> f64 {
        self.when
    }

    #[getter]
    fn _when(&self) -> f64 {
        self.when
    }

    /// Whether the loop still holds the timer.
    #[getter]
    fn _scheduled(slf: &Bound<'_, Self>) -> bool {
        let py = slf.py();
        let Some(key) = slf.get().key.with(py, |key| *key) else {
            return false;
        };
        let owner = slf.as_super().get().owner(py);
        owner.is_some_and(|owner| {
            owner
                .bind(py)
                .get()
                .engine(py, |engine| engine.deadline(key).is_some())
                .unwrap_or(false)
        })
    }

    /// Keeps the callback from being called and frees it at once.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let handle = slf.as_super().get();
        if !handle.is_cancelled() {
            if let Some(owner) = handle.owner(py) {
                let owner = owner.into_bound(py);
                if owner.get().is_told_of_cancelled_timers() {
                    owner.call_method1(intern!(py, "_timer_handle_cancelled"), (slf,))?;
                }
            }
        }
        Handle::cancel_call(slf.as_super())?;
        if let Some(key) = slf.get().key.replace(py, None) {
            if let Some(owner) = slf.as_super().get().owner(py) {
                let job = owner.bind(py).get().engine(py, |engine| engine.cancel(key));
                drop(job);
            }
        }
        Ok(())
    }

    fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
        slf.get().when.into_pyobject(slf.py())?.hash()
    }

    fn __richcmp__(
        slf: &Bound<'_, Self>,
        other: &Bound<'_, PyAny>,
        op: pyo3::pyclass::CompareOp,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented());
        };
        let same = slf.is(other)
            || (slf.as_super().get().is_cancelled() == other.as_super().get().is_cancelled()
                && slf.get().when == other.get().when
                && Self::equal_calls(slf, other)?);
        let (a, b) = (slf.get().when, other.get().when);
        use pyo3::pyclass::CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
        let answer = match op {
            Eq => same,
            Ne => !same,
            Lt => a < b,
            Le => a < b || same,
            Gt => a > b,
            Ge => a > b || same,
        };
        Ok(answer.into_pyobject(py)?.to_owned().into_any().unbind())
    }
}

impl TimerHandle {
    fn equal_calls(a: &Bound<'_, Self>, b: &Bound<'_, Self>) -> PyResult<bool> {
        let py = a.py();
        match (
            a.as_super().get().call_shown(py)?,
            b.as_super().get().call_shown(py)?,
        ) {
            (Some((callback, args)), Some((other, others))) => {
                Ok(callback.eq(other)? && args.eq(others)?)
            }
            (None, None) => Ok(true),
            _ => Ok(false),
        }
    }
}
