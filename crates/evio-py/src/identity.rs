//! What asyncio knows of the code that runs: running loop, current task, asynchronous-generator hooks.
//!
//! asyncio keeps these by OS thread, but here they belong to a step. One table holds the functions
//! that set them, by version of Python, and the order is fixed: leave the task, then clear the
//! loop; set the loop, then enter the task.

use crate::cell::{Once, intern};
use crate::core::LoopCore;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

struct Api {
    get_running_loop: Py<PyAny>,
    set_running_loop: Py<PyAny>,
    tasks: Tasks,
    get_hooks: Py<PyAny>,
    set_hooks: Py<PyAny>,
}

enum Tasks {
    /// From 3.12: one call that exchanges the current task, and one that asks for it.
    Swap { current: Py<PyAny>, swap: Py<PyAny> },
    /// Before: the table of current tasks, and the two calls that change it.
    EnterLeave {
        current: Py<PyDict>,
        enter: Py<PyAny>,
        leave: Py<PyAny>,
    },
}

static API: Once<Api> = Once::new();

fn api(py: Python<'_>) -> PyResult<&'static Api> {
    API.get_or_try_init(py, || {
        let events = py.import("asyncio.events")?;
        let tasks = py.import("asyncio.tasks")?;
        let sys = py.import("sys")?;
        let swap = tasks.getattr_opt("_swap_current_task")?;
        Ok(Api {
            get_running_loop: events.getattr("_get_running_loop")?.unbind(),
            set_running_loop: events.getattr("_set_running_loop")?.unbind(),
            tasks: match swap {
                Some(swap) => Tasks::Swap {
                    current: tasks.getattr("current_task")?.unbind(),
                    swap: swap.unbind(),
                },
                None => Tasks::EnterLeave {
                    current: tasks.getattr("_current_tasks")?.cast_into()?.unbind(),
                    enter: tasks.getattr("_enter_task")?.unbind(),
                    leave: tasks.getattr("_leave_task")?.unbind(),
                },
            },
            get_hooks: sys.getattr("get_asyncgen_hooks")?.unbind(),
            set_hooks: sys.getattr("set_asyncgen_hooks")?.unbind(),
        })
    })
}

/// The identity of a step that is not installed.
pub(crate) struct Identity {
    running_loop: Py<PyAny>,
    task: Option<Py<PyAny>>,
    hooks: Py<PyTuple>,
}

impl Identity {
    /// The identity of code that a loop runs outside any task.
    pub(crate) fn of_loop(py: Python<'_>, running_loop: Py<PyAny>) -> PyResult<Self> {
        let object = running_loop.bind(py);
        let hooks = PyTuple::new(
            py,
            [
                object.getattr(intern!(py, "_asyncgen_firstiter_hook"))?,
                object.getattr(intern!(py, "_asyncgen_finalizer_hook"))?,
            ],
        )?;
        Ok(Self {
            running_loop,
            task: None,
            hooks: hooks.unbind(),
        })
    }

    /// Makes this the identity of the running code, which must have none.
    ///
    /// # Errors
    ///
    /// asyncio's, when a task is entered that is entered already.
    pub(crate) fn install(self, py: Python<'_>) -> PyResult<()> {
        let api = api(py)?;
        set_running_loop(py, api, self.running_loop.bind(py))?;
        set_hooks(py, api, self.hooks.bind(py))?;
        if let Some(task) = &self.task {
            match &api.tasks {
                Tasks::Swap { swap, .. } => swap.call1(py, (&self.running_loop, task))?,
                Tasks::EnterLeave { enter, .. } => enter.call1(py, (&self.running_loop, task))?,
            };
        }
        Ok(())
    }

    /// Puts the identity that a loop gave the running code away, leaving it without one.
    pub(crate) fn put_away(py: Python<'_>, running_loop: Py<PyAny>) -> PyResult<Self> {
        let api = api(py)?;
        let task = match &api.tasks {
            Tasks::Swap { current, swap } => {
                let task = current.call1(py, (&running_loop,))?;
                if !task.is_none(py) {
                    swap.call1(py, (&running_loop, py.None()))?;
                }
                Some(task)
            }
            Tasks::EnterLeave { current, leave, .. } => {
                let task = current.bind(py).get_item(&running_loop)?;
                if let Some(task) = &task {
                    leave.call1(py, (&running_loop, task))?;
                }
                task.map(Bound::unbind)
            }
        };
        let hooks = api.get_hooks.bind(py).call0()?.cast_into::<PyTuple>()?;
        set_hooks(py, api, &PyTuple::new(py, [py.None(), py.None()])?)?;
        set_running_loop(py, api, py.None().bind(py))?;
        Ok(Self {
            running_loop,
            task: task.filter(|task| !task.is_none(py)),
            hooks: PyTuple::new(py, [hooks.get_item(0)?, hooks.get_item(1)?])?.unbind(),
        })
    }

    /// The task that a loop runs in the running code.
    pub(crate) fn current_task<'py>(
        py: Python<'py>,
        running_loop: &Py<PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let task = match &api(py)?.tasks {
            Tasks::Swap { current, .. } => Some(current.bind(py).call1((running_loop,))?),
            Tasks::EnterLeave { current, .. } => current.bind(py).get_item(running_loop)?,
        };
        Ok(task.filter(|task| !task.is_none()))
    }

    /// Makes a loop the running one again in a forked child, where asyncio has forgotten it.
    pub(crate) fn remind(running_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = running_loop.py();
        set_running_loop(py, api(py)?, running_loop)
    }

    /// The task whose step this is.
    pub(crate) fn task(&self) -> Option<&Py<PyAny>> {
        self.task.as_ref()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.running_loop)?;
        visit.call(&self.task)?;
        visit.call(&self.hooks)
    }
}

/// The running loop.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let running = api(py)?.get_running_loop.bind(py).call0()?;
    Ok(Some(running).filter(|running| !running.is_none()))
}

/// The running loop, if it is none of ours.
pub(crate) fn foreign_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    Ok(running_loop(py)?.filter(|running| !running.is_instance_of::<LoopCore>()))
}

fn set_running_loop(py: Python<'_>, api: &Api, running_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    api.set_running_loop
        .bind(py)
        .call1((running_loop,))
        .map(drop)
}

fn set_hooks(py: Python<'_>, api: &Api, hooks: &Bound<'_, PyTuple>) -> PyResult<()> {
    api.set_hooks.bind(py).call1(hooks).map(drop)
}
