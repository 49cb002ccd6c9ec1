//! Which step a greenlet is part of: the one that switches to it; else that of the carrier which it descends from.
//!
//! Libraries that make greenlets of their own in a task, as SQLAlchemy and greenback do, keep them over
//! several steps, which run on different carriers. Such a greenlet goes back to the carrier that it was
//! made on, which may be busy with somebody else's step by then. So the first time that it does so, it
//! gets a *task parent*, and from then on comes back to whichever carrier runs the task. What other green code
//! throws at it, as its Timeouts do, strikes the task where that waits.

use pyo3::prelude::*;
use pyo3::pyfunction;
use pyo3::types::{PyDict, PyTuple};

use crate::cell::intern;
use crate::imported::Imported;
use crate::step::{self, Step};
use crate::{context, greenlet};

static TASK_PARENT: Imported = Imported::new("eventlet_asyncio._steps", "TaskParent");

/// The class of the greenlets that run steps.
pub(crate) fn carrier_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CARRIER: Imported = Imported::new("eventlet_asyncio._steps", "Carrier");
    CARRIER.get(py)
}

/// Whether a greenlet runs steps.
pub(crate) fn is_carrier(greenlet: &Bound<'_, PyAny>) -> PyResult<bool> {
    carrier_class(greenlet.py()).map(|class| greenlet.get_type().is(class))
}

/// How a greenlet descends from a step.
struct Descent<'py> {
    /// The last of its ancestors, or itself, that the program has made; none of a carrier itself.
    child: Option<Bound<'py, PyAny>>,
    from: From<'py>,
}

enum From<'py> {
    Carrier(Bound<'py, PyAny>),
    TaskParent(Bound<'py, PyAny>),
}

fn descent<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Option<Descent<'py>>> {
    let py = greenlet.py();
    let (carrier, task_parent) = (carrier_class(py)?, TASK_PARENT.get(py)?);
    let mut child = None;
    let mut next = Some(greenlet.clone());
    while let Some(greenlet) = next {
        let class = greenlet.get_type();
        if class.is(carrier) {
            let from = From::Carrier(greenlet);
            return Ok(Some(Descent { child, from }));
        }
        if class.is(task_parent) {
            let from = From::TaskParent(greenlet);
            return Ok(Some(Descent { child, from }));
        }
        next = greenlet::parent(&greenlet);
        child = Some(greenlet);
    }
    Ok(None)
}

/// Whether a greenlet belongs to a step, or to a task between two steps.
pub(crate) fn is_below_a_task(greenlet: &Bound<'_, PyAny>) -> PyResult<bool> {
    descent(greenlet).map(|descent| descent.is_some())
}

/// Whether it is the program that has made a greenlet, in a step or in another such greenlet.
pub(crate) fn is_made_below_a_task(greenlet: &Bound<'_, PyAny>) -> PyResult<bool> {
    descent(greenlet).map(|descent| descent.is_some_and(|descent| descent.child.is_some()))
}

/// Sees to it that the running greenlet, made below another step than the one that runs it, comes back to the latter;
/// whether it is such a greenlet.
pub(crate) fn adopt(current: &Bound<'_, PyAny>, step: &Step) -> PyResult<bool> {
    let py = current.py();
    let Some(Descent {
        child: Some(child),
        from,
    }) = descent(current)?
    else {
        return Ok(false);
    };
    match from {
        From::Carrier(carrier) => {
            let parent = give_task_parent(step, &child, &carrier)?;
            parent.call_method0(intern!(py, "begin"))
        }
        From::TaskParent(parent) => {
            let owner = (step.context(py), step.core(py));
            parent.call_method1(intern!(py, "belong_to"), owner)
        }
    }
    .map(|_| true)
}

/// The `throw` of a greenlet as of now: of one that a task has made, that into the task.
pub(crate) fn throw_of<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static THROW_OF: Imported = Imported::new("eventlet_asyncio._steps", "throw_of");
    THROW_OF.get(greenlet.py())?.call1((greenlet,))
}

/// The `switch` of a greenlet that a task has made, which does nothing when it has ended: whose parent is the task's.
pub(crate) fn switch_of<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static SWITCH_OF: Imported = Imported::new("eventlet_asyncio._steps", "switch_of");
    SWITCH_OF.get(greenlet.py())?.call1((greenlet,))
}

/// Whether a greenlet belongs to a step: that of a carrier, which runs in a context.
pub(crate) fn belongs(
    greenlet: &Bound<'_, PyAny>,
    carrier: Option<&Bound<'_, PyAny>>,
    context: Option<&Bound<'_, PyAny>>,
    task: impl FnOnce() -> PyResult<Option<Py<PyAny>>>,
) -> PyResult<bool> {
    let py = greenlet.py();
    Ok(match descent(greenlet)?.map(|descent| descent.from) {
        Some(From::Carrier(own)) if carrier.is_some_and(|carrier| own.is(carrier)) => true,
        Some(From::Carrier(own)) => match stood_for(&own)? {
            Some(known) => task()?.is_some_and(|task| known.is(&task)),
            None => false,
        },
        Some(From::TaskParent(parent)) => {
            let own = parent.getattr(intern!(py, "context"))?;
            context.is_some_and(|context| own.is(context))
        }
        None => false,
    })
}

/// The task that a carrier stands for, which runs nothing itself.
fn stood_for<'py>(carrier: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let step = carried(carrier)?;
    Ok(step.and_then(|step| step.get().stood_for(carrier.py())))
}

/// The step of a carrier; `None` for other greenlets.
pub(crate) fn carried<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Step>>> {
    if !is_carrier(greenlet)? {
        return Ok(None);
    }
    let step = context::dictionary(greenlet)?.get_item(intern!(greenlet.py(), "step"))?;
    Ok(step.and_then(|step| step.cast_into::<Step>().ok()))
}

