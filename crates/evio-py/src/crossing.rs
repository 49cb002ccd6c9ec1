//! The crossing for Python: feeds and drains the state machine of `evio-bridge`.

use std::collections::HashMap;

use evio_bridge::{
    Action, AwaiterId, Crossing as Machine, Ended, Interrupt, Outcome, Policy, State,
};
use pyo3::prelude::*;
use pyo3::{PyErr, PyTraverseError, PyVisit};

use crate::cell::GilCell;

type Object = Py<PyAny>;

/// How the source is started, asked to end, and dropped unstarted.
struct Source {
    start: Object,
    end: Object,
    drop: Object,
}

/// One awaited result between green code and asyncio.
///
/// It is told what happens by its methods, and calls back what is to be done about it: `start`,
/// `end` and `drop` for the source, and the function that each awaiter brought.
#[pyclass(frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct Crossing {
    machine: GilCell<Machine<Object, Object>>,
    source: GilCell<Option<Source>>,
    awaiters: GilCell<HashMap<AwaiterId, Object>>,
    cancellation: GilCell<Option<Object>>,
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
    /// Does what the machine asks for, until it asks no more: one who cannot be woken takes nothing
    /// from the others.
    ///
    /// # Errors
    ///
    /// The first that was raised, when all is done.
    fn act(&self, py: Python<'_>) -> PyResult<()> {
        let mut outcome = Ok(());
        while let Some(action) = self.machine.with(py, Machine::poll_action) {
            let callback = match action {
                Action::Wake(id) => self.awaiters.with(py, |awaiters| awaiters.remove(&id)),
                Action::Start | Action::EndSource | Action::DropSource => {
                    self.source.with(py, |source| {
                        let source = source.as_ref()?;
                        let callback = match action {
                            Action::Start => &source.start,
                            Action::EndSource => &source.end,
                            _ => &source.drop,
                        };
                        Some(callback.clone_ref(py))
                    })
                }
            };
            if let Some(Err(error)) = callback.map(|callback| callback.call0(py)) {
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }

    fn interrupted(&self, py: Python<'_>, interrupt: Interrupt<Object>) -> PyResult<bool> {
        let outcome = self
            .machine
            .with(py, |machine| machine.handle_interrupt(interrupt));
        let taken = outcome.is_ok();
        drop(outcome);
        self.act(py)?;
        Ok(taken)
    }

    fn settled(&self, py: Python<'_>, ended: Ended<Object, Object>) -> PyResult<()> {
        let leftover = self.machine.with(py, |machine| machine.handle_ended(ended));
        drop(leftover);
        self.act(py)
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
        Self {
            machine: GilCell::new(Machine::new(policy)),
            source: GilCell::new(Some(Source { start, end, drop })),
            awaiters: GilCell::new(HashMap::new()),
            cancellation: GilCell::new(None),
        }
    }

    /// Does what is due after the crossing was made.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        self.act(py)
    }

    /// The source takes its first step; `False`: it must not.
    fn started(&self, py: Python<'_>) -> PyResult<bool> {
        let may = self.machine.with(py, Machine::handle_started);
        self.act(py)?;
        Ok(may)
    }

    /// Somebody waits: `wake` is called once, when there is an outcome.
    fn add_awaiter(&self, py: Python<'_>, wake: Object) -> PyResult<Awaiter> {
        let id = self.machine.with(py, Machine::handle_awaiter);
        let old = self.awaiters.with(py, |awaiters| awaiters.insert(id, wake));
        drop(old);
        self.act(py)?;
        Ok(Awaiter { id })
    }

    /// One who waited does no more; the last one's leaving may end the source.
    fn leave(&self, py: Python<'_>, awaiter: &Bound<'_, Awaiter>) -> PyResult<bool> {
        let id = awaiter.get().id;
        let left = self.machine.with(py, |machine| machine.handle_leave(id));
        let wake = self.awaiters.with(py, |awaiters| awaiters.remove(&id));
        drop(wake);
        self.act(py)?;
        Ok(left)
    }

    /// Somebody kills the waiting side; `False`: it came too late.
    fn kill(&self, py: Python<'_>, exception: Object) -> PyResult<bool> {
        self.interrupted(py, Interrupt::Kill(exception))
    }

    /// A time limit of the waiting side has passed; `False`: it came too late.
    fn timeout(&self, py: Python<'_>, exception: Object) -> PyResult<bool> {
        self.interrupted(py, Interrupt::Timeout(exception))
    }

    /// The source returned.
    fn returned(&self, py: Python<'_>, value: Object) -> PyResult<()> {
        self.settled(py, Ended::Value(value))
    }

    /// The source raised.
    fn raised(&self, py: Python<'_>, exception: Object) -> PyResult<()> {
        self.settled(py, Ended::Error(exception))
    }

    /// The source was cancelled or killed, by the exception given.
    #[pyo3(signature = (exception = None))]
    fn cancelled(&self, py: Python<'_>, exception: Option<Object>) -> PyResult<()> {
        drop(self.cancellation.replace(py, exception));
        self.settled(py, Ended::Cancelled)
    }

    /// Whether there is an outcome.
    fn done(&self, py: Python<'_>) -> bool {
        self.machine.with(py, |machine| machine.state()) == State::Settled
    }

    /// How many wait.
    #[getter]
    fn awaiter_count(&self, py: Python<'_>) -> usize {
        self.machine.with(py, |machine| machine.awaiters())
    }

    /// Returns or raises what every awaiter sees.
    fn result(&self, py: Python<'_>) -> PyResult<Object> {
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
            Some(Seen::Exit) => {
                let exit = py.import("greenlet")?.getattr("GreenletExit")?.call0()?;
                Err(PyErr::from_value(exit))
            }
            None => Err(pyo3::exceptions::PyRuntimeError::new_err(
                "the crossing has no result yet: wait until it is done",
            )),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(source) = self.source.peek() {
            if let Some(source) = source.as_ref() {
                visit.call(&source.start)?;
                visit.call(&source.end)?;
                visit.call(&source.drop)?;
            }
        }
        if let Some(awaiters) = self.awaiters.peek() {
            for wake in awaiters.values() {
                visit.call(wake)?;
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
