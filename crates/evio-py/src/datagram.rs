//! Datagram transports: what is hot of asyncio's `_SelectorDatagramTransport`, in front of it.
//!
//! Where a datagram cannot be sent at once, the stdlib's method does it all.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, Ordering};

use evio_loop::Engine;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};
use pyo3::{PyTraverseError, PyVisit};

use crate::address::{self, Address};
use crate::cell::{Flag, GilCell, Once, intern};
use crate::clock;
use crate::core::LoopCore;
use crate::job::Job;
use crate::stream::sys::{self, Slot};
use crate::stream::{optional, os_error, unmade};

/// Datagrams that are received in one callback, where nothing else waits for its turn meanwhile.
const MOST_AT_ONCE: usize = 32;

/// How long transports receive on before the descriptors and timers are looked at again, in nanoseconds of a turn.
const LONGEST_TURN: u64 = 100_000;

/// How often a transport that got one datagram at a time is not asked for a second one, at most.
const MOST_SKIPPED: u8 = 31;

/// The native part of `DatagramTransport`.
#[pyclass(subclass, frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct DatagramCore;

/// The fields of a datagram transport.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct Datagram {
    protocol: GilCell<Option<Py<PyAny>>>,
    sock: GilCell<Option<Py<PyAny>>>,
    family: AtomicI32,
    /// What the socket has not taken yet.
    queue: GilCell<Option<Py<PyAny>>>,
    /// The one address to which is sent.
    address: GilCell<Option<Py<PyAny>>>,
    /// The address of the last datagram, in both forms.
    last: GilCell<Option<(Address, Py<PyAny>)>>,
    /// How often something was written in vain since the connection was lost; 0 while it is not.
    lost: AtomicI64,
    closing: Flag,
    paused: Flag,
    /// How many callbacks are to receive one datagram only, and how many will be if that is right.
    skip: AtomicU8,
    skips: AtomicU8,
}

#[pymethods]
impl Datagram {
    #[new]
    fn new() -> Self {
        Self {
            protocol: GilCell::new(None),
            sock: GilCell::new(None),
            family: AtomicI32::new(0),
            queue: GilCell::new(None),
            address: GilCell::new(None),
            last: GilCell::new(None),
            lost: AtomicI64::new(0),
            closing: Flag::new(false),
            paused: Flag::new(false),
            skip: AtomicU8::new(0),
            skips: AtomicU8::new(0),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for cell in self.objects() {
            if let Some(object) = cell.peek() {
                visit.call(&*object)?;
            }
        }
        if let Some(last) = self.last.peek() {
            visit.call(last.as_ref().map(|(_, object)| object))?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        for cell in self.objects() {
            drop(cell.take(py));
        }
        drop(self.last.take(py));
    }
}

impl Datagram {
    fn objects(&self) -> [&GilCell<Option<Py<PyAny>>>; 4] {
        [&self.protocol, &self.sock, &self.queue, &self.address]
    }

    /// The socket's descriptor as it is now; no valid one if somebody has closed the socket.
    fn descriptor(&self, py: Python<'_>) -> RawFd {
        self.sock.with(py, |sock| match sock {
            Some(sock) => sys::descriptor(sock.bind(py)),
            None => -1,
        })
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) != 0
    }

    /// Whether another datagram is wanted in this callback.
    fn wants_more(&self) -> bool {
        !self.is_lost() && !self.closing.get() && !self.paused.get()
    }

    /// Whether to receive one datagram only, because there was no second one lately.
    fn skips(&self) -> bool {
        let skip = self.skip.load(Ordering::Relaxed);
        self.skip.store(skip.saturating_sub(1), Ordering::Relaxed);
        skip > 0
    }

    /// Notes whether there was a second datagram.
    fn learn(&self, more: bool) {
        let skips = self.skips.load(Ordering::Relaxed);
        let skips = if more {
            0
        } else {
            (2 * skips + 1).min(MOST_SKIPPED)
        };
        self.skips.store(skips, Ordering::Relaxed);
        self.skip.store(skips, Ordering::Relaxed);
    }

    /// An address that was received, as Python has it.
    fn object_of<'py>(&self, py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
        let known = self.last.with(py, |last| match last {
            Some((last, object)) if last == address => Some(object.clone_ref(py)),
            _ => None,
        });
        if let Some(object) = known {
            return Ok(object.into_bound(py));
        }
        let object = address.object(py)?;
        let last = Some((*address, object.clone().unbind()));
        drop(self.last.replace(py, last));
        Ok(object)
    }

    /// An address of the program's as the kernel has it.
    fn address_of(&self, object: &Bound<'_, PyAny>) -> Option<Address> {
        let known = self.last.with(object.py(), |last| match last {
            Some((address, last)) if last.is(object) => Some(*address),
            _ => None,
        });
        known
            .filter(|address| !address.as_bytes().is_empty())
            .or_else(|| Address::of_object(self.family.load(Ordering::Relaxed), object))
    }
}

