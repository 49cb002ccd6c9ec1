"""A fork while loops run in green threads: parent and child hear on each of them what a thread sends."""

import asyncio
import os
import sys
import threading
import warnings

import eventlet
import eventlet.green.os

import eventlet_asyncio

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()

LOOPS = 8
ROUNDS = 8


async def waits(waiting):
    future = asyncio.get_running_loop().create_future()
    waiting.append(future)
    return await future


def wake(waiting):
    for number, future in enumerate(waiting):
        future.get_loop().call_soon_threadsafe(future.set_result, number)


def fork():
    waiting = []
    greens = [eventlet.spawn(asyncio.run, waits(waiting)) for _ in range(LOOPS)]
    while len(waiting) < LOOPS:
        eventlet.sleep(0)
    # Each is asleep in the hub, with nothing of its own to wake up for.
    eventlet.sleep(0.001)
    child = os.fork()
    thread = threading.Thread(target=wake, args=(waiting,))
    thread.start()
    with eventlet.Timeout(10):
        assert sorted(green.wait() for green in greens) == list(range(LOOPS))
    thread.join()
    if child == 0:
        sys.stdout.flush()
        os._exit(0)
    assert eventlet.green.os.waitpid(child, 0) == (child, 0)


for _ in range(ROUNDS):
    eventlet.spawn(fork).wait()
print("pass")
