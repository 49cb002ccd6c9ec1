"""Threads whose hub is eventlet's own: how another thread has a call made there, and how they end."""

import asyncio
import contextlib
import sys
import weakref

import greenlet
from eventlet import greenthread, hubs, patcher, queue, semaphore
from eventlet.hubs import asyncio as asyncio_hub

from eventlet_asyncio import _evio, _stdlib, _steps

threading = patcher.original("threading")


class ThreadEnd:
    """Lives as long as its thread, and then ends what its hub and its loops hold of the system."""

    _of_thread = threading.local()

    def __init__(self):
        self._thread = _stdlib.get_ident()
        self._end_hub = None
        self._loops = weakref.WeakSet()
        self._mark = weakref.ref(self)

    @classmethod
    def _here(cls):
        try:
            return cls._of_thread.end
        except AttributeError:
            end = cls._of_thread.end = cls()
            return end

    @classmethod
    def call_at_end(cls, end_hub):
        """Have a function called when this thread ends, or when another takes its place.

        It is told whether the thread ended, and whether it may switch to the hub's greenlets, which
        would stay in memory: they must not be below whoever calls.
        """
        here = cls._here()
        replaced, here._end_hub = here._end_hub, end_hub
        if replaced is not None:
            on_main = greenlet.getcurrent().parent is None and asyncio._get_running_loop() is None
            replaced(thread_ended=False, leave=on_main)

    @classmethod
    def close_at_end(cls, loop):
        """Have a loop closed that still runs when this thread ends, as in a green thread it may."""
        here = getattr(cls._of_thread, "end", None) or cls._here()
        if loop._thread_end is not here._mark:
            loop._thread_end = here._mark
            here._loops.add(loop)

    @classmethod
    def is_here(cls, loop):
        """Whether this is the thread in which a loop ran last."""
        return loop._thread_end is cls._here()._mark

    def __del__(self, get_ident=_stdlib.get_ident, end_thread=_evio.end_thread):
        # In a forked child the thread is gone, and its end is told to the one that forked.
        ended = self._thread == get_ident() and not sys.is_finalizing()
        if ended:
            end_thread()
        if self._end_hub is not None:
            self._end_hub(thread_ended=ended, leave=ended)
        if not sys.is_finalizing():
            for loop in list(self._loops):
                if loop.is_running():
                    loop._close_without_thread(leave=ended)


def guest_loop(hub):
    """A loop of ours that lives in a green thread of somebody else's hub."""
    from eventlet_asyncio.loop import EventLoop

    loop = getattr(hub, "_eventlet_asyncio_loop", None)
    if loop is None or loop.is_closed():
        loop = hub._eventlet_asyncio_loop = EventLoop()
        guest = _Guest(hub, loop)
        guest.run()
        ThreadEnd.call_at_end(guest)
    return loop


class _Guest:
    """A loop of ours that runs in a hub of eventlet's; called when its thread ends, or leaves the hub."""

    def __init__(self, hub, loop):
        self._hub = weakref.ref(hub)
        self._address = id(hub)
        self._key = _evio.enlist(hub)
        self._loop = loop
        self._green = None

    def run(self):
        self._green = greenthread.spawn_n(self._run_until_closed)

    def _run_until_closed(self):
        try:
            # stop() ends a run, and nobody else would begin another.
            while not self._loop.is_closed():
                self._loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            self.run()
            raise

    def __call__(self, thread_ended, leave):
        _evio.discharge(self._address, self._key)
        hub = self._hub()
        if hub is not None and getattr(hub, "_eventlet_asyncio_loop", None) is self._loop:
            del hub._eventlet_asyncio_loop
        if sys.is_finalizing():
            return
        self._loop._close_without_thread(leave=leave)
        if leave and self._green:
            self._green.parent = greenlet.getcurrent()
            self._green.throw()


def change_for_foreign(hub):
    """Make the changes for eventlet's asyncio hub, in which no loop of ours runs that would."""
    if isinstance(hub, asyncio_hub.Hub) and not hasattr(hub, "_eventlet_asyncio_changed"):
        from eventlet_asyncio import _patches

        hub._eventlet_asyncio_changed = True
        _patches.apply()


def kill_here(kill, green, *throw_args):
    """Kills a green thread of this thread, by a kill() that switches to it, which a guest's host must not."""
    loop = asyncio._get_running_loop()
    if loop is not None and not isinstance(loop, _evio.LoopCore):
        hub = hubs.get_hub()
        if isinstance(hub, _evio.HubCore):
            if not (green or green.dead) and type(green) is greenthread.GreenThread:
                # It may begin before the hub comes to that.
                green.run = lambda *_: green.main(_raise, throw_args, {})
            hub.schedule_call_global(0, kill, green, *throw_args)
            return
    kill(green, *throw_args)


def strike_elsewhere(how, green, *throw_args):
    """Have the thread of a greenlet kill it, by a function; whether it will, or has ended with what it left."""
    return (
        _evio.wake(green, _strike, how, green, throw_args)
        or _strike_in_loop(how, green, throw_args)
        or _end_stranded(green, throw_args)
    )


def _strike(how, green, throw_args):
    how(green, *throw_args)


def _strike_in_loop(how, green, throw_args):
    """The same where the thread has no hub, but a loop that runs the task."""
    task = _steps.task_of(green)
    if task is None or task.done():
        return False
    try:
        task.get_loop().call_soon_threadsafe(_strike, how, green, throw_args)
    except RuntimeError:
        # It is closed.
        return False
    return True


def _end_stranded(green, throw_args):
    if not _evio.is_stranded(green):
        return False
    if isinstance(green, greenthread.GreenThread) and not green._exit_event.ready():
        # Nothing of it can run any more, but who waits is told, and links are called.
        with contextlib.suppress(BaseException):
            greenthread.GreenThread.main(green, _raise, throw_args, {})
    if not (green or green.dead):
        with contextlib.suppress(BaseException):
            green.parent = greenlet.getcurrent()
            greenlet.greenlet.throw(green)
    return True


def _raise(*throw_args):
    from eventlet_asyncio import bridge

    raise bridge.exception_of(throw_args)


def enlist_foreign(hub):
    """Make sure that other threads can have a hub of eventlet's wake what is about to wait in it."""
    if not isinstance(hub, asyncio_hub.Hub):
        guest_loop(hub)
    elif not hasattr(hub, "_eventlet_asyncio_enlisted"):
        hub._eventlet_asyncio_enlisted = True
        _evio.enlist(hub)


def call_in_foreign(hub, here, callback, args):
    """Have a hub of eventlet's make a call in its next turn; whether it will."""
    if here:
        hub.schedule_call_global(0, callback, *args)
        return True
    # Its timers are not for other threads, and it does not notice that there are more of them.
    loop = getattr(hub, "loop" if isinstance(hub, asyncio_hub.Hub) else "_eventlet_asyncio_loop", None)
    if loop is None:
        # Given up: the thread has taken another hub.
        return False
    try:
        loop.call_soon_threadsafe(hub.schedule_call_global, 0, callback, *args)
    except RuntimeError:
        # Closed: the thread has ended.
        return False
    return True


def pass_on(timers):
    """See to it that what a hub was about to wake, as its thread ended, is not missed by others."""
    for timer in timers:
        callback, args, *_ = getattr(timer, "tpl", (None, ()))
        if callback is _strike:
            _end_stranded(*args[1:])
        waited_for = getattr(callback, "__self__", None)
        if isinstance(waited_for, semaphore.Semaphore):
            _evio.wake_for_permit(waited_for)
        elif isinstance(waited_for, queue.LightQueue):
            waited_for._schedule_unlock()
