//! What is known of a connection: its socket and its addresses, which become Python's objects when
//! somebody asks for them.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{Stream, sys, unmade};
use crate::address::{self, Address, Compact};
use crate::cell::{Flag, GilCell, Once, intern};
use crate::imported::Imported;

/// What `get_extra_info()` tells of, as far as it is there.
pub(super) struct Known {
    addresses: GilCell<Addresses>,
    pub(super) extra: GilCell<Option<Py<PyAny>>>,
    /// Whether all is in `extra`.
    whole: Flag,
}

#[derive(Default)]
struct Addresses {
    own: Compact,
    peer: Compact,
}

/// The address of who has connected, before there is a transport.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Peer(Compact);

impl Peer {
    pub(crate) fn new(address: &Address) -> Self {
        Self(Compact::of(address))
    }
}

#[pymethods]
impl Peer {
    /// The address as sockets have it.
    fn address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.object(py)
    }
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            addresses: GilCell::new(Addresses::default()),
            extra: GilCell::new(None),
            whole: Flag::new(false),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole.get()
    }

    /// Has somebody else's mapping in the place of what is known.
    pub(super) fn set(&self, extra: &Bound<'_, PyAny>) {
        let old = self.extra.replace(extra.py(), Some(extra.clone().unbind()));
        self.whole.set(true);
        drop(old);
    }
}

/// Notes the addresses of a new connection, beside what its maker knows of it.
pub(super) fn note(
    stream: &Stream,
    sock: &Bound<'_, PyAny>,
    extra: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = sock.py();
    let mut found = Addresses::default();
    let peer = extra.and_then(|extra| extra.cast_exact::<Peer>().ok());
    let extra = extra.filter(|_| peer.is_none());
    static METHODS: Once<sys::Methods> = Once::new();
    let names = ["getsockname", "getpeername"];
    let is_known = address::is_known(sys::family(sock)) && sys::can_call(sock, &METHODS, &names)?;
    if is_known {
        found.own = sys::own_address(sys::descriptor(sock)).map_or(Compact::None, compact);
    }
    let name = intern!(py, "peername");
    let is_there = match extra {
        Some(extra) => extra.contains(name)?,
        None => false,
    };
    if let Some(peer) = peer {
        found.peer = peer.get().0.clone();
    } else if !is_there && is_known {
        found.peer = sys::peer_address(sys::descriptor(sock)).map_or(Compact::None, compact);
    }
    drop(stream.known.addresses.replace(py, found));
    let extra = extra.map(|extra| extra.clone().unbind());
    drop(stream.known.extra.replace(py, extra));
    if !is_known {
        // The socket module understands them, as long as the connection is there.
        let extra = self::extra(py, stream)?;
        let own = none_for_os_error(py, sock.call_method0(intern!(py, "getsockname")))?;
        extra.set_item(intern!(py, "sockname"), own)?;
        if !is_there {
            let peer = none_for_os_error(py, sock.call_method0(intern!(py, "getpeername")))?;
            extra.set_item(name, peer)?;
        }
    }
    Ok(())
}

fn compact(address: Address) -> Compact {
    Compact::of(&address)
}

fn none_for_os_error<'py>(
    py: Python<'py>,
    outcome: PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    match outcome {
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyOSError>(py) => {
            Ok(py.None().into_bound(py))
        }
        outcome => outcome,
    }
}

/// The dictionary that asyncio has from the beginning.
pub(super) fn extra<'py>(py: Python<'py>, stream: &Stream) -> PyResult<Bound<'py, PyAny>> {
    static TRANSPORT_SOCKET: Imported = Imported::new("asyncio.trsock", "TransportSocket");
    let known = &stream.known;
    let made = known.extra.get(py).map(|extra| extra.into_bound(py));
    if known.is_whole() {
        return made.ok_or_else(unmade);
    }
    let sock = stream.sock.get(py).ok_or_else(unmade)?;
    let view = TRANSPORT_SOCKET.get(py)?.call1((sock,))?;
    let (own, peer) = known.addresses.with(py, |addresses| {
        (addresses.own.clone(), addresses.peer.clone())
    });
    let (own, peer) = (own.object(py)?, peer.object(py)?);
    let extra = match made {
        Some(extra) => extra,
        None => PyDict::new(py).into_any(),
    };
    if known.is_whole() {
        // Somebody else was here meanwhile.
        return known
            .extra
            .get(py)
            .map(|extra| extra.into_bound(py))
            .ok_or_else(unmade);
    }
    extra.set_item(intern!(py, "socket"), view)?;
    extra.set_item(intern!(py, "sockname"), own)?;
    let name = intern!(py, "peername");
    if !extra.contains(name)? {
        extra.set_item(name, peer)?;
    }
    known.set(&extra);
    if stream.gone.get() {
        drop(stream.sock.take(py));
    }
    Ok(extra)
}