type Transport<'py> = Bound<'py, DatagramCore>;

static SLOT: Once<Slot> = Once::new();

fn fields<'py>(transport: &Transport<'py>) -> PyResult<Bound<'py, Datagram>> {
    sys::fields(
        transport.as_any(),
        &SLOT,
        intern!(transport.py(), "_datagram"),
    )
}

/// What the loop does when a transport's socket is readable.
pub(crate) fn read_ready(transport: &Transport<'_>) -> PyResult<()> {
    let py = transport.py();
    let fields = fields(transport)?;
    let this = fields.get();
    if this.is_lost() || this.sock.with(py, |sock| sock.is_none()) {
        return Ok(());
    }
    if this.skips() {
        return receive(transport, this).map(drop);
    }
    let owner = transport.getattr(intern!(py, "_loop"))?;
    for count in 0..MOST_AT_ONCE {
        if !receive(transport, this)? {
            if count > 0 {
                this.learn(count > 1);
            }
            return Ok(());
        }
        if !this.wants_more() || !is_idle(&owner) {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether nothing waits that would have its turn before the descriptors are looked at again, nor has waited for
/// these for long.
pub(crate) fn is_idle(owner: &Bound<'_, PyAny>) -> bool {
    let py = owner.py();
    let Ok(owner) = owner.cast::<LoopCore>() else {
        return false;
    };
    let owner = owner.get();
    let began = |engine: &mut Engine<Job>| (!engine.has_later_work()).then(|| engine.turn());
    if owner.is_stopping() {
        return false;
    }
    let began = owner.engine(py, began).flatten();
    began.is_some_and(|began| clock::now(py).saturating_sub(began) < LONGEST_TURN)
}

/// Receives once, and tells the protocol; `false` when there was nothing.
fn receive(transport: &Transport<'_>, fields: &Datagram) -> PyResult<bool> {
    let py = transport.py();
    // One of None fails as it does in asyncio, instead of leaving the datagram there for ever.
    let protocol = fields.protocol.get(py).unwrap_or_else(|| py.None());
    let protocol = protocol.into_bound(py);
    let mut address = Address::new();
    match sys::receive_from(py, fields.descriptor(py), sys::MOST, &mut address) {
        Ok(data) => {
            let address = fields.object_of(py, &address)?;
            let name = intern!(py, "datagram_received");
            protocol.call_method1(name, (data, address))?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => tell(transport, os_error(py, &error)).map(|()| false),
    }
}

/// Tells the protocol of an error, while it is being handled.
fn tell(transport: &Transport<'_>, error: PyErr) -> PyResult<()> {
    let py = transport.py();
    let error = error.into_value(py);
    transport
        .call_method1(intern!(py, "_tell"), (error,))
        .map(drop)
}

/// What became of a datagram.
enum Sent {
    Yes,
    /// The stdlib has to send it.
    No,
}

fn send<'py>(
    transport: &Transport<'py>,
    fields: &Datagram,
    data: &Bound<'py, PyAny>,
    to: Option<&Bound<'py, PyAny>>,
) -> PyResult<Sent> {
    let py = transport.py();
    if fields.is_lost() || !is_plain(data) {
        return Ok(Sent::No);
    }
    let only = fields.address.get(py).map(|only| only.into_bound(py));
    let to = match (&only, to) {
        (Some(only), Some(to)) if !to.eq(only)? => return Ok(Sent::No),
        (Some(only), _) => Some(only),
        (None, to) => to,
    };
    let queued = fields.queue.get(py).ok_or_else(unmade)?;
    if !queued.bind(py).is_empty()? {
        return Ok(Sent::No);
    }
    let extra = transport.getattr(intern!(py, "_extra"))?;
    let connected = extra.get_item(intern!(py, "peername"))?.is_truthy()?;
    let address = match to {
        _ if connected => None,
        Some(to) => match fields.address_of(to) {
            Some(address) => Some(address),
            None => return Ok(Sent::No),
        },
        None => return Ok(Sent::No),
    };
    let Ok(view) = sys::View::of(data) else {
        return Ok(Sent::No);
    };
    // What empty datagrams mean depends on the version of Python.
    if view.bytes().is_empty() {
        return Ok(Sent::No);
    }
    if let (Some(_), Some(to), Some(sock)) = (&address, to, fields.sock.get(py)) {
        sys::audit(c"socket.sendto", sock.bind(py), to)?;
    }
    let fd = fields.descriptor(py);
    let outcome = match &address {
        Some(address) => sys::send_to(fd, view.bytes(), address),
        None => sys::send(fd, view.bytes()),
    };
    drop(view);
    match outcome {
        Ok(_) => Ok(Sent::Yes),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Sent::No),
        Err(error) => tell(transport, os_error(py, &error)).map(|()| Sent::Yes),
    }
}

fn is_plain(data: &Bound<'_, PyAny>) -> bool {
    data.is_exact_instance_of::<PyBytes>()
        || data.is_exact_instance_of::<PyByteArray>()
        || data.is_exact_instance_of::<PyMemoryView>()
}

/// Whether a transport may call the system for a socket: it is CPython's, has addresses that are
/// understood here, and no methods of the program's that would be passed over.
#[pyfunction]
pub(crate) fn can_datagram(sock: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = sock.py();
    static METHODS: Once<sys::Methods> = Once::new();
    let names = ["recvfrom", "send", "sendto", "fileno"];
    if !sys::can_call(sock, &METHODS, &names)? {
        return Ok(false);
    }
    let family = sock.getattr(intern!(py, "family"))?;
    Ok(family.extract().is_ok_and(address::is_known))
}

#[pymethods]
impl DatagramCore {
    /// Receives, and tells the protocol.
    fn _read_ready(slf: &Transport<'_>) -> PyResult<()> {
        read_ready(slf)
    }

    /// Sends a datagram, or keeps it until the socket takes it.
    #[pyo3(signature = (data, addr = None))]
    fn sendto<'py>(
        slf: &Transport<'py>,
        data: &Bound<'py, PyAny>,
        addr: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        match send(slf, fields(slf)?.get(), data, addr)? {
            Sent::Yes => Ok(()),
            Sent::No => slf
                .call_method1(intern!(slf.py(), "_send_later"), (data, addr))
                .map(drop),
        }
    }

    #[getter]
    fn _protocol(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        field(slf, |fields| &fields.protocol)
    }

    #[setter(_protocol)]
    fn set_protocol(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        set_field(slf, |fields| &fields.protocol, value)
    }

    #[getter]
    fn _sock(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        field(slf, |fields| &fields.sock)
    }

    #[setter(_sock)]
    fn set_sock(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        if !value.is_none() {
            sys::check_socket(value)?;
            let family = value.getattr(intern!(slf.py(), "family"))?.extract()?;
            let fields = fields(slf)?;
            fields.get().family.store(family, Ordering::Relaxed);
        }
        set_field(slf, |fields| &fields.sock, value)
    }

    #[getter]
    fn _buffer(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        field(slf, |fields| &fields.queue)
    }

    #[setter(_buffer)]
    fn set_buffer(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        set_field(slf, |fields| &fields.queue, value)
    }

    #[getter]
    fn _address(slf: &Transport<'_>) -> PyResult<Option<Py<PyAny>>> {
        field(slf, |fields| &fields.address)
    }

    /// What is false is no address, as it is to the stdlib.
    #[setter(_address)]
    fn set_address(slf: &Transport<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let none = slf.py().None().into_bound(slf.py());
        let value = if value.is_truthy()? { value } else { &none };
        set_field(slf, |fields| &fields.address, value)
    }

    #[getter]
    fn _conn_lost(slf: &Transport<'_>) -> PyResult<i64> {
        Ok(fields(slf)?.get().lost.load(Ordering::Relaxed))
    }

    #[setter(_conn_lost)]
    fn set_conn_lost(slf: &Transport<'_>, value: i64) -> PyResult<()> {
        fields(slf)?.get().lost.store(value, Ordering::Relaxed);
        Ok(())
    }

    #[getter]
    fn _closing(slf: &Transport<'_>) -> PyResult<bool> {
        Ok(fields(slf)?.get().closing.get())
    }

    #[setter(_closing)]
    fn set_closing(slf: &Transport<'_>, value: bool) -> PyResult<()> {
        fields(slf)?.get().closing.set(value);
        Ok(())
    }

    #[getter]
    fn _paused(slf: &Transport<'_>) -> PyResult<bool> {
        Ok(fields(slf)?.get().paused.get())
    }

    #[setter(_paused)]
    fn set_paused(slf: &Transport<'_>, value: bool) -> PyResult<()> {
        fields(slf)?.get().paused.set(value);
        Ok(())
    }
}

fn field(
    transport: &Transport<'_>,
    of: impl FnOnce(&Datagram) -> &GilCell<Option<Py<PyAny>>>,
) -> PyResult<Option<Py<PyAny>>> {
    Ok(of(fields(transport)?.get()).get(transport.py()))
}

fn set_field(
    transport: &Transport<'_>,
    of: impl FnOnce(&Datagram) -> &GilCell<Option<Py<PyAny>>>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let value = optional(value).map(Bound::unbind);
    let old = of(fields(transport)?.get()).replace(transport.py(), value);
    drop(old);
    Ok(())
}
