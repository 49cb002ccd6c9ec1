"""sock_recv() and its kin are native, and are asyncio's in all that can be seen of them."""

import array
import asyncio
import contextlib
import gc
import inspect
import os
import socket
import ssl
import struct
import sys
import weakref

import eventlet
import pytest

import eventlet_asyncio
from ends import LARGE, until

WITH_DATAGRAMS = sys.version_info >= (3, 11)
LOOPS = {"ours": eventlet_asyncio.EventLoop, "asyncio": asyncio.SelectorEventLoop}


@pytest.fixture(params=LOOPS)
def both(request):
    """Runs a test on a loop of ours, and on the one whose behaviour is wanted."""

    def run(main, *, debug=False):
        loop = LOOPS[request.param]()
        loop.set_debug(debug)
        reports = []
        loop.set_exception_handler(lambda _, report: reports.append(report["message"]))
        near, far = socket.socketpair()
        try:
            for each in (near, far):
                each.setblocking(False)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            loop.run_until_complete(asyncio.wait_for(main(near, far), 10))
            if near.fileno() >= 0:
                assert not loop.remove_reader(near)
                assert not loop.remove_writer(near)
        finally:
            near.close()
            far.close()
            loop.close()
        return reports

    return run


def loop():
    return asyncio.get_running_loop()


