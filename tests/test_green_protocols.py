"""Protocols that block greenly where they receive, on every kind of transport: nothing is lost, all comes in
order and one piece at a time, and the loop goes on."""

import asyncio
import functools
import os
import socket
import tempfile

import eventlet
import pytest

from programs import certificates, program  # noqa: F401


class Watched:
    """Notes what a protocol is told, and sleeps greenly over all that it receives."""

    def __init__(self):
        self.calls = []
        self.received = {}
        self.inside = set()
        self.ended = asyncio.get_running_loop().create_future()

    def note(self, call, key=None, data=None):
        self.calls.append(call)
        if data is not None:
            assert key not in self.inside
            self.inside.add(key)
            eventlet.sleep(0.003)
            self.received.setdefault(key, []).append(data)
            self.inside.remove(key)

    def data(self, key=None):
        return b"".join(self.received.get(key, ()))

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def connection_lost(self, exception):
        self.note("lost")
        self.ended.set_result(None)

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.note("resume")


class Stream(Watched, asyncio.Protocol):
    def data_received(self, data):
        self.note("data", None, data)

    def eof_received(self):
        self.note("eof")


class Datagrams(Watched, asyncio.DatagramProtocol):
    def datagram_received(self, data, address):
        self.note("datagram", None, data)


async def ticks(awaitable):
    """Awaits something, and the loop goes on meanwhile."""
    done = asyncio.ensure_future(awaitable)
    count = 0
    while not done.done():
        await asyncio.sleep(0.0005)
        count += 1
    assert count > 1
    return await done


def check_ends(calls):
    assert calls[0] == "made" and calls[-1] == "lost"
    assert calls.count("made") == calls.count("lost") == 1


def test_pipes(program):
    async def main():
        loop = asyncio.get_running_loop()
        read, write = os.pipe()
        _, reader = await loop.connect_read_pipe(Stream, os.fdopen(read, "rb", 0))
        transport, writer = await loop.connect_write_pipe(Stream, os.fdopen(write, "wb", 0))
        transport.write(b"x" * 1_000_000)
        transport.write_eof()
        await ticks(asyncio.gather(reader.ended, writer.ended))
        assert reader.data() == b"x" * 1_000_000
        check_ends(reader.calls)
        check_ends(writer.calls)
        assert "pause" in writer.calls and "resume" in writer.calls
        assert reader.calls[-2:] == ["eof", "lost"]

    program(main())


def test_datagrams(program):
    async def main():
        loop = asyncio.get_running_loop()
        here = ("127.0.0.1", 0)
        transport, receiver = await loop.create_datagram_endpoint(Datagrams, local_addr=here)
        address = transport.get_extra_info("sockname")
        sender, other = await loop.create_datagram_endpoint(Datagrams, remote_addr=address)
        for number in range(10):
            sender.sendto(b"%d" % number)
        while len(receiver.received.get(None, [])) < 10:
            await asyncio.sleep(0.001)
        sender.close()
        transport.close()
        await asyncio.gather(receiver.ended, other.ended)
        assert receiver.received == {None: [b"%d" % number for number in range(10)]}
        check_ends(receiver.calls)
        check_ends(other.calls)

    program(main())


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
def test_connections(program, certificates, tmp_path, kind):
    """Both ends, with more than the sockets take at once, and an end of each."""

    async def main():
        loop = asyncio.get_running_loop()
        accepted = []

        def accept():
            accepted.append(Stream())
            return accepted[-1]

        if kind == "unix":
            path = str(tmp_path / "socket")
            server = await loop.create_unix_server(accept, path)
            connect = functools.partial(loop.create_unix_connection, Stream, path)
        else:
            tls = kind == "tls"
            server = await loop.create_server(
                accept, "127.0.0.1", 0, ssl=certificates[0] if tls else None
            )
            port = server.sockets[0].getsockname()[1]
            connect = functools.partial(
                loop.create_connection,
                Stream,
                "localhost",
                port,
                family=socket.AF_INET,
                ssl=certificates[1] if tls else None,
            )
        clients = [protocol for _, protocol in await asyncio.gather(*(connect() for _ in range(3)))]
        for client in clients:
            client.transport.write(b"question" * 20_000)
        while len(accepted) < 3 or any(len(p.data()) < 160_000 for p in accepted):
            await asyncio.sleep(0.001)
        for protocol in accepted:
            protocol.transport.write(b"answer" * 20_000)
            protocol.transport.close()
        await ticks(asyncio.gather(*(protocol.ended for protocol in clients + accepted)))
        while any(protocol.inside for protocol in clients + accepted):
            await asyncio.sleep(0.001)
        for client in clients:
            assert client.data() == b"answer" * 20_000
            check_ends(client.calls)
        for protocol in accepted:
            assert protocol.data() == b"question" * 20_000
            check_ends(protocol.calls)
        server.close()
        await server.wait_closed()

    program(main())


def test_tls_that_is_started_later_on_both_ends(program, certificates):
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        for sock in (left, right):
            sock.setblocking(False)
        _, accepted = await loop.connect_accepted_socket(Stream, left)
        _, client = await loop.create_connection(Stream, sock=right)
        secured = await asyncio.gather(
            loop.start_tls(accepted.transport, accepted, certificates[0], server_side=True),
            loop.start_tls(client.transport, client, certificates[1], server_hostname="localhost"),
        )
        ends = [accepted, client]
        for transport, name in zip(secured, (b"server", b"client")):
            transport.write(name * 20_000)
        while any(len(end.data()) < 120_000 for end in ends):
            await asyncio.sleep(0.001)
        secured[0].close()
        await asyncio.gather(*(end.ended for end in ends))
        assert accepted.data() == b"client" * 20_000
        assert client.data() == b"server" * 20_000
        for end in ends:
            check_ends(end.calls)

    program(main())


@pytest.mark.parametrize("fallback", [False, True], ids=["native", "fallback"])
def test_a_file_is_sent_to_who_reads_it_greenly(program, certificates, fallback):
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        for sock in (left, right):
            sock.setblocking(False)
        transport, sender = await loop.connect_accepted_socket(Stream, left)
        _, receiver = await loop.create_connection(Stream, sock=right)
        if fallback:
            transport, _ = await asyncio.gather(
                loop.start_tls(transport, sender, certificates[0], server_side=True),
                loop.start_tls(
                    receiver.transport, receiver, certificates[1], server_hostname="localhost"
                ),
            )
        with tempfile.TemporaryFile() as file:
            file.write(b"0123456789" * 50_000)
            sent = await loop.sendfile(transport, file, 10, 400_000, fallback=fallback)
            assert sent == 400_000 and file.tell() == 400_010
        transport.close()
        await asyncio.gather(sender.ended, receiver.ended)
        assert receiver.data() == b"0123456789" * 40_000

    program(main())
