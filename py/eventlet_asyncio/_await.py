"""await_() in all cases but the usual ones, which are native: `fast/await_.rs` in the extension module.

That leaves to this module the other hubs and loops, awaitables that are no coroutines, and whatever
is thrown at who waits.
"""

import asyncio
import contextvars
import functools
import inspect
import sys
from collections.abc import Iterator

import greenlet

from eventlet_asyncio import _drive, _evio, _stdlib, _steps, _strikes, green_blocks
from eventlet_asyncio._homes import create_task, wait_there
from eventlet_asyncio._sides import (
    Wakeup,
    check_awaitable,
    check_loop,
    current_context,
    interrupt,
    loop_of,
    on_green_side,
)


_NO_TASK_OF_OURS = (
    "cannot block greenly in a task of {loop!r}, which is not an eventlet_asyncio loop and would "
    "stall: run it on one of ours (asyncio.Runner(loop_factory=eventlet_asyncio.new_event_loop), "
    "uvicorn --loop eventlet_asyncio:new_event_loop), or move the call out of the task by "
    "eventlet_asyncio.sync_to_async"
)


def await_otherwise(awaitable):
    """await_() in all cases but the usual ones, which are native."""
    check_awaitable(awaitable, "await_")
    loop = asyncio._get_running_loop()
    if loop is None:
        return _await_as_task(awaitable, check_loop(loop_of(awaitable, None)))
    if not isinstance(loop, _evio.LoopCore):
        if on_green_side(loop):
            return _await_as_task(awaitable, loop_of(awaitable, loop))
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError(_NO_TASK_OF_OURS.format(loop=loop))
    if asyncio.current_task(loop) is None:
        return _await_as_task(awaitable, loop)
    if inspect.iscoroutine(awaitable):
        return _drive.drive(awaitable)
    iterator = awaitable.__await__()
    if not isinstance(iterator, Iterator):
        kind = type(iterator).__name__
        raise TypeError(f"__await__() returned non-iterator of type '{kind}'")
    return _drive.drive(iterator)


def _await_as_task(awaitable, loop):
    """Waits in a plain green thread: the awaitable runs as a task, in the green thread's context."""
    current = greenlet.getcurrent()
    try:
        _evio.check_block()
    except BaseException:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise
    with green_blocks._checked_already(current):
        return _wait_for_task(awaitable, loop)


def _wait_for_task(awaitable, loop):
    future, leave_context = ensure_future(awaitable, loop)
    wait_there(future, loop)
    crossing = _wait_until_done(future)
    leave_context()
    return _outcome(future, crossing)


def wait_for_interrupted(future, exception):
    """Goes on for await_() when something was thrown at who waits."""
    try:
        if _had_its_result(future):
            _strike_later(future, exception)
            return future.result()
        crossing = _interrupted_crossing(future)
        interrupt(crossing, exception)
        return _outcome(future, _wait_until_done(future, crossing))
    finally:
        # The traceback of what was thrown knows this frame.
        crossing = exception = None


def run_to_its_end(run, future, exception):
    """Goes on for run_until_complete() when something was thrown at green code that waits for it."""
    struck = _StruckRun(future)
    loop = asyncio.futures._get_loop(future)
    try:
        struck.strike(exception)
        while not struck.is_over():
            try:
                run(future)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as thrown:
                if loop._was_left():
                    struck.strike(thrown)
                elif not future.done():
                    raise
        return struck.outcome()
    finally:
        struck.end()
        # The traceback of what was thrown knows this frame.
        del exception


class _StruckRun:
    """A future for whose loop green code waits that was struck; in a task, as in await_()."""

    def __init__(self, future):
        self._future = future
        self._crossing = _interrupted_crossing(future)
        self._task = _stdlib.current_task()
        self._cancel = None
        self._strikes = _strikes.Strikes(self._task)

    def strike(self, exception):
        if isinstance(exception, asyncio.CancelledError):
            self._cancel = exception
        else:
            self._strikes.add(exception)
        interrupt(self._crossing, exception)

    def is_over(self):
        return self._future.done() or self._crossing.done()

    def outcome(self):
        if self._is_cancelled():
            # It goes on whatever was thrown besides.
            self._strikes.leave()
            raise self._cancel
        return _outcome(self._future, self._crossing)

    def _is_cancelled(self):
        return (
            self._cancel is not None
            and self._task is not None
            and self._future.cancelled()
            and not _strikes.all_are_taken_back(self._task)
        )

    def end(self):
        self._strikes.end()
        # The tracebacks of what was thrown know frames that know this.
        self._crossing = self._cancel = None


def _wait_until_done(future, crossing=None):
    with Wakeup() as wakeup:
        if not future.done():
            future.add_done_callback(wakeup)
        while not (future.done() or (crossing is not None and crossing.done())):
            try:
                wakeup.wait()
            except BaseException as exception:
                if crossing is None:
                    if _had_its_result(future):
                        _strike_later(future, exception)
                        break
                    crossing = _interrupted_crossing(future)
                interrupt(crossing, exception)
    return crossing


def _had_its_result(future):
    """Whether the future was done before what was thrown at who waits could have it cancelled."""
    return future.done() and not future.cancelled()


def _strike_later(future, exception):
    """Has what was thrown strike where green code blocks next, as in eventlet where the wake came first.

    So it gets the result that is there, which may be a lock.
    """
    if not _steps.strike_later(exception):
        # What is lost was asked for, or somebody would say that it never was.
        future.exception()
        raise exception


def _interrupted_crossing(future):
    def cancel():
        try:
            future.cancel()
        except RuntimeError:
            if not asyncio.futures._get_loop(future).is_closed():
                raise
            # Nothing cleans up there any more.
            crossing.cancelled()

    crossing = _evio.Crossing(cancel, cancel, cancel)
    crossing.started()
    return crossing


def _outcome(future, crossing):
    if crossing is None:
        return future.result()
    if not crossing.done():
        crossing.settle(future)
    try:
        return crossing.result()
    finally:
        # Whose traceback knows this frame.
        crossing = None


_MISSING = object()


def ensure_future(awaitable, loop):
    """The awaitable as a future of a loop, and what gives the caller's context its changes."""
    if asyncio.isfuture(awaitable):
        return asyncio.ensure_future(awaitable, loop=loop), _stdlib.nothing
    if not inspect.iscoroutine(awaitable):
        awaitable = _wrap(awaitable)
    context = current_context()
    if sys.version_info >= (3, 11):
        try:
            context.run(_stdlib.nothing)
        except RuntimeError:
            # Green code inside Context.run(): entered here, so no task can enter it too.
            pass
        else:
            return create_task(loop, awaitable, context=context), _stdlib.nothing
    copy = context.copy()
    capture = _capture(awaitable, captured := [])
    # The task is known by what it runs.
    capture.__name__, capture.__qualname__ = awaitable.__name__, awaitable.__qualname__
    task = copy.run(create_task, loop, capture)
    return task, functools.partial(_copy_back, awaitable, captured)


async def _wrap(awaitable):
    return await awaitable


async def _capture(coroutine, captured):
    try:
        return await coroutine
    finally:
        captured.append(contextvars.copy_context())


def _copy_back(coroutine, captured):
    """Sets in the running context what a task changed in its copy of it."""
    if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        # Of a task that was cancelled before its first step.
        coroutine.close()
    for context in captured:
        for variable, value in context.items():
            if variable.get(_MISSING) is not value:
                variable.set(value)
