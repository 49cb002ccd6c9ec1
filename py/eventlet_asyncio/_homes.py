"""The home loop of green code: the one on which what it awaits runs, unless it names another.

It is the loop that ran where the green thread was made, or else the home of its maker; `fast/home.rs` notes it
where it is not the hub's own. A loop that has ended is no home, and the hub's takes its place.
"""

import asyncio

import greenlet
from eventlet import hubs

from eventlet_asyncio import _evio


def noted_home():
    """The home that was noted for the running greenlet, while it lasts."""
    loop = getattr(greenlet.getcurrent(), "_eventlet_asyncio_home", None)
    return loop if loop is not None and loop.is_running() and not _has_ended(loop) else None


def loop_of_our_hub():
    """The loop of this thread's hub, if that is ours."""
    hub = getattr(hubs._threadlocal, "hub", None)
    return hub.loop if isinstance(hub, _evio.HubCore) else None


def wait_there(future, loop):
    """Has a future that green code waits for be done before its loop ends, if that is not the hub's."""
    hub = getattr(hubs._threadlocal, "hub", None)
    if loop is not getattr(hub, "loop", None) and loop is not getattr(hub, "_eventlet_asyncio_loop", None):
        ends = getattr(loop, "_eventlet_asyncio_ends", None)
        if ends is None:
            ends = loop._eventlet_asyncio_ends = _Ends(loop)
        ends.add(future)


def _has_ended(loop):
    ends = getattr(loop, "_eventlet_asyncio_ends", None)
    return ends is not None and ends.are_over


class _Ends:
    """Futures of a loop that green code waits for, which are cancelled when the loop shuts down.

    asyncio.run() cancels the tasks that are there when its main ends; what green code begins while those clean up
    would be lost. Asynchronous generators are shut down later, so one of them looks after it.
    """

    def __init__(self, loop):
        self.are_over = False
        self._futures = set()
        self._generator = self._until_shutdown()
        loop.call_soon(self._begin)

    def add(self, future):
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def _begin(self):
        # Here the loop's hooks are set, by which it gets to know the generator.
        try:
            self._generator.__anext__().send(None)
        except StopIteration:
            pass

    async def _until_shutdown(self):
        try:
            yield
        finally:
            self.are_over = True
            while self._futures:
                for future in tuple(self._futures):
                    future.cancel()
                await asyncio.wait(self._futures)
