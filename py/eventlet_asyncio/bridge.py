"""The bridge: calls from green code to asyncio and back, of which nothing is lost on the way.

What either side sees when the other ends, fails, is cancelled or killed is decided by a state
machine in Rust, `_evio.Crossing`. This module feeds it what happens and does what it asks for.
"""

import asyncio
import functools
import inspect
import sys

import greenlet
from eventlet import greenthread
from eventlet.greenthread import GreenThread

from eventlet_asyncio import _evio
from eventlet_asyncio._sides import (
    Wakeup,
    check_awaitable,
    check_loop,
    current_context,
    get_hub,
    home_loop,
    interrupt,
    loop_of,
    settle,
)


class FutureGreenThread(GreenThread):
    """A green thread whose result is that of an awaitable; made by future_to_greenlet()."""

    def __init__(self, awaitable, loop, autostart, autocancel, autokill):
        hub = get_hub()
        super().__init__(hub.greenlet)
        self._awaitable = awaitable
        self._loop = loop
        self._future = None
        self._crossing = _evio.Crossing(
            self._start_future,
            self._cancel_future,
            self._drop_awaitable,
            autostart=autostart,
            end_source=autocancel,
            end_awaiters=autokill,
        )
        self._crossing.begin()
        hub.schedule_call_global(0, self.switch, self._follow, (), {})

    def _start_future(self):
        awaitable, self._awaitable = self._awaitable, None
        self._future = asyncio.ensure_future(awaitable, loop=self._loop)
        self._crossing.started()
        self._future.add_done_callback(functools.partial(settle, self._crossing))

    def _cancel_future(self):
        self._future.cancel()

    def _drop_awaitable(self):
        awaitable, self._awaitable = self._awaitable, None
        if inspect.iscoroutine(awaitable):
            awaitable.close()

    def _follow(self):
        with Wakeup() as wakeup:
            self._crossing.add_awaiter(wakeup)
            while not self._crossing.done():
                try:
                    wakeup.wait()
                except BaseException as exception:
                    interrupt(self._crossing, exception)
        return self._crossing.result()

    def main(self, function, args, kwargs):
        if function == self._follow:
            return super().main(function, args, kwargs)
        # eventlet.kill() calls this of a green thread that has not started; throw() follows.
        return None

    def throw(self, *throw_args):
        if self or self.dead:
            return super().throw(*throw_args)
        if not _evio.is_here(self):
            return _evio.wake(self, self.throw, *throw_args)
        # Thrown at a greenlet that never ran, an exception would come out in the hub.
        self._crossing.kill(_exception(throw_args))
        self._crossing.add_awaiter(self._report)
        return super().throw()

    def _report(self):
        try:
            result = self._crossing.result()
        except BaseException:
            self._exit_event.send_exception(*sys.exc_info())
        else:
            self._exit_event.send(result)
        self._resolve_links()

    def kill(self, *throw_args):
        """Kill the green thread: the awaitable is cancelled, and wait() returns after its cleanup."""
        if not _evio.is_here(self):
            _evio.wake(self, self.kill, *throw_args)
            return None
        if self.dead and not self._crossing.done():
            self._crossing.kill(_exception(throw_args))
            return None
        return super().kill(*throw_args)


def _exception(throw_args):
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

    def __init__(self, source, loop, autokill, autocancel):
        super().__init__(loop=loop)
        self._source = source
        self._autokill = autokill
        self._autocancel = autocancel
        self._message = None
        self._awaiter = source.crossing.add_awaiter(self._finish)

    def cancel(self, msg=None):
        """Leave the green thread, which is killed if nobody else waits; done when it has ended."""
        if self.done():
            return False
        source = self._source
        if self._autokill and not source.has_green_waiters():
            self._message = msg
            last = source.crossing.awaiter_count == 1
            if last:
                source.crossing.kill(greenlet.GreenletExit())
                return True
            source.crossing.leave(self._awaiter)
        return super().cancel(msg=msg)

    def __await__(self):
        self._source.start()
        return super().__await__()

    __iter__ = __await__

    def _finish(self):
        if self.done():
            return
        try:
            result = self._source.crossing.result()
        except (asyncio.CancelledError, greenlet.GreenletExit) as exception:
            if self._autocancel:
                super().cancel(msg=self._message)
            else:
                self.set_exception(exception)
        except StopIteration as exception:
            error = RuntimeError("the green thread raised StopIteration")
            error.__cause__ = exception
            self.set_exception(error)
        except BaseException as exception:
            self.set_exception(exception)
        else:
            self.set_result(result)


class _GreenletSource:
    """A green thread as the source of a crossing, shared by all futures of it."""

    def __init__(self, green):
        self._green = green
        self._links = 0
        self.crossing = _evio.Crossing(
            self._nothing, self._kill, self._kill, autostart=False, end_awaiters=False
        )
        self.crossing.started()
        if isinstance(green, GreenThread):
            self._links = 1
            green.link(self._ended)
        else:
            run = green.run
            green.run = functools.partial(self._run, run)

    def _nothing(self):
        pass

    def _run(self, run, *args, **kwargs):
        """The life of a plain greenlet, which has no links."""
        try:
            result = run(*args, **kwargs)
        except BaseException as exception:
            self._failed(exception)
            raise
        self.crossing.returned(result)
        return result

    def _ended(self, green):
        self._links = 0
        try:
            result = green.wait()
        except BaseException as exception:
            self._failed(exception)
        else:
            self.crossing.returned(result)

    def _failed(self, exception):
        if isinstance(exception, greenlet.GreenletExit):
            self.crossing.cancelled(exception)
        else:
            self.crossing.raised(exception)

    def _kill(self):
        # On the hub's greenlet: kill() switches, and a callback must not be left for that.
        get_hub().schedule_call_global(0, greenthread.kill, self._green)

    def start(self):
        """Starts a plain greenlet; a green thread has a start of its own, perhaps a later one."""
        if not isinstance(self._green, GreenThread) and not self._green and not self._green.dead:
            get_hub().schedule_call_global(0, self._start)

    def _start(self):
        if not self._green and not self._green.dead:
            self._green.switch()

    def has_green_waiters(self):
        green = self._green
        if not isinstance(green, GreenThread):
            return False
        links = len(green._exit_funcs or ())
        return bool(green._exit_event._waiters) or links > self._links


def _source_of(green):
    source = green.__dict__.get("_eventlet_asyncio_source")
    if source is None:
        source = green._eventlet_asyncio_source = _GreenletSource(green)
    return source


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
        if "_eventlet_asyncio_source" not in green.__dict__:
            raise RuntimeError(
                "a plain greenlet can only be awaited if greenlet_to_future() was called before it "
                "started: use eventlet.spawn(), whose green threads can be awaited at any time"
            )
    loop = check_loop(home_loop() if loop is None else loop)
    future = GreenletFuture(_source_of(green), loop, autokill_greenlet, autocancel_future)
    if autostart_greenlet:
        future._source.start()
    return future


def _thread_root(green):
    while green.parent is not None:
        green = green.parent
    return green


def await_green_thread(green):
    """GreenThread.__await__: by the same rules as greenlet_to_future()."""
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
        green = greenthread.spawn(function, *args, **kwargs)
        green.gr_context = current_context()
        return await greenlet_to_future(green, autokill_greenlet=autokill_greenlet)

    return call
