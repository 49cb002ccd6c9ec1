//! What a handle refers to.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::context as contexts;
use crate::core::LoopCore;
use crate::datagram::{self, DatagramCore};
use crate::imported::Imported;
use crate::sockets::SocketCall;
use crate::stream::{self, StreamCore};

/// The arguments of a callback; most have one or none, and need no tuple.
pub(crate) enum Args {
    None,
    One(Py<PyAny>),
    Many(Py<PyTuple>),
}

impl Args {
    pub(crate) fn of(args: &Bound<'_, PyTuple>) -> Self {
        if args.is_empty() {
            Self::None
        } else {
            Self::Many(args.clone().unbind())
        }
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::None => Self::None,
            Self::One(arg) => Self::One(arg.clone_ref(py)),
            Self::Many(args) => Self::Many(args.clone_ref(py)),
        }
    }

    pub(super) fn into_tuple(self, py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        match self {
            Self::None => Ok(PyTuple::empty(py)),
            Self::One(arg) => PyTuple::new(py, [arg]),
            Self::Many(args) => Ok(args.into_bound(py)),
        }
    }

    pub(crate) fn release(self, py: Python<'_>) {
        match self {
            Self::None => {}
            Self::One(arg) => drop(arg.into_bound(py)),
            Self::Many(args) => drop(args.into_bound(py)),
        }
    }
}

pub(super) struct Call {
    pub(super) callback: Py<PyAny>,
    pub(super) args: Args,
    /// Whose method the callback is, where that is called directly.
    pub(super) native: Option<Native>,
}

/// What is about to be called, held while it runs: a cancel meanwhile frees what the handle holds.
pub(super) enum Begun {
    Native(Native),
    Python(Py<PyAny>, Args),
}

/// What debug mode keeps.
#[derive(Default)]
pub(super) struct Debug {
    pub(super) source_traceback: Option<Py<PyAny>>,
    /// What the repr says once the callback is gone.
    pub(super) repr: Option<String>,
}

/// The context in which a callback runs.
#[derive(Default)]
pub(super) enum Context {
    #[default]
    None,
    Made(Py<PyAny>),
    /// One with these variables, which is made when somebody needs it.
    ToMake(Py<PyAny>),
}

impl Context {
    /// A copy of that of the running code.
    #[inline]
    fn copy(py: Python<'_>) -> PyResult<Self> {
        Ok(match contexts::variables(py) {
            Some(variables) => Self::ToMake(variables.unbind()),
            None => Self::Made(contexts::copy(py)?.unbind()),
        })
    }

    pub(super) fn release(self, py: Python<'_>) {
        match self {
            Self::None => {}
            Self::Made(object) | Self::ToMake(object) => drop(object.into_bound(py)),
        }
    }
}

/// What a handle refers to.
#[derive(Default)]
pub(super) struct State {
    pub(super) call: Option<Call>,
    pub(super) context: Context,
    pub(super) owner: Option<Py<LoopCore>>,
    pub(super) debug: Option<Box<Debug>>,
}

impl State {
    #[inline]
    pub(super) fn new(
        owner: &Bound<'_, LoopCore>,
        callback: &Bound<'_, PyAny>,
        args: Args,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = owner.py();
        let context = match context {
            Some(context) => {
                if let Err(error) = contexts::check(context) {
                    args.release(py);
                    return Err(error);
                }
                Context::Made(context.clone().unbind())
            }
            None => Context::copy(py)?,
        };
        let debug = if owner.get().debug() {
            Some(Box::new(Debug {
                source_traceback: stack(py)?,
                repr: None,
            }))
        } else {
            None
        };
        Ok(Self {
            call: Some(Call {
                callback: callback.clone().unbind(),
                args,
                native: None,
            }),
            context,
            owner: Some(owner.clone().unbind()),
            debug,
        })
    }

    /// Drops it where it is unknown whether PyO3 knows of being attached: it would put that off.
    pub(super) fn release(self, py: Python<'_>) {
        let Self {
            call,
            context,
            owner,
            debug,
        } = self;
        if let Some(Call {
            callback,
            args,
            native,
        }) = call
        {
            drop(callback.into_bound(py));
            args.release(py);
            if let Some(native) = native {
                drop(native.into_any().into_bound(py));
            }
        }
        context.release(py);
        drop(owner.map(|owner| owner.into_bound(py)));
        if let Some(source) = debug.and_then(|debug| debug.source_traceback) {
            drop(source.into_bound(py));
        }
    }
}

/// The stack of who makes a handle, where there is any.
fn stack(py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
    let Some(frame) = contexts::frame(py) else {
        return Ok(None);
    };
    static EXTRACT: Imported = Imported::new("asyncio.format_helpers", "extract_stack");
    let stack = EXTRACT.get(py)?.call1((frame,))?;
    Ok(Some(stack.unbind()))
}

/// What is called directly, without its callback.
pub(super) enum Native {
    /// A transport that receives.
    Stream(Py<StreamCore>),
    Datagram(Py<DatagramCore>),
    Socket(Py<SocketCall>),
}

impl Native {
    /// Of a transport.
    pub(super) fn of(transport: Bound<'_, PyAny>) -> Option<Self> {
        match transport.cast_into::<StreamCore>() {
            Ok(transport) => Some(Self::Stream(transport.unbind())),
            Err(other) => {
                let transport = other.into_inner().cast_into::<DatagramCore>();
                Some(Self::Datagram(transport.ok()?.unbind()))
            }
        }
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Stream(transport) => Self::Stream(transport.clone_ref(py)),
            Self::Datagram(transport) => Self::Datagram(transport.clone_ref(py)),
            Self::Socket(call) => Self::Socket(call.clone_ref(py)),
        }
    }

    pub(super) fn run(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Self::Stream(transport) => stream::read_ready(transport.bind(py)),
            Self::Datagram(transport) => datagram::read_ready(transport.bind(py)),
            Self::Socket(call) => SocketCall::ready(call.bind(py)),
        }
    }

    pub(super) fn into_any(self) -> Py<PyAny> {
        match self {
            Self::Stream(transport) => transport.into_any(),
            Self::Datagram(transport) => transport.into_any(),
            Self::Socket(call) => call.into_any(),
        }
    }
}
