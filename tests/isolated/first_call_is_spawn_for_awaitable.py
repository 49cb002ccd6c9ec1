"""eventlet's spawn_for_awaitable() works where it is the call that makes the hub, and so is reached while it runs."""

import asyncio
import os

os.environ["EVENTLET_HUB"] = "eventlet_asyncio.hub"

import eventlet  # noqa: E402
import eventlet.asyncio  # noqa: E402
from eventlet import hubs  # noqa: E402
from eventlet.asyncio import spawn_for_awaitable  # noqa: E402


async def gives(result):
    await asyncio.sleep(0.001)
    return result


spawn = eventlet.asyncio.spawn
assert not hasattr(hubs._threadlocal, "hub")
first = spawn_for_awaitable(gives("first"))
second = eventlet.asyncio.spawn_for_awaitable(gives("second"))
assert (first.wait(), second.wait()) == ("first", "second")
assert type(first) is type(second)
assert eventlet.asyncio.spawn is spawn
print("pass")
