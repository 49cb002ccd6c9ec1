"""A program of asyncio alone imports eventlet in a task: its loops, of all threads, have our hub from then on."""

import asyncio
import sys
import threading

import eventlet_asyncio

imported = threading.Event()
ready = threading.Barrier(2)


async def blocks_beside_others():
    import eventlet

    assert await eventlet.spawn(lambda: 1) == 1
    order = []

    async def tick():
        await asyncio.sleep(0.01)
        order.append("tick")

    task = asyncio.create_task(tick())
    await asyncio.sleep(0)
    while not order:
        eventlet.sleep(0.01)
    order.append("slept")
    await task
    assert order == ["tick", "slept"], order
    assert type(eventlet.hubs.get_hub()).__module__ == "eventlet_asyncio.hub"


async def other_thread():
    ready.wait()
    while not imported.is_set():
        await asyncio.sleep(0.001)
    await blocks_beside_others()


async def main():
    assert not [name for name in sys.modules if name.split(".")[0] == "eventlet"]
    await blocks_beside_others()
    imported.set()


failures = []
threading.excepthook = failures.append
thread = threading.Thread(target=eventlet_asyncio.run, args=(other_thread(),))
thread.start()
ready.wait()
eventlet_asyncio.run(main())
thread.join()
assert not failures, failures
print("pass")
