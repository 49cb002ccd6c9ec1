"""The hub: eventlet's view of the engine. `EVENTLET_HUB=eventlet_asyncio.hub`, or `use_hub()`."""

import asyncio
import errno
import io
import os
import sys
import traceback
import weakref

import eventlet.hubs
from eventlet.hubs import asyncio as asyncio_hub
from eventlet.hubs import hub as base
from eventlet.hubs import timer

from eventlet_asyncio import _evio, _patches, _threads
from eventlet_asyncio.loop import EventLoop, watch_forks


def is_available():
    """Whether the hub can be used on this platform: wherever its extension module is."""
    return True


def use_hub():
    """Use this hub in the thread; call it before `eventlet.monkey_patch()` and before any green call."""
    hub = getattr(eventlet.hubs._threadlocal, "hub", None)
    if isinstance(hub, Hub) and hub._pid == os.getpid() and asyncio._get_running_loop() is hub.loop:
        # It has that loop until the loop has stopped.
        return
    eventlet.hubs.use_hub(sys.modules[__name__])
    # Before other threads make hubs of eventlet's own, and run them.
    _patches.RUN_OF_OTHERS.apply()
    _evio.abandon_step()


class _End:
    """Ends a hub with its thread, or when another takes its place."""

    def __init__(self, hub):
        self._hub = weakref.ref(hub)

    def __call__(self, thread_ended, leave):
        hub = self._hub()
        if hub is not None:
            hub._end(thread_ended, leave)


class Hub(_evio.HubCore, asyncio_hub.Hub):
    """Drives green threads and an asyncio loop on one engine.

    It is an `eventlet.hubs.asyncio.Hub` because eventlet asks for that before it lets green threads
    be awaited, and has nothing else of it: no method of that class runs.
    """

    def __init__(self, clock=None):
        watch_forks()
        self.clock = base.monotonic if clock is None else clock
        self.closed = []
        self.lclass = base.FdListener
        self.next_timers = ()
        self.debug_exceptions = True
        self._blocking = None
        self.debug_blocking_resolution = 1
        self._pid = os.getpid()
        self._attach()
        # A signal handler that asks for the hub meanwhile, or what ends with the hub before, must not make another.
        vars(eventlet.hubs._threadlocal).setdefault("hub", self)
        _threads.ThreadEnd.call_at_end(_End(self))
        if "_post_initialize" not in eventlet.hubs.get_hub.__code__.co_consts:
            # Before eventlet 0.36.2 nobody calls it.
            self._post_initialize()

    def _post_initialize(self):
        try:
            _patches.apply()
        except BaseException:
            # The next call makes another.
            if vars(eventlet.hubs._threadlocal).get("hub") is self:
                del eventlet.hubs._threadlocal.hub
            raise

    @property
    def debug_blocking(self):
        """Whether code that blocks the thread is interrupted: see `eventlet.debug`."""
        return self._blocking is not None

    @debug_blocking.setter
    def debug_blocking(self, state):
        if self._blocking is not None:
            self._blocking.stop()
            self._blocking = None
        if state:
            from eventlet_asyncio import _blocking

            self._blocking = _blocking.Watcher(self._watch, self.debug_blocking_resolution)

    @property
    def debug_blocking_resolution(self):
        """For how many seconds code may block the thread before it is interrupted."""
        return self._resolution

    @debug_blocking_resolution.setter
    def debug_blocking_resolution(self, seconds):
        self._resolution = seconds
        if self._blocking is not None:
            self._blocking.resolution = seconds

    def block_detect_pre(self):
        """Blocking is noticed by a watcher: no turn need begin with an alarm."""

    def block_detect_post(self):
        """Does nothing, as `block_detect_pre()`."""

    def __repr__(self):
        return f"<{type(self).__name__} at {id(self):#x} driving {self.loop!r}>"

    def __del__(self):
        self._end()

    def _end(self, thread_ended=False, leave=False):
        self.debug_blocking = False
        timers = [timer for _, timer in self.timers] if thread_ended else ()
        if leave:
            self._leave()
        own = self._detach()
        if own is not None and not sys.is_finalizing():
            if timers:
                _threads.pass_on(timers)
            own._owner = None
            own._close_without_thread()

    def _make_loop(self):
        loop = EventLoop()
        loop._owner = weakref.ref(self)
        return loop

    def abort(self, wait=False):
        """Stop the hub after this turn; with *wait*, from the main greenlet, until it has stopped."""
        self._stop()
        if wait:
            if self.greenlet is eventlet.hubs.greenlet.getcurrent():
                raise AssertionError("Can't abort with wait from inside the hub's greenlet.")
            self.schedule_call_global(0, lambda: None)
            self.switch()

    def mark_as_reopened(self, fileno):
        """A descriptor was opened anew: whoever still listens on its number listens on a closed file."""
        for listener in self._listeners_of(fileno):
            self.remove(listener)
            listener.defang()
            self.closed.append(listener)
            self.schedule_call_global(0, self.close_one)

    def notify_close(self, fileno):
        """Listeners of a closed descriptor are told when its number is used again."""

    def close_one(self):
        """Tell one listener whose descriptor is gone."""
        if not self.closed:
            return
        listener = self.closed.pop(0)
        if not listener.greenlet.dead:
            listener.tb(eventlet.hubs.IOClosed(errno.ENOTCONN, "Operation on closed file"))

    def remove_descriptor(self, fileno):
        """Remove all listeners of a descriptor, after calling each back once."""
        for listener in self._listeners_of(fileno):
            self.remove(listener)
            try:
                listener.cb(fileno)
            except Exception:
                self.squelch_generic_exception(sys.exc_info())

    def get_readers(self):
        """The listeners for reading."""
        return self.listeners[self.READ].values()

    def get_writers(self):
        """The listeners for writing."""
        return self.listeners[self.WRITE].values()

    @property
    def timers(self):
        """Pending timers with their times, as eventlet's hubs list them."""
        return [(due, self._as_timer(due, shown)) for due, shown in self._timers()]

    def _as_timer(self, due, shown):
        if type(shown) is not tuple:
            return shown
        switch = shown[0]
        made = timer.Timer(max(due - self.clock(), 0), switch)
        made.tpl = shown
        if hasattr(made, "traceback"):
            # Its stack is that of the green thread, which is where it blocks.
            stack = traceback.format_stack(switch.__self__.gr_frame)
            made.traceback = io.StringIO("".join(stack))
        return made

    def set_debug_listeners(self, value):
        """Whether listeners say who made them."""
        super().set_debug_listeners(value)
        self._trace_listeners(bool(value))

    def default_sleep(self):
        """Seconds until the hub would look around with nothing to do: it never has to."""
        return 60.0

    def sleep_until(self):
        """When the next timer is due, or None."""
        timers = self._timers()
        return timers[0][0] if timers else None
