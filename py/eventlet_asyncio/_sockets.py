"""The loop's methods for sockets of the program's, in front of the standard library's.

Where a native function answers NotImplemented, the standard library's method does it all.
"""

import asyncio
import sys

from eventlet_asyncio._evio import (
    Peer,  # noqa: F401
    SocketCall,  # noqa: F401
    Transports,  # noqa: F401
    accept_connections,
    ensure_free,  # noqa: F401
    sock_accept,
    sock_connect,
    sock_recv,
    sock_recv_into,
    sock_recvfrom,
    sock_recvfrom_into,
    sock_sendall,
    sock_sendto,
)


if sys.version_info >= (3, 11):

    class _DatagramMethods(asyncio.SelectorEventLoop):
        """Those for datagrams, which asyncio has from 3.11 on."""

        async def sock_recvfrom(self, sock, bufsize):
            """Receive a datagram and its address; see asyncio.loop.sock_recvfrom."""
            call = sock_recvfrom(self, sock, bufsize)
            if type(call) is tuple:
                return call
            if call is NotImplemented:
                return await super().sock_recvfrom(sock, bufsize)
            try:
                return await call.future
            finally:
                call.close()

        async def sock_recvfrom_into(self, sock, buf, nbytes=0):
            """Receive a datagram into a buffer; see asyncio.loop.sock_recvfrom_into."""
            call = sock_recvfrom_into(self, sock, buf, nbytes)
            if type(call) is tuple:
                return call
            if call is NotImplemented:
                return await super().sock_recvfrom_into(sock, buf, nbytes)
            try:
                return await call.future
            finally:
                call.close()

        async def sock_sendto(self, sock, data, address):
            """Send a datagram to an address; see asyncio.loop.sock_sendto."""
            call = sock_sendto(self, sock, data, address)
            if type(call) is int:
                return call
            if call is NotImplemented:
                return await super().sock_sendto(sock, data, address)
            try:
                return await call.future
            finally:
                call.close()

else:
    _DatagramMethods = asyncio.SelectorEventLoop


class SocketMethods(_DatagramMethods):
    """Calls the system at once, and waits only where the socket is not ready."""

    #: The method that makes transports of what is accepted here, if it is not a program's own.
    _understands_peers = None

    async def sock_recv(self, sock, n):
        """Receive up to n bytes; see asyncio.loop.sock_recv."""
        call = sock_recv(self, sock, n)
        if type(call) is bytes:
            return call
        if call is NotImplemented:
            return await super().sock_recv(sock, n)
        try:
            return await call.future
        finally:
            call.close()

    async def sock_recv_into(self, sock, buf):
        """Receive into a buffer; see asyncio.loop.sock_recv_into."""
        call = sock_recv_into(self, sock, buf)
        if type(call) is int:
            return call
        if call is NotImplemented:
            return await super().sock_recv_into(sock, buf)
        try:
            return await call.future
        finally:
            call.close()

    async def sock_sendall(self, sock, data):
        """Send all of the data; see asyncio.loop.sock_sendall."""
        call = sock_sendall(self, sock, data)
        if call is None:
            return
        if call is NotImplemented:
            return await super().sock_sendall(sock, data)
        try:
            return await call.future
        finally:
            call.close()

    async def sock_accept(self, sock):
        """Accept a connection; see asyncio.loop.sock_accept."""
        call = sock_accept(self, sock)
        if type(call) is tuple:
            return call
        if call is NotImplemented:
            return await super().sock_accept(sock)
        try:
            return await call.future
        finally:
            call.close()

    async def sock_connect(self, sock, address):
        """Connect to an address; see asyncio.loop.sock_connect."""
        call = sock_connect(self, sock, address)
        if call is None:
            return
        if call is NotImplemented:
            return await super().sock_connect(sock, address)
        try:
            return await call.future
        finally:
            call.close()

    def _accept_connection(
        self, protocol_factory, sock, sslcontext=None, server=None, backlog=100, *timeouts
    ):
        begin = self._begin_connection
        if (
            sslcontext is not None
            or self._debug
            or self._task_factory is not None
            or not accept_connections(self, sock, backlog, begin, protocol_factory, server)
        ):
            super()._accept_connection(
                protocol_factory, sock, sslcontext, server, backlog, *timeouts
            )

    def _begin_connection(self, protocol_factory, conn, peer, server):
        """What asyncio has a task for, which nobody sees but who looks for it."""
        try:
            protocol = protocol_factory()
            make = self._make_socket_transport
            if getattr(make, "__func__", None) is not self._understands_peers:
                peer = {"peername": peer.address()}
            make(conn, protocol, extra=peer, server=server)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # asyncio keeps it to itself, too.
            if self._debug:
                message = "Error on transport creation for incoming connection"
                self.call_exception_handler({"message": message, "exception": error})
