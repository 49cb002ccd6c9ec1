"""The loop's methods for sockets of the program's, in front of the standard library's.

Where a native function answers NotImplemented, the standard library's method does it all.
"""

import asyncio

from eventlet_asyncio._evio import (
    SocketCall,  # noqa: F401
    Transports,  # noqa: F401
    accept_connections,
    ensure_free,  # noqa: F401
    sock_accept,
    sock_recv,
    sock_recv_into,
    sock_sendall,
)


class SocketMethods(asyncio.SelectorEventLoop):
    """Calls the system at once, and waits only where the socket is not ready."""

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

    def _begin_connection(self, protocol_factory, conn, address, server):
        """What asyncio has a task for, which nobody sees but who looks for it."""
        try:
            protocol = protocol_factory()
            self._make_socket_transport(
                conn, protocol, extra={"peername": address}, server=server
            )
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            # asyncio keeps it to itself, too.
            if self._debug:
                message = "Error on transport creation for incoming connection"
                self.call_exception_handler({"message": message, "exception": error})
