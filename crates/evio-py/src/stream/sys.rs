//! The system calls of stream transports, the memory that they read and write, and the place where a
//! transport keeps its fields.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::PyClass;
use pyo3::exceptions::{PyException, PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyCFunction, PyString, PyType};

use super::{Stream, StreamCore, write};
use crate::address::Address;
use crate::cell::{GilCell, Once, intern};
use crate::imported::Imported;
use crate::layout;

mod connection;

#[cfg(target_os = "linux")]
pub(crate) use connection::accept;
pub(crate) use connection::{audit, connect, connected, own_address, peer_address, set_nodelay};

/// What is received at once, in bytes, at most.
pub(crate) const MOST: usize = 256 * 1024;

/// From this size on, in bytes, it is dearer to copy data than to shorten a `bytes` that was too long.
const LARGE: usize = 8 * 1024;

/// Where there is no flag against the signal, Python ignores it.
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: c_int = libc::MSG_DONTWAIT;
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// The memory into which is received. Whoever does holds the interpreter's lock from there until the
/// data is a `bytes`, so that one for all threads is enough.
static MEMORY: GilCell<Vec<u8>> = GilCell::new(Vec::new());

fn take_memory(py: Python<'_>) -> Vec<u8> {
    let memory = MEMORY.take(py);
    if memory.is_empty() {
        return vec![0; MOST];
    }
    memory
}

fn count(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Makes a system call again while signals interrupt it.
fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match count(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Receives what is there, and whether it was all there was room for; or `None` at the end of the stream,
/// of which the last data had a certain length.
pub(super) fn receive(
    py: Python<'_>,
    fd: RawFd,
    last: usize,
) -> io::Result<Option<(Bound<'_, PyBytes>, bool)>> {
    let (data, room) = if last >= LARGE {
        let room = (last + 1).next_power_of_two().min(MOST);
        (receive_large(py, fd, room)?, room)
    } else {
        (receive_small(py, fd, MOST)?, MOST)
    };
    Ok(data.map(|data| {
        let is_full = data.as_bytes().len() == room;
        (data, is_full)
    }))
}

/// Receives up to so many bytes, [`MOST`] at most, and copies them.
fn receive_small(py: Python<'_>, fd: RawFd, size: usize) -> io::Result<Option<Bound<'_, PyBytes>>> {
    let mut memory = take_memory(py);
    let outcome = receive_to(fd, &mut memory[..size]);
    let data = outcome.map(|size| Some(PyBytes::new(py, &memory[..size])).filter(|_| size != 0));
    MEMORY.replace(py, memory);
    data
}

/// Receives what is there to the end of a bytearray.
///
/// # Errors
///
/// Outside, that the bytearray cannot become longer.
pub(super) fn receive_onto(
    array: &Bound<'_, PyByteArray>,
    fd: RawFd,
) -> PyResult<io::Result<usize>> {
    let py = array.py();
    let mut memory = take_memory(py);
    let received = receive_to(fd, &mut memory);
    let extended = match &received {
        Ok(size) if *size > 0 => extend(array, &memory[..*size]),
        _ => Ok(()),
    };
    MEMORY.replace(py, memory);
    extended.map(|()| received)
}

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: isize) -> c_int;
}

/// Receives up to so many bytes, or `None` at the end of the stream.
pub(crate) fn receive_up_to(
    py: Python<'_>,
    fd: RawFd,
    size: usize,
) -> io::Result<Option<Bound<'_, PyBytes>>> {
    if size > MOST {
        return receive_large(py, fd, size);
    }
    receive_small(py, fd, size)
}

/// Receives into a `bytes` of some size, and makes it as long as the data.
fn receive_large(py: Python<'_>, fd: RawFd, room: usize) -> io::Result<Option<Bound<'_, PyBytes>>> {
    let out_of_memory = || io::Error::from_raw_os_error(libc::ENOMEM);
    let size = isize::try_from(room).map_err(|_| out_of_memory())?;
    // SAFETY: attached; null comes with an exception set. Nobody else sees the new object, whose memory
    // is as long as the call says, and which is let go of or made shorter as its only owner may. That
    // sets it to null where it fails.
    unsafe {
        let mut data = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size);
        if data.is_null() {
            drop(PyErr::take(py));
            return Err(out_of_memory());
        }
        let start = ffi::PyBytes_AS_STRING(data).cast_mut().cast::<c_void>();
        let received = retry(|| libc::recv(fd, start, room, libc::MSG_DONTWAIT));
        match received {
            Ok(received) if received > 0 => {
                _PyBytes_Resize(&raw mut data, received as isize);
            }
            _ => ffi::Py_CLEAR(&raw mut data),
        }
        let data = Bound::from_owned_ptr_or_opt(py, data);
        match received? {
            0 => Ok(None),
            _ => match data {
                Some(data) => Ok(Some(data.cast_into_unchecked())),
                None => {
                    drop(PyErr::take(py));
                    Err(out_of_memory())
                }
            },
        }
    }
}

