"""asyncio has run a loop of ours, and monkey_patch() comes after it."""

import asyncio

import eventlet_asyncio


async def main():
    await asyncio.to_thread(int)


eventlet_asyncio.run(main())

import eventlet  # noqa: E402

eventlet_asyncio.use_hub()
eventlet.monkey_patch()

import mixture  # noqa: E402

mixture.check()
print("pass")
