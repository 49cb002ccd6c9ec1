//! The parts of eventlet's Event, Semaphore and Queue that must not be seen half done by another
//! thread: each is one call, in which no Python code runs.

use pyo3::prelude::*;
use pyo3::pyfunction;
use pyo3::types::{PyDict, PySet, PyString, PyTuple};

use crate::cell::{Once, intern};
use crate::crossing::Crossing;
use crate::fast::{event, green_thread};
use crate::imported::Imported;
use crate::{context, threads};

/// Names of attributes and methods, and what stands for the result of an Event that was not sent.
///
/// They are made before anything is looked at: making one lets other threads in.
struct Names {
    append: Py<PyString>,
    appendleft: Py<PyString>,
    popleft: Py<PyString>,
    remove: Py<PyString>,
    counter: Py<PyString>,
    waiters: Py<PyString>,
    do_acquire: Py<PyString>,
    result: Py<PyString>,
    exception: Py<PyString>,
    unfinished: Py<PyString>,
    all_done: Py<PyString>,
    queue: Py<PyString>,
    maxsize: Py<PyString>,
    links: Py<PyString>,
    all_links: Py<PyString>,
    event: Py<PyString>,
    unsent: Py<PyAny>,
}

impl Names {
    fn get(py: Python<'_>) -> PyResult<&'static Self> {
        static NAMES: Once<Names> = Once::new();
        NAMES.get_or_try_init(py, || {
            let name = |name| PyString::intern(py, name).unbind();
            Ok(Self {
                append: name("append"),
                appendleft: name("appendleft"),
                popleft: name("popleft"),
                remove: name("remove"),
                counter: name("counter"),
                waiters: name("_waiters"),
                do_acquire: name("_do_acquire"),
                result: name("_result"),
                exception: name("_exc"),
                unfinished: name("unfinished_tasks"),
                all_done: name("_cond"),
                queue: name("queue"),
                maxsize: name("maxsize"),
                links: name("_exit_funcs"),
                all_links: name("_eventlet_asyncio_links"),
                event: name("_exit_event"),
                unsent: py.import("eventlet.event")?.getattr("NOT_USED")?.unbind(),
            })
        })
    }
}

fn count(object: &Bound<'_, PyAny>, name: &Py<PyString>) -> PyResult<i64> {
    object.getattr(name)?.extract()
}

/// Registers who is about to wait for an Event, unless that was sent.
#[pyfunction]
pub(crate) fn join_event(event: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = event.py();
    let names = Names::get(py)?;
    if !event.getattr(&names.result)?.is(&names.unsent) {
        return Ok(false);
    }
    event
        .getattr(&names.waiters)?
        .cast_into::<PySet>()?
        .add(waiter)?;
    Ok(true)
}

/// Has an Event as it is when it was just made.
pub(crate) fn reset(event: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event.py();
    let names = Names::get(py)?;
    event.setattr(&names.waiters, PySet::empty(py)?)?;
    event.setattr(&names.result, &names.unsent)?;
    event.setattr(&names.exception, py.None())
}

/// What an Event was sent, unless it was an exception.
pub(crate) fn result_of<'py>(event: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let names = Names::get(event.py())?;
    if !event.getattr(&names.exception)?.is_none() {
        return Ok(None);
    }
    let result = event.getattr(&names.result)?;
    Ok(Some(result).filter(|result| !result.is(&names.unsent)))
}

/// Whether somebody waits for an Event.
pub(crate) fn waits_for(event: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<bool> {
    let names = Names::get(event.py())?;
    event.getattr(&names.waiters)?.contains(waiter)
}

/// Unregisters who has waited for an Event.
pub(crate) fn leave_event(event: &Bound<'_, PyAny>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
    let names = Names::get(event.py())?;
    let waiters = event.getattr(&names.waiters)?.cast_into::<PySet>()?;
    waiters.discard(waiter).map(drop)
}

fn settle<'py>(
    event: &Bound<'py, PyAny>,
    result: &Bound<'py, PyAny>,
    exception: &Bound<'py, PyAny>,
) -> PyResult<bool> {
    let py = event.py();
    let names = Names::get(py)?;
    if !event.getattr(&names.result)?.is(&names.unsent) {
        return Ok(false);
    }
    event.setattr(&names.exception, exception)?;
    event.setattr(&names.result, result)?;
    Ok(true)
}

