"""After monkey_patch() anyio's worker threads are threads, whenever anyio was imported, and may run green code."""

import sys

import eventlet

import eventlet_asyncio

# With any argument anyio's backend is there before the hub, else it is imported in a running loop.
if sys.argv[1:]:
    import anyio._backends._asyncio
eventlet_asyncio.use_hub()
eventlet.monkey_patch()

import asyncio  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402

import anyio  # noqa: E402
import anyio.from_thread  # noqa: E402
import anyio.to_thread  # noqa: E402
from eventlet import hubs, patcher  # noqa: E402

import eventlet_asyncio._patches  # noqa: E402

thread_ident = patcher.original("_thread").get_ident
block = patcher.original("time").sleep


ticks = []


async def double(number):
    await anyio.sleep(0.01)
    return 2 * number


def in_thread(number):
    # The loop goes on meanwhile.
    while len(ticks) < 5:
        block(0.01)
    doubled = anyio.from_thread.run(double, number)
    # Green code has a hub of its own here.
    time.sleep(0.01)
    green = eventlet.spawn(eventlet_asyncio.await_, double(doubled))
    return thread_ident(), green.wait()


async def main():
    ticks.clear()

    async def tick():
        while True:
            await asyncio.sleep(0.01)
            ticks.append(None)

    ticking = asyncio.ensure_future(tick())
    results = []

    async def one(number):
        results.append(await anyio.to_thread.run_sync(in_thread, number))

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(one, number)
    ticking.cancel()
    idents, numbers = zip(*results)
    assert sorted(numbers) == [0, 4, 8, 12]
    assert len({*idents, thread_ident()}) == 5


anyio.run(main)
asyncio.run(main())
eventlet.spawn(anyio.run, main).wait()

# They end a little after their loop.
while any("AnyIO" in thread.name for thread in patcher.original("threading").enumerate()):
    block(0.01)
hubs._threadlocal.__dict__.clear()
eventlet_asyncio._patches.undo()
backend = sys.modules["anyio._backends._asyncio"]
assert backend.WorkerThread.__bases__ == (backend.Thread,)
assert backend.threading is sys.modules["threading"]
assert type(backend.__loader__).__module__ != "eventlet_asyncio._anyio"
if not sys.argv[1:]:
    ended = subprocess.run([sys.executable, __file__, "early"], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("pass\n", ""), ended
print("pass")
