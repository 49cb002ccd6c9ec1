"""The hub: what runs green threads, on the engine that the event loop runs on too.

Set `EVENTLET_HUB=eventlet_asyncio.hub` in the environment, or call use_hub(). Whatever is not
described here behaves as eventlet's documentation of hubs says.
"""

from collections.abc import Callable, ValuesView
from typing import Any

from eventlet.hubs import asyncio as asyncio_hub

from eventlet_asyncio import _evio

def is_available() -> bool:
    """Whether the hub works on this platform; eventlet asks before it makes one."""

def use_hub() -> None:
    """Run the green threads of this OS thread on our hub, which `monkey_patch()` or the first green call makes.

    Call it before `eventlet.monkey_patch()` and before anything that blocks greenly: it ends the
    hub that is there, and green threads that wait on that one do not go on; async code that waits for them
    gets a RuntimeError. Making the first hub of ours changes what docs/patches.md lists.
    """

class Hub(_evio.HubCore, asyncio_hub.Hub):
    """Drives green threads and an asyncio loop on one engine; one for each OS thread.

    `eventlet.hubs.get_hub()` returns it. It is an instance of `eventlet.hubs.asyncio.Hub` because
    eventlet asks for that before it lets green threads be awaited; no method of that class runs.

    clock: gives the time, in seconds, to those who ask the hub; its timers go by `time.monotonic()`
    in any case.
    closed: listeners whose descriptor was closed, and who have not been told yet.
    debug_exceptions: whether exceptions that end a green thread are printed.
    lclass, next_timers: for those who expect a hub of eventlet's; not used.
    """

    clock: Callable[[], float]
    closed: list[_evio.FdListener]
    lclass: type[Any]
    next_timers: tuple[()]
    debug_exceptions: bool

    def __init__(self, clock: Callable[[], float] | None = None) -> None: ...
    def __del__(self) -> None: ...
    @property
    def debug_blocking(self) -> bool:
        """Whether code that blocks the hub's OS thread is interrupted by a RuntimeError.

        Set it, as `eventlet.debug.hub_blocking_detection()` does, in the thread of the hub.
        """

    @debug_blocking.setter
    def debug_blocking(self, state: object) -> None: ...
    @property
    def debug_blocking_resolution(self) -> float:
        """For how many seconds a piece of work may block before it is interrupted."""

    @debug_blocking_resolution.setter
    def debug_blocking_resolution(self, seconds: float) -> None: ...
    def block_detect_pre(self) -> None:
        """Does nothing: blocking is not found by an alarm that every turn sets."""

    def block_detect_post(self) -> None:
        """Does nothing."""

    def abort(self, wait: bool = False) -> None:
        """Stop the hub after this turn; with *wait*, return when it has stopped.

        Raises AssertionError if *wait* is asked for in the hub's own greenlet.
        """

    def mark_as_reopened(self, fileno: int) -> None:
        """A descriptor was opened anew: whoever listens on its number gets IOClosed."""

    def notify_close(self, fileno: int) -> None:
        """A descriptor was closed; its listeners are told when the number is used again."""

    def close_one(self) -> None:
        """Raise IOClosed in one greenlet whose descriptor is gone."""

    def remove_descriptor(self, fileno: int) -> None:
        """Remove all listeners of a descriptor, after calling each back once."""

    def get_readers(self) -> ValuesView[_evio.FdListener]:
        """The first listener for reading of each descriptor."""

    def get_writers(self) -> ValuesView[_evio.FdListener]:
        """The first listener for writing of each descriptor."""

    @property
    def timers(self) -> list[tuple[float, Any]]:
        """Pending timers, each with its time in seconds, earliest first; a copy.

        For a green thread that sleeps, or is about to start, a timer is made up.
        """

    def set_debug_listeners(self, value: object) -> None:
        """Whether listeners show the stack of who made them."""

    def default_sleep(self) -> float:
        """Seconds that an idle hub of eventlet would sleep; ours sleeps until something happens."""

    def sleep_until(self) -> float | None:
        """When the next timer is due, in seconds of the hub's clock; None without timers."""