/// Has everybody woken who waits for an Event, each in its own thread.
fn notify<'py>(
    event: &Bound<'py, PyAny>,
    result: &Bound<'py, PyAny>,
    exception: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let py = event.py();
    let names = Names::get(py)?;
    let waiters = event.getattr(&names.waiters)?.cast_into::<PySet>()?;
    if waiters.is_empty() {
        return Ok(());
    }
    // A copy: calls below may let other threads change the set.
    for waiter in waiters.as_any().try_iter()?.collect::<PyResult<Vec<_>>>()? {
        if !event::wake(event, result, exception, &waiter)? {
            waiters.discard(waiter)?;
        }
    }
    Ok(())
}

/// Gives an Event its result and has all woken who wait; `False` when it was sent before.
#[pyfunction]
pub(crate) fn send_event<'py>(
    event: &Bound<'py, PyAny>,
    result: &Bound<'py, PyAny>,
    exception: &Bound<'py, PyAny>,
) -> PyResult<bool> {
    if !settle(event, result, exception)? {
        return Ok(false);
    }
    notify(event, result, exception)?;
    Ok(true)
}

/// Takes a permit of a Semaphore, if there is one.
#[pyfunction]
pub(crate) fn take_permit(semaphore: &Bound<'_, PyAny>) -> PyResult<bool> {
    let names = Names::get(semaphore.py())?;
    let name = &names.counter;
    let counter = count(semaphore, name)?;
    if counter <= 0 {
        return Ok(false);
    }
    semaphore.setattr(name, counter - 1)?;
    Ok(true)
}

/// Takes a permit if there is one and nobody waits for it; else registers who is about to wait.
#[pyfunction]
pub(crate) fn take_permit_or_join(
    semaphore: &Bound<'_, PyAny>,
    waiter: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let py = semaphore.py();
    let names = Names::get(py)?;
    let waiters = semaphore.getattr(&names.waiters)?;
    if waiters.is_empty()? && take_permit(semaphore)? {
        return Ok(true);
    }
    if !waiters.contains(waiter)? {
        waiters.call_method1(&names.append, (waiter,))?;
    }
    Ok(false)
}

/// Takes a permit if there is one; else sees to it that who was woken in vain is the next again.
#[pyfunction]
pub(crate) fn take_permit_or_rejoin(
    semaphore: &Bound<'_, PyAny>,
    waiter: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let py = semaphore.py();
    let names = Names::get(py)?;
    if take_permit(semaphore)? {
        return Ok(true);
    }
    let waiters = semaphore.getattr(&names.waiters)?;
    if !waiters.contains(waiter)? {
        waiters.call_method1(&names.appendleft, (waiter,))?;
    }
    Ok(false)
}

/// Unregisters who has ended its wait. Without a permit it passes on the wake that it may have got.
#[pyfunction]
pub(crate) fn leave_semaphore(
    semaphore: &Bound<'_, PyAny>,
    waiter: &Bound<'_, PyAny>,
    taken: bool,
) -> PyResult<()> {
    let py = semaphore.py();
    let names = Names::get(py)?;
    let waiters = semaphore.getattr(&names.waiters)?;
    if waiters.contains(waiter)? {
        waiters.call_method1(&names.remove, (waiter,))?;
    }
    if !taken && count(semaphore, &names.counter)? > 0 {
        wake_first(semaphore, &waiters)?;
    }
    Ok(())
}

/// Has the first woken who waits for a permit.
#[pyfunction]
pub(crate) fn wake_for_permit(semaphore: &Bound<'_, PyAny>) -> PyResult<()> {
    let names = Names::get(semaphore.py())?;
    let waiters = semaphore.getattr(&names.waiters)?;
    wake_first(semaphore, &waiters)
}

/// Has the hub of the first waiter's thread offer it the permit; those of ended threads wait no more.
fn wake_first<'py>(semaphore: &Bound<'py, PyAny>, waiters: &Bound<'py, PyAny>) -> PyResult<()> {
    let py = semaphore.py();
    let names = Names::get(py)?;
    while !waiters.is_empty()? {
        let first = waiters.get_item(0)?;
        let callback = semaphore.getattr(&names.do_acquire)?;
        if threads::wake(&first, &callback, PyTuple::empty(py))? {
            break;
        }
        if waiters.contains(&first)? {
            waiters.call_method1(&names.remove, (first,))?;
        }
    }
    Ok(())
}

/// Unregisters the first who waits for a permit that is there, if it belongs to this thread; one of
/// another thread is woken there instead.
#[pyfunction]
pub(crate) fn first_for_permit<'py>(
    semaphore: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = semaphore.py();
    let names = Names::get(py)?;
    let waiters = semaphore.getattr(&names.waiters)?;
    if count(semaphore, &names.counter)? <= 0 || waiters.is_empty()? {
        return Ok(None);
    }
    if threads::is_here(&waiters.get_item(0)?) {
        return waiters.call_method0(&names.popleft).map(Some);
    }
    wake_first(semaphore, &waiters)?;
    Ok(None)
}

