//! Listeners: eventlet's interest in a descriptor, as `Hub.add` returns it.

use std::os::fd::RawFd;

use evio_loop::{Direction, Key};
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::greenlet::{self, Greenlet};
use crate::{fiber, trace};

/// Calls back when a descriptor is ready, until it is removed from its hub.
#[pyclass(
    frozen,
    weakref,
    // No `dict`: CPython 3.11 makes it after it told the collector of the half-made object.
    name = "FdListener",
    module = "eventlet_asyncio._evio"
)]
pub(crate) struct Listener {
    direction: Direction,
    fileno: RawFd,
    cb: GilCell<Option<Py<PyAny>>>,
    tb: GilCell<Option<Py<PyAny>>>,
    mark_as_closed: GilCell<Option<Py<PyAny>>>,
    greenlet: GilCell<Option<Greenlet>>,
    /// Whether being ready means a switch to the greenlet, without a callback.
    wakes: Flag,
    key: GilCell<Option<Key>>,
    spent: Flag,
    /// The stack of who made it, if somebody wants to know.
    where_called: GilCell<Option<Py<PyAny>>>,
}

impl Listener {
    /// Of a program that brings its own callbacks.
    pub(crate) fn new(
        direction: Direction,
        fileno: RawFd,
        cb: &Bound<'_, PyAny>,
        tb: &Bound<'_, PyAny>,
        mark_as_closed: &Bound<'_, PyAny>,
        greenlet: Bound<'_, PyAny>,
    ) -> Self {
        Self {
            direction,
            fileno,
            cb: GilCell::new(Some(cb.clone().unbind())),
            tb: GilCell::new(Some(tb.clone().unbind())),
            mark_as_closed: GilCell::new(
                Some(mark_as_closed.clone().unbind()).filter(|_| !mark_as_closed.is_none()),
            ),
            greenlet: GilCell::new(Some(greenlet.unbind())),
            wakes: Flag::new(false),
            key: GilCell::new(None),
            spent: Flag::new(false),
            where_called: GilCell::new(None),
        }
    }

    /// Of a greenlet that blocks until the descriptor is ready.
    pub(crate) fn of_greenlet<'py>(
        direction: Direction,
        fileno: RawFd,
        mark_as_closed: Option<&Bound<'py, PyAny>>,
        greenlet: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        let listener = Self {
            direction,
            fileno,
            cb: GilCell::new(None),
            tb: GilCell::new(None),
            mark_as_closed: GilCell::new(mark_as_closed.map(|mark| mark.clone().unbind())),
            greenlet: GilCell::new(Some(greenlet.clone().unbind())),
            wakes: Flag::new(true),
            key: GilCell::new(None),
            spent: Flag::new(false),
            where_called: GilCell::new(None),
        };
        Bound::new(greenlet.py(), listener)
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fileno
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    pub(crate) fn key(&self, py: Python<'_>) -> Option<Key> {
        self.key.with(py, |key| *key)
    }

    pub(crate) fn set_key(&self, py: Python<'_>, key: Option<Key>) {
        self.key.replace(py, key);
    }

    fn of_its_greenlet<'py>(
        &self,
        py: Python<'py>,
        method: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.greenlet.get(py) {
            Some(greenlet) => greenlet.into_bound(py).getattr(method),
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// Notes the stack of who makes it.
    pub(crate) fn trace(&self, py: Python<'_>) -> PyResult<()> {
        let stack = trace::stack(py)?.unbind();
        drop(self.where_called.replace(py, Some(stack)));
        Ok(())
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    fn objects(&self) -> [&GilCell<Option<Py<PyAny>>>; 5] {
        [
            &self.cb,
            &self.tb,
            &self.mark_as_closed,
            &self.greenlet,
            &self.where_called,
        ]
    }

    pub(crate) fn fire(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let args = PyTuple::new(py, [this.fileno])?;
        if this.wakes.get() {
            let Some(target) = this.greenlet.get(py) else {
                return Ok(());
            };
            let target = target.into_bound(py);
            if greenlet::is_dead(&target) {
                return Ok(());
            }
            return greenlet::switch_with(&target, &args, None).map(drop);
        }
        let Some(callback) = this.cb.get(py) else {
            return Ok(());
        };
        fiber::call(callback.bind(py), &args, None).map(drop)
    }
}

#[pymethods]
impl Listener {
    /// `"read"` or `"write"`.
    #[getter]
    pub(crate) fn evtype(&self) -> &'static str {
        match self.direction {
            Direction::Read => "read",
            Direction::Write => "write",
        }
    }

    #[getter]
    fn fileno(&self) -> RawFd {
        self.fileno
    }

    /// Called with the descriptor when it is ready; does nothing once the listener is defanged.
    #[getter]
    fn cb<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.wakes.get() {
            return self.of_its_greenlet(py, intern!(py, "switch"));
        }
        match self.cb.get(py) {
            Some(callback) => Ok(callback.into_bound(py)),
            None => py
                .import("eventlet.hubs.hub")?
                .getattr(intern!(py, "closed_callback")),
        }
    }

    /// Raises an exception in the greenlet that listens.
    #[getter]
    fn tb<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.tb.get(py) {
            Some(throwback) => Ok(throwback.into_bound(py)),
            None => self.of_its_greenlet(py, intern!(py, "throw")),
        }
    }

    /// Called when the descriptor is found to be another one's now.
    #[getter]
    fn mark_as_closed(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.mark_as_closed.get(py)
    }

    /// The greenlet that listens.
    #[getter]
    fn greenlet(&self, py: Python<'_>) -> Option<Greenlet> {
        self.greenlet.get(py)
    }

    /// Whether the listener was removed or defanged.
    #[getter]
    fn spent(&self) -> bool {
        self.spent.get()
    }

    #[setter]
    fn set_spent(&self, spent: bool) {
        self.spent.set(spent);
    }

    /// The stack of who made the listener, if `eventlet.debug.hub_listener_stacks` was on.
    #[getter]
    fn where_called(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.where_called
            .get(py)
            .ok_or_else(|| PyAttributeError::new_err("where_called"))
    }

    /// Makes the listener harmless and tells the owner of the descriptor that it is closed.
    fn defang(&self, py: Python<'_>) -> PyResult<()> {
        self.wakes.set(false);
        drop(self.cb.take(py));
        if let Some(mark) = self.mark_as_closed.get(py) {
            mark.call0(py)?;
        }
        self.spent.set(true);
        Ok(())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let of_it = |name: &str| PyResult::Ok(slf.getattr(name)?.repr()?.to_string());
        let (cb, tb) = (of_it("cb")?, of_it("tb")?);
        let what = format!("'{}', {}, {cb}, {tb}", this.evtype(), this.fileno);
        let Some(stack) = this.where_called.get(py) else {
            return Ok(format!("FdListener({what})"));
        };
        let (mark, greenlet) = (of_it("mark_as_closed")?, of_it("greenlet")?);
        let lines = intern!(py, "").call_method1(intern!(py, "join"), (stack,))?;
        Ok(format!(
            "DebugListener({what}, {mark}, {greenlet})\n{lines}EndDebugFdListener"
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for cell in self.objects() {
            if let Some(object) = cell.peek() {
                visit.call(&*object)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        for cell in self.objects() {
            drop(cell.take(py));
        }
    }
}
