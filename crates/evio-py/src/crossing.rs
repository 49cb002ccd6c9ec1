//! The crossing for Python: feeds and drains the state machine of `evio-bridge`.

use std::collections::VecDeque;

use evio_bridge::{
    Action, AwaiterId, Crossing as Machine, Ended, Interrupt, Outcome, Policy, State,
};
use pyo3::prelude::*;
use pyo3::{PyErr, PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::fast::future::{self, Awaited};
use crate::fast::green_thread;
use crate::green_await::GreenAwait;
use crate::{context, greenlet, primitives, task};

type Object = Py<PyAny>;

/// What is awaited.
enum Source {
    /// How it is started, asked to end, and dropped unstarted.
    Calls {
        start: Object,
        end: Object,
        drop: Object,
    },
    /// A green thread, which starts by itself, until it has ended.
    Green(Object),
    /// What a green thread stands for.
    Future(Box<Awaited>),
}

/// How one who awaits is woken.
pub(crate) enum Wake {
    Call(Object),
    Await(Py<GreenAwait>),
    /// By the end of a green thread that stands for a future.
    Finish(Object),
}

impl Wake {
    fn wake(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Call(callback) => callback.call0(py).map(drop),
            Self::Await(waiting) => GreenAwait::wake(waiting.bind(py)),
            Self::Finish(green) => future::finish(green.bind(py)),
        }
    }
}

/// One awaited result between green code and asyncio.
///
/// It is told what happens by its methods, and calls back what is to be done about it: `start`,
/// `end` and `drop` for the source, and the function that each awaiter brought.
#[pyclass(frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct Crossing {
    machine: GilCell<Machine<Object, Object>>,
    source: GilCell<Option<Source>>,
    /// In the order of their arrival, in which they are woken.
    awaiters: GilCell<VecDeque<(AwaiterId, Wake)>>,
    cancellation: GilCell<Option<Object>>,
    begun: Flag,
    /// Kills of the source that have yet to strike.
    kills: GilCell<usize>,
}

/// Names one who awaits a crossing.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Awaiter {
    id: AwaiterId,
}

/// A settled crossing, as a return or a raise.
enum Seen {
    Value(Object),
    Raise(Object, Option<Object>),
    Cancelled,
    Exit,
}

impl Crossing {
    fn create(source: Source, policy: Policy) -> Self {
        Self {
            machine: GilCell::new(Machine::new(policy)),
            source: GilCell::new(Some(source)),
            awaiters: GilCell::new(VecDeque::new()),
            cancellation: GilCell::new(None),
            begun: Flag::new(false),
            kills: GilCell::new(0),
        }
    }

    /// That of a green thread that stands for a future, which is yet to be made.
    pub(crate) fn of_future(awaited: Awaited, policy: Policy) -> Self {
        Self::create(Source::Future(Box::new(awaited)), policy)
    }

    /// Notes that the hub has come to the green thread that stands for a future.
    pub(crate) fn set_begun(&self) {
        self.begun.set(true);
    }

