"""Loops come and go, in many threads, and leave nothing behind; each has all that asyncio's loop has."""

import asyncio
import gc
import inspect
import resource
import socket
import threading

import pytest

import eventlet_asyncio
from programs import descriptors

NAMES = sorted(
    name
    for name in {*dir(asyncio.SelectorEventLoop), *dir(asyncio.AbstractEventLoop)}
    if not name.startswith("_")
)


@pytest.mark.parametrize("name", NAMES)
def test_a_method_of_asyncios_loop_is_there_and_called_alike(name):
    theirs, ours = (
        getattr(owner, name) for owner in (asyncio.SelectorEventLoop, eventlet_asyncio.EventLoop)
    )
    if not callable(theirs):
        assert ours == theirs
        return
    (_, *wanted), (_, *given) = (
        inspect.signature(method).parameters.values() for method in (theirs, ours)
    )
    if any(p.kind is p.VAR_KEYWORD for p in given):
        # Options that differ by version are handed on.
        given = [p for p in given if p.kind is not p.VAR_KEYWORD]
        wanted = [p for p in wanted if p.name in {known.name for known in given}]
    assert [(p.name, p.kind, p.default) for p in given] == [(p.name, p.kind, p.default) for p in wanted]
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


def test_what_is_native_takes_arguments_by_name(loop):
    ran = []
    loop.call_soon(callback=lambda: ran.append("soon"), context=None)
    loop.call_soon_threadsafe(callback=lambda: ran.append("threadsafe"))
    loop.call_later(delay=0.001, callback=lambda: ran.append("later"), context=None)
    loop.call_at(when=loop.time() + 0.002, callback=loop.stop)
    loop.run_forever()
    assert ran == ["soon", "threadsafe", "later"]


async def work():
    """A little of everything that a loop keeps something for."""
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    _, other = await asyncio.open_connection(sock=there)
    other.write(b"line\n")
    await asyncio.gather(reader.readline(), asyncio.sleep(0), loop.sock_sendall(here, b""))
    timer = loop.call_later(60, print)
    loop.call_soon_threadsafe(lambda: None)
    timer.cancel()
    loop.call_later(60, print)  # Of what is still due when the loop is closed nothing is left either.
    for end in (writer, other):
        end.close()
        await end.wait_closed()


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_ten_thousand_loops():
    def some(number):
        for _ in range(number):
            loop = eventlet_asyncio.new_event_loop()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    def used(number):
        for _ in range(number):
            eventlet_asyncio.run(work())

    some(500)
    used(200)
    gc.collect()
    before = descriptors(), threading.active_count(), memory()
    some(9000)
    used(1000)
    gc.collect()
    assert (descriptors(), threading.active_count()) == before[:2]
    # A loop that stayed would take several kB.
    assert memory() - before[2] < 10_000 * 500


def test_loops_in_many_threads_at_once():
    rounds = 20
    together = threading.Barrier(8)
    ran, errors = [], []

    def body():
        try:
            together.wait(20)
            for _ in range(rounds):
                eventlet_asyncio.run(work())
                ran.append(threading.get_ident())
        except BaseException as error:
            errors.append(error)

    def all_of_them():
        threads = [threading.Thread(target=body) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_of_them()
    gc.collect()
    before = descriptors(), threading.active_count()
    all_of_them()
    gc.collect()
    assert (descriptors(), threading.active_count()) == before
    assert not errors and len(ran) == 2 * 8 * rounds


def test_a_loop_is_made_run_and_closed_in_three_threads(in_thread):
    """With transports that live on, and calls from each thread."""
    loop = in_thread(eventlet_asyncio.new_event_loop)
    here, there = socket.socketpair()

    async def connect():
        return await asyncio.open_connection(sock=here)

    reader, writer = in_thread(loop.run_until_complete, connect())
    there.sendall(b"first\n")
    assert loop.run_until_complete(reader.readline()) == b"first\n"

    async def waits():
        threading.Timer(0.02, there.sendall, [b"second\n"]).start()
        line = await reader.readline()
        writer.write(line)
        await writer.drain()
        return line, await loop.run_in_executor(None, threading.get_ident)

    line, thread = in_thread(loop.run_until_complete, waits())
    assert line == there.recv(100) == b"second\n" and thread != threading.get_ident()

    async def ends():
        writer.close()
        await writer.wait_closed()
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    in_thread(loop.run_until_complete, ends())
    in_thread(loop.close)
    there.close()
    assert loop.is_closed()


def test_loops_of_two_threads_call_one_another(in_thread):
    ready = threading.Event()
    loops = {}

    def serve():
        async def main():
            loops["there"] = asyncio.get_running_loop()
            loops["end"] = asyncio.Event()
            ready.set()
            await loops["end"].wait()

        eventlet_asyncio.run(main())

    async def answer(number):
        await asyncio.sleep(0)
        return number * 2

    async def ask():
        futures = [
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(answer(n), loops["there"]))
            for n in range(200)
        ]
        return await asyncio.gather(*futures)

    server = threading.Thread(target=serve)
    server.start()
    assert ready.wait(20)
    try:
        assert eventlet_asyncio.run(ask()) == [n * 2 for n in range(200)]
    finally:
        loops["there"].call_soon_threadsafe(loops["end"].set)
        server.join()