fn receive_to(fd: RawFd, memory: &mut [u8]) -> io::Result<usize> {
    let (start, size) = (memory.as_mut_ptr().cast::<c_void>(), memory.len());
    // SAFETY: the memory is writable and as long as the call says; the kernel checks the number.
    retry(|| unsafe { libc::recv(fd, start, size, libc::MSG_DONTWAIT) })
}

/// Receives into the memory of an object, which may run Python code before it gives that; how much, and
/// for how much there was room.
///
/// # Errors
///
/// Outside, that the object has no memory to write to: the one that `socket.recv_into()` raises. What ends a loop
/// goes through.
pub(crate) fn receive_into(
    buffer: &Bound<'_, PyAny>,
    descriptor: impl FnOnce() -> RawFd,
) -> PyResult<(io::Result<usize>, usize)> {
    let mut view = match View::with(buffer, ffi::PyBUF_WRITABLE) {
        Ok(view) => view,
        Err(error) if error.is_instance_of::<PyException>(buffer.py()) => {
            return Err(PyTypeError::new_err(format!(
                "recv_into() argument 1 must be read-write bytes-like object, not {}",
                buffer.get_type().name()?
            )));
        }
        Err(error) => return Err(error),
    };
    let memory = view.bytes_mut();
    Ok((receive_to(descriptor(), memory), memory.len()))
}

/// Whether an object has memory to receive into.
pub(crate) fn has_room(buffer: &Bound<'_, PyAny>) -> bool {
    View::with(buffer, ffi::PyBUF_WRITABLE).is_ok_and(|view| view.len() > 0)
}

/// Sends what the socket takes.
pub(crate) fn send(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    let start = data.as_ptr().cast::<c_void>();
    // SAFETY: the memory is readable and as long as the call says; the kernel checks the number.
    retry(|| unsafe { libc::send(fd, start, data.len(), SEND_FLAGS) })
}

/// Receives a datagram of up to so many bytes, [`MOST`] at most, and notes its address.
pub(crate) fn receive_from<'py>(
    py: Python<'py>,
    fd: RawFd,
    size: usize,
    address: &mut Address,
) -> io::Result<Bound<'py, PyBytes>> {
    let mut memory = take_memory(py);
    let received = receive_from_to(fd, &mut memory[..size], address);
    let data = received.map(|size| PyBytes::new(py, &memory[..size]));
    MEMORY.replace(py, memory);
    data
}

/// Receives a datagram of up to so many bytes into the memory of an object, as [`receive_into`] does.
pub(crate) fn receive_from_into(
    buffer: &Bound<'_, PyAny>,
    size: usize,
    descriptor: impl FnOnce() -> RawFd,
    address: &mut Address,
) -> PyResult<io::Result<usize>> {
    let mut view = View::with(buffer, ffi::PyBUF_WRITABLE)?;
    let memory = view.bytes_mut();
    let size = size.min(memory.len());
    Ok(receive_from_to(descriptor(), &mut memory[..size], address))
}

fn receive_from_to(fd: RawFd, memory: &mut [u8], address: &mut Address) -> io::Result<usize> {
    let (start, size) = (memory.as_mut_ptr().cast::<c_void>(), memory.len());
    let mut length = 0;
    let received = retry(|| {
        let room = address.room();
        length = room.len() as libc::socklen_t;
        let room = room.as_mut_ptr().cast::<libc::sockaddr>();
        // SAFETY: memory and room are writable and as long as the call says; the kernel checks the number.
        unsafe { libc::recvfrom(fd, start, size, libc::MSG_DONTWAIT, room, &raw mut length) }
    });
    address.set_length(length as usize);
    received
}

/// Sends a datagram to an address.
pub(crate) fn send_to(fd: RawFd, data: &[u8], address: &Address) -> io::Result<usize> {
    let start = data.as_ptr().cast::<c_void>();
    let to = address.as_bytes();
    let (to, length) = (to.as_ptr().cast(), to.len() as libc::socklen_t);
    // SAFETY: the memory of both is readable and as long as the call says; the kernel checks the number.
    retry(|| unsafe { libc::sendto(fd, start, data.len(), SEND_FLAGS, to, length) })
}

