"""Green code that leaves a ThreadPoolExecutor in a monkey-patched program lets others go on, for which its work may wait."""

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402
import threading  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402

import eventlet_asyncio  # noqa: E402


def leaves(event):
    with ThreadPoolExecutor(2) as executor:
        future = executor.submit(event.wait, 10)
    return future.result()


async def by_task():
    async def leaves_it():
        return leaves(event)

    event = threading.Event()
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await asyncio.create_task(leaves_it()) is True
    assert await asyncio.to_thread(leaves, event) is True


async def is_cancelled():
    event = threading.Event()

    async def leaves_it():
        leaves(event)

    task = asyncio.create_task(leaves_it())
    await asyncio.sleep(0.01)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        event.set()
    assert event.is_set() and task.cancelled()


event = threading.Event()
eventlet.spawn_after(0.01, event.set)
assert eventlet.spawn(leaves, event).wait() is True
eventlet.spawn_after(0.01, threading.Event().set)
assert leaves(event) is True
eventlet_asyncio.run(by_task())
eventlet_asyncio.run(is_cancelled())
ThreadPoolExecutor().shutdown()
print("pass")
