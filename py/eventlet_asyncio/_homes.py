"""The home loop of green code: the one on which what it awaits runs, unless it names another.

It is the loop that ran where the green thread was made, or else the home of its maker; `fast/home.rs` notes it
where it is not the hub's own. A loop that has ended is no home, and the hub's takes its place.
"""

import asyncio
import weakref

import greenlet
from eventlet import hubs

from eventlet_asyncio import _evio


def noted_home():
    """The home that was noted for the running greenlet, while it lasts."""
    loop = getattr(greenlet.getcurrent(), "_eventlet_asyncio_home", None)
    if isinstance(loop, weakref.ref):
        loop = loop()
    return loop if loop is not None and loop.is_running() and not _has_ended(loop) else None


def loop_of_our_hub():
    """The loop of this thread's hub, if that is ours."""
    hub = getattr(hubs._threadlocal, "hub", None)
    return hub.loop if isinstance(hub, _evio.HubCore) else None


def look_after(loop):
    """What sees to the ends of a loop that is a home; None for a hub's own, which ends with the hub."""
    hub = getattr(hubs._threadlocal, "hub", None)
    is_hubs_own = loop in (getattr(hub, "loop", None), getattr(hub, "_eventlet_asyncio_loop", None))
    loop._eventlet_asyncio_ends = None if is_hubs_own else _Ends(loop)
    return loop._eventlet_asyncio_ends


def wait_there(future, loop):
    """Has a future that green code waits for be done before its loop ends, if that is not the hub's."""
    ends = loop._eventlet_asyncio_ends if hasattr(loop, "_eventlet_asyncio_ends") else look_after(loop)
    if ends is not None:
        ends.add(future)


def _has_ended(loop):
    ends = getattr(loop, "_eventlet_asyncio_ends", None)
    return ends is not None and ends.are_over


def create_task(loop, coroutine, **options):
    """A task of a loop, whose first step does not run here, in green code, unless the loop is ours and sees to it."""
    if isinstance(loop, _evio.LoopCore) or loop.get_task_factory() is None:
        return loop.create_task(coroutine, **options)
    return asyncio.Task(coroutine, loop=loop, **options)


class _Ends:
    """Futures of a loop that green code waits for, which are cancelled when the loop shuts down.

    asyncio.run() cancels the tasks that are there when its main ends; what green code begins while those clean up
    would be lost. Asynchronous generators are shut down later, so one of them looks after it.
    """

    def __init__(self, loop):
        self._futures = set()
        self.are_over = loop.is_closed() or getattr(loop, "_asyncgens_shutdown_called", False)
        if not self.are_over:
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


async def end_green_waits(loop):
    """Cancels the tasks of a loop of ours for which green code waits, as the loop is about to end.

    asyncio.run() has cancelled those that were there before; these came while the others cleaned up.
    """
    while tasks := _green_waits(loop):
        await end_tasks(tasks)


async def end_tasks(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def leave_green_blocks(loop):
    """Cancels the tasks of a loop that is closed as they block greenly, which the hub goes on with.

    The answer are those for which green code waits and the loop would have to run.
    """
    for step in loop._parked_steps():
        if _blocks_greenly(step.task) and _evio.is_here(step.carrier):
            step.task.cancel()
    return [task for task in _green_waits(loop) if not _blocks_greenly(task)]


def _blocks_greenly(task):
    return isinstance(getattr(task, "_fut_waiter", None), _evio.GreenWait)


def _green_waits(loop):
    """The tasks of a loop of ours for which green code waits."""
    if not (loop._had_green_code() or hasattr(loop, "_eventlet_asyncio_ends")):
        # Nobody is there who could wait: spared a look at all tasks of all loops.
        return []
    own = asyncio.current_task(loop)
    return [task for task in asyncio.all_tasks(loop) if task is not own and _wakes_green_code(task)]


def _wakes_green_code(task):
    callbacks = getattr(task, "_callbacks", None) or ()
    native = _evio.Waker, _evio.Crossing
    return any(isinstance(each, native) or hasattr(each, "_wakes_without_turns") for each, _ in callbacks)
