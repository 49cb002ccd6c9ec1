"""What both directions of the bridge build on: which side runs, how it waits, how a crossing hears of ends."""

import asyncio
import contextvars
import inspect
from types import CoroutineType

import greenlet
from eventlet import hubs
from eventlet.hubs import asyncio as asyncio_hub
from eventlet.timeout import Timeout

from eventlet_asyncio import _evio, _homes, _threads
from eventlet_asyncio.loop import choose_hub


def green_thread():
    """The running greenlet if it is a green thread, or None on a main greenlet and in a step."""
    current = greenlet.getcurrent()
    if current.parent is None or _evio.current_step() is not None:
        return None
    return current


def get_hub():
    """The hub of this thread; where none was chosen and a loop runs, it is ours."""
    hub = getattr(hubs._threadlocal, "hub", None)
    if isinstance(hub, _evio.HubCore):
        return hub
    if asyncio._get_running_loop() is not None:
        choose_hub()
    hub = hubs.get_hub()
    if not isinstance(hub, _evio.HubCore):
        _threads.change_for_foreign(hub)
    return hub


def home_loop():
    """The loop on which green code that names none has its awaitables run."""
    loop = asyncio._get_running_loop()
    if loop is not None:
        return loop
    return green_home_loop() or _home_of(get_hub())


def _home_of(hub):
    return hub.loop if isinstance(hub, asyncio_hub.Hub) else _threads.guest_loop(hub)


def check_hub_goes_on():
    """Refuses to have async code wait for green code that nobody runs: where neither the loop nor the hub is ours."""
    loop = asyncio._get_running_loop()
    if loop is None or isinstance(loop, _evio.LoopCore):
        return
    hub = get_hub()
    if not isinstance(hub, _evio.HubCore) and getattr(hub, "loop", None) is not loop:
        raise RuntimeError(
            f"green code would never run: {hub!r} stands still while {loop!r} runs, which is not an eventlet_asyncio "
            "loop; call eventlet_asyncio.use_hub() in this thread before any green call, or run the program by "
            "eventlet_asyncio.run()"
        )


def on_green_side(loop):
    """Whether the running code is green although a loop runs: eventlet's own asyncio hub hides no loop."""
    hub = getattr(hubs._threadlocal, "hub", None)
    return (
        isinstance(hub, asyncio_hub.Hub)
        and not isinstance(hub, _evio.HubCore)
        and hub.loop is loop
        and greenlet.getcurrent() is not hub.greenlet
    )


def green_home_loop():
    """The home loop of green code, if it was noted or the hub is ours; None otherwise."""
    return _homes.noted_home() or _homes.loop_of_our_hub()


def can_step_aside(loop):
    """Whether the running step may run another loop below itself: where our hub can host that."""
    return (
        isinstance(loop, _evio.LoopCore)
        and _evio.current_step() is not None
        and _homes.loop_of_our_hub() is not None
    )


def may_run():
    """Whether the running code may run a loop."""
    running = asyncio._get_running_loop()
    return running is None or can_step_aside(running)


def can_run_here(loop):
    """Whether the running code may run a loop of ours, which it did before."""
    return _threads.ThreadEnd.is_here(loop) and may_run()


class Wakeup:
    """Wakes a greenlet, by its hub, once however often it is called."""

    #: A loop that is closed may still call it, at once.
    _wakes_without_turns = True

    def __init__(self):
        self._hub = get_hub()
        self._greenlet = greenlet.getcurrent()
        self._timer = None
        self._over = False
        if self._greenlet is self._hub.greenlet:
            raise RuntimeError("do not call blocking functions from the mainloop")

    def __call__(self, *_ignored):
        if self._timer is None and not self._over:
            self._timer = self._hub.schedule_call_global(0, self._greenlet.switch)

    def wait(self):
        """Blocks until the wakeup is called, or something is thrown."""
        try:
            while self._timer is None:
                self._hub.switch()
        finally:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()

    def __enter__(self):
        return self

    def __exit__(self, *_exc_info):
        # A callback that is on its way must not wake what the greenlet waits for next.
        self._over = True


def interrupt(crossing, exception):
    """Tells a crossing what was thrown at its waiting side."""
    if isinstance(exception, Timeout):
        crossing.timeout(exception)
    else:
        crossing.kill(exception)


def check_awaitable(awaitable, name):
    if not isinstance(awaitable, CoroutineType) and not inspect.isawaitable(awaitable):
        hint = ": call it first" if inspect.iscoroutinefunction(awaitable) else ""
        raise TypeError(
            f"{name}() takes an awaitable, such as a coroutine, a task or a future, "
            f"not {type(awaitable).__name__}{hint}"
        )


def check_loop(loop):
    if loop.is_closed():
        raise RuntimeError(f"{loop!r} is closed: name another loop, or leave it out")
    return loop


def loop_of(awaitable, loop):
    if loop is not None:
        return loop
    if not isinstance(awaitable, CoroutineType) and asyncio.isfuture(awaitable):
        return asyncio.futures._get_loop(awaitable)
    return home_loop()


def current_context():
    """The context of the running code itself, where contextvars gives only copies."""
    current = greenlet.getcurrent()
    context = current.gr_context
    if context is None:
        context = current.gr_context = contextvars.Context()
    return context
