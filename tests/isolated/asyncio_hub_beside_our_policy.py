"""eventlet's asyncio hub has a loop of asyncio's own after install(), and in threads beside the bridge's policy."""

import asyncio
import os
import threading

os.environ["EVENTLET_HUB"] = "asyncio"

import eventlet  # noqa: E402
from eventlet import hubs, queue  # noqa: E402
from eventlet.asyncio import spawn_for_awaitable  # noqa: E402

import eventlet_asyncio  # noqa: E402


async def gives(result):
    await asyncio.sleep(0.001)
    return result


def program():
    items = queue.Queue()
    eventlet.spawn_after(0.001, items.put, "item")
    got.append(items.get(timeout=5))
    got.append(spawn_for_awaitable(gives("awaited")).wait())
    got.append(eventlet_asyncio.await_(gives("awaited")))
    assert not isinstance(hubs.get_hub().loop, eventlet_asyncio.EventLoop)


def in_thread():
    thread = threading.Thread(target=program, daemon=True)
    thread.start()
    thread.join(10)
    assert got == ["item", "awaited", "awaited"], got
    got.clear()


got = []
# The bridge's first use sets the policy.
assert eventlet_asyncio.await_(gives("awaited")) == "awaited"
in_thread()
eventlet_asyncio.install()
in_thread()
loop = asyncio.new_event_loop()
assert isinstance(loop, eventlet_asyncio.EventLoop)
loop.close()
print("pass")
