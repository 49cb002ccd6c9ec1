//! Which step a greenlet belongs to: that of the carrier which it descends from.
//!
//! Libraries that make greenlets of their own in a task, as SQLAlchemy and greenback do, keep them over
//! several steps, which run on different carriers. Such a greenlet goes back to the carrier that it was
//! made on, which may be busy with somebody else's step by then. So the first time that it does so, it
//! gets a *task parent*, and from then on comes back to whichever carrier runs the task. What other green code
//! throws at it, as its Timeouts do, strikes the task where that waits.

use pyo3::prelude::*;
use pyo3::pyfunction;
use pyo3::types::{PyDict, PyTuple};

use crate::cell::{Once, intern};
use crate::core::LoopCore;
use crate::step::{self, Step};
use crate::{context, greenlet};

struct Classes {
    carrier: Py<PyAny>,
    task_parent: Py<PyAny>,
}

fn classes(py: Python<'_>) -> PyResult<&Classes> {
    static CLASSES: Once<Classes> = Once::new();
    CLASSES.get_or_try_init(py, || {
        let steps = py.import("eventlet_asyncio._steps")?;
        Ok(Classes {
            carrier: steps.getattr("Carrier")?.unbind(),
            task_parent: steps.getattr("TaskParent")?.unbind(),
        })
    })
}

/// The class of the greenlets that run steps.
pub(crate) fn carrier_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    classes(py).map(|classes| classes.carrier.bind(py))
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
    let classes = classes(py)?;
    let mut child = None;
    let mut next = Some(greenlet.clone());
    while let Some(greenlet) = next {
        let class = greenlet.get_type();
        if class.is(&classes.carrier) {
            let from = From::Carrier(greenlet);
            return Ok(Some(Descent { child, from }));
        }
        if class.is(&classes.task_parent) {
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

/// The `throw` of a greenlet as of now: of one that a task has made, that into the task.
pub(crate) fn throw_of<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static THROW_OF: Once<Py<PyAny>> = Once::new();
    let py = greenlet.py();
    let throw_of = THROW_OF.get_or_try_init(py, || {
        py.import("eventlet_asyncio._steps")?
            .getattr("throw_of")
            .map(Bound::unbind)
    })?;
    throw_of.bind(py).call1((greenlet,))
}

/// Whether a greenlet belongs to a step: that of a carrier, which runs in a context.
pub(crate) fn belongs(
    greenlet: &Bound<'_, PyAny>,
    carrier: Option<&Bound<'_, PyAny>>,
    context: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let py = greenlet.py();
    Ok(match descent(greenlet)?.map(|descent| descent.from) {
        Some(From::Carrier(own)) => carrier.is_some_and(|carrier| own.is(carrier)),
        Some(From::TaskParent(parent)) => {
            let own = parent.getattr(intern!(py, "context"))?;
            context.is_some_and(|context| own.is(context))
        }
        None => false,
    })
}

/// The step of a carrier; `None` for other greenlets.
pub(crate) fn carried<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Step>>> {
    let py = greenlet.py();
    if !greenlet.get_type().is(&classes(py)?.carrier) {
        return Ok(None);
    }
    let step = context::dictionary(greenlet)?.get_item(intern!(py, "step"))?;
    Ok(step.and_then(|step| step.cast_into::<Step>().ok()))
}

/// The step that a greenlet belongs to, if it runs or is parked.
pub(crate) fn step_of<'py>(greenlet: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Step>>> {
    let py = greenlet.py();
    let parent = match descent(greenlet)?.map(|descent| descent.from) {
        None => return Ok(None),
        Some(From::Carrier(carrier)) => {
            let step = carrier.getattr(intern!(py, "step"))?;
            return Ok(Some(step.cast_into::<Step>()?));
        }
        Some(From::TaskParent(parent)) => parent,
    };
    let context = parent.getattr(intern!(py, "context"))?;
    let core = parent
        .getattr(intern!(py, "loop"))?
        .cast_into::<LoopCore>()?;
    let runs_in = |step: &Py<Step>| step.bind(py).get().runs_in(py, &context);
    let step = step::current(py).filter(runs_in);
    let step = step.or_else(|| core.get().parked(py).into_iter().find(runs_in));
    Ok(step.map(|step| step.into_bound(py)))
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
        None => {
            // A callback may have left it by a switch that was no green block.
            step::restore_before_switch(carrier)?;
            greenlet::switch_with(carrier, args, kwargs)
        }
    }
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
            let class = classes(py)?.task_parent.bind(py);
            let parent = class.call1((carrier, step.context(py), step.core(py)))?;
            greenlet::set_parent(&child, &parent)?;
            // By way of it: one that has not started could pass no exception on.
            return Ok(Some(parent));
        }
        From::TaskParent(parent)
            if greenlet::parent(&parent).is_some_and(|known| known.is(carrier)) => {}
        _ => return Ok(None),
    }
    Ok(step.greenlet(py))
}
