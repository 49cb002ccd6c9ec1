"""The interpreter ends while green threads, tasks and parked steps wait: no word about it."""

import asyncio
import socket

import eventlet

import eventlet_asyncio
from eventlet_asyncio import await_, future_to_greenlet

eventlet_asyncio.use_hub()
left, right = socket.socketpair()


async def waits():
    await asyncio.sleep(60)


async def parks():
    eventlet.sleep(60)


kept = [
    eventlet.spawn(eventlet.sleep, 60),
    eventlet.spawn(eventlet.hubs.trampoline, left, read=True),
    eventlet.spawn(await_, asyncio.Event().wait()),
    future_to_greenlet(asyncio.Event().wait()),
]
loop = eventlet.hubs.get_hub().loop
loop.call_later(60, print)
loop.add_reader(right, print)
loop.call_soon(eventlet.sleep, 60)
eventlet.sleep(0.01)
print("pass")
