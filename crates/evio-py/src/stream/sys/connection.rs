//! The system calls by which connections are made, and what is asked of their sockets.

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::RawFd;
#[cfg(target_os = "linux")]
use std::os::fd::{FromRawFd, OwnedFd};

use pyo3::prelude::*;

#[cfg(target_os = "linux")]
use super::retry;
use super::{count, descriptor, kind};
use crate::address::Address;

/// Connects a socket that does not block, or begins to.
pub(crate) fn connect(fd: RawFd, address: &Address) -> io::Result<()> {
    let to = address.as_bytes();
    let (to, length) = (to.as_ptr().cast(), to.len() as libc::socklen_t);
    // SAFETY: the address is readable and as long as the call says; the kernel checks the number.
    count(unsafe { libc::connect(fd, to, length) } as isize).map(drop)
}

/// What has become of a connection that a socket began to make.
pub(crate) fn connected(fd: RawFd) -> io::Result<()> {
    let mut code: c_int = 0;
    let mut size = size_of::<c_int>() as libc::socklen_t;
    let start = (&raw mut code).cast();
    // SAFETY: the option is a number of this size, which is written; the kernel checks the descriptor.
    let returned =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, start, &raw mut size) };
    count(returned as isize)?;
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Tells audit hooks what a socket does with an address, as its own methods do.
pub(crate) fn audit(event: &CStr, sock: &Bound<'_, PyAny>, to: &Bound<'_, PyAny>) -> PyResult<()> {
    unsafe extern "C" {
        fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
    }
    // SAFETY: attached; there are as many live objects as the format says.
    let refused =
        unsafe { PySys_Audit(event.as_ptr(), c"OO".as_ptr(), sock.as_ptr(), to.as_ptr()) } != 0;
    if refused {
        return Err(PyErr::take(sock.py()).expect("CPython sets an exception when it fails"));
    }
    Ok(())
}

/// Has a TCP socket send at once what is small, too.
pub(crate) fn set_nodelay(sock: &Bound<'_, PyAny>) -> io::Result<()> {
    let (family, kind, protocol) = kind(sock);
    let is_internet = family == libc::AF_INET || family == libc::AF_INET6;
    if !is_internet || kind != libc::SOCK_STREAM || protocol != libc::IPPROTO_TCP {
        return Ok(());
    }
    let on: c_int = 1;
    let (start, size) = ((&raw const on).cast(), size_of::<c_int>());
    // SAFETY: the option is a number of this size, which is read; the kernel checks the descriptor.
    let returned = unsafe {
        libc::setsockopt(
            descriptor(sock),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            start,
            size as libc::socklen_t,
        )
    };
    count(returned as isize).map(drop)
}

/// The address to which a socket is bound.
pub(crate) fn own_address(fd: RawFd) -> io::Result<Address> {
    // SAFETY: as `ask` has it.
    ask(|room, length| unsafe { libc::getsockname(fd, room, length) })
}

/// The address to which a socket is connected.
pub(crate) fn peer_address(fd: RawFd) -> io::Result<Address> {
    // SAFETY: as `ask` has it.
    ask(|room, length| unsafe { libc::getpeername(fd, room, length) })
}

/// Has a call fill in an address: room that is writable, and how much there is of it. The kernel checks
/// numbers of descriptors.
fn ask(
    call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> c_int,
) -> io::Result<Address> {
    let mut address = Address::new();
    let room = address.room();
    let mut length = room.len() as libc::socklen_t;
    let returned = call(room.as_mut_ptr().cast(), &raw mut length);
    count(returned as isize)?;
    address.set_length(length as usize);
    Ok(address)
}

/// Accepts a connection, which does not block, and notes whose it is.
#[cfg(target_os = "linux")]
pub(crate) fn accept(fd: RawFd, address: &mut Address) -> io::Result<OwnedFd> {
    let room = address.room();
    let mut length = room.len() as libc::socklen_t;
    let room = room.as_mut_ptr().cast::<libc::sockaddr>();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the room is writable and as long as the call says; the kernel checks the number.
    let accepted = retry(|| unsafe { libc::accept4(fd, room, &raw mut length, flags) } as isize)?;
    address.set_length(length as usize);
    let accepted =
        RawFd::try_from(accepted).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: it is new, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}
