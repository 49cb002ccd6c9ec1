"""A protocol that blocks greenly is told one thing at a time, and in order."""

import asyncio
import contextlib
import os
import socket
import sys

import eventlet
import pytest

import eventlet_asyncio
from ends import run, until
from eventlet_asyncio import await_
from programs import certificates  # noqa: F401


class Blocking(asyncio.Protocol):
    """Blocks in some of its methods, and notes when each begins and ends."""

    def __init__(self, *blocking):
        self.blocking = blocking
        self.events = []
        self.gate = eventlet.Event()
        self.lost = asyncio.get_running_loop().create_future()

    def note(self, event):
        self.events.append(event)
        if event in self.blocking:
            self.gate.wait()
        self.events.append(f"/{event}")

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def data_received(self, data):
        self.note(data.decode())

    def eof_received(self):
        self.note("eof")

    def connection_lost(self, error):
        self.note("lost")
        self.lost.set_result(error)


async def open_gate(protocol):
    """Lets a protocol go on that could have been told something else meanwhile."""
    await asyncio.sleep(0.02)
    before = list(protocol.events)
    protocol.gate.send()
    return before


async def pair(*blocking):
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    protocol = Blocking(*blocking)
    connecting = asyncio.ensure_future(loop.create_connection(lambda: protocol, sock=near))
    await until(lambda: protocol.events)
    return protocol, connecting, far


def test_data_waits_until_the_connection_is_made(hub):
    async def main():
        protocol, connecting, far = await pair("made")
        with far:
            far.send(b"data")
            assert await open_gate(protocol) == ["made"]
            await connecting
        assert await protocol.lost is None
        assert protocol.events == [
            *("made", "/made", "data", "/data"),
            *("eof", "/eof", "lost", "/lost"),
        ]

    assert run(main) == []


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("where", ["made", "data", "eof"])
def test_the_loss_of_the_connection_waits_until_a_method_returns(hub, where, how):
    async def main():
        protocol, connecting, far = await pair(where)
        with far:
            if where != "made":
                far.send(b"data")
            if where == "eof":
                await until(lambda: "/data" in protocol.events)
                far.shutdown(socket.SHUT_WR)
            await until(lambda: where in protocol.events)
            getattr(protocol.transport, how)()
            before = await open_gate(protocol)
            assert before[-1] == where
            assert await protocol.lost is None
            await connecting
        assert protocol.events == [*before, f"/{where}", "lost", "/lost"]

    assert run(main) == []


def test_reading_that_is_resumed_waits_until_a_method_returns(hub):
    async def main():
        protocol, _, far = await pair("1")
        with far:
            far.send(b"1")
            await until(lambda: "1" in protocol.events)
            protocol.transport.pause_reading()
            protocol.transport.resume_reading()
            far.send(b"2")
            assert (await open_gate(protocol))[-1] == "1"
            await until(lambda: "/2" in protocol.events)
        assert protocol.events[2:6] == ["1", "/1", "2", "/2"]
        await protocol.lost

    assert run(main) == []


def test_a_method_that_is_killed_holds_up_nothing(hub):
    async def main():
        protocol, connecting, far = await pair("data")
        killed = []

        def data_received(data):
            with eventlet.Timeout(0.01, False):
                killed.append(data)
                protocol.gate.wait()
            raise eventlet.greenlet.GreenletExit

        protocol.data_received = data_received
        with far:
            far.send(b"data")
            await until(lambda: killed)
            protocol.transport.close()
            assert await protocol.lost is None

    (reported,) = run(main)
    assert reported["message"] == "Fatal error: protocol.data_received() call failed."


class Datagrams(Blocking, asyncio.DatagramProtocol):
    def datagram_received(self, data, address):
        self.note(data.decode())


def test_datagrams_and_the_loss_of_their_transport_wait_until_a_method_returns(hub):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: Datagrams("1"), local_addr=("127.0.0.1", 0)
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            for data in (b"0", b"1", b"2"):
                far.sendto(data, transport.get_extra_info("sockname"))
            await until(lambda: "1" in protocol.events)
            # Datagram transports of asyncio's cannot pause before Python 3.11.
            with contextlib.suppress(NotImplementedError):
                transport.pause_reading()
                transport.resume_reading()
            assert (await open_gate(protocol))[-1] == "1"
            await until(lambda: "/2" in protocol.events)
            protocol.gate.reset()
            far.sendto(b"1", transport.get_extra_info("sockname"))
            await until(lambda: protocol.events[-1] == "1")
            transport.abort()
            assert (await open_gate(protocol))[-1] == "1"
            assert await protocol.lost is None
        assert protocol.events[2:] == [
            *("0", "/0", "1", "/1", "2", "/2", "1", "/1", "lost", "/lost")
        ]

    assert run(main) == []


