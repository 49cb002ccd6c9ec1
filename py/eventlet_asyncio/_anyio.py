"""What anyio needs beside eventlet: worker threads that are threads, and to run where asyncio.run() does."""

import asyncio
import sys

from eventlet import patcher

from eventlet_asyncio._imports import WhenImported


class _OfModule:
    """Changes a module of anyio's, now or when it is imported."""

    module: str

    def __init__(self):
        self._later = WhenImported(self.module, self._change)
        self._saved = []

    def apply(self):
        if self.module in sys.modules:
            self._change(sys.modules[self.module])
        else:
            self._later.wait()

    def undo(self):
        self._later.forget()
        while self._saved:
            setattr(*self._saved.pop())

    def _set(self, owner, name, value):
        self._saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)


class WorkerThreads(_OfModule):
    """Gives anyio's backend for asyncio the original threads and queues."""

    module = "anyio._backends._asyncio"
    places = [(module, "threading/Thread/Queue"), (f"{module}:WorkerThread", "__bases__")]

    def _change(self, module):
        threading = patcher.original("threading")
        changes = {
            "threading": threading,
            "Thread": threading.Thread,
            "Queue": patcher.original("queue").Queue,
        }
        worker = getattr(module, "WorkerThread", None)
        if worker is None or not changes.keys() <= vars(module).keys():
            # Not as we know it: its threads stay as eventlet makes them.
            return
        if worker.__bases__ == (module.Thread,):
            self._set(worker, "__bases__", (threading.Thread,))
        for name, value in changes.items():
            self._set(module, name, value)


class Runs:
    """Has anyio.run() take green code for what it is, though the task that made it, or called it, is anyio's."""

    def __init__(self, make_events):
        self._parts = [_Question(), _Runner(make_events)]
        self.places = [place for part in self._parts for place in part.places]

    def apply(self):
        for part in self._parts:
            part.apply()

    def undo(self):
        for part in self._parts:
            part.undo()


class _Question(_OfModule):
    """What anyio asks before a run."""

    module = "anyio._core._eventloop"
    places = [(module, "current_async_library")]

    def _change(self, module):
        asked, run = vars(module).get("current_async_library"), vars(module).get("run")
        if asked is None or run is None:
            # Not as we know it: it refuses to run there.
            return

        def current_async_library():
            name = asked()
            asks_before_a_run = sys._getframe(1).f_code is run.__code__
            return None if name == "asyncio" and asks_before_a_run and _may_run() else name

        self._set(module, "current_async_library", current_async_library)


class _Runner(_OfModule):
    """What is asked by the runner that anyio brings for Python 3.10."""

    module = "anyio._backends._asyncio"
    places = [(module, "events")]

    def __init__(self, make_events):
        super().__init__()
        self._make_events = make_events

    def _change(self, module):
        if vars(module).get("events") is asyncio.events:
            self._set(module, "events", self._make_events())


def _may_run():
    from eventlet_asyncio import _sides

    return _sides.may_run()
