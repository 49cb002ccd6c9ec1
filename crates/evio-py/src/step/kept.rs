//! Carriers that the program has kept beyond the callback which they ran.
//!
//! In a task `getcurrent()` is the carrier of its step. Who keeps that means the task, as to green code a task
//! is a green thread. So a carrier that somebody else holds when a callback is over runs no other: from then on it
//! *stands for* the task, and is set aside until nobody has it any more. What is asked of it or done to it goes to the
//! task; what has it for a parent goes on with who runs the task. One that was kept by a callback of no task stands
//! for nothing, like a greenlet that has ended.
//!
//! Who holds a carrier is told by the number of references. Between two callbacks of one stretch nobody else
//! runs, so there are as many as at its beginning, where nobody had kept it. After a green block others have run, who may
//! hold it for a while as they wake it. There the number is compared with that of those who always do, and where
//! it is larger, again before the carrier is used again, when they are done.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::{Step, current, current_carrier};
use crate::cell::{Flag, GilCell, intern};
use crate::core::LoopCore;
use crate::green_wait::GreenWait;
use crate::greenlet::{self, Brought};
use crate::host::Weak;
use crate::identity::Identity;
use crate::{context, task};

/// References to a carrier that rests: of its step, and of the frame that is its life.
const AT_REST: usize = 2;

#[derive(Default)]
pub(super) struct Kept {
    /// As many references as there are to the running carrier where nobody has kept it; 0: to be counted.
    expected: AtomicUsize,
    /// It runs nothing.
    aside: Flag,
    /// What is thrown at it ends it.
    ending: Flag,
    /// For which task it stands.
    task: GilCell<Option<Weak>>,
}

impl Kept {
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.task.peek() {
            Some(task) => task.as_ref().map_or(Ok(()), |task| task.traverse(visit)),
            None => Ok(()),
        }
    }

    pub(super) fn clear(&self, py: Python<'_>) {
        drop(self.task.take(py));
    }
}

impl Step {
    fn references(&self, py: Python<'_>) -> usize {
        let carrier = &self.greenlet;
        carrier.with(py, |carrier| {
            carrier
                .as_ref()
                .map_or(0, |carrier| context::references(carrier, py))
        })
    }

    /// Begins a stretch of callbacks: nobody has kept the carrier, which runs.
    pub(crate) fn begin_stretch(&self, py: Python<'_>) {
        let references = self.references(py);
        self.kept.expected.store(references, Ordering::Relaxed);
    }

    /// Others have run, or hold the carrier no more.
    pub(crate) fn count_holders(&self) {
        self.kept.expected.store(0, Ordering::Relaxed);
    }

    /// Whether somebody may have kept the carrier, which runs.
    #[inline]
    pub(super) fn is_held(&self, py: Python<'_>) -> bool {
        self.references(py) > self.kept.expected.load(Ordering::Relaxed)
    }

