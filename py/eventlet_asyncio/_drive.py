"""What await_() does in a task, in all cases but the usual one, which is native: `fast/await_.rs` in the extension module."""

import asyncio
import sys

from eventlet_asyncio import _evio, _strikes
from eventlet_asyncio._sides import Wakeup, interrupt
from eventlet_asyncio._stdlib import nothing


def go_on_in_task(iterator, exception, waits_for, interrupted):
    """Goes on for await_() when something was raised meanwhile, or thrown at who waits."""
    driven = _Drive(iterator)
    try:
        return driven.run(driven.go_on(exception, waits_for) if interrupted else exception)
    finally:
        # The traceback of what was thrown knows this frame.
        del exception


def drive(iterator):
    """Drives an iterator in the very task whose step runs this code."""
    return _Drive(iterator).run(None)


class _Drive:
    """What a task does with a coroutine, done in the middle of one of its steps."""

    def __init__(self, iterator):
        self._iterator = iterator
        self._loop, self._step = asyncio._get_running_loop(), _evio.current_step()
        self._task = asyncio.current_task(self._loop)
        # What was thrown at who waits, as opposed to raised by what the iterator awaits.
        self._strikes = _strikes.Strikes(self._task)
        # What the iterator was told for it.
        self._told = []
        # What ended the wait: some of it, a cancel of the task.
        self._is_struck = self._is_cancelled = False
        # What was being handled before.
        self._handled = sys.exc_info()[1]

    def run(self, error):
        """Runs the iterator to its end; what it is told first is the error, if there is one."""
        try:
            return self._run(error)
        finally:
            # Their tracebacks know this frame.
            error = self._handled = self._strikes = None
            self._told.clear()

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
                        self._strikes.leave()
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
        thrown = self._strikes.end()
        if not thrown:
            return None
        crossing = _evio.Crossing(nothing, nothing, nothing)
        crossing.started()
        for exception in thrown:
            interrupt(crossing, exception)
        return crossing

    def _is_by_cancel(self, raised):
        """Whether a cancel of the task is behind a CancelledError, and not taken back: it goes on, whatever strikes besides."""
        if self._strikes.was_cancelled():
            # It may have been swallowed, as by who shields his cleanup.
            return True
        while raised is not None and raised is not self._handled:
            if isinstance(raised, asyncio.CancelledError) and not any(raised is told for told in self._told):
                return not _strikes.all_are_taken_back(self._task)
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
            self._strikes.add(exception)
        return awaited is not None and awaited.cancel(*message)

    def _tell(self, error, awaited):
        """What the iterator is told after a wait, noted if that is for strikes alone, as is what came of them elsewhere."""
        if self._is_struck and not (self._is_cancelled or _strikes.was_cancelled(self._task, awaited)):
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
