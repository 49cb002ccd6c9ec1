"""The standard library as it was before anybody monkey-patched it, and what it has no function for."""

import asyncio
import sys


def _original(name):
    patcher = sys.modules.get("eventlet.patcher")
    return __import__(name) if patcher is None else patcher.original(name)


class Events:
    """asyncio.events, but for what a subclass says."""

    def __init__(self, events):
        self._events = events

    def __getattr__(self, name):
        return getattr(self._events, name)


def cancelled_error(msg):
    """What `cancel(msg)` has raised."""
    return asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)


def nothing(*_args, **_kwargs):
    """Does nothing."""


def current_task():
    """The task that runs in this thread; `None` where no loop runs, either."""
    loop = asyncio._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


def runs_here(loop):
    """Whether the running loop is one that runs in this thread: libraries set others for a moment.

    Not every loop says in which thread it runs, and one that monkey-patched code runs names a greenlet.
    """
    if not isinstance(loop, asyncio.AbstractEventLoop) or not loop.is_running():
        return False
    ident = getattr(loop, "_thread_id", None)
    return ident == get_ident() or ident not in sys._current_frames()


get_ident = _original("_thread").get_ident
