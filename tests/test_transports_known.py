"""What is known of a connection is there whenever somebody asks, though it is made only then."""

import asyncio
import gc
import socket

import pytest

import eventlet_asyncio
from ends import Recorder, both, connect, run, until  # noqa: F401


async def accepted(loop, make=Recorder):
    """The transport of a connection that a server has accepted, the socket at its other end, the server."""
    protocols = []

    def made():
        protocols.append(make())
        return protocols[-1]

    server = await loop.create_server(made, "127.0.0.1", 0)
    end = socket.create_connection(server.sockets[0].getsockname())
    await until(lambda: protocols and hasattr(protocols[0], "transport"))
    return protocols[0].transport, end, server


def test_it_is_known_after_the_end_too(both):
    async def main():
        loop = asyncio.get_running_loop()
        for how in ("close", "abort"):
            for ask_early in (False, True):
                transport, end, server = await accepted(loop)
                address = end.getsockname()
                if ask_early:
                    assert transport.get_extra_info("peername") == address
                end.close()
                getattr(transport, how)()
                await transport.get_protocol().lost
                assert transport._sock is None
                assert transport.get_extra_info("peername") == address
                assert transport.get_extra_info("sockname") == server.sockets[0].getsockname()
                sock = transport.get_extra_info("socket")
                assert (sock.fileno(), sock.family) == (-1, socket.AF_INET)
                assert transport.get_extra_info("else") is None
                assert transport.get_extra_info("else", 1) == 1
                server.close()

    assert both(main) == []


def test_it_is_made_once(both):
    async def main():
        transport, end, server = await accepted(asyncio.get_running_loop())
        with end:
            for name in ("socket", "peername", "sockname"):
                assert transport.get_extra_info(name) is transport.get_extra_info(name)
            assert transport._extra is transport._extra
            transport._extra["mine"] = 7
            assert transport.get_extra_info("mine") == 7
            transport._extra = {"other": 8}
            assert transport.get_extra_info("other") == 8
            assert transport.get_extra_info("socket") is None
            server.close()

    assert both(main) == []


def test_a_peer_that_has_gone_at_once_is_known(both):
    async def main():
        loop = asyncio.get_running_loop()
        protocols = []

        def made():
            protocols.append(Recorder())
            return protocols[-1]

        server = await loop.create_server(made, "127.0.0.1", 0)
        end = socket.create_connection(server.sockets[0].getsockname())
        address = end.getsockname()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.close()
        await until(lambda: protocols and protocols[0].lost.done())
        assert protocols[0].transport.get_extra_info("peername") == address
        server.close()

    assert both(main) == []


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET6])
def test_addresses_of_other_families(both, family, tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        protocol = Recorder()
        with socket.socket(family) as server, socket.socket(family) as client:
            try:
                server.bind(str(tmp_path / str(id(loop))) if family == socket.AF_UNIX else ("::1", 0))
            except OSError:
                pytest.skip("there is no such address here")
            server.listen()
            client.connect(server.getsockname())
            far, _ = server.accept()
            with far:
                near = client.dup()
                near.setblocking(False)
                names = (near.getsockname(), near.getpeername())
                transport, _ = await loop.create_connection(lambda: protocol, sock=near)
                transport.close()
                await protocol.lost
                info = transport.get_extra_info
                assert (info("sockname"), info("peername")) == names

    assert both(main) == []


def test_sockets_that_know_better_are_asked(both):
    class Socket(socket.socket):
        def getsockname(self):
            return "mine"

        def getpeername(self):
            raise OSError

    async def main():
        near, far = socket.socketpair()
        with far:
            sock = Socket(fileno=near.detach())
            sock.setblocking(False)
            transport, _ = await asyncio.get_running_loop().create_connection(Recorder, sock=sock)
            assert transport.get_extra_info("sockname") == "mine"
            assert transport.get_extra_info("peername", 1) is None

    assert both(main) == []


def test_a_loop_that_makes_its_transports_gets_what_asyncio_gives():
    seen = []

    class Loop(eventlet_asyncio.EventLoop):
        def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None, server=None):
            seen.append(extra)
            return super()._make_socket_transport(
                sock, protocol, waiter, extra=extra, server=server
            )

    async def main():
        loop = asyncio.get_running_loop()
        transport, end, server = await accepted(loop)
        assert seen[-1]["peername"] == end.getsockname()
        assert transport._extra is seen[-1]
        loop._make_socket_transport = lambda *args, **options: seen.append(options["extra"])
        with socket.create_connection(server.sockets[0].getsockname()) as other:
            await until(lambda: len(seen) == 2)
            assert seen[-1] == {"peername": other.getsockname()}
        end.close()
        transport.abort()
        server.close()

    loop = Loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


