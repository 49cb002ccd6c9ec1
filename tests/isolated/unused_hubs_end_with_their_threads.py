"""A hub that never ran ends with its thread, and not in the garbage collector later.

There greenlet may at the same time end the thread of the hub's greenlet, finds nobody who refers to
that thread's main greenlet, and frees it while the hub's greenlet still has it for a parent.
"""

import gc
import threading
import weakref

import eventlet.hubs

import eventlet_asyncio

hubs = []


def body():
    eventlet_asyncio.use_hub()
    hub = eventlet.hubs.get_hub()
    hub.schedule_call_global(60, print)
    hubs.append(weakref.ref(hub))


gc.disable()
for _ in range(20):
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
assert [hub() for hub in hubs] == [None] * 20, hubs
gc.collect()
print("pass")
