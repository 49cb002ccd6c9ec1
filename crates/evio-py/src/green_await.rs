//! `await green_thread` on a loop of ours: what a task waits for, and what it then sees.

use evio_bridge::AwaiterId;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::core::LoopCore;
use crate::crossing::{Crossing, Wake};
use crate::handle::Args;
use crate::imported::Imported;
use crate::{greenlet, identity, run, threads};

type Object = Py<PyAny>;

/// The iterator of one `await` of a green thread, and the future that it yields to its task.
#[pyclass(frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct GreenAwait {
    crossing: Py<Crossing>,
    core: Py<LoopCore>,
    awaiter: GilCell<Option<AwaiterId>>,
    /// Each with its context.
    callbacks: GilCell<Vec<(Object, Option<Object>)>>,
    yielded: Flag,
    blocking: Flag,
    /// It does not wait for the green thread any more.
    left: Flag,
    /// What the task is to see of its cancels.
    cancelled_by: GilCell<Option<Object>>,
}

/// `GreenThread.__await__`: by the same rules as `greenlet_to_future()`.
#[pyfunction]
pub(crate) fn await_green_thread<'py>(green: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static OTHERWISE: Imported = Imported::new("eventlet_asyncio.bridge", "await_green_thread");
    let py = green.py();
    let core = identity::running_loop(py)?.and_then(|running| running.cast_into::<LoopCore>().ok());
    let Some(core) = core.filter(|_| threads::is_here(green)) else {
        return OTHERWISE.get(py)?.call1((green,));
    };
    let crossing = Crossing::of_green_thread(green)?;
    let waiting = GreenAwait {
        crossing: crossing.clone().unbind(),
        core: core.unbind(),
        awaiter: GilCell::new(None),
        callbacks: GilCell::new(Vec::new()),
        yielded: Flag::new(false),
        blocking: Flag::new(false),
        left: Flag::new(false),
        cancelled_by: GilCell::new(None),
    };
    let waiting = Bound::new(py, waiting)?;
    if !crossing.get().done(py) {
        run::check_hub(py)?;
        let wake = Wake::Await(waiting.clone().unbind());
        let id = crossing.get().awaited_by(py, wake)?;
        waiting.get().awaiter.replace(py, Some(id));
    }
    Ok(waiting.into_any())
}

impl GreenAwait {
    /// Has the callbacks called in the loop's next turn, now that there is something to see.
    pub(crate) fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        for (callback, context) in this.callbacks.take(py) {
            let context = context.map(|context| context.into_bound(py));
            Self::call_soon(slf, callback.bind(py), context.as_ref())?;
        }
        Ok(())
    }

    fn call_soon<'py>(
        slf: &Bound<'py, Self>,
        callback: &Bound<'py, PyAny>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let args = Args::One(slf.clone().into_any().unbind());
        LoopCore::call_soon(slf.get().core.bind(slf.py()), callback, args, context).map(drop)
    }

    /// Notes a cancel, whose context is the one before it.
    fn note_cancel(&self, py: Python<'_>, msg: Option<Object>) -> PyResult<()> {
        let error = match msg {
            Some(msg) => CancelledError::new_err((msg,)),
            None => CancelledError::new_err(()),
        };
        let error = error.into_value(py);
        error.setattr(py, intern!(py, "__context__"), self.cancelled_by.get(py))?;
        drop(self.cancelled_by.replace(py, Some(error.into_any())));
        Ok(())
    }

    /// How a cancel is seen: as its own, if the task was cancelled, else as the one that ended the green thread.
    fn cancelled_error(&self, py: Python<'_>, ended_by: Option<PyErr>) -> PyErr {
        match self.cancelled_by.take(py) {
            Some(error) => PyErr::from_value(error.into_bound(py)),
            None => ended_by.unwrap_or_else(|| CancelledError::new_err(())),
        }
    }

    /// What a future would carry of an exception that ended the green thread.
    fn carried(&self, py: Python<'_>, error: PyErr) -> PyErr {
        if error.is_instance_of::<CancelledError>(py) {
            return self.cancelled_error(py, Some(error));
        }
        if error.is_instance(py, &greenlet::exit_class(py)) {
            return self.cancelled_error(py, None);
        }
        if error.is_instance_of::<PyStopIteration>(py) {
            let carried = PyRuntimeError::new_err(
                "the green thread raised StopIteration, which no future can carry: return, or raise something else",
            );
            carried.set_cause(py, Some(error));
            return carried;
        }
        error
    }
}

