//! The descriptors that a loop watches for the program.

use std::os::fd::RawFd;

use evio_loop::{Direction, Error, Key, Lane, Mode};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::LoopCore;
use crate::cell::intern;
use crate::errors;
use crate::handle::{Args, Handle};
use crate::job::Job;
use crate::sockets::SocketCall;

/// Why a descriptor is not watched.
enum Refusal {
    Reactor(Error),
    /// Its file cannot be polled.
    AlwaysReady,
}

impl LoopCore {
    pub(super) fn watch(
        slf: &Bound<'_, Self>,
        fd: RawFd,
        direction: Direction,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
    ) -> PyResult<Py<Handle>> {
        slf.get().check_open()?;
        let handle = Handle::create(slf, callback, Args::of(args), None)?;
        handle.get().note_reader(slf.py());
        Self::watch_by(slf, fd, direction, Mode::Level, &handle)?;
        Ok(handle.unbind())
    }

    /// Watches a descriptor for a call of a socket, until it is ready.
    pub(crate) fn watch_once(
        slf: &Bound<'_, Self>,
        fd: RawFd,
        direction: Direction,
        call: &Bound<'_, SocketCall>,
    ) -> PyResult<Key> {
        slf.get().check_open()?;
        let handle = Handle::create(slf, call.as_any(), Args::None, None)?;
        handle.get().note_socket(call);
        Self::watch_by(slf, fd, direction, Mode::Oneshot, &handle)
    }

    /// Watches a descriptor by a handle, and by no other.
    fn watch_by(
        slf: &Bound<'_, Self>,
        fd: RawFd,
        direction: Direction,
        mode: Mode,
        handle: &Bound<'_, Handle>,
    ) -> PyResult<Key> {
        let py = slf.py();
        let this = slf.get();
        let job = Job::Handle(handle.clone().unbind());
        this.callbacks_used.set(true);
        let (old, outcome) = this.open_engine(py, |engine| {
            let old: Vec<Key> = engine.watchers_of(Lane::Callback, fd, direction).collect();
            let outcome = engine
                .watch(Lane::Callback, fd, direction, mode, job)
                .map_err(|refused| (Refusal::Reactor(refused.error), Some(refused.payload)))
                .and_then(|key| {
                    if !engine.is_always_ready(key) {
                        return Ok(key);
                    }
                    // As asyncio's selector refuses it: the callback would be called for ever.
                    Err((Refusal::AlwaysReady, engine.unwatch(key)))
                });
            let old: Vec<Job> = if outcome.is_ok() {
                old.into_iter()
                    .filter_map(|key| engine.unwatch(key))
                    .collect()
            } else {
                Vec::new()
            };
            (old, outcome)
        })?;
        cancel_all(py, old)?;
        match outcome {
            Ok(key) => Ok(key),
            Err((refusal, job)) => {
                drop(job);
                Err(match refusal {
                    Refusal::Reactor(error) => errors::reactor(&error),
                    Refusal::AlwaysReady => errors::not_permitted(),
                })
            }
        }
    }

    fn unwatch(&self, py: Python<'_>, fd: RawFd, direction: Direction) -> PyResult<bool> {
        let removed = self.engine(py, |engine| {
            let keys: Vec<Key> = engine.watchers_of(Lane::Callback, fd, direction).collect();
            keys.into_iter()
                .filter_map(|key| engine.unwatch(key))
                .collect::<Vec<_>>()
        });
        let removed = removed.unwrap_or_default();
        let any = !removed.is_empty();
        cancel_all(py, removed)?;
        Ok(any)
    }

    pub(super) fn unwatch_file(
        &self,
        file: &Bound<'_, PyAny>,
        direction: Direction,
    ) -> PyResult<bool> {
        let py = file.py();
        let fd = self.files.find(file)?;
        let any = self.unwatch(py, fd, direction)?;
        if !self.files.is_empty(py) && matches!(self._watchers(py, fd), (None, None)) {
            self.files.forget(py, fd);
        }
        Ok(any)
    }
}

fn cancel_all(py: Python<'_>, jobs: Vec<Job>) -> PyResult<()> {
    for job in jobs {
        if let Job::Handle(handle) = job {
            handle.bind(py).call_method0(intern!(py, "cancel"))?;
        }
    }
    Ok(())
}
