//! Those that know of addresses: `sock_connect()`, `sock_recvfrom()`, `sock_recvfrom_into()`, `sock_sendto()`.

use evio_loop::Direction;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

use super::{
    SocketCall, Work, is_plain, is_under_way, methods, not_here, plain_size, plain_view, start,
};
use crate::address::{self, Address};
use crate::core::LoopCore;
use crate::stream::{os_error, sys};

/// Connects to an address in numbers.
#[pyfunction]
pub(crate) fn sock_connect<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    address: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    // The stdlib shows addresses of IPv6 in another form than it was given.
    if !is_plain(sock, methods, &methods.connect)? || sys::family(sock) != libc::AF_INET {
        return not_here(py);
    }
    let Some(to) = Address::of_object(libc::AF_INET, address) else {
        return not_here(py);
    };
    sys::audit(c"socket.connect", sock, address)?;
    match sys::connect(sys::descriptor(sock), &to) {
        Ok(()) => Ok(py.None().into_bound(py)),
        Err(error) if is_under_way(&error) => {
            let work = Work::Connect(address.clone().unbind());
            SocketCall::begin(owner, sock, Direction::Write, work)
        }
        Err(error) => Err(os_error(py, &error)),
    }
}

/// Receives a datagram of up to so many bytes, and its address.
#[pyfunction]
pub(crate) fn sock_recvfrom<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    size: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    let size = plain_size(size).unwrap_or(0);
    if size == 0
        || size > sys::MOST
        || !is_plain(sock, methods, &methods.receive_from)?
        || !address::is_known(sys::family(sock))
    {
        return not_here(py);
    }
    start(owner, sock, Direction::Read, Work::ReceiveFrom(size))
}

/// Receives a datagram into the memory of an object, and its address.
#[pyfunction]
pub(crate) fn sock_recvfrom_into<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    buffer: &Bound<'py, PyAny>,
    size: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    if !is_plain(sock, methods, &methods.receive_from_into)?
        || !address::is_known(sys::family(sock))
        || !sys::has_room(buffer)
    {
        return not_here(py);
    }
    let Some(view) = plain_view(buffer)? else {
        return not_here(py);
    };
    let room = view.bytes().len();
    drop(view);
    let size = match plain_size(size) {
        Some(0) => room,
        Some(size) if size <= room => size,
        _ => return not_here(py),
    };
    let work = Work::ReceiveFromInto(buffer.clone().unbind(), size);
    start(owner, sock, Direction::Read, work)
}

/// Sends a datagram to an address in numbers.
#[pyfunction]
pub(crate) fn sock_sendto<'py>(
    owner: &Bound<'py, LoopCore>,
    sock: &Bound<'py, PyAny>,
    data: &Bound<'py, PyAny>,
    address: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = owner.py();
    let methods = methods(py)?;
    if !is_plain(sock, methods, &methods.send_to)? || plain_view(data)?.is_none() {
        return not_here(py);
    }
    let Some(to) = Address::of_object(sys::family(sock), address) else {
        return not_here(py);
    };
    sys::audit(c"socket.sendto", sock, address)?;
    let view = PyMemoryView::from(data)?.unbind();
    start(
        owner,
        sock,
        Direction::Write,
        Work::SendTo(view, Box::new(to)),
    )
}
