//! Handles of asyncio callbacks: what `call_soon`, `call_later` and their kin return.

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use evio_loop::TimerKey;

use crate::cell::{Flag, GilCell, Once, intern};
use crate::core::LoopCore;
use crate::datagram::{self, DatagramCore};
use crate::sockets::SocketCall;
use crate::stream::{self, StreamCore};

struct Call {
    callback: Py<PyAny>,
    args: Py<PyTuple>,
    /// Whose method the callback is, where that is called directly.
    native: Option<Native>,
}

/// What is called directly, without its callback.
enum Native {
    /// A transport that receives.
    Stream(Py<StreamCore>),
    Datagram(Py<DatagramCore>),
    Socket(Py<SocketCall>),
}

impl Native {
    /// Of a transport.
    fn of(transport: Bound<'_, PyAny>) -> Option<Self> {
        match transport.cast_into::<StreamCore>() {
            Ok(transport) => Some(Self::Stream(transport.unbind())),
            Err(other) => {
                let transport = other.into_inner().cast_into::<DatagramCore>();
                Some(Self::Datagram(transport.ok()?.unbind()))
            }
        }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Stream(transport) => Self::Stream(transport.clone_ref(py)),
            Self::Datagram(transport) => Self::Datagram(transport.clone_ref(py)),
            Self::Socket(call) => Self::Socket(call.clone_ref(py)),
        }
    }

    fn run(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Stream(transport) => stream::read_ready(transport.bind(py)),
            Self::Datagram(transport) => datagram::read_ready(transport.bind(py)),
            Self::Socket(call) => SocketCall::ready(call.bind(py)),
        }
    }

    fn into_any(self) -> Py<PyAny> {
        match self {
            Self::Stream(transport) => transport.into_any(),
            Self::Datagram(transport) => transport.into_any(),
            Self::Socket(call) => call.into_any(),
        }
    }
}

/// What a callback raised, and what was called.
pub(crate) struct Failure {
    error: PyErr,
    callback: Py<PyAny>,
    args: Py<PyTuple>,
}

/// What came of a callback.
pub(crate) type Outcome = Option<Failure>;

/// A scheduled callback of an event loop.
#[pyclass(subclass, frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct Handle {
    call: GilCell<Option<Call>>,
    context: GilCell<Option<Py<PyAny>>>,
    owner: GilCell<Option<Py<LoopCore>>>,
    cancelled: Flag,
    source_traceback: GilCell<Option<Py<PyAny>>>,
    repr: GilCell<Option<String>>,
}

/// A callback that is scheduled for a time.
#[pyclass(extends = Handle, frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct TimerHandle {
    when: f64,
    key: GilCell<Option<TimerKey>>,
}

static STDLIB: Once<(Py<PyAny>, Py<PyAny>)> = Once::new();

