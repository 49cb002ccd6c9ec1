"""Cancels, kills and Timeouts that reach a task in green code: how each is counted, and which has its way."""

import asyncio
import contextlib
import sys
import weakref

from greenlet import GreenletExit

from eventlet_asyncio import _evio, _stdlib


class Strike:
    """Something thrown at a task that got a CancelledError for it; timeout_exit() makes that good.

    It counts as a cancel for as long, for the scopes of timeouts that it passes.
    """

    def __init__(self, task, thrown, cancels):
        #: An exception, or the class of one.
        self.thrown = thrown
        #: How many cancels the task had to bring to its end before.
        self.cancels = cancels
        self.is_over = False
        self._task = task
        task._thrown = [*getattr(task, "_thrown", ()), self]

    def is_exit(self):
        thrown = self.thrown
        return isinstance(thrown, GreenletExit) or thrown is None or thrown is GreenletExit

    def is_of(self, raised):
        return self.thrown is raised or type(self.thrown) is raised

    def end(self):
        """Takes it from the task, for which it is over: how many cancels are left to that."""
        self.is_over = True
        others = [each for each in self._task._thrown if each is not self]
        if others:
            self._task._thrown = others
        else:
            del self._task._thrown
        return self._task.uncancel() if sys.version_info >= (3, 11) else 0


class _Cancelled:
    """What a task seems to wait for while a cancel of it is only to be counted."""

    @staticmethod
    def cancel(msg=None):
        return True


class Strikes:
    """What was thrown at a task in one of its waits, in await_() or a run(): what is awaited is cancelled for it.

    Each counts as a cancel of the task until it is over. Outside of tasks there is nothing to count.
    """

    def __init__(self, task):
        self._task = task
        self._strikes = []
        # How many cancels of the task there were before.
        self._cancels = None

    def add(self, exception):
        if self._task is None:
            return
        if self._cancels is None:
            self._cancels = cancels_asked(self._task)
        self._strikes.append(self._strike(exception))

    def _strike(self, exception):
        task = self._task
        aimed, cancels = getattr(task, "_aimed", (None, None))
        if aimed is not exception and type(exception) is not aimed:
            cancels = count_cancels(task)
        _evio.set_awaited(task, _Cancelled)
        try:
            task.cancel()
        finally:
            _evio.set_awaited(task, None)
        return Strike(task, exception, cancels)

    def was_cancelled(self):
        """Whether the task was cancelled besides, since it was first struck, and that is not taken back."""
        return self._cancels is not None and cancels_asked(self._task) > self._cancels

    def end(self):
        """Ends what no Timeout has raised meanwhile, and says what was thrown."""
        left = [each for each in self._strikes if not each.is_over]
        self._strikes = []
        for each in left:
            each.end()
        return [each.thrown for each in left]

    def leave(self):
        """Leaves them to the Timeouts whose they are, which a cancel comes to: they count as cancels until then.

        A kill is over.
        """
        if sys.version_info >= (3, 11):
            self._strikes = [each for each in self._strikes if each.is_exit()]
        self.end()


def cancels_asked(task):
    """How many cancels of a task somebody has asked for and not taken back."""
    return count_cancels(task) - len(getattr(task, "_thrown", ())) if sys.version_info >= (3, 11) else 0


def count_cancels(task):
    """How many cancels of a task are not taken back, with those that stand for strikes."""
    return task.cancelling() if sys.version_info >= (3, 11) else 0


def timeout_exit(timeout, value):
    """Ends a Timeout: a task may bring the cancel that stood for it, which is then taken back.

    As with asyncio.timeout(), a cancel that somebody else asked for meanwhile goes on.
    """
    raised = timeout if timeout.exception in (None, True, False) else timeout.exception
    task = _stdlib.current_task()
    for each in getattr(task, "_thrown", ()):
        if each.is_of(raised):
            if each.end() > each.cancels or not isinstance(value, asyncio.CancelledError):
                break
            if timeout.exception is not False:
                raise raised from value
            return True
    return True if value is timeout and timeout.exception is False else None


def cancel_parked(step, msg=None):
    """Cancels what a parked step waits for: by raising CancelledError where the green code blocks."""
    waits_for = step.waits_for
    if waits_for is not None and waits_for.cancel(msg=msg):
        with contextlib.suppress(TypeError):
            step.task._cancelled_wait = weakref.ref(waits_for)
        return True
    cancel_when_it_blocks(step, step.task, cancel_of(step.task, msg))
    return True


def cancel_when_it_blocks(step, task, cancel):
    """Has a cancel of a task strike where its step blocks greenly next, or does already."""
    if step.set_due_cancel(cancel, task):
        # It parks, so there is a hub to be parked in.
        sys.modules["eventlet.hubs"].get_hub().schedule_call_global(0, _deliver, step, cancel)


def was_cancelled(task, waits_for):
    """Whether a cancel of a task has cancelled what await_() waited for in it."""
    cancelled = getattr(task, "_cancelled_wait", None)
    return cancelled is not None and waits_for is not None and cancelled() is waits_for


def _deliver(step, exception):
    """Throws a cancel that is still due; a step that woke by itself has raised it already.

    One that was struck by something else may block again by now, or else is left for cancel_left().
    """
    blocked = step.blocked
    if step.due_cancel is exception and blocked is not None:
        task = step.task
        step.take_due_cancel()
        if not _is_taken_back(task, exception):
            blocked.throw(exception)


def cancel_left(task, cancel):
    """Cancels a task at its await for a cancel that was due at a green block, where something else was thrown."""
    if task is not None and not task.done() and not _is_taken_back(task, cancel):
        cancel_again(task, cancel)


def cancel_of(task, msg):
    """The CancelledError for a cancel of a task that is asked for now, or made by a strike; it knows which."""
    cancel = _stdlib.cancelled_error(msg)
    cancel._asked = 0 if task is None else cancels_asked(task)
    cancel._strike = getattr(task, "_strikes_now", None)
    return cancel


def _is_taken_back(task, cancel):
    """Whether a cancel of a task was, or its strike is over; before Python 3.11 tasks do not know of cancels."""
    if cancel._strike is not None:
        return cancel._strike.is_over
    return task is not None and cancels_asked(task) < cancel._asked


def all_are_taken_back(task):
    """Whether all cancels of a task were that somebody asked for."""
    return sys.version_info >= (3, 11) and cancels_asked(task) == 0


def cancel_again(task, cancel):
    """Has a cancel that came at the wrong place strike the running task at its next await."""
    if sys.version_info >= (3, 11):
        # It was counted when it came.
        task.uncancel()
    task.cancel(*cancel.args)