/// Appends an item to the container of a bounded Queue, if there is room, and counts it first.
#[pyfunction]
pub(crate) fn append_if_room(
    queue: &Bound<'_, PyAny>,
    item: &Bound<'_, PyAny>,
    counted: bool,
) -> PyResult<bool> {
    let py = queue.py();
    let names = Names::get(py)?;
    let items = queue.getattr(&names.queue)?;
    let length = items.len()?.into_pyobject(py)?;
    if length.ge(queue.getattr(&names.maxsize)?)? {
        return Ok(false);
    }
    if counted {
        let name = &names.unfinished;
        queue.setattr(name, count(queue, name)? + 1)?;
        let all_done = queue.getattr(&names.all_done)?;
        if !all_done.getattr(&names.result)?.is(&names.unsent) {
            reopen_join(queue)?;
        }
    }
    items.call_method1(&names.append, (item,))?;
    Ok(true)
}

/// Makes `join()` of a Queue wait again, if there are items that were not worked on.
#[pyfunction]
pub(crate) fn reopen_join(queue: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = queue.py();
    let names = Names::get(py)?;
    if count(queue, &names.unfinished)? <= 0 {
        return Ok(());
    }
    let all_done = queue.getattr(&names.all_done)?;
    all_done.setattr(&names.exception, py.None())?;
    all_done.setattr(&names.result, &names.unsent)
}

/// Counts an item of a Queue that was worked on, and ends `join()` with the last; `False` where that
/// is one too many.
#[pyfunction]
pub(crate) fn count_done(queue: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = queue.py();
    let names = Names::get(py)?;
    let name = &names.unfinished;
    let unfinished = count(queue, name)?;
    if unfinished <= 0 {
        return Ok(false);
    }
    let all_done = queue.getattr(&names.all_done)?;
    queue.setattr(name, unfinished - 1)?;
    if unfinished == 1 {
        let none = py.None().into_bound(py);
        if settle(&all_done, &none, &none)? {
            notify(&all_done, &none, &none)?;
        }
    }
    Ok(true)
}

/// One member of a set, or `None`.
#[pyfunction]
pub(crate) fn any_of<'py>(members: &Bound<'py, PySet>) -> Option<Bound<'py, PyAny>> {
    members.iter().next()
}

/// Puts another value into an attribute and hands out the old one.
#[pyfunction]
pub(crate) fn exchange<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let old = object.getattr(name)?;
    object.setattr(name, value)?;
    Ok(old)
}

/// Has a function of ours called with a green thread at its end, or now if it has ended; before its
/// other links, of which one may block or raise.
pub(crate) fn link(green: &Bound<'_, PyAny>, function: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = green.py();
    let names = Names::get(py)?;
    let event = green.getattr(&names.event)?;
    if !event.getattr(&names.result)?.is(&names.unsent) {
        return function.call1((green,)).map(drop);
    }
    let mut links = green.getattr(&names.links)?;
    if links.is_none() {
        links = match context::attribute(green, names.all_links.bind(py))? {
            Some(links) => links,
            None => new_links(green)?,
        };
        green.setattr(&names.links, &links)?;
    }
    let link = (function, PyTuple::empty(py), PyDict::new(py));
    links
        .call_method1(intern!(py, "appendleft"), (link,))
        .map(drop)
}

fn new_links<'py>(green: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static DEQUE: Imported = Imported::new("collections", "deque");
    let py = green.py();
    let links = DEQUE.get(py)?.call0()?;
    green.setattr(&Names::get(py)?.all_links, &links)?;
    Ok(links)
}

/// Tells an Event and the links of a green thread what it returned.
pub(crate) fn conclude(green: &Bound<'_, PyAny>, result: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = green.py();
    let names = Names::get(py)?;
    event::send(&green.getattr(&names.event)?, result)?;
    let links = green.getattr(&names.links)?;
    if let Some(crossing) = only_crossing(&links)? {
        if green_thread::has_own_wait(green)? {
            links.call_method0(&names.popleft)?;
            crossing.get().returned(py, result.clone().unbind())?;
        }
    }
    if links.is_truthy()? {
        green.call_method0(intern!(py, "_resolve_links"))?;
    }
    Ok(())
}

/// The crossing to which a green thread is linked, if it is linked to nothing else.
fn only_crossing<'py>(links: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Crossing>>> {
    if links.is_none() || links.len()? != 1 {
        return Ok(None);
    }
    let (function, ..) =
        links
            .get_item(0)?
            .extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>)>()?;
    Ok(function.cast_into::<Crossing>().ok())
}
