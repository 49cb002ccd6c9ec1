"""The loop's methods for sockets of the program's, in front of the standard library's.

Where a native function answers NotImplemented, the standard library's method does it all.
"""

import asyncio

from eventlet_asyncio import _evio

_recv, _recv_into, _sendall = _evio.sock_recv, _evio.sock_recv_into, _evio.sock_sendall


class SocketMethods(asyncio.SelectorEventLoop):
    """Calls the system at once, and waits only where the socket is not ready."""

    async def sock_recv(self, sock, n):
        """Receive up to n bytes; see asyncio.loop.sock_recv."""
        call = _recv(self, sock, n)
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
        call = _recv_into(self, sock, buf)
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
        call = _sendall(self, sock, data)
        if call is None:
            return
        if call is NotImplemented:
            return await super().sock_sendall(sock, data)
        try:
            return await call.future
        finally:
            call.close()
