"""A loop that is not ours, run in the main program, goes on with the green work that waited before it began."""

import asyncio
import os
import threading
import warnings

import eventlet
import greenlet
from eventlet import debug, event, hubs

import eventlet_asyncio

eventlet_asyncio.use_hub()
hubs.get_hub()

# It takes asyncio's functions when it is imported.
import uvloop  # noqa: E402


def counts(ticks):
    while True:
        ticks.append(None)
        eventlet.sleep(0.001)


async def until(ticks, count):
    async with asyncio.timeout(10) if hasattr(asyncio, "timeout") else nobody():
        while len(ticks) < count:
            await asyncio.sleep(0.001)


class nobody:
    async def __aenter__(self):
        pass

    async def __aexit__(self, *_raised):
        pass


def in_a_thread(body):
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()


async def is_answered():
    """A server and a client, with sockets of their own, on the running loop."""

    async def answers(reader, writer):
        writer.write(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    assert await asyncio.wait_for(reader.read(1), 10) == b"x"
    writer.close()
    server.close()


def run(make, main):
    loop = make()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


def spawned_before(make):
    ticks = []
    green = eventlet.spawn(counts, ticks)
    run(make, until(ticks, 3))
    run(make, until(ticks, 6))
    green.kill()


def begun_before(make):
    ticks = []
    green = eventlet.spawn(counts, ticks)
    while len(ticks) < 2:
        eventlet.sleep(0.001)
    run(make, until(ticks, 6))
    green.kill()


def waits_for_a_descriptor(make):
    from eventlet.green import socket

    ours, theirs = socket.socketpair()
    seen = []
    green = eventlet.spawn(lambda: seen.append(ours.recv(1)))
    eventlet.sleep(0)

    async def main():
        theirs.fd.send(b"x")
        await until(seen, 1)

    run(make, main())
    assert seen == [b"x"]
    green.wait()
    ours.close()
    theirs.close()


def has_nothing_to_do(_make):
    watched = []

    async def main():
        watched.extend(asyncio.get_running_loop()._selector.get_map())

    def body():
        eventlet_asyncio.use_hub()
        hubs.get_hub()
        run(asyncio.SelectorEventLoop, main())

    in_a_thread(body)
    # The loop's own, by which it is woken.
    assert len(watched) == 1, watched


def one_below_another(make):
    """A library steps out of the running loop to run one of its own."""
    ticks = []
    green = eventlet.spawn(counts, ticks)

    async def main():
        outer, inner = asyncio.get_running_loop(), make()
        await until(ticks, 2)
        task = asyncio.current_task()
        asyncio.tasks._leave_task(outer, task)
        asyncio._set_running_loop(None)
        try:
            inner.run_until_complete(until(ticks, len(ticks) + 2))
        finally:
            inner.close()
            asyncio._set_running_loop(outer)
            asyncio.tasks._enter_task(outer, task)
        await until(ticks, len(ticks) + 2)
        green.kill()
        # Nobody but another thread has something for the hub now.
        await woken_by_a_thread()

    run(make, main())


async def woken_by_a_thread():
    sent, seen = event.Event(), []
    eventlet.spawn(lambda: seen.append(sent.wait()))
    await asyncio.sleep(0.001)
    threading.Timer(0.001, sent.send).start()
    await until(seen, 1)


def is_woken_by_a_thread(make):
    """What waits is nothing that the hub would have to look after by itself."""
    sent, seen = event.Event(), []
    green = eventlet.spawn(lambda: seen.append(sent.wait()))
    eventlet.sleep(0)

    async def main():
        threading.Timer(0.001, sent.send).start()
        await until(seen, 1)

    run(make, main())
    green.wait()


def of_a_green_thread(make):
    """A green thread runs a loop that has something for the hub, whose host waits for that green thread."""

    def runs():
        async def inner():
            eventlet.spawn(int)
            await asyncio.sleep(0.001)

        run(make, inner())

    async def main():
        await eventlet.spawn(runs)
        await woken_by_a_thread()

    run(make, main())


def goes_on_in_another_thread(make):
    """A loop that was the host runs in another thread later, while the hub has something to do."""
    loop, complaints, ticks = make(), [], []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    green = eventlet.spawn(counts, ticks)
    loop.run_until_complete(until(ticks, 2))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    while len(ticks) < 10:
        eventlet.sleep(0.001)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    green.kill()
    assert complaints == [], complaints


def in_a_thread_that_ends(make):
    """A loop outlives a hub of which it was the host."""
    loop = make()

    async def main():
        await eventlet.spawn(int)

    def body():
        eventlet_asyncio.use_hub()
        loop.run_until_complete(main())

    in_a_thread(body)

    async def serves():
        # One of these sockets gets the number that the hub of before had.
        for _ in range(4):
            await is_answered()

    loop.run_until_complete(serves())
    loop.close()


def has_another_hub_meanwhile(make):
    complaints = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        eventlet_asyncio.use_hub()
        assert await eventlet.spawn(lambda: 7) == 7
        # It gets a number that the hub of before has given back.
        await is_answered()

    def body():
        eventlet_asyncio.use_hub()
        eventlet.sleep(0)
        run(make, main())
        ended.append(complaints)

    ended = []
    in_a_thread(body)
    assert ended == [[]], ended


def beside_a_fork(make):
    """A child that another thread forks leaves the poller, which it shares, as it is."""
    from eventlet.green import socket

    waits, seen = threading.Event(), []
    ours, theirs = socket.socketpair()

    async def main():
        eventlet.spawn(lambda: seen.append(ours.recv(1)))
        await asyncio.sleep(0.01)
        waits.set()
        await until(seen, 1)

    def body():
        eventlet_asyncio.use_hub()
        run(make, main())

    thread = threading.Thread(target=body)
    thread.start()
    waits.wait()
    with warnings.catch_warnings():
        # From Python 3.12 on it warns of forks beside threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    theirs.fd.send(b"x")
    thread.join()
    assert seen == [b"x"]
    ours.close()
    theirs.close()


def who_ends_into_it(make):
    """A greenlet of the host's own ends in the middle of a turn, whose rest comes with the next."""
    seen = []

    async def main():
        for number in range(3):
            hubs.get_hub().schedule_call_global(0, greenlet.greenlet(int).switch)
            eventlet.spawn(seen.append, number)
        await until(seen, 3)

    run(make, main())


def of_a_green_thread_that_fails(make):
    """What it raises is its own, and not that of who waits meanwhile."""
    debug.hub_exceptions(False)

    def fails():
        async def inner():
            eventlet.spawn(int)
            await asyncio.sleep(0.001)

        run(make, inner())
        raise KeyError("of the green thread")

    green = eventlet.spawn(fails)
    eventlet.sleep(0.05)
    eventlet.sleep(0.001)
    try:
        green.wait()
    except KeyError:
        pass
    else:
        raise AssertionError("it did not fail")


def set_for_a_moment(make):
    """As by a library that makes something for a loop that runs in another thread, or for one that does not run."""
    ticks, complaints = [], []
    green = eventlet.spawn(counts, ticks)
    loop = asyncio.SelectorEventLoop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))

    def sets():
        asyncio._set_running_loop(loop)
        asyncio.Future()
        asyncio._set_running_loop(None)

    sets()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    while not loop.is_running():
        eventlet.sleep(0.001)
    sets()
    run(make, until(ticks, len(ticks) + 3))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    assert complaints == [], complaints
    loop.close()
    sets()
    green.kill()


class OfAToolkit(asyncio.SelectorEventLoop):
    """It says by itself whether it runs, and not in which thread, as those that run in the turns of a toolkit do."""

    runs = False

    def is_running(self):
        return self.runs

    def run_forever(self):
        self.runs = True
        asyncio.events._set_running_loop(self)
        try:
            while not self._stopping:
                self._run_once()
        finally:
            asyncio.events._set_running_loop(None)
            self.runs = self._stopping = False


for make in (asyncio.SelectorEventLoop, uvloop.new_event_loop, OfAToolkit):
    for scenario in (
        has_nothing_to_do,
        spawned_before,
        begun_before,
        waits_for_a_descriptor,
        is_woken_by_a_thread,
        one_below_another,
        of_a_green_thread,
        goes_on_in_another_thread,
        in_a_thread_that_ends,
        has_another_hub_meanwhile,
        beside_a_fork,
        who_ends_into_it,
        of_a_green_thread_that_fails,
        set_for_a_moment,
    ):
        scenario(make)
print("pass")
