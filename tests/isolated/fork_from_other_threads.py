"""Forks by threads that are not the main one, beside others with hubs: the child's only thread has hub, loops and signals."""

import asyncio
import os
import signal
import threading
import traceback
import warnings

import eventlet
import eventlet.green.os
import eventlet.hubs

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
eventlet.sleep(0.001)
stop = []


async def gives(value):
    await asyncio.sleep(0.001)
    return value


def check():
    assert await_(gives(1)) == 1
    assert eventlet.spawn(asyncio.run, gives(2)).wait() == 2
    assert asyncio.run(gives(3)) == 3


def hear_signals():
    log = []
    signal.signal(signal.SIGUSR1, lambda *_: log.append("python"))
    eventlet.hubs.get_hub().loop.add_signal_handler(signal.SIGUSR2, log.append, "loop")
    eventlet.spawn_after(0.01, os.kill, os.getpid(), signal.SIGUSR1)
    eventlet.spawn_after(0.02, os.kill, os.getpid(), signal.SIGUSR2)
    while len(log) < 2:
        eventlet.sleep(1)
    assert log == ["python", "loop"]


def beside():
    eventlet_asyncio.use_hub()
    while not stop:
        eventlet.sleep(0.001)


def forks(generations, failures):
    try:
        eventlet_asyncio.use_hub()
        sleeper = eventlet.spawn(eventlet.sleep, 0.02)
        check()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with eventlet.Timeout(20):
                    check()
                    sleeper.wait()
                    hear_signals()
                if generations > 1:
                    in_thread(forks, generations - 1)
                code = 0
            finally:
                if code:
                    traceback.print_exc()
                os._exit(code)
        check()
        sleeper.wait()
        assert eventlet.green.os.waitpid(child, 0) == (child, 0)
    except BaseException as failure:
        failures.append(failure)


def in_thread(body, *arguments):
    failures = []
    thread = threading.Thread(target=body, args=(*arguments, failures))
    thread.start()
    with eventlet.Timeout(30):
        while thread.is_alive():
            eventlet.sleep(0.002)
    assert failures == []


others = [threading.Thread(target=beside) for _ in range(3)]
for other in others:
    other.start()
for _ in range(5):
    in_thread(forks, 2)
check()
stop.append(True)
for other in others:
    other.join()
print("pass")
