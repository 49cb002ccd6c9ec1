"""Options of connections and of servers do on our loop what they do on asyncio's own."""

import asyncio
import errno
import socket
import sys

import pytest

from ends import both, until  # noqa: F401


class Counted(asyncio.Protocol):
    """Knows its connection, and what came by it."""

    def __init__(self):
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data

    def connection_lost(self, error):
        self.lost.set_result(error)


async def serve(host="127.0.0.1", port=0, **options):
    accepted = []

    def accept():
        accepted.append(Counted())
        return accepted[-1]

    server = await asyncio.get_running_loop().create_server(accept, host, port, **options)
    return server, accepted


async def end(server, *protocols):
    for protocol in protocols:
        protocol.transport.close()
        await protocol.lost
    server.close()
    await asyncio.wait_for(server.wait_closed(), 10)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def answers(*addresses):
    """A getaddrinfo() of a loop that gives these."""

    async def getaddrinfo(host, port, *, family=0, type=0, proto=0, flags=0):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return getaddrinfo


@pytest.mark.parametrize("delay", [None, 0.01, 5])
def test_the_first_address_that_answers_is_taken(both, delay, monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        server, accepted = await serve()
        port = server.sockets[0].getsockname()[1]
        # Nobody listens there: it refuses at once.
        monkeypatch.setattr(loop, "getaddrinfo", answers("127.0.0.2", "127.0.0.1"), raising=False)
        _, client = await loop.create_connection(Counted, "somewhere", port, happy_eyeballs_delay=delay)
        assert client.transport.get_extra_info("peername") == ("127.0.0.1", port)
        await until(lambda: accepted)
        monkeypatch.undo()
        await end(server, client, *accepted)

    assert both(main) == []


def test_where_no_address_answers_all_errors_are_told(both, monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", answers("127.0.0.2", "127.0.0.3"), raising=False)
        with pytest.raises(OSError) as raised:
            await loop.create_connection(Counted, "somewhere", free_port())
        assert "127.0.0.2" in str(raised.value) and "127.0.0.3" in str(raised.value)
        if sys.version_info >= (3, 12):
            with pytest.raises(ExceptionGroup) as group:
                await loop.create_connection(Counted, "somewhere", free_port(), all_errors=True)
            assert [error.errno for error in group.value.exceptions] == [errno.ECONNREFUSED] * 2
        monkeypatch.undo()

    assert both(main) == []


def test_a_connection_is_made_from_a_local_address(both):
    async def main():
        loop = asyncio.get_running_loop()
        server, accepted = await serve()
        address = server.sockets[0].getsockname()
        here = ("127.0.0.1", free_port())
        _, client = await loop.create_connection(Counted, *address, local_addr=here)
        assert client.transport.get_extra_info("sockname") == here
        await until(lambda: accepted)
        assert accepted[0].transport.get_extra_info("peername") == here
        with pytest.raises(OSError):
            await loop.create_connection(Counted, *address, local_addr=("192.0.2.1", 0))
        await end(server, client, *accepted)

    assert both(main) == []


def test_a_server_listens_on_all_hosts_that_it_is_given(both):
    async def main():
        loop = asyncio.get_running_loop()
        server, accepted = await serve(["127.0.0.1", "127.0.0.2"])
        addresses = [sock.getsockname() for sock in server.sockets]
        assert {host for host, _ in addresses} == {"127.0.0.1", "127.0.0.2"}
        clients = [(await loop.create_connection(Counted, *address))[1] for address in addresses]
        await until(lambda: len(accepted) == 2)
        await end(server, *clients, *accepted)

    assert both(main) == []


def test_servers_share_a_port(both):
    async def main():
        loop = asyncio.get_running_loop()
        first, accepted = await serve(reuse_port=True)
        port = first.sockets[0].getsockname()[1]
        second, more = await serve(port=port, reuse_port=True)
        with pytest.raises(OSError) as raised:
            await serve(port=port)
        assert raised.value.errno == errno.EADDRINUSE
        clients = [(await loop.create_connection(Counted, "127.0.0.1", port))[1] for _ in range(8)]
        await until(lambda: len(accepted) + len(more) == 8)
        await end(first, *clients, *accepted, *more)
        await end(second)

    assert both(main) == []


def test_a_server_starts_when_it_is_told(both):
    async def main():
        loop = asyncio.get_running_loop()
        server, accepted = await serve(start_serving=False)
        address = server.sockets[0].getsockname()
        assert not server.is_serving()
        with pytest.raises(OSError):
            await loop.create_connection(Counted, *address)
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        _, client = await loop.create_connection(Counted, *address)
        await until(lambda: accepted)
        forever = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        client.transport.close()
        await accepted[0].lost
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert not server.is_serving()

    assert both(main) == []


def test_sockets_of_the_program_are_served_and_connected(both):
    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        server, accepted = await serve(None, None, sock=listener)
        near = socket.create_connection(listener.getsockname())
        near.setblocking(False)
        _, client = await loop.create_connection(Counted, sock=near)
        client.transport.write(b"data")
        await until(lambda: accepted and accepted[0].data == b"data")
        with pytest.raises(ValueError, match="can not be specified at the same time"):
            await loop.create_connection(Counted, "127.0.0.1", 1, sock=near)
        with pytest.raises(ValueError, match="Stream Socket"):
            with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
                await loop.create_connection(Counted, sock=datagrams)
        await end(server, client, *accepted)

    assert both(main) == []


def test_a_socket_that_was_accepted_elsewhere_becomes_a_connection(both):
    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with socket.create_connection(listener.getsockname()) as far:
                accepted, _ = listener.accept()
                _, protocol = await loop.connect_accepted_socket(Counted, accepted)
                far.sendall(b"data")
                await until(lambda: protocol.data == b"data")
        assert await protocol.lost is None

    assert both(main) == []
