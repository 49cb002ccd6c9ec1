"""The bridge: calls from green code to asyncio and back, of which nothing is lost on the way.

What either side sees when the other ends, fails, is cancelled or killed is decided by a state
machine in Rust, `_evio.Crossing`. This module feeds it what happens and does what it asks for.
"""

import asyncio
import contextlib
import functools
import inspect

import greenlet
from eventlet import greenthread
from eventlet.greenthread import GreenThread

from eventlet_asyncio import _evio, _patches, _stdlib, _threads
from eventlet_asyncio._sides import (
    check_awaitable,
    check_hub_goes_on,
    check_loop,
    current_context,
    get_hub,
    home_loop,
    interrupt,
    loop_of,
)


_own_wait = _patches.own_wait()


class FutureGreenThread(GreenThread):
    """A green thread whose result is that of an awaitable; made by future_to_greenlet()."""

    future = None

    def __init__(self, awaitable, loop, autostart, autocancel, autokill):
        # Also what GreenThread.__init__() does.
        _evio.init_future_green_thread(self, awaitable, loop, autostart, autocancel, autokill)

    def _begin(self):
        _evio.begin_future_green_thread(self)

    def wait(self):
        """Block until the awaitable is done, and return its result."""
        future = self.future  # Seen in this frame by who asks what is waited for.
        if GreenThread.wait is not _own_wait:
            return super().wait()
        return _evio.wait_for_event(self._exit_event)

    # It has the life of a green thread, and runs as one only at its end, if at all.

    @property
    def dead(self):
        return self._exit_event.ready() and not super().__bool__()

    def __bool__(self):
        return self._crossing.begun and not self.dead

    def main(self, function, args, kwargs):
        if function == self._crossing.result:
            try:
                return super().main(function, args, kwargs)
            except (KeyboardInterrupt, SystemExit) as exception:
                if self._has_come_out(exception):
                    return None
                raise
        # eventlet.kill() does this to a green thread that has not begun; throw() follows.
        self.run = self.main
        return None

    def _has_come_out(self, exception):
        """Whether the loop has raised an exception already which ends it."""
        done = self.future is not None and self.future.done() and not self.future.cancelled()
        return done and self.future.exception() is exception

    def throw(self, *throw_args):
        if not _evio.is_here(self):
            return _threads.strike_elsewhere(type(self).throw, self, *throw_args)
        if self.dead or super().__bool__():
            return super().throw(*throw_args)
        interrupt(self._crossing, exception_of(throw_args))
        # As every throw, this one leaves who calls it.
        hub = get_hub()
        if greenlet.getcurrent() is hub.greenlet:
            return None
        _evio.leave_for(hub.greenlet)
        try:
            return hub.greenlet.switch()
        finally:
            _evio.go_on()

    def kill(self, *throw_args):
        """Kill the green thread: the awaitable is cancelled, and wait() returns after its cleanup."""
        if not _evio.is_here(self):
            _threads.strike_elsewhere(type(self).kill, self, *throw_args)
            return None
        return super().kill(*throw_args)


def exception_of(throw_args):
    """What a throw() with those arguments raises."""
    if not throw_args:
        return greenlet.GreenletExit()
    kind, *rest = throw_args
    if isinstance(kind, BaseException):
        return kind
    value = rest[0] if rest else None
    if isinstance(value, BaseException):
        return value.with_traceback(rest[1]) if len(rest) > 1 else value
    return kind() if value is None else kind(value)


def future_to_greenlet(
    awaitable, *, loop=None, autostart_future=True, autocancel_future=True, autokill_greenlet=True
):
    """Return a green thread whose wait() gives the awaitable's result, or raises what it raised."""
    check_awaitable(awaitable, "future_to_greenlet")
    loop = check_loop(loop_of(awaitable, loop))
    return FutureGreenThread(
        awaitable, loop, autostart_future, autocancel_future, autokill_greenlet
    )


def spawn_for_awaitable(awaitable):
    """eventlet.asyncio.spawn_for_awaitable: the same as future_to_greenlet()."""
    return future_to_greenlet(awaitable)


