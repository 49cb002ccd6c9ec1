"""The program ends while daemon threads are busy in hubs and loops: nothing crashes.

Before Python 3.14 that unwinds their stacks, and Rust aborts the process at unwinds it did not begin.
"""

import subprocess
import sys

WAYS = ("event", "timeout", "sleep", "spawn", "yields", "yields_n", "task", "await_", "future")

if len(sys.argv) == 1:
    for way in WAYS:
        ended = subprocess.run([sys.executable, __file__, way], capture_output=True, text=True)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "busy\n", ""), (way, ended)
    print("pass")
    sys.exit()

import asyncio  # noqa: E402
import threading  # noqa: E402

import eventlet  # noqa: E402
import eventlet.event  # noqa: E402

import eventlet_asyncio  # noqa: E402


async def nothing():
    pass


def event():
    event = eventlet.event.Event()
    eventlet.spawn(event.send)
    event.wait()


def timeout():
    with eventlet.Timeout(1):
        eventlet.sleep(0)


def yields():
    while True:
        eventlet.sleep(0)
        busy.release()


WORK = {
    "event": event,
    "timeout": timeout,
    "sleep": eventlet.sleep,
    "spawn": lambda: eventlet.spawn(int).wait(),
    "yields": lambda: eventlet.spawn(yields).wait(),
    "yields_n": lambda: (eventlet.spawn_n(yields), eventlet.sleep(60)),
    "await_": lambda: eventlet_asyncio.await_(nothing()),
    "future": lambda: eventlet_asyncio.future_to_greenlet(nothing()).wait(),
}


async def gathers():
    while True:
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
        busy.release()


def works(way):
    if way == "task":
        eventlet_asyncio.run(gathers())
    eventlet_asyncio.use_hub()
    eventlet.hubs.get_hub()
    while True:
        WORK[way]()
        busy.release()


busy = threading.Semaphore(0)
for _ in range(3):
    threading.Thread(target=works, args=(sys.argv[1],), daemon=True).start()
for _ in range(300):
    busy.acquire()
print("busy")
