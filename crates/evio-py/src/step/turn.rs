//! Whose turn it is among the callbacks of a transport, which come one at a time and in order.
//!
//! asyncio's do, since none of them is ever interrupted. One that blocks greenly is, and the others of
//! its transport then wait for it as callbacks of one context do. Room to write is no such
//! callback: whoever blocks until there is room waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use evio_loop::Key;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::Step;
use crate::cell::intern;
use crate::context;
use crate::core::LoopCore;
use crate::handle::Handle;
use crate::imported::Imported;

/// Callbacks of transports that block greenly.
static PARKED: AtomicUsize = AtomicUsize::new(0);

/// Whether any callback of a transport may be parked.
pub(crate) fn any_parked() -> bool {
    PARKED.load(Ordering::Relaxed) != 0
}

/// Of which transport a callback is, by its protocol where only that is known.
pub(super) struct Turn {
    transport: Option<Py<PyAny>>,
    protocol: Option<Py<PyAny>>,
}

static METHOD: Imported = Imported::new("types", "MethodType");
static NATIVE_METHOD: Imported = Imported::new("types", "BuiltinMethodType");
static TRANSPORT: Imported = Imported::new("asyncio.transports", "BaseTransport");
static PROTOCOL: Imported = Imported::new("asyncio.protocols", "BaseProtocol");
static FOR_READERS: Imported = Imported::new("asyncio.streams", "StreamReaderProtocol");
static TLS: Imported = Imported::new("asyncio.sslproto", "SSLProtocol");

/// Whether a protocol is one that feeds a reader, itself or inside of TLS.
fn feeds_reader(protocol: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = protocol.py();
    let for_readers = FOR_READERS.get(py)?;
    if !protocol.is_instance(TLS.get(py)?)? {
        return protocol.is_instance(for_readers);
    }
    let inner = context::attribute(protocol, intern!(py, "_app_protocol"))?;
    inner.map_or(Ok(false), |inner| inner.is_instance(for_readers))
}

impl Turn {
    /// None of a protocol that feeds a reader: it calls the program's code only when a connection is
    /// made, and that may read what is received then.
    fn of(handle: &Bound<'_, Handle>) -> PyResult<Option<Self>> {
        let py = handle.py();
        let Some(turn) = Self::of_any(handle)? else {
            return Ok(None);
        };
        if let Some(protocol) = &turn.protocol {
            if feeds_reader(protocol.bind(py))? {
                return Ok(None);
            }
        }
        Ok(Some(turn))
    }

    fn of_any(handle: &Bound<'_, Handle>) -> PyResult<Option<Self>> {
        let py = handle.py();
        let Some((callback, args)) = handle.get().call_shown(py)? else {
            return Ok(None);
        };
        let class = callback.get_type();
        if !class.is(METHOD.get(py)?) && !class.is(NATIVE_METHOD.get(py)?) {
            return Ok(None);
        }
        let owner = callback.getattr(intern!(py, "__self__"))?;
        let Ok(name) = callback
            .getattr(intern!(py, "__name__"))
            .and_then(|name| name.extract::<String>())
        else {
            return Ok(None);
        };
        let is_transport = |object: &Bound<'_, PyAny>| object.is_instance(TRANSPORT.get(py)?);
        match name.as_str() {
            "_read_ready" | "_call_connection_lost" if is_transport(&owner)? => {
                let protocol = context::attribute(&owner, intern!(py, "_protocol"))?;
                Ok(Some(Self {
                    protocol: protocol
                        .filter(|protocol| !protocol.is_none())
                        .map(Bound::unbind),
                    transport: Some(owner.unbind()),
                }))
            }
            "connection_made" => match args.get_item(0) {
                Ok(transport) if is_transport(&transport)? => Ok(Some(Self {
                    transport: Some(transport.unbind()),
                    protocol: Some(owner.unbind()),
                })),
                _ => Ok(None),
            },
            "eof_received"
            | "connection_lost"
            | "pipe_data_received"
            | "pipe_connection_lost"
            | "process_exited"
                if owner.is_instance(PROTOCOL.get(py)?)? =>
            {
                Ok(Some(Self {
                    transport: None,
                    protocol: Some(owner.unbind()),
                }))
            }
            _ => Ok(None),
        }
    }