/// Sends what the socket takes of several pieces.
pub(super) fn send_pieces(fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a message of zeros is one without address, data and ancillary data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = pieces.len() as _;
    // SAFETY: `IoSlice` has the layout of `iovec`; the pieces are live and are only read.
    retry(|| unsafe { libc::sendmsg(fd, &raw const message, SEND_FLAGS) })
}

/// The memory of an object, which stays where it is as long as this lives.
pub(crate) struct View(ffi::Py_buffer);

impl View {
    /// Of an object whose memory is in one piece.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::with(object, ffi::PyBUF_SIMPLE)
    }

    fn with(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        let mut view = Self(ffi::Py_buffer::new());
        // SAFETY: attached; a failure comes with an exception set and leaves nothing to release.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut view.0, flags) } == 0 {
            return Ok(view);
        }
        std::mem::forget(view);
        Err(PyErr::take(object.py()).expect("CPython sets an exception when it fails"))
    }

    fn len(&self) -> usize {
        usize::try_from(self.0.len).unwrap_or(0)
    }

    /// What is in it; its owner must not run as long as somebody looks.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.len() == 0 {
            return &[];
        }
        // SAFETY: the memory is this long and stays until it is released. Whoever looks at it holds the
        // interpreter's lock and calls nobody meanwhile, so it does not change.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.len()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        if self.len() == 0 {
            return &mut [];
        }
        // SAFETY: as above; it was asked for as writable, and nobody else looks.
        unsafe { std::slice::from_raw_parts_mut(self.0.buf.cast(), self.len()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: it was filled in, is released once, and its owners are attached.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) }
    }
}

/// Adds to the end of a bytearray.
pub(super) fn extend(array: &Bound<'_, PyByteArray>, data: &[u8]) -> PyResult<()> {
    let before = array.len();
    array.resize(before + data.len())?;
    // SAFETY: it is this long now, and nobody else looks.
    let memory = unsafe { array.as_bytes_mut() };
    memory[before..].copy_from_slice(data);
    Ok(())
}

/// Where transports of a class keep their fields: the class, and the place in words from its beginning.
pub(crate) struct Slot {
    class: Py<PyType>,
    /// The class of the fields.
    fields: Py<PyType>,
    place: usize,
}

static SLOT: Once<Slot> = Once::new();

/// The fields of a stream transport.
pub(super) fn stream<'py>(transport: &Bound<'py, StreamCore>) -> PyResult<Bound<'py, Stream>> {
    fields(
        transport.as_any(),
        &SLOT,
        intern!(transport.py(), "_stream"),
    )
}

/// The fields of a transport, which are in a slot of that name.
pub(crate) fn fields<'py, F: PyClass>(
    transport: &Bound<'py, PyAny>,
    slot: &'static Once<Slot>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, F>> {
    let py = transport.py();
    let slot = match slot.get(py) {
        Some(slot) => slot,
        None => find::<F>(transport, slot, name)?,
    };
    if transport.get_type_ptr() != slot.class.as_ptr().cast() {
        // A subclass, or one that is none of ours.
        return Ok(transport.getattr(name)?.cast_into()?);
    }
    // SAFETY: an object of this class has a slot there: a reference of its own, or null.
    let fields = unsafe {
        let field = transport
            .as_ptr()
            .cast::<*mut ffi::PyObject>()
            .add(slot.place);
        Bound::from_borrowed_ptr_or_opt(py, *field)
    };
    let fields = fields.ok_or_else(super::unmade)?;
    if fields.get_type_ptr() != slot.fields.as_ptr().cast() {
        return Ok(fields.cast_into()?);
    }
    // SAFETY: it is of exactly this class.
    Ok(unsafe { fields.cast_into_unchecked() })
}

/// Looks, once, in a transport for the place where the object is that Python sees in its slot.
#[cold]
fn find<'py, F: PyClass>(
    transport: &Bound<'py, PyAny>,
    slot: &'static Once<Slot>,
    name: &Bound<'py, PyString>,
) -> PyResult<&'static Slot> {
    let py = transport.py();
    let class = transport.get_type();
    let fields = transport.getattr(name)?;
    let place = layout::field_of(transport, &fields).ok_or_else(|| {
        PyRuntimeError::new_err("this Python does not keep slots where they can be found")
    })?;
    slot.get_or_try_init(py, || {
        Ok(Slot {
            class: class.unbind(),
            fields: py.get_type::<F>().unbind(),
            place,
        })
    })
}