fn stdlib_classes(py: Python<'_>) -> PyResult<&'static (Py<PyAny>, Py<PyAny>)> {
    STDLIB.get_or_try_init(py, || {
        let events = py.import("asyncio.events")?;
        Ok((
            events.getattr("Handle")?.unbind(),
            events.getattr("TimerHandle")?.unbind(),
        ))
    })
}

impl Handle {
    pub(crate) fn new(
        owner: &Bound<'_, LoopCore>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = owner.py();
        let context = match context {
            Some(context) => {
                crate::context::check(context)?;
                context.clone().unbind()
            }
            None => crate::context::copy(py)?.unbind(),
        };
        let frame = if owner.get().debug() {
            crate::context::frame(py)
        } else {
            None
        };
        let source_traceback = match frame {
            Some(frame) => {
                let helpers = py.import("asyncio.format_helpers")?;
                Some(helpers.call_method1("extract_stack", (frame,))?.unbind())
            }
            None => None,
        };
        Ok(Self {
            call: GilCell::new(Some(Call {
                callback: callback.clone().unbind(),
                args: args.clone().unbind(),
                native: None,
            })),
            context: GilCell::new(Some(context)),
            owner: GilCell::new(Some(owner.clone().unbind())),
            cancelled: Flag::new(false),
            source_traceback: GilCell::new(source_traceback),
            repr: GilCell::new(None),
        })
    }

    /// Notes whether the callback is the receiving method of a transport, which is then called directly.
    pub(crate) fn note_reader(&self, py: Python<'_>) {
        let Some((callback, args)) = self.call_parts(py) else {
            return;
        };
        let reader = stream::sys::owner_of(callback.bind(py), "_read_ready");
        let reader = reader.filter(|_| args.bind(py).is_empty());
        self.set_native(py, reader.and_then(Native::of));
    }

    /// Notes that the callback is a call of a socket.
    pub(crate) fn note_socket(&self, call: &Bound<'_, SocketCall>) {
        self.set_native(call.py(), Some(Native::Socket(call.clone().unbind())));
    }

    fn set_native(&self, py: Python<'_>, native: Option<Native>) {
        self.call.with(py, |call| {
            if let Some(call) = call {
                call.native = native;
            }
        });
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    pub(crate) fn context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.context.get(py)
    }

    /// The callback and its arguments.
    pub(crate) fn call_parts(&self, py: Python<'_>) -> Option<(Py<PyAny>, Py<PyTuple>)> {
        self.call.with(py, |call| {
            call.as_ref()
                .map(|call| (call.callback.clone_ref(py), call.args.clone_ref(py)))
        })
    }

    /// Makes the call, in the context that the caller has entered.
    pub(crate) fn invoke(&self, py: Python<'_>) -> Outcome {
        let native = self.call.with(py, |call| {
            Some(call.as_ref()?.native.as_ref()?.clone_ref(py))
        });
        if let Some(native) = native {
            let error = native.run(py).err()?;
            // None are left where the handle was cancelled meanwhile.
            let parts = self.call_parts(py);
            let (callback, args) =
                parts.unwrap_or_else(|| (native.into_any(), PyTuple::empty(py).unbind()));
            return Some(Failure {
                error,
                callback,
                args,
            });
        }
        let (callback, args) = self.call_parts(py)?;
        let (callback, args) = (callback.into_bound(py), args.into_bound(py));
        let error = callback.call1(&args).err()?;
        Some(Failure {
            error,
            callback: callback.unbind(),
            args: args.unbind(),
        })
    }

    /// Tells the loop's exception handler of a failure, outside the callback's context.
    ///
    /// # Errors
    ///
    /// KeyboardInterrupt and SystemExit, which end the loop instead.
    pub(crate) fn settle(slf: &Bound<'_, Self>, outcome: Outcome) -> PyResult<()> {
        match outcome {
            None => Ok(()),
            Some(failure) => Self::report(slf, failure),
        }
    }

    fn report(slf: &Bound<'_, Self>, failure: Failure) -> PyResult<()> {
        let Failure {
            error,
            callback,
            args,
        } = failure;
        let py = slf.py();
        if error.is_instance_of::<PyKeyboardInterrupt>(py)
            || error.is_instance_of::<PySystemExit>(py)
        {
            return Err(error);
        }
        let Some(owner) = slf.get().owner.get(py) else {
            return Err(error);
        };
        let source = py
            .import("asyncio.format_helpers")?
            .call_method1("_format_callback_source", (callback, args))?;
        let report = PyDict::new(py);
        report.set_item("message", format!("Exception in callback {source}"))?;
        report.set_item("exception", error.into_value(py))?;
        report.set_item("handle", slf)?;
        if let Some(source) = slf.get().source_traceback.get(py) {
            report.set_item("source_traceback", source)?;
        }
        owner
            .bind(py)
            .call_method1(intern!(py, "call_exception_handler"), (report,))
            .map(drop)
    }

    fn describe(slf: &Bound<'_, Self>) -> PyResult<Vec<String>> {
        let py = slf.py();
        let this = slf.get();
        let mut info = vec![slf.get_type().name()?.to_string()];
        if this.is_cancelled() {
            info.push("cancelled".to_owned());
        }
        if let Some((callback, args)) = this.call_parts(py) {
            let source = py
                .import("asyncio.format_helpers")?
                .call_method1("_format_callback_source", (callback, args))?;
            info.push(source.to_string());
        }
        if let Some(source) = this.source_traceback.get(py) {
            let frame = source.bind(py).get_item(-1)?;
            info.push(format!(
                "created at {}:{}",
                frame.get_item(0)?,
                frame.get_item(1)?
            ));
        }
        Ok(info)
    }

    fn is_debug(&self, py: Python<'_>) -> bool {
        self.owner
            .get(py)
            .is_some_and(|owner| owner.bind(py).get().debug())
    }

    fn cancel_call(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.is_cancelled() {
            return Ok(());
        }
        if this.is_debug(py) {
            // The callback is about to be dropped: keep what the repr would say of it.
            let info = slf.repr()?.to_string();
            this.repr.replace(py, Some(info));
        }
        this.cancelled.set(true);
        drop(this.call.replace(py, None));
        Ok(())
    }
}

#[pymethods]
impl Handle {
    /// Keeps the callback from being called; more than once is the same as once.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::cancel_call(slf)
    }

    /// Whether the handle was cancelled.
    fn cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// The context in which the callback runs.
    fn get_context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.context(py)
    }

    fn _run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(context) = slf.get().context(py) else {
            return Ok(());
        };
        let Some((callback, args)) = slf.get().call_parts(py) else {
            return Ok(());
        };
        let arguments =
            std::iter::once(callback.clone_ref(py)).chain(args.bind(py).iter().map(Bound::unbind));
        let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
        let outcome = context.bind(py).call_method1(intern!(py, "run"), arguments);
        let failure = outcome.err().map(|error| Failure {
            error,
            callback,
            args,
        });
        Self::settle(slf, failure)
    }

    #[getter]
    fn _callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.call_parts(py).map(|(callback, _)| callback)
    }

    #[getter]
    fn _args(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.call_parts(py).map(|(_, args)| args)
    }

    #[getter]
    fn _context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.context(py)
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Option<Py<LoopCore>> {
        self.owner.get(py)
    }

    #[getter]
    fn _cancelled(&self) -> bool {
        self.is_cancelled()
    }

    #[getter]
    fn _source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.source_traceback.get(py)
    }

    /// `isinstance(handle, asyncio.Handle)` holds, as it does for the stdlib's loops.
    #[getter]
    fn __class__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let (handle, timer) = stdlib_classes(py)?;
        let class = if slf.cast::<TimerHandle>().is_ok() {
            timer
        } else {
            handle
        };
        Ok(class.clone_ref(py))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        if let Some(repr) = slf.get().repr.with(py, |repr| repr.clone()) {
            return Ok(repr);
        }
        let mut info = Self::describe(slf)?;
        if let Ok(timer) = slf.cast::<TimerHandle>() {
            let at = 1 + usize::from(slf.get().is_cancelled());
            info.insert(at, format!("when={}", timer.get().when));
        }
        Ok(format!("<{}>", info.join(" ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(call) = self.call.peek() {
            if let Some(call) = call.as_ref() {
                visit.call(&call.callback)?;
                visit.call(&call.args)?;
                match &call.native {
                    Some(Native::Stream(transport)) => visit.call(transport)?,
                    Some(Native::Datagram(transport)) => visit.call(transport)?,
                    Some(Native::Socket(call)) => visit.call(call)?,
                    None => {}
                }
            }
        }
        for cell in [&self.context, &self.source_traceback] {
            if let Some(object) = cell.peek() {
                visit.call(&*object)?;
            }
        }
        if let Some(owner) = self.owner.peek() {
            visit.call(&*owner)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.call.replace(py, None));
        drop(self.context.replace(py, None));
        drop(self.owner.replace(py, None));
        drop(self.source_traceback.replace(py, None));
    }
}

