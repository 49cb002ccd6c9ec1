"""The package and aiohttp first, then monkey_patch()."""

import aiohttp  # noqa: F401
import eventlet

import eventlet_asyncio

eventlet_asyncio.use_hub()
eventlet.monkey_patch()

import mixture  # noqa: E402

mixture.check()
print("pass")
