//! Addresses of sockets, between the kernel's form and Python's, for the families that are mostly used.

use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

use crate::cell::intern;

const ROOM: usize = size_of::<libc::sockaddr_storage>();

/// An address in the kernel's form.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    bytes: [u8; ROOM],
    length: usize,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// An address that takes no more memory than it must.
#[derive(Clone, Default)]
pub(crate) enum Compact {
    /// None at all.
    #[default]
    None,
    /// Port and host of IPv4, as they stand in the kernel's form.
    Inet([u8; PORT_AND_HOST]),
    Other(Box<[u8]>),
}

const PORT_AND_HOST: usize = 6;
const PORT: usize = offset_of!(libc::sockaddr_in, sin_port);
// The host is right behind the port.
const _: () = assert!(offset_of!(libc::sockaddr_in, sin_addr) == PORT + 2);

impl Compact {
    pub(crate) fn of(address: &Address) -> Self {
        if address.length == 0 {
            return Self::None;
        }
        if address.family() == libc::AF_INET && address.length >= PORT + PORT_AND_HOST {
            return Self::Inet(address.get(PORT));
        }
        Self::Other(address.as_bytes().into())
    }

    /// The address as Python has it.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::None => Ok(py.None().into_bound(py)),
            Self::Inet(bytes) => {
                let size = size_of::<libc::sockaddr_in>();
                let mut address = Address::of_family(libc::AF_INET, size);
                address.put(PORT, bytes);
                address.object(py)
            }
            Self::Other(bytes) => {
                let mut address = Address::new();
                address.put(0, bytes);
                address.set_length(bytes.len());
                address.object(py)
            }
        }
    }
}

/// Whether addresses of a family are understood here.
pub(crate) fn is_known(family: i32) -> bool {
    matches!(family, libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX)
}

impl Address {
    /// No address yet, but room for one.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: [0; ROOM],
            length: ROOM,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(crate) fn room(&mut self) -> &mut [u8; ROOM] {
        &mut self.bytes
    }

    /// Notes how long it is.
    pub(crate) fn set_length(&mut self, length: usize) {
        self.length = length.min(ROOM);
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[at..at + N]);
        bytes
    }

    fn of_family(family: i32, length: usize) -> Self {
        let mut address = Self::new();
        address.length = length;
        // Where there is a length in the address, too, the kernel sets it itself.
        let family = family as libc::sa_family_t;
        let at = offset_of!(libc::sockaddr, sa_family);
        address.put(at, &family.to_ne_bytes());
        address
    }

    fn family(&self) -> i32 {
        let at = offset_of!(libc::sockaddr, sa_family);
        i32::from(libc::sa_family_t::from_ne_bytes(self.get(at)))
    }

    /// The address as Python has it; that of a family which is not known is `None`, as none at all.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.length == 0 {
            return Ok(py.None().into_bound(py));
        }
        match self.family() {
            libc::AF_INET => self.inet(py),
            libc::AF_INET6 => self.inet6(py),
            libc::AF_UNIX => self.unix(py),
            _ => Ok(py.None().into_bound(py)),
        }
    }

    fn inet<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let [a, b, c, d] = self.get(offset_of!(libc::sockaddr_in, sin_addr));
        let port = u16::from_be_bytes(self.get(offset_of!(libc::sockaddr_in, sin_port)));
        let host = Text::of(Ipv4Addr::new(a, b, c, d));
        let pair = (PyString::new(py, host.as_str()), port);
        Ok(pair.into_pyobject(py)?.into_any())
    }

    fn inet6<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let octets: [u8; 16] = self.get(offset_of!(libc::sockaddr_in6, sin6_addr));
        let host = Ipv6Addr::from(octets);
        let words = host.segments();
        let host = if words[..6] == [0; 6] && words[6] != 0 {
            // As the C library writes them.
            let [.., a, b, c, d] = octets;
            format!("::{}", Ipv4Addr::new(a, b, c, d))
        } else {
            host.to_string()
        };
        let port = u16::from_be_bytes(self.get(offset_of!(libc::sockaddr_in6, sin6_port)));
        let flow = u32::from_be_bytes(self.get(offset_of!(libc::sockaddr_in6, sin6_flowinfo)));
        let scope = u32::from_ne_bytes(self.get(offset_of!(libc::sockaddr_in6, sin6_scope_id)));
        Ok((host, port, flow, scope).into_pyobject(py)?.into_any())
    }

    fn unix<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let path = offset_of!(libc::sockaddr_un, sun_path);
        let path = self.as_bytes().get(path..).unwrap_or(&[]);
        if cfg!(target_os = "linux") && path.first() == Some(&0) {
            return Ok(PyBytes::new(py, path).into_any());
        }
        let end = path.iter().position(|&byte| byte == 0);
        let path = PyBytes::new(py, &path[..end.unwrap_or(path.len())]);
        py.import("os")?
            .call_method1(intern!(py, "fsdecode"), (path,))
    }

    /// The address that an object stands for: a pair of a host in numbers and a port. Everything else
    /// is the socket module's to understand.
    pub(crate) fn of_object(family: i32, object: &Bound<'_, PyAny>) -> Option<Self> {
        let pair = object.cast_exact::<PyTuple>().ok()?;
        if pair.len() != 2 {
            return None;
        }
        let host = pair.get_borrowed_item(0).ok()?;
        let host = host.cast_exact::<PyString>().ok()?;
        let host = host.to_str().ok()?;
        let port = pair.get_borrowed_item(1).ok()?;
        let port: u16 = port.cast_exact::<PyInt>().ok()?.extract().ok()?;
        match family {
            libc::AF_INET => {
                let host: Ipv4Addr = host.parse().ok()?;
                let mut address = Self::of_family(family, size_of::<libc::sockaddr_in>());
                address.put(offset_of!(libc::sockaddr_in, sin_addr), &host.octets());
                let at = offset_of!(libc::sockaddr_in, sin_port);
                address.put(at, &port.to_be_bytes());
                Some(address)
            }
            libc::AF_INET6 => {
                let host: Ipv6Addr = host.parse().ok()?;
                let mut address = Self::of_family(family, size_of::<libc::sockaddr_in6>());
                address.put(offset_of!(libc::sockaddr_in6, sin6_addr), &host.octets());
                let at = offset_of!(libc::sockaddr_in6, sin6_port);
                address.put(at, &port.to_be_bytes());
                Some(address)
            }
            _ => None,
        }
    }
}

/// A short text that needs no memory of its own.
struct Text {
    bytes: [u8; 15],
    length: usize,
}

impl Text {
    fn of(address: Ipv4Addr) -> Self {
        let mut text = Self {
            bytes: [0; 15],
            length: 0,
        };
        for (place, octet) in address.octets().into_iter().enumerate() {
            if place > 0 {
                text.push(b'.');
            }
            if octet >= 100 {
                text.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                text.push(b'0' + octet / 10 % 10);
            }
            text.push(b'0' + octet % 10);
        }
        text
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}
