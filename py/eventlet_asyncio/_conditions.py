"""Conditions of the standard library's whose locks are green, as in monkey-patched programs."""

import functools
import sys

from eventlet.lock import Lock

from eventlet_asyncio import _steps


def condition_wait(own):
    """`threading.Condition.wait()`, in whose place it comes where the locks are green.

    Who is struck when he was notified notifies the next, and who is struck as he takes the lock back has it
    all the same, which he is to release.
    """
    threading = sys.modules["threading"]

    @functools.wraps(own)
    def wait(self, timeout=None):
        waiter = threading._allocate_lock()
        if not isinstance(waiter, Lock) or not self._is_owned():
            return own(self, timeout)
        waiter.acquire()
        self._waiters.append(waiter)
        state = self._release_save()
        strikes = []
        try:
            if timeout is None:
                waiter.acquire()
            elif timeout > 0:
                waiter.acquire(timeout=timeout)
        except BaseException as exception:
            strikes.append(exception)
        try:
            _take_back(self, state, strikes)
            if strikes:
                raise _first_of(strikes)
        finally:
            notified = waiter not in self._waiters
            if not notified:
                self._waiters.remove(waiter)
            elif strikes and self._is_owned():
                self.notify()
            # Their tracebacks know this frame.
            strikes.clear()
        return notified

    return wait


def _take_back(condition, state, strikes):
    """Has who waited for a condition own its lock, and notes what strikes him meanwhile."""
    while True:
        try:
            return condition._acquire_restore(state)
        except RuntimeError:
            # What is raised at once, and would be again, where nobody can wait.
            raise
        except BaseException as exception:
            strikes.append(exception)


def _first_of(strikes):
    """The one of several strikes that is raised now; the others strike where the green code blocks next, if they can."""
    first, *others = strikes
    at_once = [each for each in others if not _steps.strike_later(each)]
    if not at_once:
        return first
    if not _steps.strike_later(first):
        at_once[-1].__context__ = first
    return at_once[-1]
