"""A forked child that chooses its hub anew, wherever it was forked, serves green and async code; the old hub's work stays behind."""

import asyncio
import os
import traceback
import warnings

import eventlet
import eventlet.green.os

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
eventlet.sleep(0.001)
log = []


async def gives(value):
    await asyncio.sleep(0.001)
    return value


def in_child():
    eventlet_asyncio.use_hub()
    del log[:]
    with eventlet.Timeout(15):
        eventlet.sleep(0.02)
        assert await_(gives("awaited")) == "awaited"
        assert asyncio.run(gives("run")) == "run"
        assert eventlet.spawn(asyncio.run, gives("spawned")).wait() == "spawned"
        assert await_(asyncio.create_task(gives("task"))) == "task"
    assert log == []


def tick():
    while True:
        eventlet.sleep(0.001)
        log.append("a tick of the parent's")


def fork():
    child = os.fork()
    if child == 0:
        code = 1
        try:
            in_child()
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    with eventlet.Timeout(15):
        assert eventlet.green.os.waitpid(child, 0) == (child, 0)


async def fork_in_task():
    fork()
    assert await gives("parent") == "parent"


ticker = eventlet.spawn(tick)
fork()
eventlet.spawn(fork).wait()
await_(fork_in_task())
asyncio.run(fork_in_task())
eventlet.spawn(asyncio.run, fork_in_task()).wait()
before = len(log)
eventlet.sleep(0.02)
assert len(log) > before
print("pass")
