"""sock_connect(), sock_recvfrom() and their kin are native, and are asyncio's in all that can be seen of them."""

import array
import asyncio
import contextlib
import socket
import subprocess
import sys

import pytest

from test_sock_calls import WITH_DATAGRAMS, both, loop, start  # noqa: F401

of_datagrams = pytest.mark.skipif(not WITH_DATAGRAMS, reason="asyncio has them from 3.11 on")


@contextlib.contextmanager
def datagrams():
    """Two sockets for datagrams, and their addresses."""
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(2)]
        for each in pair:
            each.setblocking(False)
            each.bind(("127.0.0.1", 0))
        yield *pair, *(each.getsockname() for each in pair)


@of_datagrams
def test_datagrams_come_with_their_addresses(both):
    async def main(near, far):
        with datagrams() as (one, other, address, others):
            memory = bytearray(20)
            for late in (False, True):
                for size in (100, 3, 1 << 20):
                    receiving = loop().sock_recvfrom(one, size)
                    receiving = await start(receiving) if late else receiving
                    assert await loop().sock_sendto(other, b"data", address) == 4
                    assert await receiving == (b"data"[:size], others)
                for view, options in (
                    (memory, ()),
                    (memory, (0,)),
                    (memoryview(memory)[5:], (3,)),
                    (array.array("i", [0] * 3), ()),
                ):
                    receiving = loop().sock_recvfrom_into(one, view, *options)
                    receiving = await start(receiving) if late else receiving
                    await loop().sock_sendto(other, memoryview(b"data"), address)
                    # asyncio takes the number of items for that of bytes.
                    size = (*options, 0)[0] or len(view)
                    assert await receiving == (min(size, 4), others)
                    assert bytes(view)[:3] == b"dat"
                    memory[:] = bytes(20)
            assert await loop().sock_sendto(other, b"", address) == 0
            assert await loop().sock_recvfrom(one, 10) == (b"", others)
            for data in (bytearray(b"data"), array.array("B", b"data")):
                await loop().sock_sendto(other, data, ("localhost", address[1]))
                assert await loop().sock_recvfrom(one, 10) == (b"data", others)
        far.send(b"data")
        assert await loop().sock_recvfrom(near, 10) == (b"data", None)

    assert both(main) == []


@of_datagrams
def test_datagrams_of_other_families(both, tmp_path):
    async def main(near, far):
        places = [(socket.AF_UNIX, str(tmp_path / f"{name} {id(near)}")) for name in "ab"]
        if socket.has_ipv6:
            places += [(socket.AF_INET6, ("::1", 0))] * 2
        for first, second in zip(places[::2], places[1::2]):
            with socket.socket(first[0], socket.SOCK_DGRAM) as one:
                with socket.socket(second[0], socket.SOCK_DGRAM) as other:
                    for each, (_, place) in ((one, first), (other, second)):
                        each.setblocking(False)
                        try:
                            each.bind(place)
                        except OSError:
                            return
                    to = other.getsockname()
                    for address in (to, to[:2] if isinstance(to, tuple) else to):
                        receiving = await start(loop().sock_recvfrom(other, 10))
                        await loop().sock_sendto(one, b"data", address)
                        assert await receiving == (b"data", one.getsockname())

    assert both(main) == []


@of_datagrams
def test_a_datagram_waits_for_room(both, tmp_path):
    async def main(near, far):
        path = str(tmp_path / str(id(near)))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.setblocking(False)
            client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            client.setblocking(False)
            sent = []

            async def send():
                for number in range(2000):
                    await loop().sock_sendto(client, b"%d" % number, path)
                    sent.append(number)

            with client:
                sending = asyncio.ensure_future(send())
                await asyncio.sleep(0.01)
                assert not sending.done()
                for number in range(2000):
                    data, _ = await loop().sock_recvfrom(server, 100)
                    assert data == b"%d" % number
                await sending

    assert both(main) == []


