"""A fork inside a task: the child goes on in it, closes and uses everything, and the parent hears all its events."""

import asyncio
import os
import signal
import warnings

import eventlet

import eventlet_asyncio

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()


async def ticks(count):
    for _ in range(count):
        await asyncio.sleep(0.001)
    return count


async def main():
    reader, writer = os.pipe()
    loop = asyncio.get_running_loop()
    heard = loop.create_future()
    loop.add_reader(reader, lambda: heard.set_result(os.read(reader, 10)))
    background = asyncio.create_task(ticks(20))
    green = eventlet.spawn(eventlet.sleep, 0.02)
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        # What the child takes away from its own engine must stay in the parent's.
        loop.remove_reader(reader)
        green.kill()
        background.cancel()
        assert asyncio.get_running_loop() is loop
        eventlet.sleep(0.001)
        assert await ticks(5) == 5
        assert await eventlet.spawn(lambda: eventlet.sleep(0.001) or "green") == "green"
        os.write(writer, b"child")
        os._exit(0)
    assert await heard == b"child"
    assert await background == 20
    await green
    loop.remove_reader(reader)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        await asyncio.sleep(0.001)
    os.close(reader)
    os.close(writer)


signal.alarm(40)
eventlet_asyncio.run(main())
asyncio.run(main())
print("pass")
