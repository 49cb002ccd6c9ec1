"""The hub is made and has run before monkey_patch()."""

import eventlet

import eventlet_asyncio
from eventlet_asyncio import await_

eventlet_asyncio.use_hub()


async def nothing():
    pass


eventlet.spawn(await_, nothing()).wait()
eventlet.monkey_patch()

import mixture  # noqa: E402

mixture.check()
print("pass")
