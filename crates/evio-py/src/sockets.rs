//! `loop.sock_recv()` and its kin: the system call at once, and again when the socket is ready.
//!
//! The functions answer what the system call gave, or a [`SocketCall`] to wait for; or `NotImplemented`
//! where the stdlib's method must do it: for sockets that block or have methods of their own, and for
//! arguments that are not what they mostly are.

use std::io;
use std::os::fd::RawFd;

use evio_loop::{Direction, Key};
use pyo3::exceptions::{PyBlockingIOError, PyKeyboardInterrupt, PyOSError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyFloat, PyInt, PyMemoryView, PyString, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::address::{self, Address};
use crate::cell::{GilCell, Once, intern};
use crate::core::LoopCore;
use crate::imported::Imported;
use crate::stream::{Peer, os_error, sys};
use crate::task;
use crate::transports::Transports;

mod addressed;

pub(crate) use addressed::{sock_connect, sock_recvfrom, sock_recvfrom_into, sock_sendto};

/// More than this, in bytes, there may be no memory for.
const MODEST: usize = 1 << 24;

/// What is done with a socket.
enum Work {
    Receive(usize),
    ReceiveInto(Py<PyAny>),
    ReceiveFrom(usize),
    /// Receives up to so many bytes.
    ReceiveFromInto(Py<PyAny>, usize),
    /// Sends what is left of a memoryview from a place on.
    Send(Py<PyMemoryView>, usize),
    SendTo(Py<PyMemoryView>, Box<Address>),
    /// Asks what has become of connecting to an address.
    Connect(Py<PyAny>),
    Accept,
}

impl Work {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::Receive(size) => Self::Receive(*size),
            Self::ReceiveInto(buffer) => Self::ReceiveInto(buffer.clone_ref(py)),
            Self::ReceiveFrom(size) => Self::ReceiveFrom(*size),
            Self::ReceiveFromInto(buffer, size) => {
                Self::ReceiveFromInto(buffer.clone_ref(py), *size)
            }
            Self::Send(view, from) => Self::Send(view.clone_ref(py), *from),
            Self::SendTo(view, to) => Self::SendTo(view.clone_ref(py), to.clone()),
            Self::Connect(address) => Self::Connect(address.clone_ref(py)),
            Self::Accept => Self::Accept,
        }
    }
}

/// What came of a system call.
enum Done {
    /// The result of the whole.
    Whole(Py<PyAny>),
    /// The socket must be ready first; what there is to do then.
    Later(Work),
}

/// A system call that waits until its socket is ready.
#[pyclass(frozen, module = "eventlet_asyncio._evio")]
pub(crate) struct SocketCall {
    owner: GilCell<Option<Py<LoopCore>>>,
    future: GilCell<Option<Py<PyAny>>>,
    sock: GilCell<Option<Py<PyAny>>>,
    work: GilCell<Option<Work>>,
    key: GilCell<Option<Key>>,
}

impl SocketCall {
    /// Does the rest of the work when the socket is ready.
    fn begin<'py>(
        owner: &Bound<'py, LoopCore>,
        sock: &Bound<'py, PyAny>,
        direction: Direction,
        work: Work,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = owner.py();
        let fd = sys::descriptor(sock);
        ensure_no_transport(owner, fd)?;
        let future = owner.call_method0(intern!(py, "create_future"))?;
        let call = Self {
            owner: GilCell::new(Some(owner.clone().unbind())),
            future: GilCell::new(Some(future.unbind())),
            sock: GilCell::new(Some(sock.clone().unbind())),
            work: GilCell::new(Some(work)),
            key: GilCell::new(None),
        };
        let call = Bound::new(py, call)?;
        let key = LoopCore::watch_once(owner, fd, direction, &call)?;
        call.get().key.replace(py, Some(key));
        Ok(call.into_any())
    }

    /// What the loop does when the socket is ready.
    pub(crate) fn ready(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let work = this
            .work
            .with(py, |work| work.as_ref().map(|work| work.clone_ref(py)));
        let (Some(work), Some(sock), Some(future)) = (work, this.sock.get(py), this.future.get(py))
        else {
            return Ok(());
        };
        let future = future.into_bound(py);
        // Its cancellation may not have reached who awaits it yet.
        if task::is_done(&future)? {
            return Ok(());
        }
        let (method, outcome) = match attempt(sock.bind(py), work) {
            Ok(Done::Whole(result)) => (intern!(py, "set_result"), result),
            Ok(Done::Later(work)) => {
                drop(this.work.replace(py, Some(work)));
                return this.again(py);
            }
            Err(error) if ends_loop(py, &error) => return Err(error),
            Err(error) => (
                intern!(py, "set_exception"),
                error.into_value(py).into_any(),
            ),
        };
        this.end(py);
        future.call_method1(method, (outcome,)).map(drop)
    }

    fn again(&self, py: Python<'_>) -> PyResult<()> {
        let (Some(owner), Some(key)) = (self.owner.get(py), self.key.with(py, |key| *key)) else {
            return Ok(());
        };
        let owner = owner.bind(py).get();
        match owner.engine(py, |engine| engine.arm(key)) {
            Some(Err(error)) => Err(crate::errors::reactor(&error)),
            _ => Ok(()),
        }
    }

    /// Watches the socket no more.
    fn end(&self, py: Python<'_>) {
        let (owner, key) = (self.owner.take(py), self.key.take(py));
        let (sock, work) = (self.sock.take(py), self.work.take(py));
        let job = match (&owner, key) {
            (Some(owner), Some(key)) => {
                let owner = owner.bind(py).get();
                owner.engine(py, |engine| engine.unwatch(key)).flatten()
            }
            _ => None,
        };
        drop((job, sock, work, owner));
    }
}

