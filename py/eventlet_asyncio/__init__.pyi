"""eventlet and asyncio in one thread, on one engine.

Everything here works in the thread that calls it, needs no lock, and changes nothing in other
modules at import. What is changed when the first hub of ours is made, or a loop of ours first runs
or the bridge is first used in a thread whose hub is, or will be, eventlet's own, is listed in
docs/patches.md; what either world sees when the other returns, raises, is cancelled or is killed is
specified in docs/behaviour.md.
"""

from eventlet_asyncio import _extension as _extension
from eventlet_asyncio import debug as debug
from eventlet_asyncio.adapters import async_context as async_context
from eventlet_asyncio.adapters import async_iter as async_iter
from eventlet_asyncio.adapters import sync_context as sync_context
from eventlet_asyncio.adapters import sync_iter as sync_iter
from eventlet_asyncio.bridge import async_to_sync as async_to_sync
from eventlet_asyncio.bridge import await_ as await_
from eventlet_asyncio.bridge import future_to_greenlet as future_to_greenlet
from eventlet_asyncio.bridge import greenlet_to_future as greenlet_to_future
from eventlet_asyncio.bridge import spawn_for_awaitable as spawn_for_awaitable
from eventlet_asyncio.bridge import sync_to_async as sync_to_async
from eventlet_asyncio.hub import use_hub as use_hub
from eventlet_asyncio.loop import EventLoop as EventLoop
from eventlet_asyncio.loop import EventLoopPolicy as EventLoopPolicy
from eventlet_asyncio.loop import install as install
from eventlet_asyncio.loop import new_event_loop as new_event_loop
from eventlet_asyncio.loop import run as run
from eventlet_asyncio.green_blocks import green_in_async as green_in_async
from eventlet_asyncio.green_blocks import no_green_block as no_green_block

__all__ = [
    "EventLoop",
    "EventLoopPolicy",
    "__version__",
    "async_context",
    "async_iter",
    "async_to_sync",
    "await_",
    "future_to_greenlet",
    "green_in_async",
    "greenlet_to_future",
    "install",
    "new_event_loop",
    "no_green_block",
    "run",
    "spawn_for_awaitable",
    "sync_context",
    "sync_iter",
    "sync_to_async",
    "use_hub",
]

__version__: str
