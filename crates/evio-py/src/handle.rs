//! Handles of asyncio callbacks: what `call_soon`, `call_later` and their kin return.

use std::mem;

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::cell::{Flag, GilCell, intern};
use crate::context as contexts;
use crate::core::LoopCore;
use crate::imported::Imported;
use crate::sockets::SocketCall;
use crate::stream;

#[allow(unsafe_code)] // Objects without references.
mod pool;
mod state;
mod timer;

pub(crate) use pool::keep_handles;
pub(crate) use state::Args;
use state::{Begun, Call, Context, Native, State};
pub(crate) use timer::TimerHandle;

/// A call as asyncio shows it: later versions tell its arguments in debug mode only.
fn shown_call<'py>(
    callback: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    is_debug: bool,
) -> PyResult<Bound<'py, PyAny>> {
    static SHOW: Imported = Imported::new("asyncio.format_helpers", "_format_callback_source");
    let py = callback.py();
    let show = SHOW.get(py)?;
    let options = PyDict::new(py);
    let known = show.getattr("__kwdefaults__")?;
    if !known.is_none() && known.contains("debug")? {
        options.set_item("debug", is_debug)?;
    }
    show.call((callback, args), Some(&options))
}

/// What a callback raised, and what was called.
pub(crate) struct Failure {
    error: PyErr,
    callback: Py<PyAny>,
    args: Args,
}

/// What came of a callback.
pub(crate) type Outcome = Option<Failure>;

/// A scheduled callback of an event loop.
#[pyclass(subclass, frozen, weakref, module = "eventlet_asyncio._evio")]
pub(crate) struct Handle {
    state: GilCell<State>,
    cancelled: Flag,
    /// Whether the garbage collector does not know of it, as it is in a queue.
    hidden: Flag,
}

impl Handle {
    /// One that is not an object yet.
    pub(crate) fn new(
        owner: &Bound<'_, LoopCore>,
        callback: &Bound<'_, PyAny>,
        args: Args,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        State::new(owner, callback, args, context).map(Self::with)
    }

    fn with(state: State) -> Self {
        Self {
            state: GilCell::new(state),
            cancelled: Flag::new(false),
            hidden: Flag::new(false),
        }
    }

