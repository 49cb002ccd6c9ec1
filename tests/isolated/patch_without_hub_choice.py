"""Nobody chose our hub: monkey_patch() makes eventlet's own, and the bridge works on it."""

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402

from eventlet_asyncio import await_, future_to_greenlet, sync_to_async  # noqa: E402


async def gives():
    await asyncio.sleep(0.001)
    return await sync_to_async(slow)()


def slow():
    eventlet.sleep(0.001)
    return "green"


assert await_(gives()) == "green"
assert future_to_greenlet(gives()).wait() == "green"
assert not type(eventlet.hubs.get_hub()).__module__.startswith("eventlet_asyncio")
print("pass")