#[pymethods]
impl SocketCall {
    /// Calls the system again.
    fn __call__(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::ready(slf)
    }

    /// Done when the result is there.
    #[getter]
    fn future(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.future.get(py)
    }

    /// Gives up what is not done yet.
    fn close(&self, py: Python<'_>) {
        self.end(py);
        drop(self.future.take(py));
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let work = self.work.with(py, |work| match work {
            Some(Work::Receive(_) | Work::ReceiveInto(_)) => "receives from",
            Some(Work::ReceiveFrom(_) | Work::ReceiveFromInto(..)) => "receives from",
            Some(Work::Send(..) | Work::SendTo(..)) => "sends to",
            Some(Work::Connect(_)) => "connects",
            Some(Work::Accept) => "accepts from",
            None => "is done with",
        });
        match self.sock.get(py) {
            Some(sock) => Ok(format!("<SocketCall {work} {}>", sock.bind(py).repr()?)),
            None => Ok(format!("<SocketCall {work} its socket>")),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(owner) = self.owner.peek() {
            visit.call(&*owner)?;
        }
        for cell in [&self.future, &self.sock] {
            if let Some(object) = cell.peek() {
                visit.call(&*object)?;
            }
        }
        if let Some(work) = self.work.peek() {
            match &*work {
                Some(Work::ReceiveInto(object) | Work::ReceiveFromInto(object, _)) => {
                    visit.call(object)?;
                }
                Some(Work::Connect(object)) => visit.call(object)?,
                Some(Work::Send(view, _) | Work::SendTo(view, _)) => visit.call(view)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.owner.take(py));
        drop(self.future.take(py));
        drop(self.sock.take(py));
        drop(self.work.take(py));
    }
}

/// Calls the system once.
fn attempt(sock: &Bound<'_, PyAny>, work: Work) -> PyResult<Done> {
    let py = sock.py();
    let error = match work {
        Work::Receive(size) => match receive(py, sys::descriptor(sock), size) {
            Ok(data) => return Ok(Done::Whole(data.into_any().unbind())),
            Err(error) if blocks(&error) => return Ok(Done::Later(work)),
            Err(error) => error,
        },
        Work::ReceiveInto(ref buffer) => {
            match sys::receive_into(buffer.bind(py), || sys::descriptor(sock))?.0 {
                Ok(size) => return Ok(Done::Whole(number(py, size)?)),
                Err(error) if blocks(&error) => return Ok(Done::Later(work)),
                Err(error) => error,
            }
        }
        Work::ReceiveFrom(size) => {
            let mut from = Address::new();
            match sys::receive_from(py, sys::descriptor(sock), size, &mut from) {
                Ok(data) => return Ok(Done::Whole(pair(py, data.into_any(), &from)?)),
                Err(error) if blocks(&error) => return Ok(Done::Later(work)),
                Err(error) => error,
            }
        }
        Work::ReceiveFromInto(ref buffer, size) => {
            let mut from = Address::new();
            let fd = || sys::descriptor(sock);
            match sys::receive_from_into(buffer.bind(py), size, fd, &mut from)? {
                Ok(size) => {
                    let size = size.into_pyobject(py)?.into_any();
                    return Ok(Done::Whole(pair(py, size, &from)?));
                }
                Err(error) if blocks(&error) => return Ok(Done::Later(work)),
                Err(error) => error,
            }
        }
        Work::SendTo(ref view, ref to) => {
            let memory = sys::View::of(view.bind(py))?;
            let sent = sys::send_to(sys::descriptor(sock), memory.bytes(), to);
            drop(memory);
            match sent {
                Ok(sent) => return Ok(Done::Whole(number(py, sent)?)),
                Err(error) if blocks(&error) => return Ok(Done::Later(work)),
                Err(error) => error,
            }
        }
        Work::Connect(ref address) => {
            return match sys::connected(sys::descriptor(sock)) {
                Ok(()) => Ok(Done::Whole(py.None())),
                Err(error) if is_under_way(&error) => Ok(Done::Later(work)),
                Err(error) => {
                    let text = format!("Connect call failed {}", address.bind(py).str()?);
                    Err(PyOSError::new_err((error.raw_os_error(), text)))
                }
            };
        }
        Work::Accept => {
            return match accept_any(sock)? {
                Some(pair) => Ok(Done::Whole(pair)),
                None => Ok(Done::Later(work)),
            };
        }
        Work::Send(view, from) => {
            let memory = sys::View::of(view.bind(py))?;
            let sent = sys::send(sys::descriptor(sock), &memory.bytes()[from..]);
            let whole = memory.bytes().len();
            drop(memory);
            match sent {
                Ok(sent) if from + sent == whole => return Ok(Done::Whole(py.None())),
                Ok(sent) => return Ok(Done::Later(Work::Send(view, from + sent))),
                Err(error) if blocks(&error) => return Ok(Done::Later(Work::Send(view, from))),
                Err(error) => error,
            }
        }
    };
    Err(os_error(py, &error))
}

fn ends_loop(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyKeyboardInterrupt>(py) || error.is_instance_of::<PySystemExit>(py)
}

fn number(py: Python<'_>, size: usize) -> PyResult<Py<PyAny>> {
    Ok(size.into_pyobject(py)?.into_any().unbind())
}

fn pair<'py>(py: Python<'py>, what: Bound<'py, PyAny>, address: &Address) -> PyResult<Py<PyAny>> {
    let pair = (what, address.object(py)?).into_pyobject(py)?;
    Ok(pair.into_any().unbind())
}

/// Whether a connection is still being made, after an error that is none.
fn is_under_way(error: &io::Error) -> bool {
    blocks(error)
        || error.kind() == io::ErrorKind::Interrupted
        || matches!(
            error.raw_os_error(),
            Some(libc::EINPROGRESS | libc::EALREADY)
        )
}

fn receive(py: Python<'_>, fd: RawFd, size: usize) -> io::Result<Bound<'_, PyBytes>> {
    let data = sys::receive_up_to(py, fd, size)?;
    Ok(data.unwrap_or_else(|| PyBytes::new(py, b"")))
}

fn blocks(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Refuses a socket that a transport has, as the stdlib does.
#[pyfunction]
pub(crate) fn ensure_free<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
) -> PyResult<()> {
    sys::check_socket(sock)?;
    ensure_no_transport(owner, sys::descriptor(sock))
}

/// Refuses a descriptor that a transport has, as the stdlib does.
fn ensure_no_transport(owner: &Bound<'_, LoopCore>, fd: RawFd) -> PyResult<()> {
    let py = owner.py();
    let transports = owner.getattr(intern!(py, "_transports"))?;
    if let Ok(transports) = transports.cast::<Transports>() {
        if transports.get().find(py, fd).is_none() {
            return Ok(());
        }
    }
    owner
        .call_method1(intern!(py, "_ensure_fd_no_transport"), (fd,))
        .map(drop)
}

/// Methods of CPython's sockets by name.
struct Method {
    name: Py<PyString>,
    function: Py<PyAny>,
}

struct Methods {
    receive: Method,
    receive_into: Method,
    receive_from: Method,
    receive_from_into: Method,
    send: Method,
    send_to: Method,
    connect: Method,
    accept: Method,
    fileno: Method,
    timeout: Py<PyString>,
}

fn methods(py: Python<'_>) -> PyResult<&'static Methods> {
    static METHODS: Once<Methods> = Once::new();
    METHODS.get_or_try_init(py, || {
        let class = sys::socket_class(py)?;
        let method = |name: &str| {
            PyResult::Ok(Method {
                name: PyString::intern(py, name).unbind(),
                function: class.getattr(name)?.unbind(),
            })
        };
        Ok(Methods {
            receive: method("recv")?,
            receive_into: method("recv_into")?,
            receive_from: method("recvfrom")?,
            receive_from_into: method("recvfrom_into")?,
            send: method("send")?,
            send_to: method("sendto")?,
            connect: method("connect")?,
            // The class in Python has a method of its own around it.
            accept: method("_accept")?,
            fileno: method("fileno")?,
            timeout: PyString::intern(py, "timeout").unbind(),
        })
    })
}

/// Whether a socket is CPython's, has no method of the program's that would be passed over, and does not
/// block.
fn is_plain(sock: &Bound<'_, PyAny>, methods: &Methods, method: &Method) -> PyResult<bool> {
    let py = sock.py();
    let has =
        |method: &Method| sys::has_method(sock, method.name.bind(py), method.function.bind(py));
    if !sys::is_socket(sock)? || !has(method)? || !has(&methods.fileno)? {
        return Ok(false);
    }
    let timeout = sock.getattr(methods.timeout.bind(py))?;
    Ok(timeout
        .cast_exact::<PyFloat>()
        .is_ok_and(|timeout| timeout.value() == 0.0))
}

fn not_here(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(py.NotImplemented().into_bound(py))
}

/// Does what can be done at once; the rest when the socket is ready.
fn start<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    direction: Direction,
    work: Work,
) -> PyResult<Bound<'py, PyAny>> {
    match attempt(sock, work)? {
        Done::Whole(result) => Ok(result.into_bound(sock.py())),
        Done::Later(work) => SocketCall::begin(owner, sock, direction, work),
    }
}

/// Accepts what has connected, and has the loop call for each connection with a socket and its [`Peer`]; `False` where the stdlib must do it, or find out what is wrong.
#[pyfunction]
#[pyo3(signature = (owner, sock, backlog, begin, protocol_factory, server))]
pub(crate) fn accept_connections<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    backlog: usize,
    begin: &Bound<'py, PyAny>,
    protocol_factory: &Bound<'py, PyAny>,
    server: &Bound<'py, PyAny>,
) -> PyResult<bool> {
    let py = owner.py();
    let methods = methods(py)?;
    if !is_plain(sock, methods, &methods.accept)? {
        return Ok(false);
    }
    for _ in 0..backlog {
        match accept(sock)? {
            Accepted::Connection(conn, address) => {
                let peer = Bound::new(py, Peer::new(&address))?;
                let call = (begin, protocol_factory, conn, peer, server);
                owner.call_method1(intern!(py, "call_soon"), call)?;
            }
            Accepted::Nothing => break,
            Accepted::Unknown => return Ok(false),
        }
    }
    Ok(true)
}

