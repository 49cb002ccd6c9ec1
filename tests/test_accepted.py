"""Servers accept natively, and what they make of connections is what asyncio makes of them."""

import asyncio
import contextlib
import contextvars
import gc
import os
import resource
import socket
import sys
import warnings

import eventlet
import pytest

import eventlet_asyncio
from ends import LOOPS, Recorder, both, run_on, until


class Server:
    """A server, and the protocols of its connections."""

    def __init__(self, kind=Recorder):
        self.protocols = []
        self.kind = kind

    def make(self):
        self.protocols.append(self.kind())
        return self.protocols[-1]

    async def start(self, host="127.0.0.1", **options):
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(self.make, host, 0, **options)
        self.address = self.server.sockets[0].getsockname()
        return self

    async def connect(self, count=1):
        before = len(self.protocols)
        ends = [socket.create_connection(self.address[:2]) for _ in range(count)]
        await until(lambda: len(self.protocols) == before + count)
        await until(lambda: all(hasattr(each, "transport") for each in self.protocols))
        return ends


@contextlib.contextmanager
def closing(ends):
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


def names_of(transport):
    names = {name for cls in type(transport).__mro__ for name in getattr(cls, "__slots__", ())}
    return {name for name in names | set(vars(transport)) if hasattr(transport, name)}


# What a connection is.


def test_a_transport_has_all_that_asyncios_has():
    names = set()
    found = {}

    async def main():
        server = await Server().start()
        with closing(await server.connect()):
            transport = server.protocols[0].transport
            names.update(names_of(transport) if not names else ())
            for name in names - {"_sock_fd", "_write_ready", "_read_ready_cb"}:
                value = getattr(transport, name)
                kind = type(value).__name__
                found.setdefault(name, []).append(
                    value if isinstance(value, (bool, int, str, type(None))) else kind
                )
            found.setdefault("extra", []).append(set(transport._extra))
            assert transport.get_write_buffer_limits() == (16384, 65536)
        server.server.close()

    run_on(LOOPS["asyncio"](), main)
    run_on(LOOPS["ours"](), main)
    assert found.pop("_loop") == ["_UnixSelectorEventLoop", "EventLoop"]
    for name, (theirs, ours) in found.items():
        assert theirs == ours, name


def test_a_connection_knows_its_addresses(both):
    hosts = ["127.0.0.1"]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        hosts.append("::1")

    async def main():
        for host in hosts:
            server = await Server().start(host)
            with closing(await server.connect()) as (end,):
                transport = server.protocols[0].transport
                assert transport.get_extra_info("peername") == end.getsockname()
                assert transport.get_extra_info("sockname") == server.address
                sock = transport.get_extra_info("socket")
                assert (sock.family, sock.type) == (end.family, socket.SOCK_STREAM)
                assert sock.gettimeout() == 0
                assert not sock.get_inheritable()
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                end.send(b"data")
                await until(lambda: server.protocols[0].data == b"data")
            server.server.close()

    assert both(main) == []


def test_unix_servers(both, tmp_path):
    async def main():
        protocols = []
        path = str(tmp_path / f"server {id(protocols)}")

        def make():
            protocols.append(Recorder())
            return protocols[-1]

        server = await asyncio.get_running_loop().create_unix_server(make, path)
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(path)
            end.send(b"data")
            await until(lambda: protocols and protocols[0].data)
            assert protocols[0].transport.get_extra_info("peername") == ""
            assert protocols[0].transport.get_extra_info("sockname") == path
        server.close()

    assert both(main) == []


def test_a_default_timeout_changes_nothing(both):
    async def main():
        server = await Server().start()
        socket.setdefaulttimeout(5)
        try:
            with closing(await server.connect()):
                sock = server.protocols[0].transport.get_extra_info("socket")
                assert sock.gettimeout() == 0
        finally:
            socket.setdefaulttimeout(None)

    assert both(main) == []


def test_each_connection_has_a_context_of_its_own(both):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    class Protocol(Recorder):
        def __init__(self):
            super().__init__()
            seen.append(variable.get())
            variable.set(variable.get() + 1)

        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(variable.get())

    async def main():
        variable.set(10)
        server = await Server(Protocol).start()
        with closing(await server.connect(2)):
            assert sorted(seen) == [10, 10, 11, 11]
        assert variable.get() == 10

    assert both(main) == []


def test_many_at_once_are_all_accepted(both):
    async def main():
        server = await Server().start(backlog=5)
        ends = []
        for _ in range(10):
            ends += await server.connect(5)
        with closing(ends):
            peers = [each.transport.get_extra_info("peername") for each in server.protocols]
            assert sorted(peers) == sorted(end.getsockname() for end in ends)
        await until(lambda: all(each.lost.done() for each in server.protocols))

    assert both(main) == []


def test_a_server_waits_for_its_connections(both):
    async def main():
        server = await Server().start()
        (end,) = await server.connect()
        server.server.close()
        with pytest.raises(OSError):
            socket.create_connection(server.address)
        if sys.version_info >= (3, 12):
            waiting = asyncio.ensure_future(server.server.wait_closed())
            await asyncio.sleep(0.01)
            assert waiting.done() is (sys.version_info < (3, 12, 1))
        end.close()
        await server.protocols[0].lost
        await asyncio.wait_for(server.server.wait_closed(), 1)

    assert both(main) == []


