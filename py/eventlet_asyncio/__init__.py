"""eventlet and asyncio in one thread, on one engine.

What stands where:

    bridge   call across: future_to_greenlet, greenlet_to_future, await_, and the decorators
    hub      eventlet first: EVENTLET_HUB=eventlet_asyncio.hub, or use_hub()
    loop     asyncio first: run, new_event_loop, EventLoop, EventLoopPolicy, install

Importing this package changes nothing in other people's modules. Making the first hub does;
what, why and how it is undone stands in docs/patches.md.
"""

from eventlet_asyncio import _extension as _extension
from eventlet_asyncio._evio import __version__
from eventlet_asyncio.bridge import (
    async_to_sync,
    await_,
    future_to_greenlet,
    greenlet_to_future,
    spawn_for_awaitable,
    sync_to_async,
)
from eventlet_asyncio.hub import use_hub
from eventlet_asyncio.loop import EventLoop, EventLoopPolicy, install, new_event_loop, run

__all__ = [
    "EventLoop",
    "EventLoopPolicy",
    "__version__",
    "async_to_sync",
    "await_",
    "future_to_greenlet",
    "greenlet_to_future",
    "install",
    "new_event_loop",
    "run",
    "spawn_for_awaitable",
    "sync_to_async",
    "use_hub",
]
