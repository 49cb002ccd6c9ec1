"""TLS is the standard library's, by a shorter way, and all that can be seen of it is the same."""

import asyncio
import functools
import socket
import ssl
import sys
import warnings

import eventlet
import pytest

import eventlet_asyncio
from ends import LARGE, Recorder, both, run, until  # noqa: F401
from eventlet_asyncio import _tls
from programs import certificates  # noqa: F401

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="before 3.11 all of it is asyncio's"
)


class Buffered(Recorder, asyncio.BufferedProtocol):
    """Receives into memory of its own."""

    def __init__(self):
        super().__init__()
        self.memory = memoryview(bytearray(1000))

    def get_buffer(self, sizehint):
        return self.memory

    def buffer_updated(self, count):
        self.data += self.memory[:count]
        self.events.append("data")


async def connect(certificates, make=Recorder, narrow=False, **options):
    """Protocols of both ends of a connection over TLS."""
    loop = asyncio.get_running_loop()
    server_side, client_side = certificates
    servers = []

    def made():
        servers.append(make())
        return servers[-1]

    if narrow:
        near, far = socket.socketpair()
        for each in (near, far):
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        accepting = loop.connect_accepted_socket(made, far, ssl=server_side)
        connecting = loop.create_connection(
            make, sock=near, ssl=client_side, server_hostname="localhost", **options
        )
        _, (_, client) = await asyncio.gather(accepting, connecting)
        return client, servers[0]
    server = await loop.create_server(made, "127.0.0.1", 0, ssl=server_side)
    address = server.sockets[0].getsockname()
    _, client = await loop.create_connection(
        make, *address, ssl=client_side, server_hostname="localhost", **options
    )
    await until(lambda: servers and hasattr(servers[0], "transport"))
    server.close()
    return client, servers[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("make", [Recorder, Buffered])
def test_data_comes_as_it_was_sent(both, certificates, make, version):
    client_side = certificates[1]
    before = client_side.maximum_version

    async def main():
        client, server = await connect(certificates, make)
        assert client.transport.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        for data in (b"x", b"y" * 1000, LARGE[:16_384], LARGE[:16_385], LARGE, bytearray(LARGE)):
            for one, other in ((client, server), (server, client)):
                other.data = b""
                one.transport.write(data)
                await until(lambda: len(other.data) == len(data))  # noqa: B023
                assert other.data == data
        client.transport.writelines([b"a", b"", memoryview(b"bc")])
        client.transport.write(b"")
        client.transport.write(memoryview(LARGE)[:100])
        server.data = b""
        await until(lambda: len(server.data) == 103)
        assert server.data == b"abc" + LARGE[:100]
        client.transport.close()
        assert await client.lost is None
        assert await server.lost is None
        assert server.events[-2:] == ["eof", "lost"]

    client_side.maximum_version = version
    try:
        assert both(main) == []
    finally:
        client_side.maximum_version = before


def test_several_records_that_come_at_once_are_one_piece(both, certificates):
    async def main():
        client, server = await connect(certificates)
        for part in (b"one", b"two", b"three"):
            client.transport.write(part)
        await until(lambda: server.data == b"onetwothree")
        assert server.events == ["data"]
        client.transport.write(b"last")
        client.transport.close()
        await server.lost
        assert server.data == b"onetwothreelast"
        assert server.events == ["data", "data", "eof", "lost"]

    assert both(main) == []


def test_it_is_ours():
    async def main():
        loop = asyncio.get_running_loop()
        protocol = _tls.protocol_class(loop, Recorder(), ssl.create_default_context(), None)
        # The buffer is for those who ask for one.
        assert len(protocol._ssl_buffer) == 0
        assert len(protocol.get_buffer(-1)) == asyncio.sslproto.SSLProtocol.max_size
        assert len(protocol.get_buffer(100)) == asyncio.sslproto.SSLProtocol.max_size
        assert type(protocol._app_transport) is _tls._SSLTransport
        protocol._app_transport._closed = True
        with pytest.raises(RuntimeError, match="Creating _SSLProtocolTransport twice"):
            protocol._app_transport = None
            protocol._get_app_transport()

    assert run(main) == []


def test_who_writes_too_much_is_told_to_pause(both, certificates):
    async def main():
        client, server = await connect(certificates, narrow=True)
        server.transport.pause_reading()
        for _ in range(20):
            client.transport.write(LARGE[:100_000])
        assert client.events == ["pause"]
        assert client.transport.get_write_buffer_size() > 500_000
        server.transport.resume_reading()
        await until(lambda: len(server.data) == 2_000_000)
        assert server.data == LARGE[:100_000] * 20
        assert client.events == ["pause", "resume"]
        assert client.transport.get_write_buffer_size() == 0

    assert both(main) == []


def test_a_limit_of_nothing_pauses_at_once(both, certificates):
    async def main():
        client, server = await connect(certificates)
        client.transport.set_write_buffer_limits(high=0)
        client.transport.write(b"data")
        await until(lambda: server.data == b"data")
        server.transport.write(b"data")
        await until(lambda: client.data == b"data")
        assert client.events.count("pause") - client.events.count("resume") in (0, 1)
        return client.events

    seen = []
    loops = (eventlet_asyncio.EventLoop, asyncio.SelectorEventLoop)
    for make in loops:
        loop = make()
        try:
            seen.append(loop.run_until_complete(main()))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                for transport in list(loop._transports.values()):
                    transport.abort()
                for _ in range(3):
                    loop.run_until_complete(asyncio.sleep(0))
        finally:
            loop.close()
    assert seen[0] == seen[1]


def test_paused_reading(both, certificates):
    async def main():
        client, server = await connect(certificates)
        server.transport.pause_reading()
        client.transport.write(b"data")
        await asyncio.sleep(0.02)
        assert server.data == b""
        server.transport.resume_reading()
        await until(lambda: server.data == b"data")

        server.data_received = lambda data: (
            server.transport.pause_reading(),
            Recorder.data_received(server, data),
        )
        client.transport.write(b"more")
        client.transport.write(LARGE)
        await until(lambda: len(server.data) > 4)
        some = len(server.data)
        await asyncio.sleep(0.02)
        assert len(server.data) == some
        del server.data_received
        server.transport.resume_reading()
        await until(lambda: len(server.data) == 8 + len(LARGE))
        assert server.data == b"datamore" + LARGE

    assert both(main) == []


@pytest.mark.parametrize("make", [Recorder, Buffered])
def test_what_a_protocol_raises_is_told(both, certificates, make):
    class Failing(make):
        def data_received(self, data):
            raise ZeroDivisionError

        def buffer_updated(self, count):
            raise ZeroDivisionError

    async def main():
        client, server = await connect(certificates, Failing)
        client.transport.write(b"data")
        assert type(await server.lost) is ZeroDivisionError
        await client.lost

    (report,) = both(main)
    assert report["message"].startswith("Fatal error")
    assert type(report["exception"]) is ZeroDivisionError


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has another protocol for TLS")
def test_what_is_no_exception_is_reported_as_by_asyncio(both, certificates):
    class Strange(BaseException):
        pass

    class Failing(Recorder):
        def data_received(self, data):
            raise Strange

    async def main():
        client, server = await connect(certificates, Failing)
        client.transport.write(b"data")
        assert type(await server.lost) is Strange
        await client.lost

    (report,) = both(main)
    assert report["message"] == "Fatal error: protocol.buffer_updated() call failed."


def test_a_protocol_may_close_while_it_is_told(both, certificates):
    async def main():
        for end in ("close", "abort"):
            client, server = await connect(certificates)
            server.data_received = lambda data: getattr(server.transport, end)()  # noqa: B023
            client.transport.write(b"data")
            assert await server.lost is None
            await client.lost
            # Nobody is told of what is written in vain.
            client.transport.write(b"data")

    assert both(main) == []


def test_garbage_ends_the_connection(both, certificates):
    async def main():
        client, server = await connect(certificates)
        client.transport._ssl_protocol._transport.write(b"no record at all" * 10)
        assert isinstance(await server.lost, ssl.SSLError)
        await client.lost

    both(main)


def test_wrong_use(both, certificates):
    async def main():
        client, _ = await connect(certificates)
        for data in ("text", 1, None, [b"data"]):
            with pytest.raises(TypeError, match="bytes-like"):
                client.transport.write(data)

    assert both(main) == []


def test_another_protocol(both, certificates):
    async def main():
        client, server = await connect(certificates)
        for make in (Buffered, Recorder):
            other = make()
            server.transport.set_protocol(other)
            assert server.transport.get_protocol() is other
            client.transport.write(LARGE[:5000])
            await until(lambda: other.data == LARGE[:5000])  # noqa: B023

    assert both(main) == []


@pytest.mark.parametrize("again", [False, True], ids=["once", "within itself"])
def test_start_tls(both, certificates, again):
    server_side, client_side = certificates
    if not isinstance(server_side, asyncio.base_events.ssl.SSLContext):
        pytest.skip("eventlet has put another class in its place")

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        client, server = Recorder(), Recorder()
        ends = []
        for sock, protocol in ((near, client), (far, server)):
            sock.setblocking(False)
            ends.append((await loop.create_connection(lambda: protocol, sock=sock))[0])  # noqa: B023
        for _ in range(1 + again):
            upgrade = functools.partial(loop.start_tls, ssl_handshake_timeout=5)
            ends = await asyncio.gather(
                upgrade(ends[0], client, client_side, server_hostname="localhost"),
                upgrade(ends[1], server, server_side, server_side=True),
            )
        for data in (b"data", LARGE):
            ends[0].write(data)
            await until(lambda: server.data == data)  # noqa: B023
            ends[1].write(data)
            await until(lambda: client.data == data)  # noqa: B023
            client.data = server.data = b""
        if isinstance(loop, eventlet_asyncio.EventLoop):
            assert type(ends[0]) is _tls._SSLTransport
        assert ends[0].get_extra_info("cipher")
        ends[0].close()
        if again:
            ends[1].close()
        await asyncio.gather(client.lost, server.lost)

    assert both(main) == []


def test_streams(both, certificates):
    server_side, client_side = certificates

    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(
            *address, ssl=client_side, server_hostname="localhost"
        )
        for _ in range(3):
            writer.write(b"some data\n")
            assert await reader.readline() == b"SOME DATA\n"
        writer.close()
        await writer.wait_closed()
        server.close()

    assert both(main) == []


def test_a_protocol_may_block_greenly(certificates):
    class Slow(Recorder):
        inside = 0

        def data_received(self, data):
            assert self.inside == 0
            self.inside += 1
            eventlet.sleep(0.01)
            self.inside -= 1
            super().data_received(data)
            self.transport.write(data.upper())

    async def main():
        client, server = await connect(certificates)
        slow = Slow()
        slow.transport = server.transport
        server.transport.set_protocol(slow)
        for part in (b"one", b"two", b"three"):
            client.transport.write(part)
            await asyncio.sleep(0.002)
        await until(lambda: client.data == b"ONETWOTHREE")
        assert slow.data == b"onetwothree"

    assert run(main) == []


def test_an_object_of_the_programs_does_the_work(both, certificates):
    server_side, client_side = certificates
    calls = []

    class Object(ssl.SSLObject):
        def read(self, *args):
            calls.append("read")
            return super().read(*args)

        def write(self, data):
            calls.append("write")
            return super().write(data)

    async def main():
        calls.clear()
        client, server = await connect(certificates)
        client.transport.write(b"data")
        await until(lambda: server.data == b"data")
        server.transport.write(b"data")
        await until(lambda: client.data == b"data")
        assert {"read", "write"} <= set(calls)

    client_side.sslobject_class = Object
    try:
        assert both(main) == []
    finally:
        client_side.sslobject_class = ssl.SSLObject
