"""A loop that is not ours, run in the main program, goes on with the green work that waited before it began."""

import asyncio
import threading

import eventlet
from eventlet import hubs

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


def has_nothing_to_do(make):
    async def main():
        loop = asyncio.get_running_loop()
        if isinstance(loop, asyncio.SelectorEventLoop):
            # Its own, by which it is woken.
            assert len(loop._selector.get_map()) == 1

    run(make, main())


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

    run(make, main())
    green.kill()


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


for make in (asyncio.SelectorEventLoop, uvloop.new_event_loop):
    for scenario in (spawned_before, begun_before, waits_for_a_descriptor, one_below_another, set_for_a_moment, has_nothing_to_do):
        scenario(make)
print("pass")