@pytest.mark.parametrize(
    "tls",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                sys.version_info < (3, 11), reason="asyncio 3.10 holds back what came with the handshake"
            ),
        ),
    ],
    ids=["plain", "tls"],
)
def test_a_reader_is_fed_while_green_code_reads(hub, certificates, tls):
    heard = []

    def serve(reader, writer):
        heard.append(await_(reader.readline()))
        writer.write(b"heard\n")
        heard.append(await_(reader.readline()))
        writer.close()
        await_(writer.wait_closed())
        heard.append("closed")

    async def main():
        server_side, client_side = certificates if tls else (None, None)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "localhost", port, family=socket.AF_INET, ssl=client_side
        )
        writer.write(b"one\n")
        assert await reader.readline() == b"heard\n"
        writer.write(b"two\n")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: "closed" in heard)
        server.close()

    eventlet_asyncio.run(asyncio.wait_for(main(), 20))
    assert heard == [b"one\n", b"two\n", "closed"]


def test_what_a_pipe_brings_comes_one_at_a_time(hub):
    class Pipe(Blocking):
        def connection_made(self, transport):
            self.transport = transport
            super().connection_made(transport)

    async def main():
        near, far = os.pipe()
        loop = asyncio.get_running_loop()
        protocol = Pipe("made", "eof")
        connecting = asyncio.ensure_future(loop.connect_read_pipe(lambda: protocol, os.fdopen(near, "rb", 0)))
        await until(lambda: protocol.events)
        os.write(far, b"data")
        os.close(far)
        assert await open_gate(protocol) == ["made"]
        await connecting
        assert await protocol.lost is None
        assert protocol.events == [
            *("made", "/made", "data", "/data"),
            *("eof", "/eof", "lost", "/lost"),
        ]

    assert run(main) == []


def test_datagrams_come_one_at_a_time(hub):
    async def main():
        loop = asyncio.get_running_loop()
        protocol = Datagrams("made", "1")
        making = asyncio.ensure_future(
            loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
        )
        await until(lambda: protocol.events)
        address = protocol.transport.get_extra_info("sockname")
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            for data in (b"1", b"2"):
                sender.sendto(data, address)
            assert await open_gate(protocol) == ["made"]
            await until(lambda: "/2" in protocol.events)
        protocol.transport.close()
        await protocol.lost
        assert protocol.events == [
            *("made", "/made", "1", "/1"),
            *("2", "/2", "lost", "/lost"),
        ]
        await making

    assert run(main) == []


def test_what_a_child_process_says_comes_one_at_a_time(hub):
    class Child(asyncio.SubprocessProtocol):
        def __init__(self):
            self.events = []
            self.depth = 0
            self.over = asyncio.get_running_loop().create_future()

        def note(self, event):
            self.events.append((event, self.depth))
            self.depth += 1
            eventlet.sleep(0.02)
            self.depth -= 1

        def connection_made(self, transport):
            self.note("made")

        def pipe_data_received(self, fd, data):
            self.note(data.decode())

        def pipe_connection_lost(self, fd, error):
            self.note(f"end of {fd}")

        def process_exited(self):
            self.note("exited")

        def connection_lost(self, error):
            self.note("lost")
            self.over.set_result(error)

    async def main():
        loop = asyncio.get_running_loop()
        script = "echo 1; sleep 0.05; echo 2; echo 3 >&2"
        _, protocol = await loop.subprocess_shell(Child, script, stdin=None)
        await protocol.over
        assert {depth for _, depth in protocol.events} == {0}
        events = [event for event, _ in protocol.events]
        assert events[0] == "made"
        assert events[-1] == "lost"
        assert "1\n" in events and "exited" in events

    assert run(main) == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_a_reader_is_fed_by_code_that_blocks_stays_in_order(hub, certificates, tls):
    class Reader(asyncio.StreamReader):
        def feed_data(self, data):
            if data.startswith(b"0"):
                eventlet.sleep(0.05)
            super().feed_data(data)

    async def main():
        loop = asyncio.get_running_loop()
        server_side, client_side = certificates if tls else (None, None)
        reader = Reader()
        server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(reader), "127.0.0.1", 0, ssl=server_side
        )
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(
            "localhost", port, family=socket.AF_INET, ssl=client_side
        )
        for number in range(4):
            writer.write(b"%d" % number)
            await asyncio.sleep(0.01)
        writer.close()
        heard = await reader.read()
        server.close()
        return heard

    assert eventlet_asyncio.run(asyncio.wait_for(main(), 20)) == b"0123"


def test_a_pipe_that_feeds_a_reader_may_block(hub):
    class Reader(asyncio.StreamReader):
        def feed_data(self, data):
            super().feed_data(data)
            eventlet.sleep(0.01)

    async def main():
        reader, (there, here) = Reader(), os.pipe()
        with os.fdopen(here, "wb", 0) as end:
            pipe = os.fdopen(there, "rb", 0)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), pipe
            )
            end.write(b"one\n")
            assert await reader.readline() == b"one\n"
            end.write(b"two\n")
            assert await reader.readline() == b"two\n"
        transport.close()

    assert run(main) == []