async def start(coroutine):
    """A task that waits already."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


# What they do.


def test_they_are_coroutine_functions():
    names = ["sock_recv", "sock_recv_into", "sock_sendall", "sock_accept", "sock_connect"]
    if WITH_DATAGRAMS:
        names += ["sock_recvfrom", "sock_recvfrom_into", "sock_sendto"]
    for name in names:
        method = getattr(eventlet_asyncio.EventLoop, name)
        theirs = getattr(asyncio.SelectorEventLoop, name)
        assert inspect.iscoroutinefunction(method)
        assert inspect.signature(method) == inspect.signature(theirs)


def test_what_is_there_is_received_at_once(both):
    async def main(near, far):
        far.send(b"some data")
        coroutine = loop().sock_recv(near, 4)
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        assert stopped.value.value == b"some"
        memory = bytearray(10)
        with pytest.raises(StopIteration) as stopped:
            loop().sock_recv_into(near, memory).send(None)
        assert stopped.value.value == 5
        assert memory[:5] == b" data"

    assert both(main) == []


def test_what_is_not_there_is_waited_for(both):
    async def main(near, far):
        receiving = await start(loop().sock_recv(near, 100))
        far.send(b"data")
        assert await receiving == b"data"
        memory = bytearray(100)
        receiving = await start(loop().sock_recv_into(near, memoryview(memory)[1:]))
        far.send(b"more")
        assert await receiving == 4
        assert memory[:5] == b"\0more"
        receiving = await start(loop().sock_recv(near, 1 << 22))
        far.close()
        assert await receiving == b""
        assert await loop().sock_recv(near, 100) == b""
        assert await loop().sock_recv_into(near, memory) == 0

    assert both(main) == []


@pytest.mark.parametrize("size", [1, 1000, 1 << 18, 1 << 20, 1 << 25])
def test_no_more_is_received_than_was_asked_for(both, size):
    async def main(near, far):
        sending = asyncio.ensure_future(loop().sock_sendall(far, LARGE[:50_000]))
        received = b""
        while len(received) < 50_000 and len(received) < 100 * size:
            some = await loop().sock_recv(near, size)
            assert 0 < len(some) <= size
            assert type(some) is bytes
            received += some
        assert LARGE.startswith(received)
        sending.cancel()

    assert both(main) == []


@pytest.mark.parametrize("size", [0, -1, "1", None, 1.5, True, 1 << 80], ids=repr)
def test_odd_sizes(size, both):
    async def main(near, far):
        far.send(b"data")
        try:
            outcome = await loop().sock_recv(near, size)
        except Exception as error:
            outcome = type(error)
        expected = {0: b"", -1: ValueError, True: b"d", 1 << 80: OverflowError}
        assert outcome == expected.get(size, TypeError)

    assert both(main) == []


@pytest.mark.parametrize("buffer", [b"read-only", bytearray(), "text", array.array("i", [0] * 3)])
def test_odd_buffers(buffer, both):
    async def main(near, far):
        far.send(b"01234567890123456789")
        try:
            outcome = await loop().sock_recv_into(near, buffer)
        except Exception as error:
            outcome = type(error)
        kinds = {bytes: TypeError, bytearray: 0, str: TypeError, array.array: 12}
        assert outcome == kinds[type(buffer)]

    assert both(main) == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array.array("B", data)])
def test_all_of_the_data_is_sent(both, kind):
    async def main(near, far):
        assert await loop().sock_sendall(near, kind(b"small")) is None
        assert await loop().sock_recv(far, 100) == b"small"
        sending = await start(loop().sock_sendall(near, kind(LARGE)))
        received = bytearray()
        while len(received) < len(LARGE):
            received += await loop().sock_recv(far, 1 << 16)
        assert await sending is None
        assert received == LARGE

    assert both(main) == []


def test_odd_data(both):
    class Odd(bytes):
        def __len__(self):
            return 0

    async def main(near, far):
        assert await loop().sock_sendall(near, b"") is None
        assert await loop().sock_sendall(near, memoryview(b"012345")[::1]) is None
        assert await loop().sock_recv(far, 100) == b"012345"
        for data in ("text", None, memoryview(b"012345")[::2]):
            with pytest.raises((TypeError, BufferError)):
                await loop().sock_sendall(near, data)
        # asyncio takes the number of items for that of bytes, and goes on.
        items = memoryview(array.array("i", [1, 2]))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(loop().sock_sendall(near, items), 0.05)
        assert (await loop().sock_recv(far, 100))[:8] == bytes(items)

    assert both(main) == []


def test_data_that_is_being_sent_stays_as_long_as_it_is(both):
    async def main(near, far):
        data = bytearray(LARGE)
        sending = await start(loop().sock_sendall(near, data))
        with pytest.raises(BufferError):
            data.append(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        del sending
        gc.collect()
        data.append(1)

    assert both(main) == []


def test_connections_are_accepted(both, tmp_path):
    async def main(near, far):
        path = str(tmp_path / f"server {id(near)}")
        servers = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        servers[1].bind(path)
        servers[1].listen()
        for server in servers:
            with server:
                server.setblocking(False)
                for late in (False, True):
                    client = socket.socket(server.family)
                    client.setblocking(False)
                    accepting = await start(loop().sock_accept(server)) if late else None
                    await loop().sock_connect(client, server.getsockname())
                    conn, address = await (accepting or loop().sock_accept(server))
                    with client, conn:
                        assert type(conn) is socket.socket
                        assert address == client.getsockname()
                        assert (conn.family, conn.type) == (server.family, socket.SOCK_STREAM)
                        assert conn.gettimeout() == 0 and not conn.get_inheritable()
                        await loop().sock_sendall(client, b"data")
                        assert await loop().sock_recv(conn, 100) == b"data"
                accepting = await start(loop().sock_accept(server))
                accepting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await accepting
                assert not loop().remove_reader(server)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop().sock_accept(server)
        with pytest.raises(OSError, match="Invalid argument"):
            await loop().sock_accept(near)

    assert both(main) == []


# Ends.


def test_a_reset_is_told(both):
    async def main(near, far):
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            other, _ = server.accept()
        with client:
            client.setblocking(False)
            receiving = await start(loop().sock_recv(client, 100))
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            other.close()
            with pytest.raises(ConnectionResetError):
                await receiving
            with pytest.raises(BrokenPipeError):
                await loop().sock_sendall(client, b"data")
        for call in (loop().sock_recv(client, 1), loop().sock_sendall(client, b"data")):
            with pytest.raises(OSError, match="Bad file descriptor"):
                await call

    assert both(main) == []


@pytest.mark.parametrize("late", [False, True])
def test_a_cancelled_call_receives_nothing(both, late):
    async def main(near, far):
        receiving = await start(loop().sock_recv(near, 100))
        receiving.cancel()
        if late:
            far.send(b"data")
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert not loop().remove_reader(near)
        if not late:
            far.send(b"data")
        assert await loop().sock_recv(near, 100) == b"data"
        sending = await start(loop().sock_sendall(near, LARGE))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not loop().remove_writer(near)

    assert both(main) == []


def test_one_that_is_ready_and_cancelled_in_one_turn_receives_nothing(both):
    async def main(near, far):
        receiving = await start(loop().sock_recv(near, 100))
        loop().call_soon(receiving.cancel)
        far.send(b"data")
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert await loop().sock_recv(near, 100) == b"data"

    assert both(main) == []


def test_the_second_of_two_takes_the_place_of_the_first(both):
    async def main(near, far):
        first = await start(loop().sock_recv(near, 100))
        second = await start(loop().sock_recv(near, 100))
        far.send(b"data")
        assert await second == b"data"
        far.send(b"more")
        await asyncio.sleep(0.01)
        assert not first.done()
        third = asyncio.ensure_future(loop().sock_recv(near, 100))
        first.cancel()
        assert await third == b"more"

    assert both(main) == []


def test_a_reader_of_the_program_takes_its_place(both):
    async def main(near, far):
        receiving = await start(loop().sock_recv(near, 100))
        called = []
        loop().add_reader(near, called.append, 1)
        far.send(b"data")
        await until(lambda: called)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert loop().remove_reader(near)

    assert both(main) == []


def test_both_directions_at_once(both):
    async def main(near, far):
        receiving = await start(loop().sock_recv(near, 100))
        sending = await start(loop().sock_sendall(near, LARGE))
        far.send(b"data")
        assert await receiving == b"data"
        received = 0
        while received < len(LARGE):
            received += len(await loop().sock_recv(far, 1 << 16))
        await sending

    assert both(main) == []


def test_a_number_that_is_another_sockets_now(both):
    async def main(near, far):
        for _ in range(3):
            one, other = socket.socketpair()
            with one, other:
                one.setblocking(False)
                receiving = await start(loop().sock_recv(one, 100))
                other.send(b"data")
                assert await receiving == b"data"

    assert both(main) == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_goes_through(kind):
    # Memory of such a kind there is from Python 3.12 on.
    if not hasattr(inspect, "BufferFlags"):
        pytest.skip("no class of Python's has memory")

    class Memory:
        count = 0

        def __buffer__(self, flags):
            self.count += 1
            if self.count == 3:
                raise kind
            return memoryview(bytearray(10))

    async def main(near, far):
        receiving = await start(loop().sock_recv_into(near, Memory()))
        far.send(b"data")
        await receiving

    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far, contextlib.closing(eventlet_asyncio.EventLoop()) as ours:
        with pytest.raises(kind):
            ours.run_until_complete(main(near, far))
        for task in asyncio.all_tasks(ours):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                ours.run_until_complete(task)


# What they refuse.


def test_debug_mode_refuses_sockets_that_block(both):
    async def main(near, far):
        for timeout in (None, 1):
            near.settimeout(timeout)
            for call in (
                loop().sock_recv(near, 1),
                loop().sock_recv_into(near, bytearray(1)),
                loop().sock_sendall(near, b"data"),
                loop().sock_connect(near, ("127.0.0.1", 9)),
            ):
                with pytest.raises(ValueError, match="the socket must be non-blocking"):
                    await call

    assert both(main, debug=True) == []


def test_tls_sockets_are_refused(both):
    async def main(near, far):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with context.wrap_socket(near, do_handshake_on_connect=False) as sock:
            if not isinstance(sock, asyncio.base_events.ssl.SSLSocket):
                pytest.skip("eventlet has put another class in its place")
            with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
                await loop().sock_recv(sock, 1)
            with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
                await loop().sock_sendall(sock, b"data")

    assert both(main) == []


def test_sockets_of_transports_are_refused(both):
    async def main(near, far):
        fd = os.dup(near.fileno())
        transport, _ = await loop().create_connection(asyncio.Protocol, sock=near)
        mine = socket.socket(fileno=near.fileno())
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop().sock_recv(mine, 1)
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop().sock_sendall(mine, LARGE)
        mine.detach()
        transport.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        os.close(fd)

    assert both(main) == []


def test_methods_of_the_programs_are_called(both):
    class Socket(socket.socket):
        def recv(self, size):
            return super().recv(size).upper()

        def send(self, data):
            return super().send(bytes(data)[:2])

    async def main(near, far):
        mine = Socket(fileno=os.dup(near.fileno()))
        with mine:
            mine.setblocking(False)
            receiving = await start(loop().sock_recv(mine, 100))
            far.send(b"data")
            assert await receiving == b"DATA"
            await loop().sock_sendall(mine, b"01234")
            assert await loop().sock_recv(far, 100) == b"01234"

    assert both(main) == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="classes have no __buffer__")
def test_memory_that_closes_the_socket_gets_nothing_of_another(both):
    others = []

    class Memory:
        def __init__(self, near):
            self.near = near

        def __buffer__(self, flags):
            if self.near is not None:
                number = self.near.fileno()
                self.near.close()
                others.extend(socket.socketpair())
                assert number in (others[0].fileno(), others[1].fileno())
                for each in others:
                    each.setblocking(False)
                    each.send(b"not for you")
                self.near = None
            return memoryview(bytearray(20))

    async def main(near, far):
        memory = Memory(None)
        receiving = await start(loop().sock_recv_into(near, memory))
        memory.near = near
        far.send(b"data")
        with pytest.raises(OSError, match="Bad file descriptor"):
            await receiving
        for each in others:
            assert each.recv(20) == b"not for you"
            each.close()

    assert both(main) == []


def test_objects_that_are_no_sockets(both):
    async def main(near, far):
        for call in (loop().sock_recv(None, 1), loop().sock_sendall(7, b"data")):
            with pytest.raises(AttributeError):
                await call

    assert both(main) == []


# Nothing stays behind.


def test_a_call_that_is_over_keeps_nothing(both):
    class Socket(socket.socket):
        pass

    async def main(near, far):
        mine = Socket(fileno=os.dup(near.fileno()))
        mine.setblocking(False)
        receiving = await start(loop().sock_recv(mine, 100))
        far.send(b"data")
        await receiving
        gone = weakref.ref(mine)
        mine.close()
        del mine, receiving
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None

    assert both(main) == []


def test_a_coroutine_that_is_dropped_watches_nothing():
    async def main():
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            coroutine = loop().sock_recv(near, 100)
            coroutine.send(None)
            assert loop()._watchers(near.fileno())[0] is not None
            coroutine.close()
            assert loop()._watchers(near.fileno()) == (None, None)

    eventlet_asyncio.run(main())


def test_a_loop_may_be_closed_while_one_waits():
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        ours = eventlet_asyncio.EventLoop()
        coroutine = ours.sock_recv(near, 100)
        coroutine.send(None)
        ours.close()
        coroutine.close()
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            ours.sock_recv(near, 100).send(None)


def test_green_code_waits_for_them(hub):
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        eventlet.spawn_after(0.01, far.send, b"data")
        assert eventlet_asyncio.await_(hub.loop.sock_recv(near, 100)) == b"data"
