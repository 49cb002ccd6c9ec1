"""Transports whose receiving and sending is native; the rest is the standard library's. Private."""

import asyncio
from typing import Any, final

@final
class Stream:
    """The fields of a stream transport, which are in a slot of it."""

    def __new__(cls) -> Stream: ...

class StreamCore:
    """The native half of the stream transports: receiving and sending.

    The properties have the names and the meaning of those of asyncio's own transports.
    """

    _protocol: Any
    _sock: Any
    _buffer: Any
    _empty_waiter: Any
    _sock_fd: int
    _conn_lost: int
    _eof: bool
    _closing: bool
    _paused: bool
    _write_ready: Any
    _server: Any
    _extra: Any
    def _begin(
        self, owner: Any, sock: Any, protocol: Any, waiter: Any, extra: Any, server: Any
    ) -> None: ...
    def _start_reading(self) -> None: ...
    def set_protocol(self, protocol: Any) -> None:
        """Have another protocol from now on."""
    def _call_connection_lost(self, exc: Any) -> None: ...
    def _read_ready(self) -> None: ...
    def _send_queued(self) -> None: ...
    def is_closing(self) -> bool:
        """Whether the transport is closed, or on its way to it."""

    def is_reading(self) -> bool:
        """Whether the transport receives."""

    def close(self) -> None:
        """End the connection when what is queued is sent."""

    def writelines(self, list_of_data: Any) -> None:
        """Write data that is in several pieces."""

@final
class Datagram:
    """The fields of a datagram transport, which are in a slot of it."""

    def __new__(cls) -> Datagram: ...

class DatagramCore:
    """The native half of the datagram transports: receiving and sending."""

    _protocol: Any
    _sock: Any
    _buffer: Any
    _address: Any
    _conn_lost: int
    _closing: bool
    _paused: bool
    def _read_ready(self) -> None: ...
    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram, or keep it until the socket takes it."""

def can_datagram(sock: object) -> bool:
    """Whether the socket is CPython's, has addresses that are understood, and no methods of the program's."""

def open_stream(
    class_: type, owner: Any, sock: object, protocol: Any, waiter: Any, extra: Any, server: Any
) -> Any:
    """A new transport, made without frames of Python; `None` if the socket is not fit for one."""

def write_method(class_: type, /) -> Any:
    """`write()` of a class of stream transports, as a method that takes one argument and nothing else."""

class SocketTransport(StreamCore, asyncio.Transport):
    """A transport of a stream socket."""

    def __new__(cls, *args: Any, **kwargs: Any) -> SocketTransport: ...
    def __init__(
        self, loop: Any, sock: Any, protocol: Any, waiter: Any = None, extra: Any = None, server: Any = None
    ) -> None: ...
    def write(self, data: Any) -> None:
        """Write data, or what the socket does not take now when it takes it."""

class DatagramTransport(DatagramCore, asyncio.DatagramTransport):
    """A transport of a datagram socket."""

    def __new__(cls, *args: Any, **kwargs: Any) -> DatagramTransport: ...
