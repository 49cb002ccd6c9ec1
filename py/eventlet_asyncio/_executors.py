"""concurrent.futures.ThreadPoolExecutor, whose threads are the system's also in a monkey-patched program, as asyncio's must be."""

import asyncio
import functools
import importlib
import types

from eventlet import event, patcher
from greenlet import getcurrent

from eventlet_asyncio import _evio, _threads

#: The module; None where the interpreter is on its way out, and starts no more threads.
threads: types.ModuleType | None
try:
    # It has handlers of forks of its own, which must not be new while a fork waits for our lock.
    threads = importlib.import_module("concurrent.futures.thread")
except RuntimeError:
    threads = None


def shutdown():
    """`ThreadPoolExecutor.shutdown()`, for which green code waits as such, since the work may wait for green code."""
    own = threads.ThreadPoolExecutor.shutdown

    @functools.wraps(own)
    def shutdown(self, wait=True, **options):
        if not (wait and _can_wait_greenly()):
            return own(self, wait, **options)
        own(self, False, **options)
        _join(tuple(self._threads))

    return shutdown


def _can_wait_greenly():
    if not patcher.is_monkey_patched("thread"):
        return False
    loop, hub = asyncio._get_running_loop(), _evio.hub_of_thread()
    in_green_code = hub is not None and hub.greenlet is not getcurrent()
    return in_green_code and (loop is None or isinstance(loop, _evio.LoopCore))


def _join(workers):
    def join():
        for worker in workers:
            worker.join()
        ended.send()

    if workers:
        ended = event.Event()
        _threads.threading.Thread(target=join, daemon=True).start()
        ended.wait()
