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

from eventlet_asyncio import _evio, _steps, green_blocks
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
        return _drive(awaitable)
    iterator = awaitable.__await__()
    if not isinstance(iterator, Iterator):
        kind = type(iterator).__name__
        raise TypeError(f"__await__() returned non-iterator of type '{kind}'")
    return _drive(iterator)


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
        self._task = _steps.current_task()
        self._cancel = None
        self._strikes = []

    def strike(self, exception):
        if isinstance(exception, asyncio.CancelledError):
            self._cancel = exception
        elif self._task is not None:
            self._strikes.append(_steps.strike_in_drive(self._task, exception))
        interrupt(self._crossing, exception)

    def is_over(self):
        return self._future.done() or self._crossing.done()

    def outcome(self):
        if self._is_cancelled():
            # It goes on whatever was thrown besides.
            _steps.leave_strikes(self._strikes)
            self._strikes = []
            raise self._cancel
        return _outcome(self._future, self._crossing)

    def _is_cancelled(self):
        return (
            self._cancel is not None
            and self._task is not None
            and self._future.cancelled()
            and not _steps.all_are_taken_back(self._task)
        )

    def end(self):
        _steps.end_strikes(self._strikes)
        # The tracebacks of what was thrown know frames that know this.
        self._crossing = self._cancel = None
        self._strikes = []


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


def _nothing():
    pass


def ensure_future(awaitable, loop):
    """The awaitable as a future of a loop, and what gives the caller's context its changes."""
    if asyncio.isfuture(awaitable):
        return asyncio.ensure_future(awaitable, loop=loop), _nothing
    if not inspect.iscoroutine(awaitable):
        awaitable = _wrap(awaitable)
    context = current_context()
    if sys.version_info >= (3, 11):
        try:
            context.run(_nothing)
        except RuntimeError:
            # Green code inside Context.run(): entered here, so no task can enter it too.
            pass
        else:
            return create_task(loop, awaitable, context=context), _nothing
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


def go_on_in_task(iterator, exception, waits_for, interrupted):
    """Goes on for await_() when something was raised meanwhile, or thrown at who waits."""
    drive = _Drive(iterator)
    try:
        return drive.run(drive.go_on(exception, waits_for) if interrupted else exception)
    finally:
        # The traceback of what was thrown knows this frame.
        del exception


def _drive(iterator):
    """Drives an iterator in the very task whose step runs this code."""
    return _Drive(iterator).run(None)


