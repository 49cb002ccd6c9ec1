"""The bridge: calls from green code to asyncio and back, of which nothing is lost on the way.

*Green code* is code that eventlet runs: a green thread, or the main program under a hub. *Async
code* is code that an event loop runs: a task, or a callback.

What both sides see when either ends, fails, is cancelled or is killed is specified in
docs/behaviour.md. "The loop" of a function that takes `loop=None` is the running loop, else the
home loop of the green thread: that of the task that made it, or of its maker, else that of the hub.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, ParamSpec, TypeVar, overload

from eventlet.greenthread import GreenThread
from greenlet import greenlet

_P = ParamSpec("_P")
_T = TypeVar("_T")

class FutureGreenThread(GreenThread, Generic[_T]):
    """A green thread whose result is that of an awaitable; future_to_greenlet() makes it.

    It is switched to only to run its links or to report an exception, so while it waits it has no stack.
    In annotations put `FutureGreenThread[int]` in quotes: the class itself takes no index.
    """

    def __init__(
        self,
        awaitable: Awaitable[_T],
        loop: asyncio.AbstractEventLoop,
        autostart: bool,
        autocancel: bool,
        autokill: bool,
    ) -> None: ...
    future: asyncio.Future[_T] | None
    """What it waits for; None before the awaitable has become a task."""

    def __bool__(self) -> bool:
        """Whether the hub has come to it and it has not ended."""

    @property
    def dead(self) -> bool:
        """Whether it has ended: what it waits for is over, and its cleanup."""

    def wait(self) -> _T:
        """Block the calling green thread until the awaitable is done; return its result.

        Any number of green threads may wait, and later ones get the same result.

        Raises what the awaitable raised, `asyncio.CancelledError` where it was cancelled, or the
        exception that this green thread was killed with. After `kill()` it returns or raises only
        when the awaitable has cleaned up, however long that takes.
        """

    def kill(self, *throw_args: Any) -> None:
        """Cancel the awaitable; `wait()` then raises what *throw_args* say: by default GreenletExit.

        It does not wait for the awaitable's cleanup. A second call cancels again, and its exception
        takes the place of the first. A coroutine that has not started never does.
        """

    def throw(self, *throw_args: Any) -> Any:
        """As `greenlet.throw()`; before the green thread has run, the same as `kill()`."""

    def main(
        self, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None: ...

class GreenletFuture(asyncio.Future[_T]):
    """The result of a green thread, as a future; greenlet_to_future() makes it."""

    def __init__(
        self,
        green: greenlet,
        loop: asyncio.AbstractEventLoop,
        autokill: bool,
        autocancel: bool,
    ) -> None: ...
    def cancel(self, msg: Any | None = None) -> bool:
        """Stop waiting; when nobody else waits, the green thread is killed.

        If nobody does, and *autokill* is on, the future is done when the green thread has ended; else at once. Returns False if
        it is done already.
        """

    def __await__(self) -> Generator[Any, None, _T]: ...
    def __iter__(self) -> Generator[Any, None, _T]: ...

def future_to_greenlet(
    awaitable: Awaitable[_T],
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    autostart_future: bool = True,
    autocancel_future: bool = True,
    autokill_greenlet: bool = True,
) -> FutureGreenThread[_T]:
    """Return a green thread whose `wait()` gives the result of a coroutine, task or future.

    The awaitable is scheduled at once, as `eventlet.spawn()` schedules a function. Call it from
    green code, from async code, or before either runs.

    autostart_future: False leaves a coroutine unstarted until the green thread runs and waits.
    autocancel_future: False lets the awaitable run on when the green thread is killed.
    autokill_greenlet: when the awaitable was cancelled before the green thread started, which it does in the hub's next turn,
    that ends by GreenletExit; False makes `wait()` raise `asyncio.CancelledError` in that case too.

    Raises TypeError if *awaitable* is not awaitable, RuntimeError if *loop* is closed.
    """

def spawn_for_awaitable(awaitable: Awaitable[_T]) -> FutureGreenThread[_T]:
    """The same as future_to_greenlet(), under the name it has in `eventlet.asyncio`."""

@overload
def greenlet_to_future(
    green: FutureGreenThread[_T],
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    autostart_greenlet: bool = True,
    autokill_greenlet: bool = True,
    autocancel_future: bool = True,
) -> GreenletFuture[_T]:
    """Return a future with the result of a green thread, or of a plain greenlet not yet started.

    `await green_thread` does the same, with the defaults.

    autostart_greenlet: False leaves a plain greenlet unstarted until the future is awaited; a green
    thread starts by itself in any case.
    autokill_greenlet: False lets the green thread run on when the last who awaits it is cancelled.
    autocancel_future: when the green thread ends by GreenletExit the future is cancelled; False
    makes it raise GreenletExit.

    Raises TypeError if *green* is no greenlet; RuntimeError if it belongs to another OS thread, if
    it is a plain greenlet that has started, or if *loop* is closed. A future cannot carry
    StopIteration: it then raises a RuntimeError whose cause is the StopIteration.
    """

@overload
def greenlet_to_future(
    green: greenlet,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    autostart_greenlet: bool = True,
    autokill_greenlet: bool = True,
    autocancel_future: bool = True,
) -> GreenletFuture[Any]: ...
def await_(awaitable: Awaitable[_T]) -> _T:
    """Wait here, in code that is no `async def`, for an awaitable, and return its result.

    In plain code that was called from a task of ours, the awaitable is driven in that same task, as
    if the task awaited it: current task, `asyncio.timeout()` and context are the task's. In a green
    thread it runs as a new task on its home loop, in the green thread's own context, so that context
    variables which it sets stay set. Nobody but the caller waits. A Timeout, or a kill by GreenletExit,
    that comes for a green thread when the result is there already strikes where it blocks next; other
    exceptions are raised at once, and the result is lost.

    Raises what the awaitable raises; TypeError if it is not awaitable; RuntimeError in a task of a
    loop that is not ours, where it would stall that loop.
    """

@overload
def async_to_sync(
    function: Callable[_P, Awaitable[_T]], *, loop: asyncio.AbstractEventLoop | None = None
) -> Callable[_P, _T]:
    """Make an async function callable where await_() is; usable as a decorator.

    The call waits as await_() does; with a *loop* that is not the running one, it runs as a task
    there, and waits as `future_to_greenlet(..., loop=loop).wait()` does. Name, signature and
    docstring are kept.

    Raises TypeError if *function* is not callable.
    """

@overload
def async_to_sync(
    function: None = None, *, loop: asyncio.AbstractEventLoop | None = None
) -> Callable[[Callable[_P, Awaitable[_T]]], Callable[_P, _T]]: ...
@overload
def sync_to_async(
    function: Callable[_P, _T], *, autokill_greenlet: bool = True
) -> Callable[_P, Coroutine[Any, Any, _T]]:
    """Make a function that looks blocking awaitable; usable as a decorator.

    Each call runs in a green thread of its own, in the OS thread of the caller and in the caller's
    context. It must block by eventlet's functions or by monkey-patched ones; what blocks the OS
    thread, blocks the loop. Name, signature and docstring are kept.

    autokill_greenlet: False lets the call run on when the task that awaits it is cancelled.

    Raises TypeError if *function* is not callable, or is async already.
    """

@overload
def sync_to_async(
    function: None = None, *, autokill_greenlet: bool = True
) -> Callable[[Callable[_P, _T]], Callable[_P, Coroutine[Any, Any, _T]]]: ...
def await_green_thread(green: greenlet) -> Generator[Any, None, Any]:
    """`GreenThread.__await__`, by the rules of greenlet_to_future()."""

def exception_of(throw_args: tuple[Any, ...]) -> BaseException:
    """What a `throw()` with those arguments raises."""

def kill_soon(green: greenlet) -> None:
    """Kill a green thread that was awaited: when the hub comes to it, or at once if it has not started."""

def has_green_waiters(green: greenlet) -> bool:
    """Whether a green thread waits for this one, or a function was linked to it."""