def test_an_idle_connection_has_nothing_that_nobody_asked_for():
    async def main():
        ends = await connect()
        transport = ends.transport
        assert vars(transport) == {}
        kinds = {type(each).__name__ for each in gc.get_referents(transport._stream)}
        assert not kinds & {"deque", "dict", "bytearray", "TransportSocket", "tuple"}
        # As soon as somebody does, it is asyncio's.
        assert transport.get_write_buffer_size() == 0
        assert len(transport._buffer) == 0
        assert transport._buffer is transport._buffer
        transport.set_write_buffer_limits(high=10)
        assert transport.get_write_buffer_limits() == (2, 10)

    assert run(main) == []


# Receiving again where the data fills its room.


class Full(asyncio.BufferedProtocol):
    """Has little memory, and notes in which order it is told."""

    def __init__(self):
        self.events = []
        self.data = b""
        self.memory = memoryview(bytearray(100))

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.memory

    def buffer_updated(self, count):
        self.events.append(count)
        self.data += self.memory[:count]


def test_much_data_for_little_memory(both):
    async def main():
        ends = await connect(Full)
        await ends.send(bytes(range(250)) * 3)
        await until(lambda: len(ends.protocol.data) == 750)
        assert ends.protocol.data == bytes(range(250)) * 3
        assert ends.protocol.events == [100] * 7 + [50]

    assert both(main) == []


def test_what_is_scheduled_comes_before_the_next_data(both):
    class Scheduling(Full):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            asyncio.get_running_loop().call_soon(self.events.append, "soon")

    async def main():
        ends = await connect(Scheduling)
        await ends.send(b"x" * 350)
        await until(lambda: ends.protocol.events.count("soon") == 4)
        assert ends.protocol.events == [100, "soon", 100, "soon", 100, "soon", 50, "soon"]

    assert both(main) == []


@pytest.mark.parametrize("how", ["pause_reading", "close", "abort"])
def test_who_wants_no_more_gets_no_more(both, how):
    class Enough(Full):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            getattr(self.transport, how)()

    async def main():
        ends = await connect(Enough)
        await ends.send(b"x" * 350)
        await until(lambda: ends.protocol.events)
        await asyncio.sleep(0.01)
        assert ends.protocol.events == [100]

    assert both(main) == []


def test_another_protocol_gets_the_rest(both):
    class Once(Full):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            self.next = Recorder()
            self.next.transport = self.transport
            self.transport.set_protocol(self.next)

    async def main():
        ends = await connect(Once)
        await ends.send(b"x" * 350)
        await until(lambda: getattr(ends.protocol, "next", None) and ends.protocol.next.data)
        assert (ends.protocol.events, len(ends.protocol.next.data)) == ([100], 250)

    assert both(main) == []


def test_a_loop_that_stops_leaves_the_rest():
    class Stopping(Full):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            asyncio.get_running_loop().stop()

    loop = eventlet_asyncio.EventLoop()
    try:
        ends = loop.run_until_complete(connect(Stopping))
        ends.sock.send(b"x" * 350)
        loop.run_forever()
        assert ends.protocol.events == [100]
        loop.run_forever()
        assert ends.protocol.events == [100, 100]
        ends.transport.abort()
        ends.sock.close()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