/// Accepts a connection, as the stdlib does where it is not done here.
fn accept_any(sock: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let py = sock.py();
    let pair = match accept(sock)? {
        Accepted::Connection(conn, address) => {
            (conn, address.object(py)?).into_pyobject(py)?.into_any()
        }
        Accepted::Nothing => return Ok(None),
        Accepted::Unknown => match sock.call_method0(intern!(py, "accept")) {
            Ok(pair) => {
                let conn = pair.get_item(0)?;
                conn.call_method1(intern!(py, "setblocking"), (false,))?;
                pair
            }
            Err(error) if error.is_instance_of::<PyBlockingIOError>(py) => return Ok(None),
            Err(error) => return Err(error),
        },
    };
    Ok(Some(pair.unbind()))
}

/// Accepts a connection.
#[pyfunction]
pub(crate) fn sock_accept<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    let is_plain = is_plain(sock, methods, &methods.accept)?;
    // As the class in Python has it, and no other.
    if !is_plain || !is_socket_class(py, &sock.get_type())? {
        return not_here(py);
    }
    start(owner, sock, Direction::Read, Work::Accept)
}

/// Whether it is the class that the socket module has now: a program may have put another in its place.
fn is_socket_class(py: Python<'_>, class: &Bound<'_, PyType>) -> PyResult<bool> {
    static MODULE: Imported<PyModule> = Imported::module("socket");
    let now = MODULE.get(py)?.getattr(intern!(py, "socket"))?;
    Ok(now.is(class.as_any()))
}