@of_datagrams
def test_odd_arguments_of_datagrams(both):
    async def outcome(call):
        try:
            return await call
        except Exception as error:
            return type(error)

    async def main(near, far):
        found = []
        with datagrams() as (one, other, address, others):
            for to in (None, ("127.0.0.1",), ("127.0.0.1", 1 << 20), ("127.0.0.1", -1), "path", 7):
                found.append(await outcome(loop().sock_sendto(one, b"data", to)))
            found.append(await outcome(loop().sock_sendto(one, "text", others)))
            found.append(await outcome(loop().sock_sendto(one, bytes(1 << 17), others)))
            for size in (-1, None, 1.5, "1"):
                await loop().sock_sendto(other, b"data", address)
                found.append(await outcome(loop().sock_recvfrom(one, size)))
            for buffer, size in ((bytearray(3), 4), (b"data", 0), (bytearray(3), -1), (bytearray(), 1)):
                await loop().sock_sendto(other, b"data", address)
                found.append(await outcome(loop().sock_recvfrom_into(one, buffer, size)))
        found.append(await outcome(loop().sock_recvfrom(one, 10)))
        found.append(await outcome(loop().sock_sendto(one, b"data", others)))
        assert found[:6] == [TypeError, TypeError, OverflowError, OverflowError, TypeError, TypeError]
        assert found[6:] == [
            *(TypeError, OSError),
            *(ValueError, TypeError, TypeError, TypeError),
            *(ValueError, TypeError, ValueError, ValueError),
            *(OSError, OSError),
        ]

    assert both(main) == []


def test_connections_are_made(both):
    async def main(near, far):
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.socket() as client:
                client.setblocking(False)
                place = server.getsockname()
                assert await loop().sock_connect(client, place) is None
                assert client.getpeername() == place
            with socket.socket() as client:
                client.setblocking(False)
                await loop().sock_connect(client, ("localhost", place[1]))
                assert client.getpeername() == place
            # A socket of datagrams is connected at once.
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                with pytest.raises(StopIteration):
                    loop().sock_connect(client, place).send(None)
                assert client.getpeername() == place

    assert both(main) == []


def test_connections_that_are_refused(both):
    async def main(near, far):
        with socket.create_server(("127.0.0.1", 0)) as server:
            place = server.getsockname()
        with socket.socket() as client:
            client.setblocking(False)
            with pytest.raises(ConnectionRefusedError) as refused:
                await loop().sock_connect(client, place)
            assert str(place) in str(refused.value)
            assert not loop().remove_writer(client)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop().sock_connect(client, place)
        for address, kind in (
            (("127.0.0.1", 1 << 20), OverflowError),
            (("127.0.0.1",), (TypeError, ValueError)),
            (None, TypeError),
        ):
            with socket.socket() as client:
                client.setblocking(False)
                with pytest.raises(kind):
                    await loop().sock_connect(client, address)

    assert both(main) == []


def test_a_connection_that_is_given_up(both):
    async def main(near, far):
        # With no room for more, a connection waits.
        with socket.socket() as server, contextlib.ExitStack() as stack:
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            for _ in range(10):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                connecting = asyncio.ensure_future(
                    loop().sock_connect(client, server.getsockname())
                )
                await asyncio.sleep(0.01)
                if not connecting.done():
                    break
            assert not connecting.done()
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            assert not loop().remove_writer(client)

    assert both(main) == []


def test_audit_hooks_are_told():
    program = """
import asyncio, socket, sys
import eventlet_asyncio

async def main():
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        await loop.sock_connect(one, ("127.0.0.1", 9))
        if sys.version_info >= (3, 11):
            await loop.sock_sendto(one, b"", ("127.0.0.1", 9))

events = []
sys.addaudithook(lambda event, args: events.append((event, args[1:])) if event in (
    "socket.connect", "socket.sendto") else None)
eventlet_asyncio.run(main())
address = (("127.0.0.1", 9),)
expected = [("socket.connect", address), ("socket.sendto", address)]
assert events == expected[:1 + (sys.version_info >= (3, 11))], events
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
