"""Stream transports receive and send natively, and are asyncio's in all that can be seen of them."""

import array
import asyncio
import contextvars
import gc
import logging
import os
import socket
import struct
import warnings
import weakref

import eventlet
import pytest

import eventlet_asyncio
from eventlet_asyncio import _transports

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


# What it is.


def test_it_is_asyncios_transport():
    async def main():
        ends = await connect()
        transport = ends.transport
        assert type(transport) is _transports.SocketTransport
        assert isinstance(transport, asyncio.Transport)
        assert isinstance(transport, asyncio.selector_events._SelectorSocketTransport)
        assert transport.get_protocol() is ends.protocol
        assert transport.get_extra_info("socket").fileno() == transport._sock_fd
        assert transport.get_extra_info("peername") == ends.sock.getsockname()
        assert transport.is_reading() and not transport.is_closing()
        assert repr(transport) == (
            f"<SocketTransport fd={transport._sock_fd} read=polling write=<idle, bufsize=0>>"
        )

    assert run(main) == []


def test_its_fields_are_the_ones_that_asyncio_knows():
    async def main():
        ends = await connect(narrow=True)
        transport = ends.transport
        assert (transport._conn_lost, transport._eof, transport._closing) == (0, False, False)
        assert transport._paused is False and transport._empty_waiter is None
        assert len(transport._buffer) == 0 and transport._protocol is ends.protocol
        transport.write(LARGE)
        transport.pause_reading()
        transport.write_eof()
        assert transport._eof is True and transport._paused is True
        assert len(transport._buffer) > 0
        transport.abort()
        assert (transport._conn_lost, transport._closing) == (1, True)
        await ends.protocol.lost
        await asyncio.sleep(0)
        assert transport._sock is None and transport._protocol is None

    assert run(main) == []


def test_sockets_with_methods_of_their_own_keep_asyncios_transport():
    class Socket(socket.socket):
        sent = b""

        def send(self, data, *args):
            self.sent += bytes(data)
            return super().send(data, *args)

    async def main():
        left, right = socket.socketpair()
        ours = Socket(fileno=left.detach())
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, sock=ours)
        assert type(transport) is not _transports.SocketTransport
        transport.write(b"seen")
        assert ours.sent == b"seen" and right.recv(9) == b"seen"
        right.close()

    assert run(main) == []


def test_a_transport_without_references_is_freed_and_its_socket_closed():
    async def main():
        ends = await connect()
        ends.transport.pause_reading()
        freed = weakref.ref(ends.transport)
        await asyncio.sleep(0)
        gc.disable()
        try:
            with warnings.catch_warnings():
                # A warning that is recorded keeps what it warns of.
                warnings.simplefilter("ignore", ResourceWarning)
                ends.transport = ends.protocol.transport = None
            assert freed() is None
        finally:
            gc.enable()
        assert await ends.receive(1) == b""
        ends = await connect()
        ends.transport.pause_reading()
        await asyncio.sleep(0)
        with pytest.warns(ResourceWarning, match="unclosed transport <SocketTransport"):
            ends.transport = ends.protocol.transport = None

    assert run(main) == []


def test_a_closed_transport_is_part_of_no_circle():
    async def main():
        ends = await connect()
        ends.transport.close()
        await ends.protocol.lost
        await asyncio.sleep(0)
        freed = weakref.ref(ends.transport)
        gc.disable()
        try:
            ends.transport = ends.protocol.transport = None
            assert freed() is None
        finally:
            gc.enable()

    assert run(main) == []


def test_a_circle_of_an_open_transport_is_collected():
    async def main():
        ends = await connect()
        ends.transport.pause_reading()
        freed = weakref.ref(ends.transport)
        await asyncio.sleep(0)
        ends.protocol = ends.transport = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        assert freed() is None

    assert run(main) == []