    /// The green thread that is awaited, until it has ended.
    pub(crate) fn green<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.source.with(py, |source| match source {
            Some(Source::Green(green)) => Some(green.bind(py).clone()),
            _ => None,
        })
    }

    pub(crate) fn awaited_by(&self, py: Python<'_>, wake: Wake) -> PyResult<AwaiterId> {
        let id = self.machine.with(py, Machine::handle_awaiter);
        self.awaiters
            .with(py, |awaiters| awaiters.push_back((id, wake)));
        self.act(py)?;
        Ok(id)
    }

    pub(crate) fn left_by(&self, py: Python<'_>, id: AwaiterId) -> PyResult<bool> {
        let left = self.machine.with(py, |machine| machine.handle_leave(id));
        drop(self.take_awaiter(py, id));
        self.act(py)?;
        Ok(left)
    }

    fn take_awaiter(&self, py: Python<'_>, id: AwaiterId) -> Option<Wake> {
        self.awaiters.with(py, |awaiters| {
            let at = awaiters.iter().position(|(each, _)| *each == id)?;
            awaiters.remove(at).map(|(_, wake)| wake)
        })
    }

    /// Does what the machine asks for, until it asks no more: one who cannot be woken takes nothing
    /// from the others.
    ///
    /// # Errors
    ///
    /// The first that was raised, when all is done.
    fn act(&self, py: Python<'_>) -> PyResult<()> {
        let mut outcome = Ok(());
        while let Some(action) = self.machine.with(py, Machine::poll_action) {
            let done = match action {
                Action::Wake(id) => match self.take_awaiter(py, id) {
                    Some(wake) => wake.wake(py),
                    None => Ok(()),
                },
                about_source => self.tell_source(py, about_source),
            };
            outcome = outcome.and(done);
        }
        outcome
    }

    fn tell_source(&self, py: Python<'_>, action: Action) -> PyResult<()> {
        enum Told {
            Call(Object),
            Kill(Object),
            Start(Awaited),
            Cancel(Object),
            Close(Option<Object>),
        }
        let told = self
            .source
            .with(py, |source| match (source.as_mut()?, action) {
                (Source::Calls { start, .. }, Action::Start) => {
                    Some(Told::Call(start.clone_ref(py)))
                }
                (Source::Calls { end, .. }, Action::EndSource) => {
                    Some(Told::Call(end.clone_ref(py)))
                }
                (Source::Calls { drop, .. }, _) => Some(Told::Call(drop.clone_ref(py))),
                (Source::Green(_), Action::Start) => None,
                (Source::Green(green), _) => Some(Told::Kill(green.clone_ref(py))),
                (Source::Future(awaited), Action::Start) => Some(Told::Start(awaited.take(py))),
                (Source::Future(awaited), Action::EndSource) => {
                    Some(Told::Cancel(awaited.green.clone_ref(py)))
                }
                (Source::Future(awaited), _) => Some(Told::Close(awaited.awaitable.take())),
            });
        match told {
            None => Ok(()),
            Some(Told::Call(callback)) => callback.call0(py).map(drop),
            Some(Told::Kill(green)) => py
                .import("eventlet_asyncio.bridge")?
                .call_method1("kill_soon", (green,))
                .map(drop),
            Some(Told::Start(awaited)) => future::start(awaited, py),
            Some(Told::Cancel(green)) => future::cancel(green.bind(py)),
            Some(Told::Close(Some(awaitable))) => future::close(awaitable.bind(py)),
            Some(Told::Close(None)) => Ok(()),
        }
    }

    fn interrupted(&self, py: Python<'_>, interrupt: Interrupt<Object>) -> PyResult<bool> {
        let outcome = self
            .machine
            .with(py, |machine| machine.handle_interrupt(interrupt));
        let taken = outcome.is_ok();
        drop(outcome);
        let acted = self.act(py);
        self.part_from_source(py);
        acted.map(|()| taken)
    }

    fn settled(&self, py: Python<'_>, ended: Ended<Object, Object>) -> PyResult<()> {
        let missed = self.has_due_kill(py);
        let leftover = self.machine.with(py, |machine| {
            if missed {
                machine.handle_missed();
            }
            machine.handle_ended(ended)
        });
        drop(leftover);
        let acted = self.act(py);
        self.part_from_source(py);
        acted
    }

    /// Settles it in the middle of the step in which its future gets a value, whose callback this is;
    /// `false` where another time is the right one.
    pub(crate) fn settles_at_once(&self, future: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = future.py();
        let of_future = |source: &mut Option<Source>| matches!(source, Some(Source::Future(_)));
        if !self.source.with(py, of_future) {
            return Ok(false);
        }
        match task::value(future)? {
            Some(value) => self.returned(py, value.unbind()).map(|()| true),
            None => Ok(false),
        }
    }

    /// The value that every awaiter sees, if it is one.
    pub(crate) fn value(&self, py: Python<'_>) -> Option<Object> {
        self.machine.with(py, |machine| match machine.outcome() {
            Some(Outcome::Value(value)) => Some(value.clone_ref(py)),
            _ => None,
        })
    }

    /// At the end, since each of the two knows the other.
    fn part_from_source(&self, py: Python<'_>) {
        if self.done(py) {
            drop(self.source.take(py));
        }
    }
}

#[pymethods]
impl Crossing {
    #[new]
    #[pyo3(signature = (start, end, drop, *, autostart = true, end_source = true, end_awaiters = true))]
    fn new(
        start: Object,
        end: Object,
        drop: Object,
        autostart: bool,
        end_source: bool,
        end_awaiters: bool,
    ) -> Self {
        let policy = Policy {
            autostart,
            end_source,
            end_awaiters,
        };
        Self::create(Source::Calls { start, end, drop }, policy)
    }