/// The step that a greenlet belongs to, if it runs or is parked: that which was left in it, or else that of
/// the task which has made it.
pub(crate) fn step_of<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Step>>> {
    let py = greenlet.py();
    let Some(Descent { child, from }) = descent(greenlet)? else {
        return Ok(None);
    };
    let core = match &from {
        From::Carrier(carrier) => carried(carrier)?.and_then(|step| step.get().core(py)),
        From::TaskParent(parent) => Some(parent.getattr(intern!(py, "loop"))?.extract()?),
    };
    let parked = |is_it: &dyn Fn(&Step) -> bool| {
        let parked = core.as_ref()?.bind(py).get().parked(py).into_iter();
        let found = parked.map(|step| step.into_bound(py));
        found.into_iter().find(|step| is_it(step.get()))
    };
    if child.is_some() {
        if let Some(step) = parked(&|step| step.was_left_in(greenlet)) {
            return Ok(Some(step));
        }
    }
    match from {
        From::Carrier(carrier) => match stood_for(&carrier)? {
            Some(task) => step::of_task(&task),
            None => carried(&carrier),
        },
        From::TaskParent(parent) => {
            let context = parent.getattr(intern!(py, "context"))?;
            let step = step::current(py).map(|step| step.into_bound(py));
            let step = step.filter(|step| step.get().runs_in(py, &context));
            Ok(step.or_else(|| parked(&|step| step.runs_in(py, &context))))
        }
    }
}

/// `Carrier.switch`: where a greenlet of a task goes back to the carrier that it knows, it comes to the
/// one that runs the task now. A hub not ours switches to carriers that way, too.
#[pyfunction]
#[pyo3(signature = (carrier, /, *args, **kwargs))]
pub(crate) fn switch_carrier<'py>(
    carrier: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    match returns_to(carrier)? {
        Some(target) => greenlet::switch_with(&target, args, kwargs),
        None if stands_aside(carrier)? => switch_to_task(carrier, args, kwargs),
        None => {
            // A callback may have left it by a switch that was no green block.
            step::restore_before_switch(carrier)?;
            greenlet::switch_with(carrier, args, kwargs)
        }
    }
}

/// Goes on for a task parent with what came to it: at first to who had it begin, then to the carrier of the step
/// that runs. Nobody is held meanwhile.
#[pyfunction]
pub(crate) fn pass_to_step<'py>(
    parent: &Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    error: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = parent.py();
    let begun_by = parent.getattr(intern!(py, "begun_by"))?;
    let target = if !begun_by.is_none() {
        parent.setattr(intern!(py, "begun_by"), py.None())?;
        begun_by
    } else if let Some(carrier) = step::current_carrier(py) {
        carrier
    } else {
        py.import("eventlet_asyncio._steps")?
            .call_method0("in_place_of_step")?
    };
    let brought = match error {
        Some(error) => Err(PyErr::from_value(error)),
        None => Ok(value),
    };
    greenlet::pass_on(target, brought)
}

fn stands_aside(carrier: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(carried(carrier)?.is_some_and(|step| step.get().stands_aside()))
}

/// Switches to where the task blocks greenly that a carrier stands for; nowhere if it does not.
fn switch_to_task<'py>(
    carrier: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = carrier.py();
    let step = match stood_for(carrier)? {
        Some(task) => step::of_task(&task)?,
        None => None,
    };
    let blocked = step.and_then(|step| {
        let blocked = step.get().blocked_greenlet(py);
        blocked.map(|blocked| blocked.into_bound(py))
    });
    match blocked {
        Some(target) => {
            step::restore_before_switch(&target)?;
            greenlet::switch_with(&target, args, kwargs)
        }
        None => Ok(py.None().into_bound(py)),
    }
}

/// One that takes the place of a carrier as a parent: of a greenlet that belongs to a step, or of several, of
/// whichever steps.
fn new_task_parent<'py>(
    carrier: &Bound<'py, PyAny>,
    step: Option<&Step>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = carrier.py();
    let context = step.and_then(|step| step.context(py));
    let core = step.and_then(|step| step.core(py));
    TASK_PARENT.get(py)?.call1((carrier, context, core))
}

/// One from which what comes to it goes on with the step that runs, whosever that is, as from a carrier that
/// stands for a task.
pub(crate) fn heir_of<'py>(carrier: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let heir = new_task_parent(carrier, None)?;
    heir.call_method0(intern!(carrier.py(), "begin"))?;
    Ok(heir)
}

/// Has a greenlet that the program has made come back to whichever carrier runs the task of a step.
fn give_task_parent<'py>(
    step: &Step,
    child: &Bound<'py, PyAny>,
    carrier: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let parent = new_task_parent(carrier, Some(step))?;
    greenlet::set_parent(child, &parent)?;
    Ok(parent)
}

fn returns_to<'py>(carrier: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = carrier.py();
    let Some(step) = step::current(py) else {
        return Ok(None);
    };
    let step = step.bind(py).get();
    let Some(Descent {
        child: Some(child),
        from,
    }) = descent(&greenlet::current(py)?)?
    else {
        return Ok(None);
    };
    match from {
        From::Carrier(parent) if parent.is(carrier) => {
            // By way of it, so that it begins.
            return give_task_parent(step, &child, carrier).map(Some);
        }
        From::TaskParent(parent)
            if parent
                .getattr(intern!(py, "carrier"))?
                .eq(carrier.as_ptr() as usize)? => {}
        _ => return Ok(None),
    }
    Ok(step.greenlet(py))
}
