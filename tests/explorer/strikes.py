"""What strikes programs of the explorer: kills, cancels, timeouts of both worlds.

The second part of a script that replays a program.
"""

import asyncio

import eventlet
import greenlet
from eventlet import hubs

from tests.explorer.schedule import Base, Run, name_of


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
        run.note("cancel", number)
        target.key.cancel()
    else:
        exceptions = (new_exception(run),) if kind == "strike" else ()
        run.note("kill", number, name_of(exceptions[0]) if exceptions else "GreenletExit")
        target.key.kill(*exceptions)


Run.strike = strike


def new_exception(run):
    return run.named(Base(), f"Strike {run.point}")


def strike_limit(run, kind, target):
    """Has the time limit of the node's call be over."""
    limit = target.calls[-1].limit if target.calls else None
    if limit is None:
        return
    if not isinstance(limit, eventlet.Timeout):
        if limit._state.value == "active":
            run.note("asyncio limit", target.number)
            limit._on_timeout()
        return
    hub = hubs.get_hub()
    if greenlet.getcurrent() is not hub.greenlet:
        # Where a hub's timers run.
        hub.schedule_call_global(0, run.strike, kind, target.number)
        return
    timer = limit.timer
    if timer is not None and timer.pending:
        run.note("limit", target.number, name_of(limit.exception or limit), limit.exception is None)
        timer()


def strike_below(run, target):
    """Kills or cancels what the node's call waits for, which may not have begun."""
    handle = target.calls[-1].handle if target.calls else None
    if isinstance(handle, asyncio.Future):
        if not handle.done():
            run.note("below", target.number, "CancelledError")
            handle.cancel()
    elif isinstance(handle, greenlet.greenlet) and not handle.dead:
        if handle is greenlet.getcurrent():
            return
        exception = new_exception(run)
        run.note("below", target.number, name_of(exception))
        handle.kill(exception)