class GreenletFuture(asyncio.Future):
    """The result of a green thread; made by greenlet_to_future()."""

    def __init__(self, green, loop, autokill, autocancel):
        super().__init__(loop=loop)
        self._green = green
        self._autokill = autokill
        self._autocancel = autocancel
        self._cancelled_by = None
        self._crossing = _crossing_of(green)
        self._awaiter = self._crossing.add_awaiter(self._finish)

    def cancel(self, msg=None):
        """Leave the green thread, which is killed if nobody else waits; done when it has ended."""
        if self.done():
            # Also says that nobody will ask for its exception.
            return super().cancel(msg=msg)
        if self._autokill and not has_green_waiters(self._green):
            if self._crossing.awaiter_count == 1:
                if not self._crossing.has_due_kill:
                    self._note_cancel(msg)
                    self._crossing.kill(greenlet.GreenletExit())
                return True
            self._crossing.leave(self._awaiter)
        return super().cancel(msg=msg)

    def _note_cancel(self, msg):
        error = _stdlib.cancelled_error(msg)
        error.__context__ = self._cancelled_by
        self._cancelled_by = error

    def result(self):
        if self.cancelled():
            raise self._make_cancelled_error()
        return super().result()

    def _make_cancelled_error(self):
        # Once, as that of a task: it may have a traceback, which knows who asks.
        error, self._cancelled_by = self._cancelled_by, None
        return super()._make_cancelled_error() if error is None else error

    def __await__(self):
        if not self.done():
            _evio.check_hub()
        _start(self._green)
        if self.cancelled():
            self.result()
        return super().__await__()

    __iter__ = __await__

    def _finish(self):
        if self.done():
            return
        try:
            result = self._crossing.result()
        except (asyncio.CancelledError, greenlet.GreenletExit) as exception:
            if not self._autocancel:
                self.set_exception(exception)
                return
            if self._cancelled_by is None and isinstance(exception, asyncio.CancelledError):
                self._cancelled_by = exception
            message = getattr(self._cancelled_by, "args", None) or (None,)
            super().cancel(msg=message[0])
        except StopIteration as exception:
            error = RuntimeError("the green thread raised StopIteration, which no future can carry: return, or raise something else")
            error.__cause__ = exception
            self.set_exception(error)
        except BaseException as exception:
            self.set_exception(exception)
        else:
            self.set_result(result)


def _crossing_of(green):
    """The crossing of which a green thread is the source, shared by all who await it."""
    if isinstance(green, GreenThread):
        return _evio.Crossing.of_green_thread(green)
    crossing = green.__dict__.get("_eventlet_asyncio_crossing")
    if crossing is None:
        kill = functools.partial(kill_soon, green)
        crossing = _evio.Crossing(_stdlib.nothing, kill, kill, autostart=False, end_awaiters=False)
        crossing.started()
        green.run = functools.partial(_live, crossing, green.run)
        green._eventlet_asyncio_crossing = crossing
    return crossing

def _live(crossing, run, *args, **kwargs):
    """The life of a plain greenlet, which has no links."""
    try:
        result = run(*args, **kwargs)
    except greenlet.GreenletExit as exception:
        crossing.cancelled(exception)
        raise
    except BaseException as exception:
        crossing.raised(exception)
        raise
    crossing.returned(result)
    return result


def kill_soon(green):
    """Kill a green thread for those who awaited it; kill() would switch, and a callback must not be left for that.

    What has not started never does. Anything else is killed on the hub's greenlet, unless it ends before.
    """
    crossing = green._eventlet_asyncio_crossing
    crossing.kill_is_due()
    if isinstance(green, FutureGreenThread) and not green.dead and not greenlet.greenlet.__bool__(green):
        # What it stands for is cancelled, without a switch. If that is over, it only has to say so.
        if green._crossing.kill(greenlet.GreenletExit()):
            crossing.kill_strikes()
    elif not green and not green.dead:
        _end_unstarted(green, crossing)
    else:
        get_hub().schedule_call_global(0, _strike, green, crossing)