def test_streams_over_tcp(both):
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"data\n")
            assert await reader.read() == b"DATA\n"
            writer.close()
        server.close()

    assert both(main) == []


# What goes wrong.


@pytest.mark.parametrize("debug", [False, True])
def test_a_factory_that_raises_is_reported_in_debug_mode_only(both, debug):
    class Refusing(Recorder):
        def __init__(self):
            raise ValueError("no protocol")

    async def main():
        server = await Server(Refusing).start()
        with socket.create_connection(server.address):
            await asyncio.sleep(0.05)

    reported = both(main, debug=debug)
    messages = [(context["message"], repr(context["exception"])) for context in reported]
    message = "Error on transport creation for incoming connection"
    assert messages == [(message, "ValueError('no protocol')")] * debug


@pytest.mark.parametrize("debug", [False, True])
def test_a_factory_without_an_answer_refuses_the_connection(both, debug):
    async def main():
        server = await Server(lambda: None).start()
        with socket.create_connection(server.address) as end:
            end.setblocking(False)
            end.send(b"to whom?")
            await asyncio.sleep(0.05)
            gc.collect()
            # A report keeps what it is about.
            if not debug:
                with contextlib.suppress(ConnectionResetError):
                    assert end.recv(1) == b""

    reported = both(main, debug=debug)
    message = "Error on transport creation for incoming connection"
    errors = [repr(each["exception"]) for each in reported if each["message"] == message]
    error = """AttributeError("'NoneType' object has no attribute 'connection_made'")"""
    assert errors == [error] * debug


def test_an_interrupt_while_a_socket_is_made_closes_its_number_once(monkeypatch):
    make = socket.socket.__init__

    def interrupted(sock, *parts, **options):
        make(sock, *parts, **options)
        if parts[3:]:
            raise KeyboardInterrupt

    loop = eventlet_asyncio.EventLoop()
    with contextlib.closing(loop), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        server = loop.run_until_complete(Server().start())
        with socket.create_connection(server.address):
            monkeypatch.setattr(socket.socket, "__init__", interrupted)
            loop.call_later(5, loop.stop)
            with pytest.raises(KeyboardInterrupt) as stopped:
                loop.run_forever()
            monkeypatch.undo()
            # They take the numbers that are free.
            opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
            del stopped
            gc.collect()
            for each in opened:
                os.close(each)
        server.server.close()
        loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_goes_through(kind):
    class Ending(Recorder):
        def __init__(self):
            raise kind

    loop = eventlet_asyncio.EventLoop()
    with contextlib.closing(loop):
        server = loop.run_until_complete(Server(Ending).start())
        with socket.create_connection(server.address):
            loop.call_later(5, loop.stop)
            with pytest.raises(kind):
                loop.run_forever()
        server.server.close()
        loop.run_until_complete(asyncio.sleep(0))


def test_no_descriptors_are_left(both):
    async def main():
        server = await Server().start()
        end = socket.socket()
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        with end, socket.socket() as probe:
            highest = max(end.fileno(), probe.fileno())
            probe.close()
            spare = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limit[1]))
            try:
                with contextlib.suppress(OSError):
                    while True:
                        spare.append(socket.socket())
                end.connect(server.address)
                await asyncio.sleep(0.05)
                assert server.protocols == []
            finally:
                for each in spare:
                    each.close()
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            await until(lambda: server.protocols)

    reported = both(main)
    assert {context["message"] for context in reported} == {
        "socket.accept() out of system resource"
    }
    assert {type(context["socket"]).__name__ for context in reported} == {"TransportSocket"}


def test_a_task_factory_makes_a_task_for_each_connection(both):
    made = []

    def factory(loop, coroutine, **options):
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        server = await Server().start()
        with closing(await server.connect()):
            assert [name for name in made if "accept" in name]

    assert both(main) == []


def test_an_end_while_the_protocol_is_told(both):
    class Raising(Recorder):
        def eof_received(self):
            raise ValueError("at the end")

    class Again(Recorder):
        def connection_lost(self, error):
            super().connection_lost(error)
            raise ValueError("when it is lost")

    async def main():
        for kind in (Raising, Again):
            server = await Server(kind).start()
            for end in await server.connect():
                end.close()
            await server.protocols[0].lost
            await asyncio.sleep(0)
            assert server.protocols[0].transport._sock is None
            server.server.close()
            await asyncio.wait_for(server.server.wait_closed(), 1)

    reported = both(main)
    messages = [(context["message"][:30], repr(context["exception"])) for context in reported]
    assert messages == [
        ("Fatal error: protocol.eof_rece", "ValueError('at the end')"),
        ("Exception in callback Recorder"[:21], "ValueError('when it is lost')"),
    ] or messages[1][0].startswith("Exception in callback")


# Beside green code.


def test_a_factory_that_blocks_greenly_holds_up_no_other(hub):
    begun = []

    class Slow(Recorder):
        def __init__(self):
            begun.append(self)
            with eventlet.Timeout(20):
                while len(begun) < 20:
                    eventlet.sleep(0.001)
            super().__init__()

    async def main():
        server = await Server(Slow).start()
        with closing(await server.connect(20)):
            assert len(begun) == 20

    assert run_on(eventlet_asyncio.EventLoop(), main) == []
