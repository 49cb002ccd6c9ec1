"""Stream transports send natively: what the socket takes at once, the rest later and in order."""

import array
import asyncio
import gc
import inspect
import os
import socket
import sys

import eventlet
import pytest

from ends import LARGE, Buffered, Recorder, connect, messages, run, until


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


def test_data_may_be_given_by_name():
    async def main():
        ends = await connect()
        ends.transport.write(data=b"one")
        ends.transport.writelines(list_of_data=[b"two"])
        assert await ends.receive(6) == b"onetwo"
        for wrong in (
            lambda: ends.transport.write(),
            lambda: ends.transport.write(b"1", b"2"),
            lambda: ends.transport.write(b"1", data=b"2"),
            lambda: ends.transport.write(other=b"1"),
        ):
            with pytest.raises(TypeError, match=r"write\(\) takes exactly one argument"):
                wrong()
        assert str(inspect.signature(ends.transport.write)) == "(data)"

    assert run(main) == []


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


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_file_that_waits_for_room_does_not_wait_on_after_the_end(how, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE * 16)

    async def main():
        ends = await connect()
        loop = asyncio.get_running_loop()
        number = ends.transport.get_extra_info("socket").fileno()
        with open(path, "rb") as file:
            sending = asyncio.ensure_future(loop.sendfile(ends.transport, file))
            await until(lambda: loop._watchers(number)[1])
            getattr(ends.transport, how)()
            await ends.protocol.lost
            assert loop._watchers(number) == (None, None)
            sending.cancel()
            await asyncio.wait([sending])

    assert run(main) == []


def test_what_was_queued_leaves_nothing_behind():
    async def main():
        ends = await connect(narrow=True)

        async def write():
            ends.transport.write(bytes(200_000))
            ends.transport.writelines([bytes(1000), bytes(2000)])
            await ends.receive(203_000)

        for _ in range(20):
            await write()
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(100):
            await write()
        gc.collect()
        assert sys.getallocatedblocks() - before < 100

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
    asked = []
    gate = eventlet.Event()

    class Blocking(Buffered):
        def get_buffer(self, sizehint):
            asked.append(sizehint)
            gate.wait()
            return self.memory

    async def main():
        ends = await connect(Blocking)
        await ends.send(b"data")
        await until(lambda: asked)
        ends.transport.abort()
        gate.send()
        assert await ends.protocol.lost is None
        assert ends.protocol.data == b""
        assert len(asked) == 1

    assert run(main) == []


def test_a_method_that_raises_after_its_connection_was_lost_is_reported(hub):
    class Late(asyncio.Protocol):
        def data_received(self, data):
            eventlet.sleep(0.01)
            raise ValueError("late")

    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        near, far = socket.socketpair()
        transport, _ = await loop.create_connection(Late, sock=near)
        far.send(b"data")
        await asyncio.sleep(0.005)
        transport.abort()
        await asyncio.sleep(0.02)
        far.close()
        assert [str(error) for error in seen] == ["late"]

    assert run(main) == []