    /// Has the carrier stand for a task if somebody has kept it.
    #[cold]
    #[inline(never)]
    pub(super) fn note_held<'py>(
        slf: &Bound<'py, Self>,
        task: impl FnOnce() -> PyResult<Option<Bound<'py, PyAny>>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.kept.expected.load(Ordering::Relaxed) == 0 && !this.is_held_by_others(py) {
            this.begin_stretch(py);
            return Ok(());
        }
        let task = match task()? {
            Some(task) => Some(Weak::new(&task)?),
            None => None,
        };
        drop(this.kept.task.replace(py, task));
        this.kept.aside.set(true);
        Ok(())
    }

    /// Whether others have the running carrier than those who always do.
    fn is_held_by_others(&self, py: Python<'_>) -> bool {
        let Some(carrier) = self.greenlet(py) else {
            return false;
        };
        let holds_baton = self.driver.get(py).is_some_and(|driver| {
            let driver = driver.bind(py).get();
            driver.forget_next(&carrier);
            driver.holds_baton(py, &carrier)
        });
        drop((carrier, self.left_greenlet.take(py)));
        // greenlet itself has the one that runs.
        self.references(py) > AT_REST + 1 + usize::from(holds_baton)
    }

    /// Whether the carrier is to run nothing.
    #[inline]
    pub(crate) fn stands_aside(&self) -> bool {
        self.kept.aside.get()
    }

    /// Whether somebody has the carrier, which rests.
    pub(crate) fn is_kept(&self, py: Python<'_>) -> bool {
        self.references(py) > AT_REST
    }

    /// It may run again.
    pub(crate) fn stand_aside_no_more(&self, py: Python<'_>) {
        self.kept.aside.set(false);
        drop(self.kept.task.take(py));
    }

    /// It is about to end, or has ended: it runs nothing more, and what it stands for is known as before.
    pub(crate) fn end_life(&self) {
        self.kept.ending.set(true);
    }

    /// The task for which it stands, as long as there is one.
    pub(crate) fn stood_for<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let task = self
            .kept
            .task
            .with(py, |task| task.as_ref().map(|task| task.clone_ref(py)));
        task.and_then(|task| task.get(py))
    }

    /// Whether what it stands for is not over; `None`: it runs what there is to run.
    pub(crate) fn stands_for_living(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        if !self.stands_aside() {
            return Ok(None);
        }
        let over = self
            .stood_for(py)
            .map_or(Ok(true), |task| task::is_done(&task));
        over.map(|over| Some(!over))
    }

    /// The task whose code runs in this step, which is the active one.
    pub(super) fn current_task(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(core) = self.core.get(py) else {
            return Ok(None);
        };
        Ok(Identity::current_task(py, &core.into_any())?.map(Bound::unbind))
    }

    /// Switches to the carrier, which the step alone holds meanwhile.
    #[inline(always)]
    pub(crate) fn switch_to_carrier<'py>(&self, py: Python<'py>) -> Brought<'py> {
        greenlet::switch_to_kept_bare(&self.greenlet, py)
    }

    /// The carrier has rested and is switched to. While it stands for a task that is by somebody who has kept it:
    /// mostly the end of a greenlet that has it for a parent, which goes on where the task runs.
    pub(crate) fn answer<'py>(
        slf: &Bound<'py, Self>,
        mut brought: PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        while slf.get().stands_aside() && !slf.get().kept.ending.get() {
            brought = slf.get().pass_on(slf.py(), brought);
        }
        brought.map(drop)
    }

    #[cold]
    #[inline(never)]
    fn pass_on<'py>(
        &self,
        py: Python<'py>,
        brought: PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // What it switched to, or began, is part of the step that runs, whosever that is.
        if let Some(carrier) = current_carrier(py) {
            return match brought {
                Ok(value) => greenlet::switch_with(&carrier, &(value,).into_pyobject(py)?, None),
                Err(error) => greenlet::throw(&carrier, error.into_value(py).bind(py)),
            };
        }
        let carrier = self.greenlet(py);
        if let (Some(carrier), Err(error)) = (&carrier, brought) {
            // It strikes the task.
            carrier.call_method1(intern!(py, "throw"), (error.into_value(py),))?;
        }
        // As from a greenlet that has ended.
        match carrier.and_then(|carrier| greenlet::parent(&carrier)) {
            Some(parent) => greenlet::switch(&parent),
            None => Err(PyErr::from_value(greenlet::exit_class(py).call0()?)),
        }
    }
}

/// The step in which a task runs, or has been left.
pub(crate) fn of_task<'py>(task: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Step>>> {
    let py = task.py();
    if let Some(step) = current(py) {
        let running = step.bind(py).get().current_task(py)?;
        if running.is_some_and(|running| running.is(task)) {
            return Ok(Some(step.into_bound(py)));
        }
    }
    let is_its = |step: &Step| step.task(py).is_some_and(|own| own.is(task));
    if let Some(waits) = context::attribute(task, intern!(py, "_fut_waiter"))? {
        let step = waits.cast::<GreenWait>().ok();
        let step = step.and_then(|wait| wait.get().step(py));
        if let Some(step) = step.filter(|step| is_its(step.bind(py).get())) {
            return Ok(Some(step.into_bound(py)));
        }
    }
    let owner = task.call_method0(intern!(py, "get_loop"))?;
    let Ok(core) = owner.cast_into::<LoopCore>() else {
        return Ok(None);
    };
    let mut parked = core.get().parked(py).into_iter();
    let found = parked.find(|step| is_its(step.bind(py).get()));
    Ok(found.map(|step| step.into_bound(py)))
}