pub(crate) fn socket_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: Imported<PyType> = Imported::new("_socket", "socket");
    CLASS.get(py)
}

/// The first fields of a socket of CPython's.
#[repr(C)]
struct Socket {
    base: ffi::PyObject,
    descriptor: c_int,
    family: c_int,
    kind: c_int,
    protocol: c_int,
}

fn is_of_socket_class(sock: &Bound<'_, PyAny>) -> PyResult<bool> {
    let class = socket_class(sock.py())?.as_ptr().cast();
    // SAFETY: a type check of a live object, by its memory and not by what it says of itself.
    Ok(unsafe { ffi::PyObject_TypeCheck(sock.as_ptr(), class) } != 0)
}

/// Whether a socket is CPython's, and keeps its fields where the first one does.
pub(crate) fn is_socket(sock: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(is_of_socket_class(sock)? && understood(sock).is_ok())
}

/// Whether sockets of this Python keep their fields where they are expected; looked at in one of them.
fn understood(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    static UNDERSTOOD: Once<bool> = Once::new();
    let py = sock.py();
    let understood = UNDERSTOOD.get_or_try_init(py, || {
        let class = socket_class(py)?;
        let mut fields = Vec::new();
        for name in ["family", "type", "proto"] {
            let field = class.getattr(name)?;
            let field = field.call_method1("__get__", (sock, sock.get_type()))?;
            fields.push(field.extract::<c_int>()?);
        }
        let fd: c_int = class.getattr("fileno")?.call1((sock,))?.extract()?;
        // SAFETY: it is an instance of CPython's class, which is larger than these fields in all versions.
        let found = unsafe { &*sock.as_ptr().cast::<Socket>() };
        let found = (found.descriptor, [found.family, found.kind, found.protocol]);
        PyResult::Ok(found.0 == fd && found.1 == *fields)
    })?;
    if *understood {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(
        "this Python does not keep a socket's fields where they can be found",
    ))
}

/// Refuses what is no socket of CPython's, or keeps its fields elsewhere.
pub(crate) fn check_socket(sock: &Bound<'_, PyAny>) -> PyResult<()> {
    if !is_of_socket_class(sock)? {
        return Err(PyTypeError::new_err(format!(
            "a socket is needed, not {}",
            sock.get_type().name()?
        )));
    }
    understood(sock)
}

/// The descriptor of a socket that [`check_socket`] has let pass; -1 when it is closed.
pub(crate) fn descriptor(sock: &Bound<'_, PyAny>) -> RawFd {
    // SAFETY: it is an instance of CPython's class, where this field is the first one.
    unsafe { (*sock.as_ptr().cast::<Socket>()).descriptor }
}

/// The family of a socket that [`check_socket`] has let pass.
pub(crate) fn family(sock: &Bound<'_, PyAny>) -> c_int {
    // SAFETY: as above; it is the second field.
    unsafe { (*sock.as_ptr().cast::<Socket>()).family }
}

/// Family, type and protocol of a socket that [`check_socket`] has let pass.
pub(crate) fn kind(sock: &Bound<'_, PyAny>) -> (c_int, c_int, c_int) {
    // SAFETY: as above.
    let sock = unsafe { &*sock.as_ptr().cast::<Socket>() };
    (sock.family, sock.kind, sock.protocol)
}

/// Whether a transport may call the system for a socket: it is CPython's, and has no methods of the
/// program's that would be passed over.
pub(super) fn can_stream(sock: &Bound<'_, PyAny>) -> PyResult<bool> {
    static METHODS: Once<Methods> = Once::new();
    let names = ["recv", "recv_into", "send", "sendmsg", "fileno"];
    can_call(sock, &METHODS, &names)
}

/// Methods of CPython's sockets by name.
pub(crate) type Methods = Vec<(Py<PyString>, Py<PyAny>)>;

