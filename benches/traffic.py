"""The work of the rows of the loop: each function measures one thing and checks what it did.

`run` is what `load()` gives: it runs a coroutine on a loop of any contender. For C it is a program,
which does the same work as all protocols.
"""

import asyncio
import contextlib
import ctypes
import functools
import os
import subprocess
import sys
import tempfile

from harness import Meter, Sample, check


# The number by which glibc's mallopt() knows what it may be told of.
M_MMAP_THRESHOLD = -3


def load(contender):
    """What runs a coroutine on a contender's loop, or the path of a program.

    Behind a comma may stand `fresh`, for a process that never freed much memory at once.
    """
    library, _, state = contender.partition(", ")
    settle_malloc(fresh=state == "fresh")
    if library == "ours":
        import eventlet_asyncio

        return eventlet_asyncio.run
    if library == "asyncio":
        return asyncio.run
    if library == "c":
        return compiled("echo.c")
    module = __import__(library)
    if sys.version_info >= (3, 12):
        return functools.partial(asyncio.run, loop_factory=module.new_event_loop)
    asyncio.set_event_loop_policy(module.EventLoopPolicy())
    return asyncio.run


def settle_malloc(fresh):
    """Whether pieces of 128 KiB and more are mapped and unmapped each time.

    glibc does so until the first such piece is freed, which in some processes an import does, and
    in others nothing. asyncio, which asks for 256 KiB to receive into, takes three times as long
    before. What runs for days has freed one, so that is the state in which all are measured, but
    where a row shows both.
    """
    if fresh:
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 * 1024)
    else:
        # Made and freed at once, which raises glibc's threshold.
        bytearray(2**20)


def compiled(name):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    program = os.path.join(tempfile.mkdtemp(prefix="bench"), name.removesuffix(".c"))
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


def in_c(program, size, length, connections):
    """Echoes by a program that measures itself."""
    each = max(size // connections, 1)
    command = [program, str(connections), str(each), str(length)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu, clock, echoes = map(float, said.split())
    check(echoes, connections * each)
    return Sample(cpu / echoes, clock / echoes)


class Echo(asyncio.Protocol):
    """The server's end."""

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """The server's end, with memory of its own to receive into."""

    def connection_made(self, transport):
        self._transport = transport
        self._buffer = memoryview(bytearray(65536))

    def get_buffer(self, sizehint):
        return self._buffer

    def buffer_updated(self, count):
        self._transport.write(bytes(self._buffer[:count]))


class Client(asyncio.Protocol):
    """Sends a message, waits for its echo, and does it again."""

    def __init__(self, message, rounds, done):
        self._message = message
        self._rounds = rounds
        self._missing = len(message)
        self._done = done
        self._last = b""

    def connection_made(self, transport):
        self._transport = transport

    def start(self):
        self._transport.write(self._message)

    def data_received(self, data):
        self._missing -= len(data)
        if self._rounds == 1:
            self._last += data
        if self._missing:
            return
        self._missing = len(self._message)
        self._rounds -= 1
        if self._rounds:
            self._transport.write(self._message)
        else:
            self._done.set_result(self._last)


def protocol_echo(run, size, length, connections, buffered=False):
    if isinstance(run, str):
        return in_c(run, size, length, connections)
    each = max(size // connections, 1)
    message = os.urandom(length)

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(BufferedEcho if buffered else Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients, ends = [], []
        for _ in range(connections):
            ends.append(loop.create_future())
            make = functools.partial(Client, message, each, ends[-1])
            clients.append((await loop.create_connection(make, *address))[1])
        with Meter() as meter:
            for client in clients:
                client.start()
            for end in ends:
                check(await end == message, True)
        return meter

    return run(main()).per(each * connections)


def streams_echo(run, size, length, connections):
    if isinstance(run, str):
        return in_c(run, size, length, connections)
    each = max(size // connections, 1)
    message = os.urandom(length)

    async def serve(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def talk(reader, writer):
        whole = 0
        for _ in range(each):
            writer.write(message)
            whole += await reader.readexactly(length) == message
        return whole

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**18)
        address = server.sockets[0].getsockname()
        ends = [await asyncio.open_connection(*address, limit=2**18) for _ in range(connections)]
        with Meter() as meter:
            done = await asyncio.gather(*(talk(*end) for end in ends))
        for _, writer in ends:
            writer.close()
        server.close()
        await asyncio.sleep(0.1)
        check(done, [each] * connections)
        return meter

    return run(main()).per(each * connections)
