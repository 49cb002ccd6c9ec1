"""The event loop: a complete asyncio loop on the engine that green threads run on too.

Whatever is not described here behaves as the standard library's documentation of asyncio says.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar
from typing_extensions import TypeVarTuple, Unpack

from eventlet_asyncio import _evio, _sockets

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

class EventLoop(_evio.LoopCore, _sockets.SocketMethods):
    """An asyncio event loop whose callbacks and tasks may call code that blocks greenly.

    When such code blocks, its task stands still there and the loop goes on with everything else.
    Where the hub of the thread is ours, loop and hub share one engine. A hub has such a loop of its
    own, `hub.loop`, which lives as long as the hub; others are made and closed as usual.
    """

    def __init__(self) -> None: ...
    def run_forever(self) -> None:
        """Run until `stop()`; in a green thread, only that green thread waits for it.

        On the loop of a hub, which runs with the hub anyway, the calling green thread waits for
        `stop()`.

        Raises RuntimeError if the loop is closed or running, or another one runs in this code.
        """

    def run_until_complete(self, future: Generator[Any, None, _T] | Awaitable[_T]) -> _T:
        """Run until a future or coroutine is done; return its result, or raise what it raised.

        On the loop of a hub this waits as `await_()` does.

        Raises RuntimeError if the loop is closed or running, if another one runs in this code, or
        if the loop was stopped before *future* was done.
        """

    def stop(self) -> None:
        """Make `run_forever()` return after this turn; a hub that runs on this loop goes on."""

    def close(self) -> None:
        """Close the loop.

        Tasks that block greenly on it in this thread are cancelled there, and end by the hub's turns.

        Raises RuntimeError if it is running, or if it is the loop of a hub: that one ends with
        its hub.
        """

    async def shutdown_asyncgens(self) -> None:
        """End the asynchronous generators of the loop, and cancel the tasks of it for which green code waits."""

    def add_signal_handler(
        self, sig: int, callback: Callable[[Unpack[_Ts]], Any], *args: Unpack[_Ts]
    ) -> None:
        """Call back when a signal arrives, as `asyncio.loop.add_signal_handler`.

        Raises TypeError for a coroutine function, ValueError for what is no signal, RuntimeError for a
        signal that cannot be caught, and outside of the main thread.
        """

    def remove_signal_handler(self, sig: int) -> bool:
        """Call back no more, as `asyncio.loop.remove_signal_handler`; whether there was a handler.

        Raises ValueError in other threads than the main one.
        """

    def __del__(self, _warn: Any = None) -> None: ...

class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes loops of ours, and keeps a current loop for each green thread as for each OS thread."""

    def __init__(self) -> None: ...
    def new_event_loop(self) -> EventLoop:
        """A new event loop of ours; for eventlet's own asyncio hub, which hangs on one, one of asyncio's."""

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        """The loop set for this green thread, else the loop of its hub; else as asyncio's policy."""

    def set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Set the current loop of this green thread, or of the OS thread outside green threads."""

def new_event_loop() -> EventLoop:
    """A new event loop of ours; for `loop_factory` arguments, as in `asyncio.Runner`."""

def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine on a new loop of ours and return its result, as `asyncio.run()` does.

    Raises RuntimeError if a loop runs in this code already, unless this is plain code below a task of ours, in a thread whose
    hub is ours and was made: in async code, await instead.
    """

def install() -> None:
    """Make `asyncio.run()` and `asyncio.new_event_loop()` use loops of ours, by setting the policy.

    For programs that are asyncio first. The first hub of ours does the same when it is made, and so does a loop of ours, or a
    function of the bridge, that first runs in a thread whose hub is, or will be, eventlet's own; unless the program has set a
    policy.
    """

def choose_hub() -> None:
    """Make eventlet's hub ours, in a thread that has chosen none and has no EVENTLET_HUB."""

def watch_forks() -> None:
    """Have loops and hubs of ours go on in forked children; the first call counts."""
