"""What every green thread and task of the process is doing: `format_stacks`."""

import asyncio
import gc
import sys
import time
import traceback

import greenlet

from eventlet_asyncio import _evio, _steps


def format_stacks():
    """Say of every green thread and task where it stands and what it waits for."""
    objects = gc.get_objects()
    # Not isinstance(), which asks proxies, and those may do anything. Nor tasks: the collector
    # knows also those that are being made, which crash who asks them.
    greenlets = [thing for thing in objects if issubclass(type(thing), greenlet.greenlet)]
    steps = [thing for thing in objects if issubclass(type(thing), _evio.Step)]
    hubs = {thing: _greenlet_of(thing) for thing in objects if issubclass(type(thing), _evio.HubCore)}
    hubs = {hub: green for hub, green in hubs.items() if green is not None}
    wakers = [thing for thing in objects if type(thing) is _evio.Waker]
    del objects
    parked = {step.task: step for step in steps if step.task is not None}
    carriers = {step.carrier for step in steps}
    own = carriers.union(hubs.values())
    greenlets = [
        green
        for green in greenlets
        if not (green.dead or green in own or isinstance(green, _steps.TaskParent))
    ]
    waits = _known_waits(hubs)
    waits.update((waker.greenlet, f"waits for {_repr(waker.awaited)}") for waker in wakers if waker.awaited)
    parts = [_section(green, *_green(green, waits)) for green in greenlets]
    for task in _tasks():
        parts.append(_section(task, *_task(task, parked.get(task), waits)))
    for hub in hubs:
        parts.append(f"{_repr(hub)}: {_count(hub)}\n")
    return "\n".join(parts)


def _greenlet_of(hub):
    try:
        return hub.greenlet
    except RuntimeError:
        # The hub was torn down, or is being made.
        return None


def _tasks():
    """All tasks of all loops that are not done: what asyncio.all_tasks() asks for one loop."""
    registries = [
        getattr(asyncio.tasks, name, ()) for name in ("_all_tasks", "_scheduled_tasks", "_eager_tasks")
    ]
    for _ in range(1000):
        try:
            tasks = [task for registry in registries for task in tuple(registry)]
        except RuntimeError:
            # Another thread makes tasks meanwhile.
            continue
        return [task for task in tasks if not task.done()]
    return []


def _repr(thing):
    try:
        return repr(thing)
    except Exception as error:
        return f"<{type(thing).__name__} at {id(thing):#x}, whose repr() raises {type(error).__name__}>"


def _section(subject, state, frames):
    lines = [f"{_repr(subject)}: {state}\n"]
    lines.extend(traceback.format_list(traceback.StackSummary.extract(frames)))
    return "".join(lines)


def _green(green, waits):
    if green is greenlet.getcurrent():
        return "runs", _frames_below(sys._getframe(2))
    if green.gr_frame is None and (future := _future_of(green)) is not None:
        return f"waits for {_repr(future)}", []
    if not green:
        return "has not started", []
    return _waits_for(green, waits), _frames_below(green.gr_frame)


def _future_of(green):
    # Not imported: a program that is asyncio alone has no eventlet.
    bridge = sys.modules.get("eventlet_asyncio.bridge")
    return green.future if bridge and isinstance(green, bridge.FutureGreenThread) else None


def _task(task, step, waits):
    if step is not None:
        blocked = step.blocked or step.carrier
        return "blocks greenly, " + _waits_for(blocked, waits), _frames_below(blocked.gr_frame)
    if _evio.owner() is task:
        return "runs", _frames_below(sys._getframe(2))
    waiter = getattr(task, "_fut_waiter", None)
    state = "is about to run" if waiter is None else f"awaits {_repr(waiter)}"
    return state, _frames_of_coroutine(task.get_coro())


def _known_waits(hubs):
    """What the hubs know of those who wait in them, by greenlet."""
    waits = {}
    for hub in hubs:
        for due, shown in hub._timers():
            callback = shown[0] if type(shown) is tuple else getattr(shown, "tpl", (None,))[0]
            if getattr(callback, "__name__", None) in ("switch", "switch_carrier"):
                left = max(0.0, due - time.monotonic())
                waits[callback.__self__] = f"sleeps for {left:.3f} s more"
        for listener in _listeners(hub):
            waits[listener.greenlet] = f"waits to {listener.evtype} descriptor {listener.fileno}"
    return waits


def _listeners(hub):
    for kind in ("read", "write"):
        yield from hub.listeners[kind].values()
        for further in hub.secondaries[kind].values():
            yield from further


def _waits_for(green, waits):
    if green in waits:
        return waits[green]
    frame = green.gr_frame
    while frame is not None and _is_inner(frame):
        future = frame.f_locals.get("future")
        if future is not None:
            return f"waits for {_repr(future)}"
        frame = frame.f_back
    if frame is not None and "self" in frame.f_locals:
        return f"waits in {frame.f_code.co_name}() of {_repr(frame.f_locals['self'])}"
    # As in SQLAlchemy and greenback, whose tasks await for a greenlet.
    return "waits for its task" if isinstance(green.parent, _steps.TaskParent) else "waits"


def _is_inner(frame):
    """Whether a frame is ours, and none of a method that stands for one of eventlet's."""
    module = frame.f_globals.get("__name__", "")
    if module in ("eventlet_asyncio._primitives", "eventlet_asyncio._queues"):
        return frame.f_code.co_name.startswith("_")
    return module.startswith("eventlet_asyncio")


def _frames_below(frame):
    frames = list(traceback.walk_stack(frame)) if frame is not None else []
    frames.reverse()
    return frames


def _frames_of_coroutine(coroutine):
    """The frames of a suspended coroutine and of those that it awaits, outermost first."""
    frames = []
    while coroutine is not None:
        for prefix in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{prefix}_frame", None)
            if frame is not None:
                frames.append((frame, frame.f_lineno))
                coroutine = getattr(coroutine, f"{prefix}_await", None) or getattr(
                    coroutine, f"{prefix}_yieldfrom", None
                )
                break
        else:
            break
    return frames


def _count(hub):
    return f"{sum(1 for _ in _listeners(hub))} listeners, {len(hub._timers())} timers"
