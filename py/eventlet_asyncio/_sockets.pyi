"""The loop's methods for sockets of the program's, in front of the standard library's. Private."""

import asyncio
from collections.abc import Callable, Iterator
from socket import socket
from typing import Any, final

from eventlet_asyncio._evio import LoopCore

@final
class Peer:
    """The address of who has connected, before there is a transport."""

    def address(self) -> Any:
        """The address as sockets have it."""

@final
class SocketCall:
    """A system call that waits until its socket is ready."""

    @property
    def future(self) -> asyncio.Future[Any] | None:
        """Done when the result is there."""

    def close(self) -> None:
        """Give up what is not done yet."""

    def __call__(self, *_args: Any, **_kwargs: Any) -> None: ...

@final
class Transports:
    """The transports of a loop by descriptor, which are not kept alive: a `WeakValueDictionary` in asyncio's loops."""

    def __new__(cls) -> Transports: ...
    def __len__(self) -> int: ...
    def __contains__(self, key: Any, /) -> bool: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __setitem__(self, key: int, transport: Any, /) -> None: ...
    def __delitem__(self, key: Any, /) -> None: ...
    def __iter__(self) -> Iterator[int]: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """The transport of a descriptor, if there is one."""

    def keys(self) -> list[int]:
        """The descriptors."""

    def values(self) -> list[Any]:
        """The transports."""

    def items(self) -> list[tuple[int, Any]]:
        """The transports with their descriptors."""

def accept_connections(
    owner: LoopCore,
    sock: socket,
    backlog: int,
    begin: Callable[..., object],
    protocol_factory: Any,
    server: Any,
) -> bool:
    """Accept what has connected, and have the loop call for each; `False` where the standard library must do it."""

def ensure_free(owner: LoopCore, sock: socket) -> None:
    """Refuse a socket that a transport has."""

def sock_accept(owner: LoopCore, sock: Any) -> Any:
    """Accept a connection, now or by the `SocketCall` that is returned."""

def sock_connect(owner: LoopCore, sock: Any, address: Any) -> Any:
    """Connect to an address in numbers, now or by the `SocketCall` that is returned."""

def sock_recv(owner: LoopCore, sock: Any, size: Any) -> Any:
    """Receive up to so many bytes, now or by the `SocketCall` that is returned."""

def sock_recv_into(owner: LoopCore, sock: Any, buffer: Any) -> Any:
    """Receive into the memory of an object, now or by the `SocketCall` that is returned."""

def sock_recvfrom(owner: LoopCore, sock: Any, size: Any) -> Any:
    """Receive a datagram and its address, now or by the `SocketCall` that is returned."""

def sock_recvfrom_into(owner: LoopCore, sock: Any, buffer: Any, size: Any) -> Any:
    """Receive a datagram into the memory of an object, now or by the `SocketCall` that is returned."""

def sock_sendall(owner: LoopCore, sock: Any, data: Any) -> Any:
    """Send all of the data, now or by the `SocketCall` that is returned."""

def sock_sendto(owner: LoopCore, sock: Any, data: Any, address: Any) -> Any:
    """Send a datagram to an address in numbers, now or by the `SocketCall` that is returned."""

class SocketMethods(asyncio.SelectorEventLoop):
    """Calls the system at once, and waits only where the socket is not ready."""

    async def sock_recv(self, sock: socket, n: int) -> bytes: ...
    async def sock_recv_into(self, sock: socket, buf: Any) -> int: ...
    async def sock_sendall(self, sock: socket, data: Any) -> None: ...
    async def sock_accept(self, sock: socket) -> tuple[socket, Any]: ...
    async def sock_connect(self, sock: socket, address: Any) -> None: ...