impl TimerHandle {
    /// Makes a handle that is due at `when`, in seconds on the loop's clock.
    pub(crate) fn create<'py>(
        handle: Handle,
        py: Python<'py>,
        when: f64,
    ) -> PyResult<Bound<'py, Self>> {
        let timer = Self {
            when,
            key: GilCell::new(None),
        };
        Bound::new(py, PyClassInitializer::from(handle).add_subclass(timer))
    }

    pub(crate) fn set_key(&self, py: Python<'_>, key: TimerKey) {
        self.key.replace(py, Some(key));
    }
}

#[pymethods]
impl TimerHandle {
    /// The time at which the callback is due, in seconds on the loop's clock.
    fn when(&self) -> f64 {
        self.when
    }

    #[getter]
    fn _when(&self) -> f64 {
        self.when
    }

    /// Whether the loop still holds the timer.
    #[getter]
    fn _scheduled(slf: &Bound<'_, Self>) -> bool {
        let py = slf.py();
        let Some(key) = slf.get().key.with(py, |key| *key) else {
            return false;
        };
        let owner = slf.as_super().get().owner.get(py);
        owner.is_some_and(|owner| {
            owner
                .bind(py)
                .get()
                .engine(py, |engine| engine.deadline(key).is_some())
                .unwrap_or(false)
        })
    }

    /// Keeps the callback from being called and frees it at once.
    fn cancel(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        Handle::cancel_call(slf.as_super())?;
        if let Some(key) = slf.get().key.replace(py, None) {
            if let Some(owner) = slf.as_super().get().owner.get(py) {
                let job = owner.bind(py).get().engine(py, |engine| engine.cancel(key));
                drop(job);
            }
        }
        Ok(())
    }

    fn __hash__(slf: &Bound<'_, Self>) -> PyResult<isize> {
        slf.get().when.into_pyobject(slf.py())?.hash()
    }

    fn __richcmp__(
        slf: &Bound<'_, Self>,
        other: &Bound<'_, PyAny>,
        op: pyo3::pyclass::CompareOp,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented());
        };
        let same = slf.is(other)
            || (slf.as_super().get().is_cancelled() == other.as_super().get().is_cancelled()
                && slf.get().when == other.get().when
                && Self::equal_calls(slf, other)?);
        let (a, b) = (slf.get().when, other.get().when);
        use pyo3::pyclass::CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
        let answer = match op {
            Eq => same,
            Ne => !same,
            Lt => a < b,
            Le => a < b || same,
            Gt => a > b,
            Ge => a > b || same,
        };
        Ok(answer.into_pyobject(py)?.to_owned().into_any().unbind())
    }
}

impl TimerHandle {
    fn equal_calls(a: &Bound<'_, Self>, b: &Bound<'_, Self>) -> PyResult<bool> {
        let py = a.py();
        match (
            a.as_super().get().call_parts(py),
            b.as_super().get().call_parts(py),
        ) {
            (Some((callback, args)), Some((other, others))) => {
                Ok(callback.bind(py).eq(other)? && args.bind(py).eq(others)?)
            }
            (None, None) => Ok(true),
            _ => Ok(false),
        }
    }
}
