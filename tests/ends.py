"""A stream transport of ours and what is at its other end, for tests of transports."""

import asyncio
import contextlib
import os
import socket
import struct

import pytest

import eventlet_asyncio

LARGE = os.urandom(1 << 20)


class Recorder(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self):
        self.events = []
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self.events.append("data")

    def eof_received(self):
        self.events.append("eof")

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, error):
        self.events.append("lost")
        if not self.lost.done():
            self.lost.set_result(error)


class Buffered(asyncio.BufferedProtocol):
    """Receives into memory of its own, a few bytes at a time."""

    def __init__(self, size=4):
        self.memory = bytearray(size)
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        assert sizehint == -1
        return self.memory

    def buffer_updated(self, count):
        self.data += self.memory[:count]

    def connection_lost(self, error):
        if not self.lost.done():
            self.lost.set_result(error)


class Ends:
    """A transport of ours and the socket at its other end."""

    def __init__(self, transport, protocol, sock):
        self.transport = transport
        self.protocol = protocol
        self.sock = sock

    async def receive(self, count):
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < count:
            some = await loop.sock_recv(self.sock, 1 << 16)
            if not some:
                break
            data += some
        return data

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def reset(self):
        """Close the socket so that the other end is told of an error."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


async def connect(make=Recorder, narrow=False):
    """The ends of a TCP connection, or of a pair of sockets that take little at once."""
    loop = asyncio.get_running_loop()
    if narrow:
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            far = socket.create_connection(listener.getsockname())
            near, _ = listener.accept()
    for each in (near, far):
        each.setblocking(False)
    transport, protocol = await loop.connect_accepted_socket(make, near)
    return Ends(transport, protocol, far)


async def until(condition):
    """Lets the loop run until something is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came true")


def run(main, *, debug=None):
    """Runs a test on a loop whose exception handler notes what it is told."""
    reported = []

    async def wrapped():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reported.append(context))
        await asyncio.wait_for(main(), 20)
        for transport in list(loop._transports.values()):
            transport.abort()
        await asyncio.sleep(0)

    eventlet_asyncio.run(wrapped(), debug=debug)
    return reported


def messages(reported):
    return [(context["message"], repr(context["exception"])) for context in reported]


LOOPS = {"ours": eventlet_asyncio.EventLoop, "asyncio": asyncio.SelectorEventLoop}


def run_on(loop, main, *, debug=False):
    reported = []
    loop.set_debug(debug)
    loop.set_exception_handler(lambda _, context: reported.append(context))
    with contextlib.closing(loop):
        loop.run_until_complete(asyncio.wait_for(main(), 20))
        for transport in list(loop._transports.values()):
            transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
    return reported


@pytest.fixture(params=LOOPS)
def both(request):
    """Runs a test on a loop of ours, and on the one whose behaviour is wanted."""
    return lambda main, **options: run_on(LOOPS[request.param](), main, **options)
