"""A task of the standard library's to look into: the extension module finds in it where C tasks keep their fields."""

import _asyncio
import asyncio
import functools


class _NoLoop:
    """As much of a loop as a task needs that takes a step or two."""

    def __init__(self):
        self._callbacks = []

    def get_debug(self):
        return False

    def call_soon(self, callback, *args, context):
        self._callbacks.append(functools.partial(context.run, callback, *args))

    def turn(self):
        running, callbacks = asyncio._get_running_loop(), self._callbacks
        self._callbacks = []
        asyncio._set_running_loop(self)
        try:
            for callback in callbacks:
                callback()
        finally:
            asyncio._set_running_loop(running)


def waiting_task():
    """A task of asyncio's that awaits a future, and what has both end with a result."""
    loop = _NoLoop()
    # Not the names of asyncio, where nest_asyncio puts classes in Python.
    future = _asyncio.Future(loop=loop)

    async def wait():
        return await future

    task = _asyncio.Task(wait(), loop=loop)
    loop.turn()

    def finish(result):
        future.set_result(result)
        loop.turn()

    return task, future, finish
