"""Threads whose hubs have green threads waiting and loops open end without a word, and so does the program."""

import asyncio
import threading

import eventlet

import eventlet_asyncio
from eventlet_asyncio import await_


async def gives():
    await asyncio.sleep(0.001)
    return 1


def body():
    eventlet_asyncio.use_hub()
    eventlet.spawn(eventlet.sleep, 60)
    assert await_(gives()) == 1
    assert asyncio.run(gives()) == 1


for _ in range(10):
    threads = [threading.Thread(target=body) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("pass")