    /// Makes a handle.
    #[inline]
    pub(crate) fn create<'py>(
        owner: &Bound<'py, LoopCore>,
        callback: &Bound<'py, PyAny>,
        args: Args,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        Self::create_queued(owner, callback, args, context, false)
    }

    /// Makes a handle, and hides it from the collector as long as it is in a queue if nobody else is to
    /// have it.
    #[inline]
    pub(crate) fn create_queued<'py>(
        owner: &Bound<'py, LoopCore>,
        callback: &Bound<'py, PyAny>,
        args: Args,
        context: Option<&Bound<'py, PyAny>>,
        hidden: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let state = State::new(owner, callback, args, context)?;
        pool::make(owner.py(), state, hidden)
    }

    /// Notes that a handle leaves the queue.
    #[inline]
    pub(crate) fn leave_queue(handle: &Py<Self>) {
        pool::show(handle);
    }

    /// Shows the collector a handle that is in a queue.
    pub(crate) fn traverse_queued(
        handle: &Py<Self>,
        visit: &PyVisit<'_>,
    ) -> Result<(), PyTraverseError> {
        pool::traverse(handle, visit)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(state) = self.state.peek() else {
            return Ok(());
        };
        if let Some(call) = &state.call {
            visit.call(&call.callback)?;
            match &call.args {
                Args::None => {}
                Args::One(arg) => visit.call(arg)?,
                Args::Many(args) => visit.call(args)?,
            }
            match &call.native {
                Some(Native::Stream(transport)) => visit.call(transport)?,
                Some(Native::Datagram(transport)) => visit.call(transport)?,
                Some(Native::Socket(call)) => visit.call(call)?,
                None => {}
            }
        }
        match &state.context {
            Context::None => {}
            Context::Made(object) | Context::ToMake(object) => visit.call(object)?,
        }
        visit.call(&state.owner)?;
        match &state.debug {
            Some(debug) => visit.call(&debug.source_traceback),
            None => Ok(()),
        }
    }

    /// Notes whether the callback is the receiving method of a transport, which is then called directly.
    pub(crate) fn note_reader(&self, py: Python<'_>) {
        let callback = self.state.with(py, |state| match &state.call {
            Some(Call {
                callback,
                args: Args::None,
                ..
            }) => Some(callback.clone_ref(py)),
            _ => None,
        });
        if let Some(callback) = callback {
            let reader = stream::sys::owner_of(callback.bind(py), "_read_ready");
            self.set_native(py, reader.and_then(Native::of));
        }
    }

    /// Notes that the callback is a call of a socket.
    pub(crate) fn note_socket(&self, call: &Bound<'_, SocketCall>) {
        self.set_native(call.py(), Some(Native::Socket(call.clone().unbind())));
    }

    fn set_native(&self, py: Python<'_>, native: Option<Native>) {
        self.state.with(py, |state| {
            if let Some(call) = &mut state.call {
                call.native = native;
            }
        });
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// The context in which the callback runs.
    #[inline]
    pub(crate) fn context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let made = self.state.with(py, |state| match &state.context {
            Context::None => Err(false),
            Context::Made(context) => Ok(context.clone_ref(py)),
            Context::ToMake(_) => Err(true),
        });
        match made {
            Ok(context) => Ok(Some(context.into_bound(py))),
            Err(true) => self.make_context(py).map(Some),
            Err(false) => Ok(None),
        }
    }

    #[inline]
    fn make_context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let blank = contexts::blank(py)?;
        let (context, left) = self.state.with(py, |state| match &mut state.context {
            Context::ToMake(variables) => {
                contexts::exchange(&blank, variables);
                let context = Context::Made(blank.clone().unbind());
                (blank, mem::replace(&mut state.context, context))
            }
            // Somebody else has made it meanwhile.
            Context::Made(context) => (context.clone_ref(py).into_bound(py), Context::None),
            Context::None => (blank, Context::None),
        });
        left.release(py);
        Ok(context)
    }

    /// Lets go of the context of a handle that is about to end, if it was made.
    #[inline]
    pub(crate) fn take_context<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        if !pool::is_last(slf) {
            return None;
        }
        let py = slf.py();
        match slf
            .get()
            .state
            .with(py, |state| mem::take(&mut state.context))
        {
            Context::Made(context) => Some(context.into_bound(py)),
            _ => None,
        }
    }

    /// Makes it refer to something, which referred to nothing and may have been cancelled.
    #[inline]
    fn fill(&self, py: Python<'_>, state: State) {
        self.cancelled.set(false);
        let old = self.state.replace(py, state);
        debug_assert!(old.call.is_none() && old.owner.is_none());
        // There is nothing in it to drop.
        mem::forget(old);
    }

    /// What it refers to, and now does no more.
    fn take_state(&self, py: Python<'_>) -> State {
        self.state.take(py)
    }

    fn owner(&self, py: Python<'_>) -> Option<Py<LoopCore>> {
        self.state.with(py, |state| {
            let owner = state.owner.as_ref()?;
            Some(owner.clone_ref(py))
        })
    }

    fn source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.with(py, |state| {
            let source = state.debug.as_ref()?.source_traceback.as_ref()?;
            Some(source.clone_ref(py))
        })
    }

    /// The callback and its arguments.
    pub(crate) fn call_parts(&self, py: Python<'_>) -> Option<(Py<PyAny>, Args)> {
        self.state.with(py, |state| {
            let call = state.call.as_ref()?;
            Some((call.callback.clone_ref(py), call.args.clone_ref(py)))
        })
    }

    /// The callback and the tuple of its arguments.
    pub(crate) fn call_shown<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyTuple>)>> {
        let Some((callback, args)) = self.call_parts(py) else {
            return Ok(None);
        };
        Ok(Some((callback.into_bound(py), args.into_tuple(py)?)))
    }

    /// Makes the call, in the context that the caller has entered.
    #[inline]
    pub(crate) fn invoke(&self, py: Python<'_>) -> Outcome {
        let begun = self.state.with(py, |state| {
            let call = state.call.as_ref()?;
            Some(match &call.native {
                Some(native) => Begun::Native(native.clone_ref(py)),
                None => Begun::Python(call.callback.clone_ref(py), call.args.clone_ref(py)),
            })
        })?;
        let (callback, args) = match begun {
            Begun::Native(native) => return self.invoke_native(py, native),
            Begun::Python(callback, args) => (callback.into_bound(py), args),
        };
        let result = match &args {
            Args::None => callback.call0(),
            Args::One(arg) => callback.call1((arg.bind(py),)),
            Args::Many(args) => callback.call1(args.bind(py)),
        };
        match result {
            Ok(result) => {
                drop((result, callback));
                args.release(py);
                None
            }
            Err(error) => Some(Failure {
                error,
                callback: callback.unbind(),
                args,
            }),
        }
    }

    #[inline(never)]
    fn invoke_native(&self, py: Python<'_>, native: Native) -> Outcome {
        let error = native.run(py).err()?;
        // None are left where the handle was cancelled meanwhile.
        let parts = self.call_parts(py);
        let (callback, args) = parts.unwrap_or_else(|| (native.into_any(), Args::None));
        Some(Failure {
            error,
            callback,
            args,
        })
    }

    /// Tells the loop's exception handler of a failure, outside the callback's context.
    ///
    /// # Errors
    ///
    /// KeyboardInterrupt and SystemExit, which end the loop instead.
    pub(crate) fn settle(slf: &Bound<'_, Self>, failure: Failure) -> PyResult<()> {
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
        let Some(owner) = slf.get().owner(py) else {
            return Err(error);
        };
        let args = args.into_tuple(py)?;
        let is_debug = owner.bind(py).get().debug();
        let source = shown_call(callback.bind(py), &args, is_debug)?;
        let report = PyDict::new(py);
        report.set_item("message", format!("Exception in callback {source}"))?;
        report.set_item("exception", error.into_value(py))?;
        report.set_item("handle", slf)?;
        if let Some(source) = slf.get().source_traceback(py) {
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
        if let Some((callback, args)) = this.call_shown(py)? {
            let owner = this.owner(py);
            let is_debug = owner.is_some_and(|owner| owner.bind(py).get().debug());
            info.push(shown_call(&callback, &args, is_debug)?.to_string());
        }
        if let Some(source) = this.source_traceback(py) {
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
        self.owner(py)
            .is_some_and(|owner| owner.bind(py).get().debug())
    }

    fn cancel_call(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.is_cancelled() {
            return Ok(());
        }
        this.cancelled.set(true);
        if this.is_debug(py) {
            // The callback is about to be dropped: keep what the repr would say of it.
            let info = slf.repr()?.to_string();
            this.state.with(py, |state| {
                let debug = state.debug.get_or_insert_default();
                debug.repr = Some(info);
            });
        }
        drop(this.state.with(py, |state| state.call.take()));
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
    fn get_context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.context(py)
    }

    fn _run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Some(context) = slf.get().context(py)? else {
            return Ok(());
        };
        let Some((callback, args)) = slf.get().call_shown(py)? else {
            return Ok(());
        };
        let arguments = std::iter::once(callback.clone()).chain(args.iter());
        let arguments = PyTuple::new(py, arguments.collect::<Vec<_>>())?;
        let outcome = context.call_method1(intern!(py, "run"), arguments);
        let failure = outcome.err().map(|error| Failure {
            error,
            callback: callback.unbind(),
            args: Args::of(&args),
        });
        match failure {
            Some(failure) => Self::settle(slf, failure),
            None => Ok(()),
        }
    }

    #[getter]
    fn _callback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.call_parts(py).map(|(callback, _)| callback)
    }

    #[getter]
    fn _args<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        Ok(self.call_shown(py)?.map(|(_, args)| args))
    }

    #[getter]
    fn _context<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.context(py)
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Option<Py<LoopCore>> {
        self.owner(py)
    }

    #[getter]
    fn _cancelled(&self) -> bool {
        self.is_cancelled()
    }

    #[getter]
    fn _source_traceback(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.source_traceback(py)
    }

    /// `isinstance(handle, asyncio.Handle)` holds, as it does for the stdlib's loops.
    #[getter]
    fn __class__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static HANDLE: Imported = Imported::new("asyncio.events", "Handle");
        static TIMER: Imported = Imported::new("asyncio.events", "TimerHandle");
        let class = if slf.cast::<TimerHandle>().is_ok() {
            &TIMER
        } else {
            &HANDLE
        };
        class.get(slf.py()).cloned()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let kept = slf.get().state.with(py, |state| {
            let debug = state.debug.as_ref()?;
            debug.repr.clone()
        });
        if let Some(repr) = kept {
            return Ok(repr);
        }
        let mut info = Self::describe(slf)?;
        if let Ok(timer) = slf.cast::<TimerHandle>() {
            let at = 1 + usize::from(slf.get().is_cancelled());
            info.insert(at, format!("when={}", timer.get().when()));
        }
        Ok(format!("<{}>", info.join(" ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.state.take(py));
    }
}
