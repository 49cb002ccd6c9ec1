"""monkey_patch() first, then asyncio, aiohttp and the package; the hub is made by monkey_patch() itself."""

import eventlet
import eventlet.hubs

eventlet.hubs.use_hub("eventlet_asyncio.hub")
eventlet.monkey_patch()

import mixture  # noqa: E402

mixture.check()
print("pass")
