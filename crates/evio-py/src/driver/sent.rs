//! Carriers that are sent to start a task, while who sent them waits.

use pyo3::prelude::*;

use super::Driver;
use crate::fast::waker::Waker;
use crate::greenlet;
use crate::hub::HubCore;
use crate::step::{self, Errand, LeftWaiting, Step};

/// A carrier that is to start a task, before it is switched to.
pub(crate) struct Sent<'py> {
    driver: Bound<'py, Driver>,
    step: Bound<'py, Step>,
    place: usize,
}

/// Has a carrier start a task as soon as it is switched to. The running greenlet then waits until the
/// first step is over or blocks greenly, or until the task is done.
pub(crate) fn send<'py>(
    hub: &Bound<'py, HubCore>,
    coroutine: &Bound<'py, PyAny>,
    context: Bound<'py, PyAny>,
    current: &Bound<'py, PyAny>,
) -> PyResult<Sent<'py>> {
    let py = hub.py();
    let driver = hub.get().driver(py).into_bound(py);
    let step = match driver.get().take_idle(py)? {
        Some(step) => step,
        None => Step::create(&driver, &HubCore::greenlet_of(hub)?)?,
    };
    let place = driver.get().left_waiting.with(py, LeftWaiting::reserve);
    let errand = Errand {
        coroutine: coroutine.clone().unbind(),
        context: context.unbind(),
        place,
    };
    step.get().send(py, errand, current.clone().unbind());
    Ok(Sent {
        driver,
        step,
        place,
    })
}

/// What became of a task that a carrier was sent to start.
pub(crate) struct Started<'py> {
    pub(crate) task: Bound<'py, PyAny>,
    /// Wakes who waits when the task is done, for which that one has waited already.
    pub(crate) waker: Option<Bound<'py, Waker>>,
    /// What was thrown at who waits.
    pub(crate) thrown: PyResult<()>,
}

impl<'py> Sent<'py> {
    /// Has the carrier begin. Who waits here, maybe for the whole task, does not hold it.
    #[inline(always)]
    pub(crate) fn switch(&self) -> greenlet::Brought<'py> {
        self.step.get().switch_to_carrier(self.step.py())
    }

    /// The carrier, or somebody else, has switched back.
    #[inline(never)]
    pub(crate) fn come_back(
        self,
        brought: greenlet::Brought<'py>,
    ) -> PyResult<Option<Started<'py>>> {
        let py = self.step.py();
        let thrown = brought.outcome(py).map(drop);
        let (driver, step) = (self.driver.get(), self.step.get());
        drop(driver.next.take(py));
        if let Some((task, waker)) = driver.left_waiting.with(py, |left| left.take(self.place)) {
            step::put_away(py)?;
            return Ok(Some(Started {
                task: task.into_bound(py),
                waker: Some(waker.into_bound(py)),
                thrown,
            }));
        }
        let started = |task: Py<PyAny>, thrown| Started {
            task: task.into_bound(py),
            waker: None,
            thrown,
        };
        if let Some(task) = step.take_started(py) {
            return Ok(Some(started(task?, thrown)));
        }
        // Somebody else came here, past the step: what it runs may have killed who waits for it.
        step::put_away(py)?;
        match step.part_from_caller(py) {
            Some(task) => Ok(Some(started(task, thrown))),
            None => thrown.map(|()| None),
        }
    }
}