enum Accepted<'py> {
    Connection(Bound<'py, PyAny>, Address),
    Nothing,
    /// The stdlib is to find out.
    Unknown,
}

/// Accepts one connection, as a socket that does not block.
#[cfg(target_os = "linux")]
fn accept<'py>(sock: &Bound<'py, PyAny>) -> PyResult<Accepted<'py>> {
    use std::os::fd::{AsRawFd, IntoRawFd};
    let py = sock.py();
    let (family, kind, protocol) = sys::kind(sock);
    let class = sock.get_type();
    if !address::is_known(family) || !is_socket_class(py, &class)? {
        return Ok(Accepted::Unknown);
    }
    let mut address = Address::new();
    let fd = match sys::accept(sys::descriptor(sock), &mut address) {
        Ok(fd) => fd,
        Err(error) if blocks(&error) => return Ok(Accepted::Nothing),
        Err(_) => return Ok(Accepted::Unknown),
    };
    let conn = class.call_method1(intern!(py, "__new__"), (&class,))?;
    // The flag says that it does not block, and goes no further.
    let parts = (family, kind | libc::SOCK_NONBLOCK, protocol, fd.as_raw_fd());
    let made = conn.call_method1(intern!(py, "__init__"), parts);
    // Also where whoever made it was interrupted the number may be the socket's to close by now.
    if made.is_ok() || (sys::is_socket(&conn)? && sys::descriptor(&conn) == fd.as_raw_fd()) {
        let _ = fd.into_raw_fd();
    }
    made?;
    Ok(Accepted::Connection(conn, address))
}

