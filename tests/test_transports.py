"""Stream transports receive natively, and are asyncio's in all that can be seen of them."""

import array
import asyncio
import contextvars
import functools
import gc
import logging
import os
import socket
import warnings
import weakref

import pytest

import eventlet_asyncio
from ends import LARGE, Buffered, Recorder, connect, messages, run, until
from eventlet_asyncio import _transports


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
    transport._stream = _transports.Stream()


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


def test_without_a_protocol_data_ends_the_connection():
    async def main():
        ends = await connect()
        ends.transport.set_protocol(None)
        await ends.send(b"to whom?")
        await until(ends.transport.is_closing)

    (message, error) = messages(run(main))[0]
    assert message == "Fatal error: protocol.data_received() call failed."
    assert error == """AttributeError("'NoneType' object has no attribute 'data_received'")"""


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
        (b"constant", "Fatal read error on socket transport", TypeError),
        (memoryview(bytearray(8))[::2], "Fatal read error on socket transport", TypeError),
        ([1], "Fatal read error on socket transport", TypeError),
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


async def streams(limit):
    """A transport of ours that feeds a reader, and what is at its other end."""
    ends = await connect(narrow=True)
    reader = asyncio.StreamReader(limit=limit)
    protocol = asyncio.StreamReaderProtocol(reader)
    protocol._transport = ends.transport
    reader.set_transport(ends.transport)
    ends.transport.set_protocol(protocol)
    return ends, reader, protocol


def test_a_reader_that_is_full_pauses_its_transport():
    async def main():
        ends, reader, _ = await streams(limit=10)
        await ends.send(b"x" * 20)
        await until(lambda: len(reader._buffer) == 20)
        assert ends.transport.is_reading()
        await ends.send(b"y")
        await until(lambda: len(reader._buffer) == 21)
        assert not ends.transport.is_reading() and reader._paused is True
        assert await reader.read(15) == b"x" * 15
        assert ends.transport.is_reading()
        ends.sock.close()
        assert await reader.read() == b"xxxxxy"

    assert run(main) == []


@pytest.mark.parametrize("method", ["data_received", "feed_data", "_wakeup_waiter"])
@pytest.mark.parametrize("where", ["instance", "class"])
def test_methods_that_were_put_in_the_place_of_asyncios_are_called(method, where, monkeypatch):
    seen = []

    async def main():
        ends, reader, protocol = await streams(limit=1000)
        owner = protocol if method == "data_received" else reader
        original = getattr(type(owner), method)

        def noting(self, *args):
            seen.append(args)
            return original(self, *args)

        if where == "class":
            monkeypatch.setattr(type(owner), method, noting)
        else:
            setattr(owner, method, functools.partial(noting, owner))
        reading = asyncio.ensure_future(reader.readexactly(4))
        await asyncio.sleep(0)
        await ends.send(b"data")
        assert await reading == b"data"

    assert run(main) == []
    # The end of the connection may wake once more.
    assert seen[0] == (() if method == "_wakeup_waiter" else (b"data",))


def test_a_reader_that_nobody_has_any_more_is_not_fed():
    async def main():
        ends, reader, protocol = await streams(limit=1000)
        gone = weakref.ref(reader)
        reader = None
        assert gone() is None
        await ends.send(b"data")
        await asyncio.sleep(0.01)
        assert ends.transport.is_reading()

    assert run(main) == []


def test_a_reader_at_its_end_is_not_fed():
    async def main():
        ends, reader, _ = await streams(limit=1000)
        reader.feed_eof()
        await ends.send(b"data")
        await until(ends.transport.is_closing)
        with pytest.raises(AssertionError):
            await reader.read(1)

    (reported,) = run(main)
    assert reported["message"] == "Fatal error: protocol.data_received() call failed."
    assert type(reported["exception"]) is AssertionError


def test_a_cancelled_read_loses_nothing():
    async def main():
        ends, reader, _ = await streams(limit=1000)
        reading = asyncio.ensure_future(reader.readexactly(8))
        await asyncio.sleep(0)
        await ends.send(b"half")
        await until(lambda: reader._buffer == b"half")
        reading.cancel()
        await ends.send(b"rest")
        await asyncio.wait([reading])
        assert await reader.readexactly(8) == b"halfrest"

    assert run(main) == []
