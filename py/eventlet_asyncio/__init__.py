"""eventlet and asyncio in one thread, on one engine.

What stands where:

    bridge        call across: future_to_greenlet, greenlet_to_future, await_, and the decorators
    adapters      iterators and context managers: async_iter, async_context, sync_iter, sync_context
    hub           eventlet first: EVENTLET_HUB=eventlet_asyncio.hub, or use_hub()
    loop          asyncio first: run, new_event_loop, EventLoop, EventLoopPolicy, install
    green_blocks  whether async code may block greenly: green_in_async, no_green_block
    debug         what every green thread and task is doing: debug.format_stacks

Importing this package changes nothing in other people's modules, and does not import eventlet
before a name of the bridge, its adapters or the hub is used: a program that is asyncio alone stays
so. Making the first hub changes what docs/patches.md lists, and so does the first run of a loop, or
use of the bridge, in a thread whose hub is, or will be, eventlet's own.
"""

import importlib

from eventlet_asyncio import _extension as _extension
from eventlet_asyncio._evio import __version__
from eventlet_asyncio.loop import EventLoop, EventLoopPolicy, install, new_event_loop, run

_LAZY = {
    "async_context": "adapters",
    "async_iter": "adapters",
    "async_to_sync": "bridge",
    "await_": "bridge",
    "future_to_greenlet": "bridge",
    "green_in_async": "green_blocks",
    "greenlet_to_future": "bridge",
    "no_green_block": "green_blocks",
    "spawn_for_awaitable": "bridge",
    "sync_context": "adapters",
    "sync_iter": "adapters",
    "sync_to_async": "bridge",
    "use_hub": "hub",
}

_MODULES = {"debug", *_LAZY.values()}

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


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_LAZY, *_MODULES})
