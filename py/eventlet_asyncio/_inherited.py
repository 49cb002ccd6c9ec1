"""What the methods of asyncio's own loop find that expect its queues and its selector.

A class above ours may call them unbound, or bring some of its own. What they put into these places goes on to the
engine, which has the real queues; the places themselves stay empty.
"""

import collections
import selectors
import weakref

from eventlet_asyncio import _evio


def _run(handle):
    """Runs a handle of asyncio's own class."""
    if not handle._cancelled:
        handle._run()


class Ready(collections.deque):
    """`_ready`: has the engine run what is appended."""

    def __init__(self, loop):
        super().__init__()
        self._loop = weakref.ref(loop)

    def append(self, handle):
        # From whatever thread; by the core's own method, as a subclass's may be what has come here.
        _evio.LoopCore.call_soon_threadsafe(self._loop(), _run, handle)


class Scheduled:
    """`_scheduled`, a list that is filled by heapq, behind everybody's back: what is in it is taken in the next turn."""

    def __get__(self, loop, owner=None):
        if loop is None:
            return self
        timers = loop._timers_of_asyncio
        if not timers and not loop.is_closed():
            _evio.LoopCore.call_soon_threadsafe(loop, _take, loop, timers)
        return timers

    def __set__(self, loop, timers):
        # Under its own name it would have to be put into the dictionary of the loop, which then is one: that makes all
        # methods of the loop slower to find.
        loop._timers_of_asyncio = timers


def _take(loop, timers):
    for timer in timers:
        timer._scheduled = False
        _evio.LoopCore.call_at(loop, timer._when, _run, timer)
    timers.clear()


class Selector:
    """`_selector`: tells of the engine's watchers, and makes them."""

    def __init__(self, loop):
        self._loop = weakref.ref(loop)

    def get_map(self):
        """What `get_key()` gives, by descriptors."""
        return self

    def get(self, file, default=None):
        """As `get_key()`, with a default."""
        try:
            return self.get_key(file)
        except KeyError:
            return default

    def get_key(self, file):
        """For what a descriptor is watched, and by which handles."""
        loop = self._loop()
        fd = _descriptor(file)
        reader, writer = (None, None) if loop is None else loop._watchers(fd)
        if reader is None and writer is None:
            raise KeyError(f"{file!r} is not registered")
        events = (selectors.EVENT_READ if reader else 0) | (selectors.EVENT_WRITE if writer else 0)
        return selectors.SelectorKey(file, fd, events, (reader, writer))

    def register(self, file, events, data=None):
        """Have a reader and a writer called, of which either may be None, and no others."""
        core, loop, fd = _evio.LoopCore, self._loop(), _descriptor(file)
        ways = (core._add_reader, core._remove_reader), (core._add_writer, core._remove_writer)
        for handle, known, (add, remove) in zip(data, loop._watchers(fd), ways):
            if handle is None:
                remove(loop, fd)
            elif handle is not known:
                add(loop, fd, _run, handle)
        return self.get_key(file)

    modify = register

    def unregister(self, file):
        """Watch a descriptor no longer."""
        key = self.get_key(file)
        _evio.LoopCore._remove_reader(self._loop(), key.fd)
        _evio.LoopCore._remove_writer(self._loop(), key.fd)
        return key

    def select(self, timeout=None):
        """Raises an error: it is the engine that waits."""
        raise RuntimeError(
            "the engine runs this loop, and not asyncio's own _run_once(): call the loop's own run_forever()"
        )

    def close(self):
        """Let the engine go, at the end of asyncio's own close()."""
        loop = self._loop()
        if loop is not None:
            loop._release()
            loop._internal_fds = 0


def _descriptor(file):
    return file if isinstance(file, int) else file.fileno()
