"""Whether a switch inside an async step is welcome: `green_in_async` and `no_green_block`."""

import asyncio
import contextlib
import sys
import warnings
import weakref

import greenlet

from eventlet_asyncio import _evio

_mode = "allow"

#: How many stretches without green blocks each task or green thread is in.
_stretches: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


#: Greenlets whose wait was checked when it began and must now come to its end.
_checked = set()


#: Greenlets that show a warning of a green block.
_warned = set()


class _BlocksInWarning(RuntimeError):
    pass


def green_in_async(mode):
    """Say what happens when an async function or callback blocks greenly; return what was said before."""
    global _mode
    if mode not in ("allow", "warn", "raise"):
        raise ValueError(f'green_in_async() takes "allow", "warn" or "raise", not {mode!r}')
    before, _mode = _mode, mode
    _arm()
    return before


@contextlib.contextmanager
def _checked_already(current):
    outer = current in _checked
    _checked.add(current)
    try:
        yield
    finally:
        if not outer:
            _checked.discard(current)


@contextlib.contextmanager
def no_green_block():
    """Refuse green blocks of the running task or green thread, until the with statement is left."""
    owner = _evio.owner()
    _stretches[owner] = _stretches.get(owner, 0) + 1
    _arm()
    try:
        yield
    finally:
        _stretches[owner] -= 1
        if not _stretches[owner]:
            del _stretches[owner]
        _arm()


def _arm():
    _evio.set_block_check(_check if _mode != "allow" or _stretches else None)


def _check(owner, in_step):
    current = greenlet.getcurrent()
    if current in _warned:
        # What is to wake the greenlet from the block that is warned of would wake it from this one.
        raise _BlocksInWarning(f"{_describe(owner)} would block greenly while a warning is shown")
    if current in _checked:
        return
    if owner in _stretches:
        raise RuntimeError(
            f"{_describe(owner)} would block greenly inside no_green_block(): move the call out of the "
            "with statement"
        )
    if not in_step or _mode == "allow":
        return
    if _mode == "raise":
        raise RuntimeError(
            f"{_describe(owner)} would block greenly, which green_in_async() forbids in async code: "
            "await eventlet_asyncio.sync_to_async(function)(...) instead"
        )
    _warned.add(current)
    try:
        _warn(owner, _caller())
    except _BlocksInWarning:
        pass
    finally:
        _warned.discard(current)


def _warn(owner, frame):
    warnings.warn_explicit(
        f"{_describe(owner)} blocks greenly: other code runs before it goes on",
        RuntimeWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _describe(owner):
    if isinstance(owner, _evio.CallbackRun):
        return "a callback of the event loop"
    if isinstance(owner, asyncio.Future):
        return f"task {owner!r}"
    return f"green thread {owner!r}"


def _caller():
    """The innermost frame that is neither eventlet's nor ours."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_inside(module):
    return module.partition(".")[0] in ("eventlet", "eventlet_asyncio", "asyncio", "threading")