    /// That of a green thread, which is made if there is none.
    #[staticmethod]
    pub(crate) fn of_green_thread<'py>(green: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let py = green.py();
        let name = intern!(py, "_eventlet_asyncio_crossing");
        if let Some(known) = context::attribute(green, name)? {
            return Ok(known.cast_into::<Self>()?);
        }
        let policy = Policy {
            autostart: false,
            end_source: true,
            end_awaiters: false,
        };
        let crossing = Self::create(Source::Green(green.clone().unbind()), policy);
        let crossing = Bound::new(py, crossing)?;
        crossing.get().started(py)?;
        green.setattr(name, &crossing)?;
        primitives::link(green, crossing.as_any())?;
        Ok(crossing)
    }

    /// The green thread that is awaited has ended, or the future for which one stands.
    fn __call__(slf: &Bound<'_, Self>, green: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if !greenlet::is_greenlet(green) {
            return this.settle(green);
        }
        if green_thread::has_own_wait(green)? {
            let event = green.getattr(intern!(py, "_exit_event"))?;
            if event.getattr(intern!(py, "_exc"))?.is_none() {
                let value = event.getattr(intern!(py, "_result"))?;
                return this.returned(py, value.unbind());
            }
        }
        match green.call_method0(intern!(py, "wait")) {
            Ok(value) => this.returned(py, value.unbind()),
            Err(error) if error.is_instance(py, &greenlet::exit_class(py)) => {
                this.cancelled(py, Some(error.into_value(py).into_any()))
            }
            Err(error) => this.raised(py, error.into_value(py).into_any()),
        }
    }

    /// Does what is due after the crossing was made.
    pub(crate) fn begin(&self, py: Python<'_>) -> PyResult<()> {
        self.act(py)
    }

    /// The source takes its first step; `False`: it must not.
    pub(crate) fn started(&self, py: Python<'_>) -> PyResult<bool> {
        let may = self.machine.with(py, Machine::handle_started);
        self.act(py)?;
        Ok(may)
    }

    /// The source is about to be killed, as the crossing asked; if it ends before that strikes, the kill is seen
    /// instead of how it ended.
    pub(crate) fn kill_is_due(&self, py: Python<'_>) {
        self.kills.with(py, |kills| *kills += 1);
    }

    /// Whether a kill is due that has yet to strike, so that another would be the same.
    #[getter]
    pub(crate) fn has_due_kill(&self, py: Python<'_>) -> bool {
        self.kills.with(py, |kills| *kills > 0)
    }

    /// A kill that was due strikes.
    fn kill_strikes(&self, py: Python<'_>) {
        self.kills
            .with(py, |kills| *kills = kills.saturating_sub(1));
    }

    /// Somebody waits: `wake` is called once, when there is an outcome.
    fn add_awaiter(&self, py: Python<'_>, wake: Object) -> PyResult<Awaiter> {
        let id = self.awaited_by(py, Wake::Call(wake))?;
        Ok(Awaiter { id })
    }

    /// One who waited does no more; the last one's leaving may end the source.
    fn leave(&self, py: Python<'_>, awaiter: &Bound<'_, Awaiter>) -> PyResult<bool> {
        self.left_by(py, awaiter.get().id)
    }

    /// Somebody kills the waiting side; `False`: it came too late.
    pub(crate) fn kill(&self, py: Python<'_>, exception: Object) -> PyResult<bool> {
        self.interrupted(py, Interrupt::Kill(exception))
    }

    /// A time limit of the waiting side has passed; `False`: it came too late.
    fn timeout(&self, py: Python<'_>, exception: Object) -> PyResult<bool> {
        self.interrupted(py, Interrupt::Timeout(exception))
    }

    /// The source returned.
    pub(crate) fn returned(&self, py: Python<'_>, value: Object) -> PyResult<()> {
        self.settled(py, Ended::Value(value))
    }

    /// The source raised.
    pub(crate) fn raised(&self, py: Python<'_>, exception: Object) -> PyResult<()> {
        self.settled(py, Ended::Error(exception))
    }

    /// The source was cancelled or killed, by the exception given.
    #[pyo3(signature = (exception = None))]
    pub(crate) fn cancelled(&self, py: Python<'_>, exception: Option<Object>) -> PyResult<()> {
        drop(self.cancellation.replace(py, exception));
        self.settled(py, Ended::Cancelled)
    }

    /// The future behind it has ended.
    pub(crate) fn settle(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = future.py();
        match future.call_method0(intern!(py, "exception")) {
            Ok(exception) if exception.is_none() => {
                let value = future.call_method0(intern!(py, "result"))?;
                self.returned(py, value.unbind())
            }
            Ok(exception) => self.raised(py, exception.unbind()),
            Err(error) if future.call_method0("cancelled")?.is_truthy()? => {
                self.cancelled(py, Some(error.into_value(py).into_any()))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether there is an outcome.
    pub(crate) fn done(&self, py: Python<'_>) -> bool {
        self.machine.with(py, |machine| machine.state()) == State::Settled
    }

    /// Whether the hub has come to the green thread that stands for a future.
    #[getter]
    fn begun(&self) -> bool {
        self.begun.get()
    }

    /// How many wait.
    #[getter]
    pub(crate) fn awaiter_count(&self, py: Python<'_>) -> usize {
        self.machine.with(py, |machine| machine.awaiters())
    }

    /// Returns or raises what every awaiter sees.
    pub(crate) fn result(&self, py: Python<'_>) -> PyResult<Object> {
        let seen = self.machine.with(py, |machine| {
            machine.outcome().map(|outcome| match outcome {
                Outcome::Value(value) => Seen::Value(value.clone_ref(py)),
                Outcome::Error { error, context } => Seen::Raise(
                    error.clone_ref(py),
                    context.as_ref().map(|context| context.clone_ref(py)),
                ),
                Outcome::Interrupted(interrupt) => Seen::Raise(interrupt.clone_ref(py), None),
                Outcome::Cancelled => Seen::Cancelled,
                Outcome::Exit => Seen::Exit,
            })
        });
        match seen {
            Some(Seen::Value(value)) => Ok(value),
            Some(Seen::Raise(error, context)) => {
                let error = error.into_bound(py);
                if let Some(context) = context {
                    if error.getattr("__context__")?.is_none() && !context.is(&error) {
                        error.setattr("__context__", context)?;
                    }
                }
                Err(PyErr::from_value(error))
            }
            Some(Seen::Cancelled) => {
                let error = match self.cancellation.get(py) {
                    Some(error) => error.into_bound(py),
                    None => py.import("asyncio")?.getattr("CancelledError")?.call0()?,
                };
                Err(PyErr::from_value(error))
            }
            Some(Seen::Exit) => Err(PyErr::from_value(greenlet::exit_class(py).call0()?)),
            None => Err(pyo3::exceptions::PyRuntimeError::new_err(
                "the crossing has no result yet: wait until it is done",
            )),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(source) = self.source.peek() {
            match source.as_ref() {
                Some(Source::Calls { start, end, drop }) => {
                    visit.call(start)?;
                    visit.call(end)?;
                    visit.call(drop)?;
                }
                Some(Source::Green(green)) => visit.call(green)?,
                Some(Source::Future(awaited)) => {
                    visit.call(&awaited.green)?;
                    visit.call(&awaited.awaitable)?;
                    visit.call(&awaited.running_loop)?;
                }
                None => {}
            }
        }
        if let Some(awaiters) = self.awaiters.peek() {
            for (_, wake) in awaiters.iter() {
                match wake {
                    Wake::Call(callback) | Wake::Finish(callback) => visit.call(callback)?,
                    Wake::Await(waiting) => visit.call(waiting)?,
                }
            }
        }
        if let Some(cancellation) = self.cancellation.peek() {
            visit.call(&*cancellation)?;
        }
        if let Some(machine) = self.machine.peek() {
            match machine.outcome() {
                Some(Outcome::Value(object) | Outcome::Interrupted(object)) => {
                    visit.call(object)?;
                }
                Some(Outcome::Error { error, context }) => {
                    visit.call(error)?;
                    visit.call(context)?;
                }
                Some(Outcome::Cancelled | Outcome::Exit) | None => {}
            }
            if let Some(interrupt) = machine.interrupt() {
                visit.call(interrupt)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.source.take(py));
        drop(self.awaiters.take(py));
        drop(self.cancellation.take(py));
        let policy = self.machine.with(py, |machine| machine.policy());
        drop(self.machine.replace(py, Machine::new(policy)));
    }
}
