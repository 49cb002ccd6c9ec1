"""asyncio first, then monkey_patch(), then the package."""

import asyncio  # noqa: F401

import eventlet
import eventlet.hubs

eventlet.hubs.use_hub("eventlet_asyncio.hub")
eventlet.monkey_patch()

import mixture  # noqa: E402

mixture.check()
print("pass")