/// Whether the system may be called for a socket, instead of some of its methods.
pub(crate) fn can_call(
    sock: &Bound<'_, PyAny>,
    methods: &'static Once<Methods>,
    names: &[&str],
) -> PyResult<bool> {
    let py = sock.py();
    if !is_socket(sock)? {
        return Ok(false);
    }
    let methods = methods.get_or_try_init(py, || {
        let class = socket_class(py)?;
        let method = |name| (PyString::intern(py, name), class.getattr(name));
        names
            .iter()
            .map(|&name| match method(name) {
                (name, Ok(method)) => Ok((name.unbind(), method.unbind())),
                (_, Err(error)) => Err(error),
            })
            .collect::<PyResult<Methods>>()
    })?;
    for (name, method) in methods {
        if !has_method(sock, name.bind(py), method.bind(py))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The object whose native method of that name a bound method is.
pub(crate) fn owner_of<'py>(callback: &Bound<'py, PyAny>, name: &str) -> Option<Bound<'py, PyAny>> {
    let method = callback.cast_exact::<PyCFunction>().ok()?;
    // SAFETY: it is a method made of a native function; the answer is borrowed from it, or null.
    let owner = unsafe {
        Bound::from_borrowed_ptr_or_opt(method.py(), ffi::PyCFunction_GetSelf(method.as_ptr()))
    };
    let own = method.getattr(intern!(method.py(), "__name__")).ok()?;
    let own = own.cast_into::<PyString>().ok()?;
    owner.filter(|_| own == name)
}

/// Whether a method of an object is that function, found without making a bound method.
pub(crate) fn has_method(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    function: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    unsafe extern "C" {
        fn _PyObject_GetMethod(
            object: *mut ffi::PyObject,
            name: *mut ffi::PyObject,
            method: *mut *mut ffi::PyObject,
        ) -> c_int;
    }
    let py = object.py();
    let mut method = std::ptr::null_mut();
    // SAFETY: takes live objects; the method is a new reference, or null with an exception set.
    let found = unsafe {
        let is_unbound = _PyObject_GetMethod(object.as_ptr(), name.as_ptr(), &raw mut method) != 0;
        (is_unbound, Bound::from_owned_ptr_or_err(py, method)?)
    };
    Ok(found.0 && found.1.is(function))
}

/// The table entry of the method that [`write_method`] makes.
struct Definition(UnsafeCell<ffi::PyMethodDef>);

// SAFETY: CPython only reads it.
unsafe impl Sync for Definition {}

static WRITE: Definition = Definition(UnsafeCell::new(ffi::PyMethodDef {
    ml_name: c"write".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer {
        PyCFunctionFastWithKeywords: call_write,
    },
    ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
    ml_doc: c"write($self, /, data)\n--\n\n\
        Writes data, or what the socket does not take now when it takes it."
        .as_ptr(),
}));

/// `write` as a method of a class of transports, which costs no more than a call of one argument.
#[pyfunction]
#[pyo3(signature = (class_, /), text_signature = "(class_, /)")]
pub(crate) fn write_method<'py>(class_: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let py = class_.py();
    if !class_.is_subclass_of::<StreamCore>()? {
        return Err(PyTypeError::new_err("a class of transports is needed"));
    }
    // SAFETY: both live as long as the program or the method; null comes with an exception set.
    unsafe {
        let method = ffi::PyDescr_NewMethod(class_.as_type_ptr(), WRITE.0.get());
        Bound::from_owned_ptr_or_err(py, method)
    }
}

unsafe extern "C" fn call_write(
    transport: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: isize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls it attached, with live objects, the first of the class that it was made for,
    // which is one of transports; there are as many arguments as it says, named ones last.
    let written = unsafe {
        Python::attach_unchecked(|py| {
            let write = || {
                let names = Bound::from_borrowed_ptr_or_opt(py, names);
                if count != 1 || names.is_some() {
                    check_names(count, names.as_ref())?;
                }
                let transport = Bound::from_borrowed_ptr(py, transport).cast_into_unchecked();
                let data = Bound::from_borrowed_ptr(py, *args);
                write::write(&transport, stream(&transport)?.get(), &data)
            };
            let panicked = |_| Err(PanicException::new_err("a transport cannot write"));
            match catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(panicked) {
                Ok(()) => true,
                Err(error) => {
                    error.restore(py);
                    false
                }
            }
        })
    };
    if !written {
        return std::ptr::null_mut();
    }
    // SAFETY: attached; the answer owns a reference.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

/// Refuses other arguments than one, which may be named.
#[cold]
fn check_names(count: isize, names: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let named = names.map_or(Ok(0), |names| names.len())?;
    let data = names.filter(|_| named == 1).map(|names| names.get_item(0));
    match (count, named, data.transpose()?) {
        (1, 0, _) => Ok(()),
        (0, 1, Some(name)) if name.eq("data")? => Ok(()),
        _ => Err(PyTypeError::new_err(
            "write() takes exactly one argument, the data",
        )),
    }
}
