"""What strikes programs of the explorer: kills, cancels, timeouts of both worlds.

The second part of a script that replays a program.
"""

import asyncio
import contextlib

import eventlet
import greenlet
from eventlet import greenthread, hubs

from eventlet_asyncio import _steps
from eventlet_asyncio.bridge import FutureGreenThread
from tests.explorer.schedule import Base, Run, name_of, raised_by


def strike(run, kind, number):
    """Strikes a node that runs; nobody if it does not."""
    target = run.alive.get(number)
    if target is None or run is not Run.now:
        return
    if kind == "limit":
        strike_limit(run, kind, target)
    elif kind == "below":
        strike_below(run, target)
    elif target.loop is not None:
        run.note("cancel", number, run.running())
        target.key.cancel()
    else:
        target.key.kill(*(new_exception(run),) if kind == "strike" else ())


Run.strike = strike


@contextlib.contextmanager
def noted_kills():
    """Has eventlet's kill(), which the bridge calls also, noted in the trace, and what the bridge puts off."""
    kill, strike_again = greenthread.kill, _steps._strike_again

    def noted_kill(green, *exceptions):
        if not green.dead:
            exception = exceptions[0] if exceptions else greenlet.GreenletExit()
            Run.now.note("kill", Run.now.unit(green), name_of(exception), Run.now.running())
        return kill(green, *exceptions)

    def noted_strike(green, throw, exception):
        if not green.dead:
            is_timeout = isinstance(exception, eventlet.Timeout)
            Run.now.note("strike again", Run.now.unit(green), name_of(exception), is_timeout)
        strike_again(green, throw, exception)

    greenthread.kill, _steps._strike_again = noted_kill, noted_strike
    try:
        yield
    finally:
        greenthread.kill, _steps._strike_again = kill, strike_again


def new_exception(run):
    return run.named(Base(), f"Strike {len(run.trace)}")


def strike_limit(run, kind, target):
    """Has the time limit of the node's call be over."""
    limit = target.calls[-1].limit if target.calls else None
    if limit is None:
        return
    if not isinstance(limit, eventlet.Timeout):
        if limit._state.value == "active":
            run.note("asyncio limit", target.number, run.running())
            limit._on_timeout()
        return
    hub = hubs.get_hub()
    if greenlet.getcurrent() is not hub.greenlet:
        # Where a hub's timers run.
        hub.schedule_call_global(0, run.strike, kind, target.number)
        return
    timer = limit.timer
    if timer is not None and timer.pending:
        run.note("limit", target.number, name_of(raised_by(limit)), not limit.exception)
        throw, exceptions, _ = timer.tpl
        timer.cancel()
        throw(*exceptions)


def strike_below(run, target):
    """Kills or cancels what the node's call waits for, which may not have begun."""
    handle = target.calls[-1].handle if target.calls else None
    if isinstance(handle, asyncio.Future):
        if not handle.done():
            run.note("cancel below", target.number, run.running())
            handle.cancel()
    elif isinstance(handle, greenlet.greenlet) and handle is not greenlet.getcurrent():
        # eventlet loses the exception of one that has not begun.
        begun = handle or isinstance(handle, FutureGreenThread)
        exceptions = (new_exception(run),) if begun else ()
        if handle.dead and isinstance(handle, FutureGreenThread):
            # Not by eventlet's kill(): it ended before it began, and what it stands for has not.
            run.note("kill", run.unit(handle), name_of(exceptions[0]), run.running())
        handle.kill(*exceptions)