def _strike(green, crossing):
    if not green.dead:
        crossing.kill_strikes()
        greenthread.kill(green)


def _end_unstarted(green, crossing):
    green.run = _stdlib.nothing
    exit = greenlet.GreenletExit()
    if isinstance(green, GreenThread):
        with contextlib.suppress(BaseException):
            green.main(_raise, (exit,), {})
    else:
        crossing.cancelled(exit)
    # Whoever was to start it may come later, or never.
    get_hub().schedule_call_global(0, _discard, green)


def _raise(exception):
    raise exception


def _discard(green):
    if not green and not green.dead:
        green.throw()


def has_green_waiters(green):
    """Whether somebody waits for a green thread who does not await it."""
    if not isinstance(green, GreenThread):
        return False
    links = [function for function, *_ in green._exit_funcs or () if type(function) is not _evio.Crossing]
    return bool(green._exit_event._waiters or links)


def _start(green):
    """Start a plain greenlet; a green thread has a start of its own, perhaps a later one."""
    if not isinstance(green, GreenThread) and not green and not green.dead:
        get_hub().schedule_call_global(0, _switch_if_new, green)


def _switch_if_new(green):
    if not green and not green.dead:
        green.switch()


def greenlet_to_future(
    green, *, loop=None, autostart_greenlet=True, autokill_greenlet=True, autocancel_future=True
):
    """Return a future with the result of a green thread, or of a plain greenlet not yet started."""
    if not isinstance(green, greenlet.greenlet):
        raise TypeError(
            "greenlet_to_future() takes a green thread, as eventlet.spawn() returns, or a greenlet, "
            f"not {type(green).__name__}"
        )
    if _thread_root(green) is not _thread_root(greenlet.getcurrent()):
        raise RuntimeError(
            "the green thread belongs to the hub of another thread: await it in that thread"
        )
    if not isinstance(green, GreenThread) and (green or green.dead):
        if "_eventlet_asyncio_crossing" not in green.__dict__:
            raise RuntimeError(
                "a plain greenlet can only be awaited if greenlet_to_future() was called before it "
                "started: use eventlet.spawn(), whose green threads can be awaited at any time"
            )
    if not green.dead:
        check_hub_goes_on()
    loop = check_loop(home_loop() if loop is None else loop)
    future = GreenletFuture(green, loop, autokill_greenlet, autocancel_future)
    if autostart_greenlet:
        _start(green)
    return future


def _thread_root(green):
    while green.parent is not None:
        green = green.parent
    return green


def await_green_thread(green):
    """GreenThread.__await__ on loops that are not ours; on ours it is native."""
    return greenlet_to_future(green).__await__()


await_ = _evio.await_


def async_to_sync(function=None, *, loop=None):
    """Make an async function callable from green code, and from plain code below a task."""
    if function is None:
        return functools.partial(async_to_sync, loop=loop)
    if not callable(function):
        raise TypeError(f"async_to_sync() takes an async function, not {type(function).__name__}")

    @functools.wraps(function)
    def call(*args, **kwargs):
        awaitable = function(*args, **kwargs)
        if loop is None or loop is asyncio._get_running_loop():
            return await_(awaitable)
        return future_to_greenlet(awaitable, loop=loop).wait()

    return call


def sync_to_async(function=None, *, autokill_greenlet=True):
    """Make a function that blocks greenly awaitable: it runs in a green thread of its own."""
    if function is None:
        return functools.partial(sync_to_async, autokill_greenlet=autokill_greenlet)
    if not callable(function):
        raise TypeError(f"sync_to_async() takes a function, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise TypeError("sync_to_async() takes a function that blocks; it is async already: await it")

    @functools.wraps(function)
    async def call(*args, **kwargs):
        _evio.check_hub()
        check_hub_goes_on()
        green = greenthread.spawn(function, *args, **kwargs)
        green.gr_context = current_context()
        return await greenlet_to_future(green, autokill_greenlet=autokill_greenlet)

    return call
