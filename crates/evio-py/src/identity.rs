//! What asyncio knows of the code that runs: running loop, current task, asynchronous-generator hooks.
//!
//! asyncio keeps these by OS thread, but here they belong to a step. One table holds what sets the
//! loop and the task, by version of Python; `hooks.rs` exchanges the hooks. The order is fixed: leave
//! the task, then clear the loop; set the loop, then enter the task.

use crate::cell::{Once, intern};
use crate::core::LoopCore;
use crate::hooks::Hooks;
use crate::method::Direct;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

struct Api {
    get_running_loop: Direct,
    set_running_loop: Direct,
    tasks: Tasks,
}

enum Tasks {
    /// Before Python 3.14: the table of current tasks, which asyncio's C code looks into as well.
    Table(Py<PyDict>),
    /// One call that exchanges the current task, and one that asks for it.
    Swap { current: Py<PyAny>, swap: Py<PyAny> },
}

static API: Once<Api> = Once::new();

fn api(py: Python<'_>) -> PyResult<&'static Api> {
    API.get_or_try_init(py, || {
        // Not `asyncio.events`, where what sets the loop is replaced.
        let events = py.import("_asyncio")?;
        let tasks = py.import("asyncio.tasks")?;
        let table = tasks.getattr_opt("_current_tasks")?;
        Ok(Api {
            get_running_loop: Direct::new(events.getattr("_get_running_loop")?),
            set_running_loop: Direct::new(events.getattr("_set_running_loop")?),
            tasks: match table {
                Some(table) => Tasks::Table(table.cast_into()?.unbind()),
                None => Tasks::Swap {
                    current: tasks.getattr("current_task")?.unbind(),
                    swap: tasks.getattr("_swap_current_task")?.unbind(),
                },
            },
        })
    })
}

/// The identity of a step that is not installed.
pub(crate) struct Identity {
    running_loop: Py<PyAny>,
    task: Option<Py<PyAny>>,
    hooks: Hooks,
}

impl Identity {
    /// The identity of code that a loop runs outside any task.
    pub(crate) fn of_loop(running_loop: Py<PyAny>, hooks: Hooks) -> Self {
        Self {
            running_loop,
            task: None,
            hooks,
        }
    }

    /// The hooks that a loop has for asynchronous generators.
    pub(crate) fn hooks_of(running_loop: &Bound<'_, PyAny>) -> PyResult<Hooks> {
        let py = running_loop.py();
        Ok(Hooks::new(
            running_loop.getattr(intern!(py, "_asyncgen_firstiter_hook"))?,
            running_loop.getattr(intern!(py, "_asyncgen_finalizer_hook"))?,
        ))
    }

    /// Makes this the identity of the running code, which must have none.
    pub(crate) fn install(self, py: Python<'_>) -> PyResult<()> {
        let api = api(py)?;
        set_running_loop(api, self.running_loop.bind(py))?;
        drop(self.hooks.exchange(py)?);
        if let Some(task) = &self.task {
            match &api.tasks {
                Tasks::Table(table) => table.bind(py).set_item(&self.running_loop, task)?,
                Tasks::Swap { swap, .. } => swap.call1(py, (&self.running_loop, task)).map(drop)?,
            }
        }
        Ok(())
    }

    /// Puts the identity that a loop gave the running code away, leaving it without one.
    ///
    /// Between two callbacks there is no task to look for.
    pub(crate) fn put_away(
        py: Python<'_>,
        running_loop: Py<PyAny>,
        in_callback: bool,
    ) -> PyResult<Self> {
        let api = api(py)?;
        let task = if in_callback {
            Self::current_task(py, &running_loop)?.map(Bound::unbind)
        } else {
            None
        };
        if task.is_some() {
            match &api.tasks {
                Tasks::Table(table) => table.bind(py).del_item(&running_loop)?,
                Tasks::Swap { swap, .. } => swap.call1(py, (&running_loop, py.None())).map(drop)?,
            }
        }
        let hooks = Hooks::default().exchange(py)?;
        set_running_loop(api, py.None().bind(py))?;
        Ok(Self {
            running_loop,
            task,
            hooks,
        })
    }

    /// Exchanges the identity of the running code for this one where both are of a task of the same loop,
    /// and nothing else is to be exchanged but that; `false` changes nothing.
    pub(crate) fn exchange_task(&mut self, py: Python<'_>) -> PyResult<bool> {
        let Tasks::Table(table) = &api(py)?.tasks else {
            return Ok(false);
        };
        let Some(next) = self.task.as_ref() else {
            return Ok(false);
        };
        let table = table.bind(py);
        let Some(task) = table.get_item(&self.running_loop)? else {
            return Ok(false);
        };
        let same_loop = running_loop(py)?.is_some_and(|own| own.is(&self.running_loop));
        if task.is_none() || !same_loop || !self.hooks.are_installed(py)? {
            return Ok(false);
        }
        table.set_item(&self.running_loop, next)?;
        drop(self.task.replace(task.unbind()));
        Ok(true)
    }

    /// The task that a loop runs in the running code.
    pub(crate) fn current_task<'py>(
        py: Python<'py>,
        running_loop: &Py<PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let task = match &api(py)?.tasks {
            Tasks::Table(table) => table.bind(py).get_item(running_loop)?,
            Tasks::Swap { current, .. } => Some(current.bind(py).call1((running_loop,))?),
        };
        Ok(task.filter(|task| !task.is_none()))
    }

    /// Makes a loop the running one again in a forked child, where asyncio has forgotten it.
    pub(crate) fn remind(running_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = running_loop.py();
        set_running_loop(api(py)?, running_loop)
    }

    /// The task whose step this is.
    pub(crate) fn task(&self) -> Option<&Py<PyAny>> {
        self.task.as_ref()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.running_loop)?;
        visit.call(&self.task)?;
        self.hooks.traverse(visit)
    }
}

/// The running loop.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let running = api(py)?.get_running_loop.call0(py)?;
    Ok(Some(running).filter(|running| !running.is_none()))
}

/// The running loop, if it is none of ours.
pub(crate) fn foreign_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    Ok(running_loop(py)?.filter(|running| !running.is_instance_of::<LoopCore>()))
}

/// Leaves the running code without a running loop, though it is part of a step.
pub(crate) fn forget_running_loop(py: Python<'_>) -> PyResult<()> {
    set_running_loop(api(py)?, py.None().bind(py))
}

fn set_running_loop(api: &Api, running_loop: &Bound<'_, PyAny>) -> PyResult<()> {
    api.set_running_loop.call1(running_loop).map(drop)
}