def test_one_that_was_never_initialised_is_harmless():
    transport = _transports.SocketTransport.__new__(_transports.SocketTransport)
    assert transport._sock is None
    with pytest.raises(RuntimeError, match="the transport was not initialised"):
        transport.write(b"data")
    transport._read_ready()
    del transport._stream
    for use in (transport._read_ready, transport.is_closing, lambda: transport.write(b"data")):
        with pytest.raises((RuntimeError, AttributeError)):
            use()
    with pytest.raises(TypeError):
        transport._sock = object()
    transport._stream = _transports._evio.Stream()


# Receiving.


def test_it_receives_what_comes_and_then_the_end():
    async def main():
        ends = await connect()
        await ends.send(LARGE)
        await until(lambda: len(ends.protocol.data) == len(LARGE))
        ends.sock.close()
        assert await ends.protocol.lost is None
        assert ends.protocol.data == LARGE
        assert ends.protocol.events[-2:] == ["eof", "lost"]

    assert run(main) == []


def test_small_and_large_pieces_may_alternate():
    async def main():
        ends = await connect()
        whole = b""
        for size in (1, 100_000, 3, 9_000, 70_000, 0, 200_000, 2, 8_192, 16_384, 1):
            data = os.urandom(size)
            whole += data
            await ends.send(data)
            await until(lambda: len(ends.protocol.data) == len(whole))
        assert ends.protocol.data == whole

    assert run(main) == []


def test_a_paused_transport_receives_nothing():
    async def main():
        ends = await connect()
        ends.transport.pause_reading()
        ends.transport.pause_reading()
        assert not ends.transport.is_reading()
        await ends.send(b"later")
        await asyncio.sleep(0.02)
        assert ends.protocol.data == b""
        ends.transport.resume_reading()
        ends.transport.resume_reading()
        await until(lambda: ends.protocol.data == b"later")

    assert run(main) == []


def test_a_pause_while_data_is_received_holds_the_rest_back():
    class Pausing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async def main():
        ends = await connect(Pausing)
        await ends.send(b"first")
        await until(lambda: ends.protocol.data)
        await ends.send(b"second")
        await asyncio.sleep(0.02)
        assert ends.protocol.data == b"first"
        ends.transport.resume_reading()
        await until(lambda: ends.protocol.data == b"firstsecond")

    assert run(main) == []


