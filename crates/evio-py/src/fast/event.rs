//! eventlet's `Event`, on which every green thread is waited for, without Python frames where the program
//! has left it as it is.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Once, intern};
use crate::greenlet::{self, Greenlet};
use crate::hub::{self, HubCore};
use crate::imported::Imported;
use crate::job::Job;
use crate::{context, primitives, step, threads, trace};

/// The class, and its methods under our hub: `None` for one in whose place the program has its own.
struct Own {
    class: Py<PyType>,
    methods: [Py<PyAny>; 5],
}

/// One of those methods.
#[derive(Clone, Copy)]
enum Method {
    Init,
    Reset,
    Wait,
    Send,
    DoSend,
}

impl Method {
    fn name(self, py: Python<'_>) -> &Bound<'_, PyString> {
        match self {
            Self::Init => intern!(py, "__init__"),
            Self::Reset => intern!(py, "reset"),
            Self::Wait => intern!(py, "wait"),
            Self::Send => intern!(py, "send"),
            Self::DoSend => intern!(py, "_do_send"),
        }
    }
}

fn own(py: Python<'_>) -> PyResult<&Own> {
    static OWN: Once<Own> = Once::new();
    OWN.get_or_try_init(py, || {
        let (class, methods) = py
            .import("eventlet_asyncio._patches")?
            .call_method0("own_event")?
            .extract()?;
        Ok(Own { class, methods })
    })
}

impl Own {
    /// Whether a method of the class is that one.
    fn has(&self, py: Python<'_>, method: Method) -> PyResult<bool> {
        let now = self.class.bind(py).getattr(method.name(py))?;
        Ok(now.is(&self.methods[method as usize]))
    }
}

/// Whether a method of an Event is eventlet's.
fn is_own(event: &Bound<'_, PyAny>, method: Method) -> PyResult<bool> {
    let py = event.py();
    let own = own(py)?;
    Ok(event.get_type().is(&own.class) && own.has(py, method)?)
}

/// `Event()`.
pub(crate) fn new(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static MODULE: Imported<PyModule> = Imported::module("eventlet.event");
    let class = MODULE.get(py)?.getattr(intern!(py, "Event"))?;
    let own = own(py)?;
    if !class.is(&own.class) || !own.has(py, Method::Init)? || !own.has(py, Method::Reset)? {
        return class.call0();
    }
    let event = context::instance(own.class.bind(py))?;
    primitives::reset(&event)?;
    Ok(event)
}

/// `Event.send(result)`.
pub(crate) fn send<'py>(event: &Bound<'py, PyAny>, result: &Bound<'py, PyAny>) -> PyResult<()> {
    let py = event.py();
    let none = py.None().into_bound(py);
    if is_own(event, Method::Send)? && primitives::send_event(event, result, &none)? {
        return Ok(());
    }
    event.call_method1(intern!(py, "send"), (result,)).map(drop)
}

/// `Event.wait()`.
#[pyfunction]
#[pyo3(signature = (event, /))]
pub(crate) fn wait_for_event<'py>(event: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match join(event)? {
        Joined::Waits(hub, current) => {
            let outcome = HubCore::block(&hub, &current, None);
            leave(event, &current, outcome)
        }
        Joined::Sent(result) => Ok(result),
        Joined::Other => event.call_method0(intern!(event.py(), "wait")),
    }
}

enum Joined<'py> {
    Waits(Bound<'py, HubCore>, Bound<'py, PyAny>),
    Sent(Bound<'py, PyAny>),
    /// It is for the method to do.
    Other,
}

#[inline(never)]
fn join<'py>(event: &Bound<'py, PyAny>) -> PyResult<Joined<'py>> {
    let py = event.py();
    let hub = hub::of_thread(py)?.and_then(|hub| hub.cast_into::<HubCore>().ok());
    let Some(hub) = hub else {
        return Ok(Joined::Other);
    };
    if !is_own(event, Method::Wait)? {
        return Ok(Joined::Other);
    }
    let current = greenlet::current(py)?;
    if primitives::join_event(event, &current)? {
        return Ok(Joined::Waits(hub, current));
    }
    Ok(primitives::result_of(event)?.map_or(Joined::Other, Joined::Sent))
}

