//! All listeners of a hub, by descriptor and direction, in order of addition.

use std::collections::HashMap;
use std::os::fd::RawFd;

use evio_loop::Direction;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{GilCell, intern};
use crate::listener::Listener;

type Slot = (RawFd, bool);

fn slot(fd: RawFd, direction: Direction) -> Slot {
    (fd, matches!(direction, Direction::Read))
}

/// Which listeners `by_type` lists: eventlet keeps the first of a descriptor apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    First,
    Further,
}

pub(crate) struct Listeners(GilCell<HashMap<Slot, Vec<Py<Listener>>>>);

impl Listeners {
    pub(crate) fn new() -> Self {
        Self(GilCell::new(HashMap::new()))
    }

    pub(crate) fn insert(&self, listener: &Bound<'_, Listener>) {
        let py = listener.py();
        let this = listener.get();
        self.0.with(py, |listeners| {
            listeners
                .entry(slot(this.fd(), this.direction()))
                .or_default()
                .push(listener.clone().unbind());
        });
    }

    pub(crate) fn remove(&self, listener: &Bound<'_, Listener>) -> Option<Py<Listener>> {
        let this = listener.get();
        let slot = slot(this.fd(), this.direction());
        self.0.with(listener.py(), |listeners| {
            let list = listeners.get_mut(&slot)?;
            let at = list.iter().position(|other| other.is(listener))?;
            let removed = list.remove(at);
            if list.is_empty() {
                listeners.remove(&slot);
            }
            Some(removed)
        })
    }

    pub(crate) fn of(
        &self,
        py: Python<'_>,
        fd: RawFd,
        directions: &[Direction],
    ) -> Vec<Py<Listener>> {
        self.0.with(py, |listeners| {
            directions
                .iter()
                .filter_map(|direction| listeners.get(&slot(fd, *direction)))
                .flatten()
                .map(|listener| listener.clone_ref(py))
                .collect()
        })
    }

    pub(crate) fn all(&self, py: Python<'_>) -> Vec<Py<Listener>> {
        self.0.with(py, |listeners| {
            let listeners = listeners.values().flatten();
            listeners.map(|listener| listener.clone_ref(py)).collect()
        })
    }

    /// Takes all out, to be dropped by the caller.
    pub(crate) fn clear(&self, py: Python<'_>) -> impl Sized {
        self.0.take(py)
    }

    /// The listeners as `hub.listeners` and `hub.secondaries` show them: by type, then descriptor.
    pub(crate) fn by_type<'py>(&self, py: Python<'py>, rank: Rank) -> PyResult<Bound<'py, PyDict>> {
        let by_type = PyDict::new(py);
        for (name, direction) in [("read", Direction::Read), ("write", Direction::Write)] {
            let bucket = PyDict::new(py);
            let mut fds: Vec<RawFd> = self.0.with(py, |listeners| {
                let slots = listeners
                    .keys()
                    .filter(|&&(fd, read)| slot(fd, direction) == (fd, read));
                slots.map(|&(fd, _)| fd).collect()
            });
            fds.sort_unstable();
            for fd in fds {
                let list = self.of(py, fd, &[direction]);
                match rank {
                    Rank::First => bucket.set_item(fd, list.first())?,
                    Rank::Further if list.len() > 1 => {
                        bucket.set_item(fd, PyList::new(py, &list[1..])?)?;
                    }
                    Rank::Further => {}
                }
            }
            by_type.set_item(name, bucket)?;
        }
        Ok(by_type)
    }

    /// Refuses a second listener of a descriptor, unless the program allowed that.
    pub(crate) fn refuse_second(&self, new: &Bound<'_, Listener>) -> PyResult<()> {
        let py = new.py();
        let (fd, direction) = (new.get().fd(), new.get().direction());
        let Some(first) = self.of(py, fd, &[direction]).into_iter().next() else {
            return Ok(());
        };
        let module = py.import("eventlet.hubs.hub")?;
        if !module
            .getattr(intern!(py, "g_prevent_multiple_readers"))?
            .is_truthy()?
        {
            return Ok(());
        }
        let evtype = new.get().evtype();
        Err(PyRuntimeError::new_err(format!(
            "Second simultaneous {evtype} on fileno {fd} detected.  Unless you really know what \
             you're doing, make sure that only one greenthread can {evtype} any particular socket. \
             To allow it, call eventlet.debug.hub_prevent_multiple_readers(False) - MY THREAD={}; \
             THAT THREAD={}",
            new.repr()?,
            first.bind(py).repr()?,
        )))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(listeners) = self.0.peek() {
            for listener in listeners.values().flatten() {
                visit.call(listener)?;
            }
        }
        Ok(())
    }
}