#[cfg(not(target_os = "linux"))]
fn accept<'py>(_sock: &Bound<'py, PyAny>) -> PyResult<Accepted<'py>> {
    Ok(Accepted::Unknown)
}

/// Receives up to so many bytes.
#[pyfunction]
pub(crate) fn sock_recv<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    size: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    let size = plain_size(size).unwrap_or(0);
    if size == 0 || size > MODEST || !is_plain(sock, methods, &methods.receive)? {
        return not_here(py);
    }
    start(owner, sock, Direction::Read, Work::Receive(size))
}

/// Receives into the memory of an object.
#[pyfunction]
pub(crate) fn sock_recv_into<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    buffer: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    if !is_plain(sock, methods, &methods.receive_into)? || !sys::has_room(buffer) {
        return not_here(py);
    }
    let work = Work::ReceiveInto(buffer.clone().unbind());
    start(owner, sock, Direction::Read, work)
}

/// Sends all of the data.
#[pyfunction]
pub(crate) fn sock_sendall<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    data: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    if !is_plain(sock, methods, &methods.send)? {
        return not_here(py);
    }
    let Some(view) = plain_view(data)? else {
        return not_here(py);
    };
    let sent = match sys::send(sys::descriptor(sock), view.bytes()) {
        Ok(sent) if sent == view.bytes().len() => return Ok(py.None().into_bound(py)),
        Ok(sent) => sent,
        Err(error) if blocks(&error) => 0,
        Err(error) => return Err(os_error(py, &error)),
    };
    drop(view);
    let view = PyMemoryView::from(data)?.unbind();
    SocketCall::begin(owner, sock, Direction::Write, Work::Send(view, sent))
}

/// A number of bytes, if that is what it mostly is.
fn plain_size(size: &Bound<'_, PyAny>) -> Option<usize> {
    size.cast_exact::<PyInt>().ok()?.extract().ok()
}

/// The memory of data, if that is what it mostly is.
fn plain_view(data: &Bound<'_, PyAny>) -> PyResult<Option<sys::View>> {
    let is_known = data.is_exact_instance_of::<PyBytes>()
        || data.is_exact_instance_of::<PyByteArray>()
        || data.is_exact_instance_of::<PyMemoryView>();
    let Some(view) = sys::View::of(data).ok().filter(|_| is_known) else {
        return Ok(None);
    };
    // The length of a memoryview of larger items is that of the items.
    let is_plain = data.len()? == view.bytes().len();
    Ok(Some(view).filter(|_| is_plain))
}
