"""Steps of tasks that are parked in green code: their greenlets, and how a cancel reaches them."""

import asyncio
import functools
import sys

from greenlet import greenlet

from eventlet_asyncio import _evio


class Carrier(greenlet):
    """A greenlet that runs asyncio callbacks, one step after another."""

    #: The native step that is this greenlet's life.
    step = None

    #: The future for which `await_` waits in the step that is parked here.
    waits_for = None

    #: The task that a cancel is on its way to.
    cancel_due = None

    @property
    def throw(self):
        """Throws into the step that runs now, and into no later one of this greenlet.

        Green code keeps `getcurrent().throw`, as eventlet.Timeout does, and may call it when the
        step is over and the carrier busy with somebody else's.
        """
        task = _current_task()
        if task is None:
            return super().throw
        return functools.partial(_throw_into, self, super().throw, task)


def _throw_into(carrier, throw, task, *exception):
    if task.done():
        return None
    step = carrier.step
    if step.busy and step.task is task:
        return throw(*exception)
    # Suspended at an await: asyncio's own way in is a cancel, which timeout_exit() makes good.
    task._thrown = exception[0] if exception else None
    task.cancel()
    return None


def parking(switch):
    """The switch() of a hub that is not ours, for which a step is parked as ours does itself."""

    @functools.wraps(switch)
    def parking_switch(hub):
        step = _evio.park()
        try:
            return switch(hub)
        finally:
            if step is not None:
                _evio.unpark(step)

    return parking_switch


def timeout_exit(timeout, kind, value, traceback):
    """eventlet.Timeout.__exit__, which a task may also reach by the cancel that stood for it."""
    timeout.cancel()
    raised = timeout if timeout.exception in (None, True, False) else timeout.exception
    if isinstance(value, asyncio.CancelledError):
        task = _current_task()
        if task is not None and getattr(task, "_thrown", None) is raised:
            del task._thrown
            if sys.version_info >= (3, 11):
                task.uncancel()
            if timeout.exception is not False:
                raise raised from value
            return True
    return True if value is timeout and timeout.exception is False else None


def _current_task():
    loop = asyncio._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


def cancel_parked(step, task, msg=None):
    """Cancels a task whose step is parked, by raising CancelledError where the green code blocks."""
    if task.done():
        return False
    carrier = step.carrier
    _count(task, 1)
    if carrier.waits_for is not None and carrier.waits_for.cancel(msg=msg):
        return True
    if carrier.cancel_due is not task:
        carrier.cancel_due = task
        # Parked, so there is a hub to be parked in.
        hub = sys.modules["eventlet.hubs"].get_hub()
        hub.schedule_call_global(0, _deliver, carrier, task, msg)
    return True


def _deliver(carrier, task, msg):
    if carrier.cancel_due is task:
        carrier.cancel_due = None
    if task.done():
        return
    step = carrier.step
    if step.is_parked(step.park_number) and step.task is task:
        if carrier.waits_for is None or not carrier.waits_for.cancel(msg=msg):
            exception = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
            step.blocked.throw(exception)
    else:
        # The step went on by itself first: the cancel finds the task where it is now.
        _count(task, -1)
        task.cancel(msg=msg)


if sys.version_info >= (3, 11):

    def _count(task, change):
        """Keeps the number of cancels that asyncio's own counter must not see twice."""
        count = getattr(task, "_parked_cancels", 0) + change
        task._parked_cancels = count
        if count:
            task.cancelling = functools.partial(_cancelling, task)
            task.uncancel = functools.partial(_uncancel, task)
        else:
            del task._parked_cancels, task.cancelling, task.uncancel

    def _cancelling(task):
        return type(task).cancelling(task) + task._parked_cancels

    def _uncancel(task):
        _count(task, -1)
        return task.cancelling()

else:

    def _count(task, change):
        """Before 3.11 tasks do not count their cancels."""
