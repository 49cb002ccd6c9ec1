"""A fork in a callback of any kind, on the hub's greenlet, in a step, in a handler or in a nested run: both sides go on."""

import asyncio
import os
import signal
import warnings

import eventlet
import eventlet.green.os
import eventlet.hubs

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
hub = eventlet.hubs.get_hub()
forked = []


def fork():
    forked.append(os.fork())


async def gives(value):
    await asyncio.sleep(0.001)
    return value


def both_go_on(where):
    """Waits for the fork; the child works, and the parent sees that it did."""
    with eventlet.Timeout(10):
        while not forked:
            eventlet.sleep(0.001)
        assert await_(gives(1)) == 1
        assert eventlet.spawn(asyncio.run, gives(2)).wait() == 2
        assert asyncio.run(gives(3)) == 3
        child = forked.pop()
        if child == 0:
            os._exit(0)
        assert eventlet.green.os.waitpid(child, 0) == (child, 0), where


async def forks_between_awaits():
    await asyncio.sleep(0)
    fork()
    assert asyncio.get_running_loop() is asyncio.current_task().get_loop()
    assert await gives(4) == 4
    await eventlet.spawn(eventlet.sleep, 0.001)


async def forks_between_green_blocks():
    eventlet.sleep(0.001)
    fork()
    eventlet.sleep(0.001)


async def runs_a_loop():
    await eventlet.spawn(lambda: asyncio.run(forks_between_green_blocks()))


def handler(number, frame):
    fork()


def read_and_fork(reader):
    os.read(reader, 1)
    hub.loop.remove_reader(reader)
    fork()


def main():
    hub.schedule_call_global(0, fork)
    both_go_on("a timer of the hub")
    hub.loop.call_soon(fork)
    both_go_on("call_soon")
    hub.loop.call_later(0.001, fork)
    both_go_on("call_later")
    reader, writer = os.pipe()
    hub.loop.add_reader(reader, read_and_fork, reader)
    os.write(writer, b"x")
    both_go_on("add_reader")
    eventlet.spawn(int).link(lambda green: fork())
    both_go_on("link")
    asyncio.ensure_future(gives(0), loop=hub.loop).add_done_callback(lambda future: fork())
    both_go_on("add_done_callback")
    signal.signal(signal.SIGUSR1, handler)
    os.kill(os.getpid(), signal.SIGUSR1)
    both_go_on("a handler in a green thread")
    hub.schedule_call_global(0.01, os.kill, os.getpid(), signal.SIGUSR1)
    both_go_on("a handler in the hub")
    hub.loop.add_signal_handler(signal.SIGUSR2, fork)
    os.kill(os.getpid(), signal.SIGUSR2)
    both_go_on("add_signal_handler")
    for body in (forks_between_awaits, forks_between_green_blocks, runs_a_loop):
        await_(body())
        both_go_on(f"{body.__name__}, awaited")
        asyncio.run(body())
        both_go_on(f"{body.__name__}, run here")
        eventlet.spawn(asyncio.run, body())
        both_go_on(f"{body.__name__}, run in a green thread")


eventlet.spawn(main).wait()
print("pass")
