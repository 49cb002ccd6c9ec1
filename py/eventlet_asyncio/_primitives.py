"""eventlet's Event, Semaphore and GreenThread, for green threads of several OS threads; `_queues.py` has its Queue.

Within one thread they do what eventlet's do, in the same order. The rules that make them sound
between threads:

* Who waits is registered by the same uninterrupted call that finds that it has to wait, or looks
  once more afterwards: nothing that comes in between is lost.
* Who is woken is woken by the hub of its own thread. What it is to get is taken there, not before:
  if it has gone meanwhile, the next one is woken.
* Who wakes needs no hub, and never waits.

CPython lets other threads in where a function is called or a loop begins anew, and nowhere else: a
statement without either is done in one piece. Where it is not enough, `_evio` has a function.
"""

import types
from collections import deque

from eventlet import greenthread, semaphore
from eventlet.event import NOT_USED
from eventlet.timeout import Timeout
from greenlet import getcurrent, greenlet

from eventlet_asyncio import _evio, _steps, _threads
from eventlet_asyncio._replacing import is_own

#: The methods that are replaced, by where they stand.
REPLACEMENTS: list = []


def noting(replacements):
    """A decorator that notes in a list which method a function replaces."""

    def replaces(place, name):
        def note(function):
            replacements.append((place, name, function))
            return function

        return note

    return replaces


_replaces = noting(REPLACEMENTS)


# Event


@_replaces("eventlet.event:Event", "wait")
def wait(self, timeout=None):
    """Wait for send(), or for so many seconds, and return or raise what was sent."""
    current = getcurrent()
    if self._result is NOT_USED:
        hub = _evio.hub_to_wait_in()
        if _evio.join_event(self, current):
            timer = None
            try:
                if timeout is not None:
                    timer = hub.schedule_call_local(timeout, self._do_send, None, None, current)
                result = hub.switch()
                if timer is not None:
                    timer.cancel()
                return result
            finally:
                self._waiters.discard(current)
    if self._exc is not None:
        current.throw(*self._exc)
    return self._result


@_replaces("eventlet.event:Event", "send")
def send(self, result=None, exc=None):
    """Wake all who wait, with a result or an exception; once."""
    if exc is not None and not isinstance(exc, tuple):
        exc = (exc,)
    sent = _evio.send_event(self, result, exc)
    assert sent, "Trying to re-send() an already-triggered event."


# Semaphore


@_replaces("eventlet.semaphore:Semaphore", "acquire")
def acquire(self, blocking=True, timeout=None):
    """Take a permit, for which to wait if need be; whether it was taken."""
    if timeout is None and blocking and self.counter > 0 and not self._waiters:
        self.counter -= 1
        return True
    if timeout == -1:
        timeout = None
    if timeout is not None and timeout < 0:
        raise ValueError("timeout value must be strictly positive")
    if not blocking:
        if timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        return _evio.take_permit(self)
    try:
        current = getcurrent()
    except RuntimeError:
        # The interpreter is on its way out.
        return _evio.take_permit(self)
    hub = _evio.hub_to_wait_in()
    if _evio.take_permit_or_join(self, current):
        return True
    taken = False
    try:
        if timeout is None:
            # Where there is a permit, somebody was here before.
            hub.switch()
            while not _evio.take_permit_or_rejoin(self, current):
                hub.switch()
            taken = True
        else:
            with Timeout(timeout, False):
                while not _evio.take_permit_or_rejoin(self, current):
                    hub.switch()
                taken = True
    finally:
        _evio.leave_semaphore(self, current, taken)
    return taken


@_replaces("eventlet.semaphore:Semaphore", "release")
def release(self, blocking=True):
    """Give a permit back, and wake the first who waits for one."""
    self.counter += 1
    if self._waiters:
        _evio.wake_for_permit(self)
    return True


@_replaces("eventlet.semaphore:Semaphore", "_do_acquire")
def do_acquire(self):
    """Let the first who waits have the permit that is there."""
    waiter = _evio.first_for_permit(self)
    if waiter is not None:
        waiter.switch()


@_replaces("eventlet.semaphore:BoundedSemaphore", "release")
def release_bounded(self, blocking=True):
    """Give a permit back, unless that were one more than there were at first."""
    if self.counter >= self.original_counter:
        raise ValueError("Semaphore released too many times")
    self.counter += 1
    if self._waiters:
        _evio.wake_for_permit(self)
    return True


@_replaces("eventlet.lock:Lock", "release")
def release_lock(self, blocking=True):
    """Give the lock back, and wake the first who waits for it."""
    if self.counter > 0:
        raise RuntimeError("release unlocked lock")
    self.counter += 1
    if self._waiters:
        _evio.wake_for_permit(self)
    return True


# GreenThread


def _as_it_is(function):
    """A copy of a function whose code is about to be exchanged, or what the program has put in its place."""
    if not is_own(function, greenthread):
        return function
    return types.FunctionType(function.__code__, function.__globals__, function.__name__)


_kill = _as_it_is(greenthread.kill)
_cancel = _as_it_is(greenthread.cancel)


def kill(g, *throw_args):
    """Raise an exception in a green thread; in another OS thread, as soon as that thread's hub can."""
    if _evio.is_here(g):
        if not isinstance(g, greenthread.GreenThread):
            # Whose throw() does so, after its links were called.
            struck = _steps.struck_for(g)
            if struck is None:
                # Nobody is switched to, who would have to come back.
                _steps.throw_of(g)(*throw_args)
                return
            g = struck
            _evio.leave_for(g)
        _threads.kill_here(_kill, g, *throw_args)
    else:
        _threads.strike_elsewhere(_kill, g, *throw_args)


def cancel(g, *throw_args):
    """Kill a green thread that has not started."""
    if _evio.is_here(g):
        _cancel(g, *throw_args)
    elif not (g or g.dead):
        _threads.strike_elsewhere(_cancel, g, *throw_args)


@_replaces("eventlet.greenthread:GreenThread", "throw")
def throw(self, *throw_args):
    """Raise an exception in the green thread; in another OS thread, as soon as its hub can."""
    if not _evio.is_here(self) and _threads.strike_elsewhere(greenlet.throw, self, *throw_args):
        return None
    _evio.leave_for(self)
    try:
        return greenlet.throw(self, *throw_args)
    finally:
        _evio.go_on()


@_replaces("eventlet.greenthread:GreenThread", "link")
def link(self, func, *curried_args, **curried_kwargs):
    """Have a function called with this green thread when it ends, or at once if it has."""
    if self._exit_funcs is None:
        self._exit_funcs = vars(self).setdefault("_eventlet_asyncio_links", deque())
    self._exit_funcs.append((func, curried_args, curried_kwargs))
    if self._exit_event.ready():
        self._resolve_links()


@_replaces("eventlet.greenthread:GreenThread", "_resolve_links")
def resolve_links(self):
    """Call the functions that were linked, each once."""
    while self._exit_funcs and not self._resolving_links:
        self._resolving_links = True
        try:
            while self._exit_funcs:
                try:
                    function, args, kwargs = self._exit_funcs.popleft()
                except IndexError:
                    # Another thread, which links too, was faster.
                    break
                function(self, *args, **kwargs)
        finally:
            # What is linked from here on, by another thread, is found by the outer loop.
            self._resolving_links = False