def test_a_protocol_may_be_exchanged_while_data_is_received():
    class Switching(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.next = Buffered()
            self.next.transport = self.transport
            self.transport.set_protocol(self.next)

    async def main():
        ends = await connect(Switching)
        await ends.send(b"first")
        await until(lambda: ends.protocol.data)
        await ends.send(b"second")
        await until(lambda: ends.protocol.next.data == b"second")
        assert ends.protocol.data == b"first"
        assert ends.transport.get_protocol() is ends.protocol.next
        third = Recorder()
        ends.transport.set_protocol(third)
        await ends.send(b"third")
        await until(lambda: third.data == b"third")

    assert run(main) == []


def test_a_method_that_is_put_on_a_protocol_later_is_called():
    async def main():
        ends = await connect()
        await ends.send(b"1")
        await until(lambda: ends.protocol.data)
        seen = []
        ends.protocol.data_received = seen.append
        await ends.send(b"2")
        await until(lambda: seen == [b"2"])

    assert run(main) == []


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_protocol_may_end_the_connection_while_it_receives(how):
    class Ending(Recorder):
        def data_received(self, data):
            super().data_received(data)
            getattr(self.transport, how)()

    async def main():
        ends = await connect(Ending)
        await ends.send(b"first")
        await ends.protocol.lost
        assert ends.protocol.events == ["data", "lost"]
        assert await ends.receive(1) == b""

    assert run(main) == []


def test_it_keeps_the_context_in_which_the_connection_was_made():
    variable = contextvars.ContextVar("variable", default="none")

    class Asking(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.seen = variable.get()

    async def main():
        variable.set("set")
        ends = await connect(Asking)
        variable.set("changed")
        await ends.send(b"data")
        await until(lambda: ends.protocol.data)
        assert ends.protocol.seen == "set"

    assert run(main) == []


def test_a_half_closed_connection_can_still_be_written_to():
    class Keeping(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    async def main():
        ends = await connect(Keeping)
        ends.sock.shutdown(socket.SHUT_WR)
        await until(lambda: ends.protocol.events)
        await asyncio.sleep(0.02)
        assert ends.protocol.events == ["eof"]
        ends.transport.write(b"answer")
        ends.transport.write_eof()
        assert await ends.receive(100) == b"answer"

    assert run(main) == []


def test_a_reset_while_it_reads_is_told_and_not_reported():
    async def main():
        ends = await connect()
        ends.reset()
        error = await ends.protocol.lost
        assert type(error) is ConnectionResetError
        assert error.errno == 104 and error.strerror == os.strerror(104)
        assert ends.protocol.events == ["lost"]

    assert run(main) == []


def test_a_socket_that_somebody_closed_is_not_taken_for_another():
    async def main():
        ends = await connect()
        sock = ends.transport._sock
        ends.transport.pause_reading()
        number = sock.fileno()
        sock.close()
        left, right = socket.socketpair()
        try:
            assert number in (left.fileno(), right.fileno())
            ends.transport.write(b"not for them")
            for each in (left, right):
                each.setblocking(False)
                with pytest.raises(BlockingIOError):
                    each.recv(1)
            error = await ends.protocol.lost
            assert isinstance(error, OSError) and error.errno == 9
        finally:
            left.close()
            right.close()

    assert run(main) == []


# Receiving into memory of the protocol's.


def test_a_short_buffer_is_filled_many_times():
    async def main():
        ends = await connect(Buffered)
        data = os.urandom(10_001)
        await ends.send(data)
        await until(lambda: ends.protocol.data == data)
        ends.sock.close()
        assert await ends.protocol.lost is None

    assert run(main) == []


def test_a_buffer_may_be_any_writable_memory():
    class Items(Buffered):
        def get_buffer(self, sizehint):
            self.memory = array.array("i", [0, 0])
            return memoryview(self.memory)

        def buffer_updated(self, count):
            self.data += self.memory.tobytes()[:count]

    async def main():
        ends = await connect(Items)
        await ends.send(b"a dozen of bytes")
        await until(lambda: ends.protocol.data == b"a dozen of bytes")

    assert run(main) == []


def test_the_buffer_is_let_go_before_the_protocol_is_told():
    class Growing(Buffered):
        def buffer_updated(self, count):
            super().buffer_updated(count)
            self.memory += b"more"

    async def main():
        ends = await connect(Growing)
        await ends.send(b"some bytes")
        await until(lambda: ends.protocol.data == b"some bytes")

    assert run(main) == []


@pytest.mark.parametrize(
    ("buffer", "what", "error"),
    [
        (b"", "protocol.get_buffer() call failed.", RuntimeError),
        (None, "protocol.get_buffer() call failed.", TypeError),
        (b"constant", "Fatal read error on socket transport", BufferError),
    ],
)
def test_a_buffer_of_no_use_ends_the_connection(buffer, what, error):
    class Useless(Buffered):
        def get_buffer(self, sizehint):
            return buffer

    async def main():
        ends = await connect(Useless)
        await ends.send(b"data")
        assert isinstance(await ends.protocol.lost, error)

    (reported,) = run(main)
    assert reported["message"].endswith(what)


@pytest.mark.parametrize("method", ["get_buffer", "buffer_updated"])
def test_a_buffered_protocol_that_raises_loses_its_connection(method):
    class Raising(Buffered):
        pass

    def fail(*args):
        raise ValueError("mine")

    setattr(Raising, method, fail)

    async def main():
        ends = await connect(Raising)
        await ends.send(b"data")
        assert repr(await ends.protocol.lost) == "ValueError('mine')"

    assert messages(run(main)) == [
        (f"Fatal error: protocol.{method}() call failed.", "ValueError('mine')")
    ]


def test_a_buffered_protocol_may_end_the_connection_when_it_is_asked_for_memory():
    class Aborting(Buffered):
        def get_buffer(self, sizehint):
            self.transport.abort()
            return self.memory

    async def main():
        ends = await connect(Aborting)
        await ends.send(b"data")
        assert await ends.protocol.lost is None
        assert ends.protocol.data == b""

    assert run(main) == []


# Protocols that raise.


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_a_protocol_that_raises_loses_its_connection(method):
    class Raising(Recorder):
        pass

    def fail(*args):
        raise ValueError("mine")

    setattr(Raising, method, fail)

    async def main():
        ends = await connect(Raising)
        await ends.send(b"data")
        ends.sock.shutdown(socket.SHUT_WR)
        assert repr(await ends.protocol.lost) == "ValueError('mine')"
        assert ends.transport.is_closing()

    (reported,) = run(main)
    assert reported["message"] == f"Fatal error: protocol.{method}() call failed."
    assert type(reported["transport"]) is _transports.SocketTransport
    assert isinstance(reported["protocol"], Raising)


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_flow_control_that_raises_is_reported(method):
    class Raising(Recorder):
        pass

    def fail(*args):
        raise ValueError("mine")

    setattr(Raising, method, fail)

    async def main():
        ends = await connect(Raising, narrow=True)
        ends.transport.write(LARGE)
        assert await ends.receive(len(LARGE)) == LARGE

    assert messages(run(main)) == [(f"protocol.{method}() failed", "ValueError('mine')")]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_goes_through(kind):
    class Raising(Recorder):
        def data_received(self, data):
            raise kind("mine")

    async def main():
        ends = await connect(Raising)
        try:
            await ends.send(b"data")
            await asyncio.sleep(5)
        finally:
            ends.transport.abort()
            ends.sock.close()

    with pytest.raises(kind):
        eventlet_asyncio.run(main())


def test_debug_mode_logs_the_error_that_it_handles(caplog):
    caplog.set_level(logging.DEBUG, "asyncio")

    async def main():
        ends = await connect()
        ends.reset()
        await ends.protocol.lost

    assert run(main, debug=True) == []
    records = [record for record in caplog.records if "Fatal read error" in record.getMessage()]
    assert len(records) == 1 and records[0].exc_info[0] is ConnectionResetError


# Writing.


def test_what_the_socket_does_not_take_is_sent_later_and_in_order():
    async def main():
        ends = await connect(narrow=True)
        pieces = [os.urandom(size) for size in (10, 200_000, 1, 0, 70_000, 5, 100_000)]
        for piece in pieces:
            ends.transport.write(piece)
        assert ends.transport.get_write_buffer_size() > 0
        assert ends.transport._loop._watchers(ends.transport._sock_fd)[1] is not None
        whole = b"".join(pieces)
        assert await ends.receive(len(whole)) == whole
        await until(lambda: ends.transport.get_write_buffer_size() == 0)
        assert ends.transport._loop._watchers(ends.transport._sock_fd)[1] is None

    assert run(main) == []


def test_many_pieces_are_more_than_one_call_takes():
    async def main():
        ends = await connect(narrow=True)
        ends.transport.write(LARGE)
        pieces = [b"%d," % number for number in range(5000)]
        for piece in pieces:
            ends.transport.write(piece)
        whole = LARGE + b"".join(pieces)
        assert await ends.receive(len(whole)) == whole

    assert run(main) == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_it_writes_what_is_like_bytes(kind):
    class Bytes(bytes):
        pass

    async def main():
        ends = await connect(narrow=True)
        ends.transport.write(kind(LARGE))
        ends.transport.write(kind(b""))
        ends.transport.write(Bytes(b"subclass"))
        assert await ends.receive(len(LARGE) + 8) == LARGE + b"subclass"

    assert run(main) == []


def test_memory_of_items_is_written_whole():
    numbers = array.array("i", range(100_000))

    async def main():
        ends = await connect(narrow=True)
        ends.transport.write(memoryview(numbers))
        ends.transport.write(memoryview(numbers))
        ends.transport.writelines([memoryview(numbers), b"end"])
        whole = numbers.tobytes() * 3 + b"end"
        assert await ends.receive(len(whole)) == whole

    assert run(main) == []


def test_memory_may_change_once_it_is_written():
    async def main():
        ends = await connect(narrow=True)
        first, second = bytearray(LARGE), bytearray(b"second")
        ends.transport.write(first)
        ends.transport.write(second)
        ends.transport.writelines([memoryview(first)[:100_000]])
        first[:] = b"gone"
        second[:] = b"gone, too"
        whole = LARGE + b"second" + LARGE[:100_000]
        assert await ends.receive(len(whole)) == whole

    assert run(main) == []


def test_memory_in_pieces_cannot_be_written():
    async def main():
        ends = await connect()
        ends.transport.write(memoryview(b"scattered")[::2])
        assert isinstance(await ends.protocol.lost, BufferError)

    ((message, _),) = messages(run(main))
    assert message == "Fatal write error on socket transport"


@pytest.mark.parametrize("data", ["text", None, 3, array.array("b", [1])])
def test_what_is_not_like_bytes_is_refused(data):
    async def main():
        ends = await connect()
        name = type(data).__name__
        with pytest.raises(TypeError, match=f"bytes-like object, not '{name}'"):
            ends.transport.write(data)
        ends.transport.write(b"still open")
        assert await ends.receive(10) == b"still open"

    assert run(main) == []


def test_writelines_writes_all_pieces():
    async def main():
        ends = await connect(narrow=True)
        ends.transport.writelines([])
        ends.transport.writelines([b"", b""])
        ends.transport.writelines([b"one", bytearray(b"two"), memoryview(b"three"), b""])
        ends.transport.writelines(piece for piece in (b"four", b"five"))
        assert await ends.receive(19) == b"onetwothreefourfive"
        pieces = [os.urandom(size) for size in [3] * 2000 + [100_000, 1, 300_000]]
        ends.transport.writelines(pieces)
        assert ends.transport.get_write_buffer_size() > 0
        ends.transport.writelines([b"the", b"end"])
        whole = b"".join(pieces) + b"theend"
        assert await ends.receive(len(whole)) == whole
        with pytest.raises(TypeError):
            ends.transport.writelines(["text"])
        with pytest.raises(TypeError):
            ends.transport.writelines(3)

    assert run(main) == []


def test_writelines_is_flow_controlled():
    async def main():
        ends = await connect(narrow=True)
        ends.transport.writelines([LARGE, LARGE])
        assert ends.protocol.events == ["pause"]
        assert await ends.receive(2 * len(LARGE)) == 2 * LARGE
        await until(lambda: ends.protocol.events == ["pause", "resume"])

    assert run(main) == []


def test_water_marks_pause_and_resume_the_protocol():
    async def main():
        ends = await connect(narrow=True)
        ends.transport.set_write_buffer_limits(high=100_000, low=50_000)
        assert ends.transport.get_write_buffer_limits() == (50_000, 100_000)
        while ends.transport.get_write_buffer_size() <= 90_000:
            ends.transport.write(b"x" * 10_000)
        assert ends.protocol.events == []
        ends.transport.write(b"x" * 20_000)
        assert ends.protocol.events == ["pause"]
        ends.transport.write(b"x" * 20_000)
        assert ends.protocol.events == ["pause"]
        while ends.transport.get_write_buffer_size() > 50_000:
            await ends.receive(1)
        assert ends.protocol.events == ["pause", "resume"]

    assert run(main) == []


def test_a_protocol_may_write_when_it_is_resumed():
    class Writing(Recorder):
        left = 5

        def resume_writing(self):
            super().resume_writing()
            if self.left:
                self.left -= 1
                self.transport.write(LARGE)

    async def main():
        ends = await connect(Writing, narrow=True)
        ends.transport.write(LARGE)
        assert await ends.receive(6 * len(LARGE)) == 6 * LARGE
        await until(lambda: ends.protocol.events == ["pause", "resume"] * 6)

    assert run(main) == []


def test_a_protocol_may_abort_when_it_is_resumed():
    class Aborting(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.abort()

    async def main():
        ends = await connect(Aborting, narrow=True)
        ends.transport.write(LARGE)
        await ends.receive(len(LARGE))
        assert await ends.protocol.lost is None
        await asyncio.sleep(0.01)
        assert ends.protocol.events == ["pause", "resume", "lost"]

    assert run(main) == []


def test_the_end_comes_behind_what_is_queued():
    async def main():
        ends = await connect(narrow=True)
        ends.transport.write(LARGE)
        ends.transport.write_eof()
        ends.transport.write_eof()
        assert await ends.receive(2 * len(LARGE)) == LARGE
        with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
            ends.transport.write(b"more")
        with pytest.raises(RuntimeError, match=r"Cannot call writelines\(\) after write_eof\(\)"):
            ends.transport.writelines([b"more"])
        await ends.send(b"answer")
        await until(lambda: ends.protocol.data == b"answer")

    assert run(main) == []


def test_close_sends_what_is_queued_first():
    async def main():
        ends = await connect(narrow=True)
        ends.transport.write(LARGE)
        ends.transport.close()
        ends.transport.close()
        ends.transport.write(b"the end")
        assert await ends.receive(2 * len(LARGE)) == LARGE + b"the end"
        assert await ends.protocol.lost is None
        ends.transport.write(b"too late")
        ends.transport.writelines([b"too", b"late"])

    assert run(main) == []


def test_abort_drops_what_is_queued():
    async def main():
        ends = await connect(narrow=True)
        ends.transport.write(LARGE)
        ends.transport.abort()
        assert ends.transport.get_write_buffer_size() == 0
        assert await ends.protocol.lost is None
        assert len(await ends.receive(len(LARGE))) < len(LARGE)

    assert run(main) == []


def test_writes_after_the_end_are_warned_of_after_a_while(caplog):
    async def main():
        ends = await connect()
        ends.transport.abort()
        for _ in range(4):
            ends.transport.write(b"in vain")
        assert ends.transport._conn_lost == 5 and caplog.text == ""
        ends.transport.write(b"in vain")
        ends.transport.writelines([b"in", b"vain"])
        assert ends.transport._conn_lost == 7
        await ends.protocol.lost

    assert run(main) == []
    assert [record.message for record in caplog.records] == ["socket.send() raised exception."] * 2


def test_a_reset_while_it_writes_is_told_and_not_reported():
    async def main():
        ends = await connect()
        ends.transport.pause_reading()
        ends.reset()
        await asyncio.sleep(0.02)
        # The first finds the reset, if the second does not find the closed pipe.
        ends.transport.write(b"1")
        ends.transport.write(b"2")
        error = await ends.protocol.lost
        assert isinstance(error, (ConnectionResetError, BrokenPipeError))

    assert run(main) == []


def test_a_reset_while_something_is_queued_is_told():
    async def main():
        ends = await connect()
        ends.transport.pause_reading()
        ends.transport.write(LARGE * 16)
        ends.reset()
        error = await ends.protocol.lost
        assert isinstance(error, (ConnectionResetError, BrokenPipeError))
        assert ends.protocol.events == ["pause", "lost"]
        assert ends.transport.get_write_buffer_size() == 0

    assert run(main) == []


def test_a_file_can_be_sent_between_writes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE)

    async def main():
        ends = await connect(narrow=True)
        loop = asyncio.get_running_loop()
        ends.transport.write(b"before" * 10_000)
        with open(path, "rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(ends.transport, file))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
                ends.transport.write(b"between")
            with pytest.raises(RuntimeError, match="unable to writelines; sendfile is in progress"):
                ends.transport.writelines([b"between"])
            assert await ends.receive(60_000 + len(LARGE)) == b"before" * 10_000 + LARGE
            assert await sending == len(LARGE)
        ends.transport.write(b"after")
        assert await ends.receive(5) == b"after"

    assert run(main) == []


def test_who_waits_to_send_a_file_learns_of_a_reset(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE)

    async def main():
        ends = await connect()
        ends.transport.write(LARGE * 16)
        with open(path, "rb") as file:
            loop = asyncio.get_running_loop()
            sending = asyncio.ensure_future(loop.sendfile(ends.transport, file))
            await asyncio.sleep(0.01)
            ends.reset()
            with pytest.raises(ConnectionError):
                await sending

    assert run(main) == []


# Beside green code.


def test_data_waits_while_the_protocol_blocks_greenly(hub):
    class Blocking(Recorder):
        inside = 0

        def data_received(self, data):
            assert self.inside == 0
            self.inside += 1
            super().data_received(data)
            eventlet.sleep(0.01)
            self.inside -= 1

    async def main():
        ends = await connect(Blocking)
        for number in range(5):
            await ends.send(b"%d" % number)
            await asyncio.sleep(0.004)
        ends.sock.close()
        await ends.protocol.lost
        assert ends.protocol.data == b"01234"
        assert ends.protocol.events[-2:] == ["eof", "lost"]

    assert run(main) == []


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_green_threads_write_while_a_protocol_blocks(hub, size):
    class Blocking(Recorder):
        def data_received(self, data):
            for number in range(3):
                self.transport.write(b"%d" % number * size)
                eventlet.sleep(0.005)

    async def main():
        ends = await connect(Blocking, narrow=True)
        await ends.send(b"go")
        await asyncio.sleep(0.002)
        writer = eventlet.spawn(ends.transport.write, b"green")
        received = await ends.receive(3 * size + 5)
        assert writer.dead
        left, _, right = received.partition(b"green")
        assert left + right == b"0" * size + b"1" * size + b"2" * size

    assert run(main) == []


def test_a_protocol_may_block_when_it_is_resumed(hub):
    class Blocking(Recorder):
        def resume_writing(self):
            eventlet.sleep(0.01)
            super().resume_writing()
            self.transport.write(b"resumed")

    async def main():
        ends = await connect(Blocking, narrow=True)
        ends.transport.write(LARGE)
        received = await ends.receive(len(LARGE))
        ends.transport.write(b"meanwhile")
        received += await ends.receive(len(LARGE) + 16 - len(received))
        assert received.startswith(LARGE)
        assert received[len(LARGE) :] in (b"meanwhileresumed", b"resumedmeanwhile")
        ends.transport.close()
        assert await ends.protocol.lost is None

    assert run(main) == []


def test_a_protocol_that_blocks_may_lose_its_connection(hub):
    class Blocking(Buffered):
        def get_buffer(self, sizehint):
            eventlet.sleep(0.01)
            return self.memory

    async def main():
        ends = await connect(Blocking)
        await ends.send(b"data")
        await asyncio.sleep(0.005)
        ends.transport.abort()
        assert await ends.protocol.lost is None
        await asyncio.sleep(0.02)
        assert ends.protocol.data == b""

    assert run(main) == []


# In other processes.


def test_a_forked_child_goes_on_with_its_copy(hub):
    async def main():
        ends = await connect()
        ends.transport.write(b"parent")
        child = os.fork()
        if not child:
            code = 1
            try:
                ends.transport.write(b"child")
                assert await ends.receive(11) == b"parentchild"
                await ends.send(b"to the child")
                await until(lambda: ends.protocol.data == b"to the child")
                code = 0
            finally:
                os._exit(code)
        loop = asyncio.get_running_loop()
        ends.transport.pause_reading()
        _, status = await loop.run_in_executor(None, os.waitpid, child, 0)
        assert status == 0
        ends.transport.resume_reading()
        ends.transport.write(b"parent again")
        assert await ends.receive(12) == b"parent again"

    assert run(main) == []


# Above them.


def test_streams_work():
    async def serve(reader, writer):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert type(writer.transport) is _transports.SocketTransport
        for size in (1, 100, 10_000, 1 << 20):
            data = os.urandom(size)
            writer.write(data)
            answer, _ = await asyncio.gather(reader.readexactly(size), writer.drain())
            assert answer == data
        writer.write(b"line\nrest")
        writer.write_eof()
        assert await reader.readline() == b"line\n"
        assert await reader.read() == b"rest"
        writer.close()
        await writer.wait_closed()
        server.close()

    assert run(main) == []


def test_unix_sockets_work(tmp_path):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def main():
        server = await asyncio.start_unix_server(serve, tmp_path / "socket")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "socket")
        assert type(writer.transport) is _transports.SocketTransport
        writer.write(b"line\n")
        assert await reader.read() == b"line\n"
        writer.close()
        server.close()

    assert run(main) == []