class _Drive:
    """What a task does with a coroutine, done in the middle of one of its steps."""

    def __init__(self, iterator):
        self._iterator = iterator
        self._loop, self._step = asyncio._get_running_loop(), _evio.current_step()
        self._task = asyncio.current_task(self._loop)
        # What was thrown at who waits, as opposed to raised by what the iterator awaits.
        self._strikes = []
        # What the iterator was told for it.
        self._told = []
        # What ended the wait: some of it, a cancel of the task.
        self._is_struck = self._is_cancelled = False
        # What was being handled before.
        self._handled = sys.exc_info()[1]
        # How many cancels of the task there were when it was first struck.
        self._cancels = None

    def run(self, error):
        """Runs the iterator to its end; what it is told first is the error, if there is one."""
        try:
            return self._run(error)
        finally:
            # Their tracebacks know this frame.
            error = self._handled = None
            self._told.clear()
            self._strikes = []

    def _run(self, error):
        try:
            while True:
                try:
                    awaited = self._advance(error)
                except StopIteration as stop:
                    crossing = self._end()
                    if crossing is None:
                        return stop.value
                    crossing.returned(stop.value)
                    return crossing.result()
                except asyncio.CancelledError as cancelled:
                    if self._is_by_cancel(cancelled):
                        _steps.leave_strikes(self._strikes)
                        raise
                    crossing = self._end()
                    if crossing is None:
                        raise
                    crossing.cancelled(cancelled)
                    return crossing.result()
                except BaseException as exception:
                    crossing = self._end()
                    if crossing is None:
                        raise
                    crossing.raised(exception)
                    return crossing.result()
                error = self._wait_for(awaited)
        finally:
            error = crossing = None

    def _advance(self, error):
        # Iterators that are no generators have no send(), and no throw().
        iterator = self._iterator
        if error is None:
            return iterator.send(None) if hasattr(iterator, "send") else next(iterator)
        try:
            if hasattr(iterator, "throw"):
                return iterator.throw(error)
            raise error
        finally:
            del error

    def _end(self):
        """The crossing that knows what was thrown and no Timeout inside of the iterator has raised, if any."""
        thrown = _steps.end_strikes(self._strikes)
        if not thrown:
            return None
        crossing = _evio.Crossing(_nothing, _nothing, _nothing)
        crossing.started()
        for exception in thrown:
            interrupt(crossing, exception)
        return crossing

    def _is_by_cancel(self, raised):
        """Whether a cancel of the task is behind a CancelledError, and not taken back: it goes on, whatever strikes besides."""
        if self._cancels is not None and _steps.cancels_asked(self._task) > self._cancels:
            # It may have been swallowed, as by who shields his cleanup.
            return True
        while raised is not None and raised is not self._handled:
            if isinstance(raised, asyncio.CancelledError) and not any(raised is told for told in self._told):
                return not _steps.all_are_taken_back(self._task)
            raised = raised.__context__
        return False

    def _wait_for(self, awaited):
        """Parks the step as its task would suspend; what the iterator is to be told then, if anything."""
        try:
            if awaited is not None:
                check_yielded(awaited, self._loop)
        except BaseException as exception:
            return exception
        self._is_struck = self._is_cancelled = False
        return self._park(awaited)

    def go_on(self, exception, awaited):
        """Goes on waiting after a throw; what the iterator is to be told then, if anything."""
        if self._cancel(exception, awaited):
            return self._park(awaited)
        return self._tell(_cancel_for(exception, awaited), awaited)

    def _cancel(self, exception, awaited):
        """Cancels what is awaited, after a throw; whether there is a cleanup to wait for."""
        message = ()
        if isinstance(exception, asyncio.CancelledError):
            self._is_cancelled = True
            message = exception.args[:1]
        else:
            self._is_struck = True
            self._strikes.append(_steps.strike_in_drive(self._task, exception))
            if self._cancels is None:
                self._cancels = _steps.cancels_asked(self._task)
        return awaited is not None and awaited.cancel(*message)

    def _tell(self, error, awaited):
        """What the iterator is told after a wait, noted if that is for strikes alone, as is what came of them elsewhere."""
        if self._is_struck and not (self._is_cancelled or _steps.was_cancelled(self._task, awaited)):
            each = error
            while each is not None:
                self._told.append(each)
                each = each.__context__
        return error

    def _park(self, awaited):
        with Wakeup() as wakeup:
            try:
                if awaited is None:
                    self._park_for_turn(wakeup)
                else:
                    self._park_for_future(wakeup, awaited)
            except BaseException as exception:
                return self._tell(exception, awaited)
        return None

    def _park_for_turn(self, wakeup):
        handle = self._loop.call_soon(wakeup)
        try:
            wakeup.wait()
        except BaseException as exception:
            self._cancel(exception, None)
            raise _cancel_for(exception, None) from None
        finally:
            handle.cancel()

    def _park_for_future(self, wakeup, awaited):
        step = self._step
        awaited.add_done_callback(wakeup)
        outer, step.waits_for = step.waits_for, awaited
        try:
            while not awaited.done():
                try:
                    wakeup.wait()
                except BaseException as exception:
                    if not self._cancel(exception, awaited):
                        raise _cancel_for(exception, awaited) from None
        finally:
            awaited.remove_done_callback(wakeup)
            step.waits_for = outer
        awaited.result()


def _cancel_for(exception, awaited):
    """The CancelledError for something thrown, if it is none itself; that of what is awaited, if it came first."""
    if awaited is not None and awaited.done():
        try:
            awaited.result()
        except asyncio.CancelledError as first:
            return first
        except BaseException:
            # Lost, as in asyncio, which asks for it too.
            pass
    return exception if isinstance(exception, asyncio.CancelledError) else asyncio.CancelledError()


def check_yielded(waits_for, loop):
    """Takes what an awaitable yields, with asyncio's own complaints."""
    blocking = getattr(waits_for, "_asyncio_future_blocking", None)
    if blocking is None:
        raise RuntimeError(f"Task got bad yield: {waits_for!r}")
    if asyncio.futures._get_loop(waits_for) is not loop:
        raise RuntimeError(f"Task got Future {waits_for!r} attached to a different loop")
    if not blocking:
        raise RuntimeError(f"yield was used instead of yield from in a task with {waits_for!r}")
    waits_for._asyncio_future_blocking = False