#[inline(never)]
fn leave<'py>(
    event: &Bound<'py, PyAny>,
    current: &Bound<'py, PyAny>,
    outcome: PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    primitives::leave_event(event, current)?;
    outcome
}

/// `Event._do_send()`, which is to come.
pub(crate) struct Delivery {
    event: Py<PyAny>,
    result: Py<PyAny>,
    exception: Py<PyAny>,
    waiter: Greenlet,
}

impl Delivery {
    /// Callback and arguments.
    pub(crate) fn call<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let callback = self.event.bind(py).getattr(Method::DoSend.name(py))?;
        let args = (&self.result, &self.exception, &self.waiter).into_pyobject(py)?;
        Ok((callback, args))
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            event: self.event.clone_ref(py),
            result: self.result.clone_ref(py),
            exception: self.exception.clone_ref(py),
            waiter: self.waiter.clone_ref(py),
        }
    }

    pub(crate) fn waiter<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.waiter.bind(py).clone()
    }

    /// Switches to who waits, unless it does no more.
    pub(crate) fn happen(self: Box<Self>, py: Python<'_>) -> PyResult<()> {
        let waiter = self.waiter.bind(py).clone();
        if !primitives::waits_for(self.event.bind(py), &waiter)? {
            return Ok(());
        }
        step::restore_before_switch(&waiter)?;
        let (result, exception) = (self.result.bind(py), self.exception.bind(py));
        if exception.is_none() {
            let result = PyTuple::new(py, [result])?;
            drop(self);
            return greenlet::switch_with(&waiter, &result, None).map(drop);
        }
        let exception = exception.clone().cast_into::<PyTuple>()?;
        drop(self);
        let throw = waiter.getattr(intern!(py, "throw"))?;
        throw.call1(exception).map(drop)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event)?;
        visit.call(&self.result)?;
        visit.call(&self.exception)?;
        visit.call(&self.waiter)
    }
}

/// Has one woken who waits for an Event, in its own thread; `false` when that has ended.
pub(crate) fn wake<'py>(
    event: &Bound<'py, PyAny>,
    result: &Bound<'py, PyAny>,
    exception: &Bound<'py, PyAny>,
    waiter: &Bound<'py, PyAny>,
) -> PyResult<bool> {
    let py = event.py();
    if let Some(hub) = hub_to_deliver(event, waiter)? {
        let delivery = Delivery {
            event: event.clone().unbind(),
            result: result.clone().unbind(),
            exception: exception.clone().unbind(),
            waiter: waiter.clone().unbind(),
        };
        HubCore::notice_foreign(&hub)?;
        let job = Job::Deliver(Box::new(delivery));
        return HubCore::schedule(&HubCore::core(&hub)?, 0, job).map(|_| true);
    }
    let callback = event.getattr(Method::DoSend.name(py))?;
    let args = (result, exception, waiter).into_pyobject(py)?;
    threads::wake(waiter, &callback, args)
}

/// The hub of this thread, where nobody can tell a delivery from a call of the method.
fn hub_to_deliver<'py>(
    event: &Bound<'py, PyAny>,
    waiter: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, HubCore>>> {
    let py = event.py();
    let hub = hub::of_thread(py)?.and_then(|hub| hub.cast_into::<HubCore>().ok());
    let Some(hub) = hub else {
        return Ok(None);
    };
    let usual = threads::is_here(waiter)
        && is_own(event, Method::DoSend)?
        && greenlet::has_plain_switch(waiter)?
        && !trace::wants_timers(py)?;
    Ok(usual.then_some(hub))
}
