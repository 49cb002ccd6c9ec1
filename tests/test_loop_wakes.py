"""A waiting loop wakes for descriptors, for other threads and for signals, and is kept from none of them."""

import asyncio
import concurrent.futures
import ctypes
import errno
import os
import signal
import socket
import sys
import threading
import time

import pytest

import eventlet_asyncio


# Descriptors.


def test_readers_and_writers(loop, pair):
    left, right = pair
    log = []

    def read():
        log.append(left.recv(10))
        loop.stop()

    loop.add_reader(left, read)
    loop.add_writer(right, lambda: (right.send(b"hello"), loop.remove_writer(right)))
    loop.run_forever()
    assert log == [b"hello"]
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False
    assert loop.remove_writer(right) is False


def test_a_reader_is_called_while_there_is_something_to_read(loop, pair):
    left, right = pair
    calls = []

    def read():
        calls.append(1)
        if len(calls) == 3:
            loop.stop()

    loop.add_reader(left, read)
    right.send(b"x")
    loop.run_forever()
    assert len(calls) == 3
    loop.remove_reader(left)


def test_a_new_reader_replaces_the_old_one(loop, pair):
    left, right = pair
    log = []
    loop.add_reader(left, log.append, "old")
    loop.add_reader(left, lambda: (log.append("new"), loop.stop()))
    right.send(b"x")
    loop.run_forever()
    assert log == ["new"]
    loop.remove_reader(left)


def test_ready_work_does_not_starve_descriptors_and_timers(loop, pair):
    left, right = pair
    log = []

    def again():
        loop.call_soon(again)

    def done(what):
        log.append(what)
        loop.remove_reader(left)
        if len(log) == 2:
            loop.stop()

    again()
    loop.add_reader(left, done, "reader")
    loop.call_later(0.001, done, "timer")
    right.send(b"x")
    loop.run_forever()
    assert sorted(log) == ["reader", "timer"]


class Slow(asyncio.Protocol, asyncio.DatagramProtocol):
    """Takes its time for each piece, and has a timer and another descriptor come due during the first."""

    def __init__(self, loop, pair):
        self.loop = loop
        self.pair = pair
        self.pieces = 0
        self.at = {}
        self.done = loop.create_future()

    def datagram_received(self, data, address):
        self.data_received(data)

    def data_received(self, data):
        self.pieces += 1
        if self.pieces == 1:
            self.loop.call_later(0.001, self.note, "timer")
            self.loop.add_reader(self.pair[0], self.note, "reader")
            self.pair[1].send(b"x")
        time.sleep(0.003)

    def note(self, what):
        self.at[what] = self.pieces
        if what == "reader":
            self.loop.remove_reader(self.pair[0])
        if len(self.at) == 2:
            self.done.set_result(None)


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_who_sends_much_keeps_nobody_waiting(loop, pair, kind):
    async def main():
        protocol = Slow(loop, pair)
        if kind == "stream":
            near, far = socket.socketpair()
            for end in (near, far):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
                end.setblocking(False)
            assert far.send(bytes(1 << 21)) > 1 << 17
            transport, _ = await loop.create_connection(lambda: protocol, sock=near)
        else:
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            transport, _ = await loop.create_datagram_endpoint(
                lambda: protocol, local_addr=("127.0.0.1", 0)
            )
            for _ in range(20):
                far.sendto(b"x", transport.get_extra_info("sockname"))
        await protocol.done
        assert max(protocol.at.values()) <= 2
        transport.abort()
        far.close()
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_a_file_that_was_closed_can_still_be_watched_no_more(loop, pair):
    left, right = pair
    number = left.fileno()
    loop.add_reader(left, print)
    loop.add_writer(left, print)
    left.close()
    assert loop.remove_reader(left) and loop.remove_writer(left)
    for refuses in (loop.remove_reader, loop.remove_writer, lambda file: loop.add_reader(file, print)):
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            refuses(left)
    # One that has the number now is another.
    loop.add_reader(right, print)
    right.close()
    left, right = socket.socketpair()
    assert right.fileno() == number or left.fileno() == number
    for end in (left, right):
        loop.add_reader(end.fileno(), print)
    for end in pair:
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            loop.remove_reader(end)
    for end in (left, right):
        assert loop.remove_reader(end.fileno())
        end.close()


