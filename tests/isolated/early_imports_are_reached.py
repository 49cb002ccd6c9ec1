"""Names taken by `from ... import` before the hub was made do the right thing after it."""

import asyncio
from asyncio import create_task, get_event_loop, run

import eventlet
from eventlet import sleep, spawn
from eventlet.asyncio import spawn_for_awaitable
from eventlet.debug import hub_prevent_multiple_readers

import eventlet_asyncio


async def gives():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


eventlet_asyncio.use_hub()
hub = eventlet.hubs.get_hub()


def green():
    sleep(0.001)
    assert eventlet_asyncio.await_(create_task(gives())) is hub.loop
    assert get_event_loop() is hub.loop
    assert type(run(gives())) is eventlet_asyncio.EventLoop
    return spawn_for_awaitable(gives()).wait()


assert spawn(green).wait() is hub.loop
hub_prevent_multiple_readers(False)
hub_prevent_multiple_readers(True)
print("pass")