    fn meets(&self, other: &Self) -> bool {
        match (&self.transport, &other.transport) {
            (Some(one), Some(other)) => one.is(other),
            _ => match (&self.protocol, &other.protocol) {
                (Some(one), Some(other)) => one.is(other),
                _ => false,
            },
        }
    }

    /// Has a transport that feeds a reader go on doing so while the program is told of the connection:
    /// inside of TLS that is when something was received, and neither the rest of it nor more would come
    /// before the callback returns.
    fn read_on(&self, py: Python<'_>) -> PyResult<()> {
        let (Some(transport), Some(protocol)) = (&self.transport, &self.protocol) else {
            return Ok(());
        };
        let (transport, protocol) = (transport.bind(py), protocol.bind(py));
        let tls = py.import("eventlet_asyncio._tls")?;
        let tells = tls.call_method1("tells_of_connection", (protocol,))?;
        if !tells.is_truthy()? {
            return Ok(());
        }
        let fd = transport.getattr(intern!(py, "_sock_fd"))?;
        let ready = transport.getattr(intern!(py, "_read_ready"))?;
        transport.call_method1(intern!(py, "_add_reader"), (fd, ready))?;
        // Python 3.10 has it in the hands of who calls.
        if let Some(rest) = context::attribute(protocol, intern!(py, "_do_read"))? {
            let owner = transport.getattr(intern!(py, "_loop"))?;
            owner.call_method1(intern!(py, "call_soon"), (rest,))?;
        }
        Ok(())
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.transport)?;
        visit.call(&self.protocol)
    }
}

impl Step {
    /// Notes whose turn it is, as a callback parks that is no task's.
    pub(super) fn keep_turn(&self, py: Python<'_>) -> PyResult<()> {
        let handle = self.running.with(py, |running| {
            let handle = running.handle.as_ref()?;
            Some(handle.clone_ref(py))
        });
        let Some(handle) = handle else {
            return Ok(());
        };
        let handle = handle.bind(py);
        if let Some(turn) = Turn::of(handle)? {
            PARKED.fetch_add(1, Ordering::Relaxed);
            drop(self.replace_turn(py, Some(turn)));
        } else if self.running.with(py, |running| running.watch.is_some()) {
            if let Some(turn) = Turn::of_any(handle)? {
                turn.read_on(py)?;
            }
        }
        Ok(())
    }

    /// The callback is over.
    pub(super) fn end_turn(&self, py: Python<'_>) {
        drop(self.replace_turn(py, None));
    }

    fn replace_turn(&self, py: Python<'_>, turn: Option<Turn>) -> Option<Turn> {
        let old = self.turn.replace(py, turn);
        if old.is_some() {
            PARKED.fetch_sub(1, Ordering::Relaxed);
        }
        old
    }

    /// The parked step for which a callback waits because both are of one transport.
    pub(super) fn ahead_of<'py>(
        core: &Bound<'py, LoopCore>,
        handle: &Bound<'py, Handle>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        if !any_parked() {
            return Ok(None);
        }
        let py = core.py();
        let Some(turn) = Turn::of(handle)? else {
            return Ok(None);
        };
        Ok(Self::first_parked(core, |step| {
            let own = &step.turn;
            own.with(py, |own| own.as_ref().is_some_and(|own| own.meets(&turn)))
        }))
    }

    /// The parked step that is in a context, which nobody else can enter.
    pub(super) fn inside<'py>(
        core: &Bound<'py, LoopCore>,
        context: &Bound<'py, PyAny>,
    ) -> Option<Bound<'py, Self>> {
        Self::first_parked(core, |step| step.runs_in(core.py(), context))
    }

    fn first_parked<'py>(
        core: &Bound<'py, LoopCore>,
        is_it: impl Fn(&Self) -> bool,
    ) -> Option<Bound<'py, Self>> {
        let py = core.py();
        let mut parked = core.get().parked(py).into_iter();
        let found = parked.find(|step| is_it(step.bind(py).get()));
        found.map(|step| step.into_bound(py))
    }

    /// Has a callback wait until this step's is over.
    pub(super) fn defer(
        &self,
        core: &Bound<'_, LoopCore>,
        handle: Bound<'_, Handle>,
        key: Option<Key>,
    ) {
        let py = core.py();
        if let Some(key) = key {
            core.get().engine(py, |engine| engine.disarm(key));
        }
        let callback = (handle.unbind(), key);
        self.deferred.with(py, |deferred| deferred.push(callback));
    }
}