def test_descriptors_of_no_use_are_refused(loop):
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(-1, print)
    with pytest.raises(ValueError, match="Invalid file object"):
        loop.add_reader(object(), print)
    number = os.dup(0)
    os.close(number)
    with pytest.raises(OSError):
        loop.add_reader(number, print)


@pytest.mark.parametrize("name", [__file__, os.devnull])
def test_files_that_are_always_ready_are_refused_as_by_asyncio(loop, name):
    calls = []
    with open(name, "rb+") as file:
        for add in (loop.add_reader, loop.add_writer):
            for named in (file, file.fileno()):
                with pytest.raises(PermissionError) as caught:
                    add(named, calls.append, 1)
                assert caught.value.args == (errno.EPERM, "Operation not permitted")
        assert not loop.remove_reader(file) and not loop.remove_writer(file)
        loop.call_later(0.002, loop.stop)
        loop.run_forever()
        assert calls == []


def test_streams_servers_and_subprocesses_work():
    async def main():
        async def echo(reader, writer):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        message = os.urandom(1 << 20)
        writer.write(message)
        writer.write_eof()
        assert await reader.read() == message
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(input())", stdin=-1, stdout=-1
        )
        out, _ = await process.communicate(b"through a pipe\n")
        assert (out, process.returncode) == (b"through a pipe\n", 0)

    eventlet_asyncio.run(main())


# Other threads.


def test_a_call_from_another_thread_wakes_the_loop(loop):
    log = []

    def other():
        loop.call_soon_threadsafe(log.append, threading.get_ident())
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=other)
    loop.call_soon(thread.start)
    # Without a wake-up the loop would wait for this.
    loop.call_later(30, log.append, "nobody woke the loop")
    loop.run_forever()
    thread.join()
    assert log == [thread.ident]


def test_no_call_from_another_thread_is_lost(loop):
    calls = []
    total = 4 * 2000

    def called(number):
        calls.append(number)
        if len(calls) == total:
            loop.stop()

    def other(base):
        for number in range(base, base + 2000):
            loop.call_soon_threadsafe(called, number)

    threads = [threading.Thread(target=other, args=(2000 * n,)) for n in range(4)]
    for thread in threads:
        loop.call_soon(thread.start)
    loop.call_later(30, loop.stop)
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert sorted(calls) == list(range(total))


def test_executors_run_in_real_threads():
    async def main():
        loop = asyncio.get_running_loop()
        ident = await loop.run_in_executor(None, threading.get_ident)
        assert ident != threading.get_ident()
        assert await asyncio.to_thread(lambda: 1) == 1
        with concurrent.futures.ThreadPoolExecutor() as pool:
            futures = [loop.run_in_executor(pool, pow, n, 2) for n in range(20)]
            assert await asyncio.gather(*futures) == [n * n for n in range(20)]

    eventlet_asyncio.run(main())


def test_run_coroutine_threadsafe():
    async def inner():
        await asyncio.sleep(0)
        return threading.get_ident()

    async def main():
        loop = asyncio.get_running_loop()

        def other():
            return asyncio.run_coroutine_threadsafe(inner(), loop).result(30)

        assert await asyncio.to_thread(other) == threading.get_ident()

    eventlet_asyncio.run(main())


# Signals.


@pytest.mark.parametrize(
    "kill", [os.kill, ctypes.CDLL(None).kill], ids=["looks for signals", "does not look"]
)
def test_a_signal_handler_is_called_promptly(loop, kill):
    """Also where no Python code runs between the signal and the wait."""
    log = []

    def handler():
        log.append("handled")
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handler)
    loop.call_soon(kill, os.getpid(), int(signal.SIGUSR1))
    loop.call_later(30, log.append, "nobody woke the loop")
    loop.run_forever()
    assert log == ["handled"]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_a_signal_from_outside_wakes_a_waiting_loop(loop):
    log = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: (log.append("handled"), loop.stop()))
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    loop.call_later(30, loop.stop)
    loop.run_forever()
    timer.join()
    assert log == ["handled"]


def test_closing_the_loop_gives_signals_back():
    loop = eventlet_asyncio.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_a_keyboard_interrupt_ends_run():
    async def main():
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)

    with pytest.raises(KeyboardInterrupt):
        eventlet_asyncio.run(main())