#[pymethods]
impl GreenAwait {
    #[getter]
    fn _asyncio_future_blocking(&self) -> bool {
        self.blocking.get()
    }

    #[setter]
    #[pyo3(name = "_asyncio_future_blocking")]
    fn set_asyncio_future_blocking(&self, blocking: bool) {
        self.blocking.set(blocking);
    }

    fn get_loop(&self, py: Python<'_>) -> Py<LoopCore> {
        self.core.clone_ref(py)
    }

    /// Whether there is something to see.
    fn done(&self, py: Python<'_>) -> bool {
        self.left.get() || self.crossing.get().done(py)
    }

    /// Returns what the green thread returned, or raises what it raised.
    fn result(&self, py: Python<'_>) -> PyResult<Object> {
        if self.left.get() {
            return Err(self.cancelled_error(py, None));
        }
        let result = self.crossing.get().result(py);
        result.map_err(|error| self.carried(py, error))
    }

    #[pyo3(signature = (callback, *, context = None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: &Bound<'_, PyAny>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        if slf.get().done(py) {
            return Self::call_soon(slf, callback, context);
        }
        let each = (
            callback.clone().unbind(),
            context.map(|context| context.clone().unbind()),
        );
        slf.get()
            .callbacks
            .with(py, |callbacks| callbacks.push(each));
        Ok(())
    }

    /// Removes a callback; how many times it was there.
    fn remove_done_callback(&self, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = callback.py();
        let all = self.callbacks.take(py);
        let before = all.len();
        let mut kept = Vec::with_capacity(before);
        for each in all {
            if !each.0.bind(py).eq(callback)? {
                kept.push(each);
            }
        }
        let removed = before - kept.len();
        let added_meanwhile = self.callbacks.replace(py, kept);
        self.callbacks
            .with(py, |callbacks| callbacks.extend(added_meanwhile));
        Ok(removed)
    }

    /// Leaves the green thread, which is killed if nobody else waits for it; done when it has ended.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Object>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        let crossing = this.crossing.get();
        let (false, Some(green)) = (this.done(py), crossing.green(py)) else {
            return Ok(false);
        };
        let bridge = py.import("eventlet_asyncio.bridge")?;
        let others = bridge.call_method1("has_green_waiters", (green,))?;
        if !others.is_truthy()? {
            if crossing.awaiter_count(py) == 1 {
                if crossing.has_due_kill(py) {
                    return Ok(true);
                }
                this.note_cancel(py, msg)?;
                crossing.kill(py, greenlet::exit_class(py).call0()?.unbind())?;
                return Ok(true);
            }
            if let Some(id) = this.awaiter.take(py) {
                crossing.left_by(py, id)?;
            }
        }
        this.note_cancel(py, msg)?;
        this.left.set(true);
        Self::wake(slf)?;
        Ok(true)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        if this.done(py) {
            return Err(PyStopIteration::new_err((this.result(py)?,)));
        }
        if this.yielded.replace(true) {
            return Err(PyRuntimeError::new_err(
                "the task went on before the green thread that it awaits has ended",
            ));
        }
        this.blocking.set(true);
        Ok(slf.clone())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(match self.crossing.get().green(py) {
            Some(green) => format!("<await of {}>", green.repr()?),
            None => "<await of a green thread that has ended>".to_owned(),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.crossing)?;
        visit.call(&self.core)?;
        if let Some(callbacks) = self.callbacks.peek() {
            for (callback, context) in callbacks.iter() {
                visit.call(callback)?;
                visit.call(context)?;
            }
        }
        match self.cancelled_by.peek() {
            Some(error) => visit.call(&*error),
            None => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.callbacks.take(py));
        drop(self.cancelled_by.take(py));
    }
}
