"""Iterators and context managers of one world, for the other.

The names say what is taken: `async_iter` and `async_context` make what is async usable in green
code, `sync_iter` and `sync_context` make what blocks greenly usable in async code.
"""

import asyncio
import functools

import greenlet
from eventlet import greenthread

from eventlet_asyncio import _await, _evio, _sides, _strikes, bridge, green_blocks

_END = object()


def _check_methods(thing, name, kind, *methods):
    if not all(hasattr(type(thing), method) for method in methods):
        hint = ": call it first" if callable(thing) else ""
        raise TypeError(f"{name}() takes {kind}, not {type(thing).__name__}{hint}")


# Async, for green code


class async_iter:
    """An iterator over what an async iterable gives, for green code."""

    def __init__(self, iterable):
        _check_methods(iterable, "async_iter", "an async iterable", "__aiter__")
        self._iterator = type(iterable).__aiter__(iterable)

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return bridge.await_(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self):
        # Called where a loop runs, since an asynchronous generator asks that for who finalizes it.
        return await type(self._iterator).__anext__(self._iterator)


class async_context:
    """A context manager that enters and leaves an async one, for green code."""

    def __init__(self, manager):
        _check_methods(
            manager, "async_context", "an async context manager", "__aenter__", "__aexit__"
        )
        self._manager = manager
        self._holder = None

    def __enter__(self):
        if _runs_in_task_of_ours():
            return bridge.await_(type(self._manager).__aenter__(self._manager))
        self._holder = _Holder(self._manager)
        return self._holder.enter()

    def __exit__(self, kind, exception, traceback):
        holder, self._holder = self._holder, None
        if holder is None:
            leave = type(self._manager).__aexit__
            return bridge.await_(leave(self._manager, kind, exception, traceback))
        return holder.leave(exception)


class _Holder:
    """Stays inside an async context manager, in a task, while a green thread runs the block.

    `asyncio.timeout()`, task groups and their like are left by the task that entered them, and cancel
    that task: the cancel is raised in the block.
    """

    def __init__(self, manager):
        self._manager = manager
        self._green = greenlet.getcurrent()
        self._inside = False
        self._is_given_up = False
        # The cancels that came before the block began.
        self._early = []
        self._was_cancelled_late = False

    def enter(self):
        loop = _sides.home_loop()
        self._entered = loop.create_future()
        self._left = loop.create_future()
        self._task, self._leave_context = _await.ensure_future(self._hold(), loop)
        try:
            value = bridge.await_(self._enter())
        except BaseException as exception:
            if self._task.done():
                raise
            if self._entered.done():
                # It was thrown when the manager had been entered.
                self.leave(exception)
            else:
                # It came before the first step of what waits for that.
                bridge.await_(self._give_up())
            raise
        self._inside = True
        for args in self._early:
            self._interrupt_soon(args)
        return value

    def leave(self, exception):
        self._inside = False
        self._left.set_result(exception)
        suppressed = bridge.await_(self._leave())
        self._leave_context()
        return suppressed

    async def _enter(self):
        try:
            await asyncio.wait([self._entered, self._task], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._give_up()
            raise
        return self._entered.result() if self._entered.done() else await self._task

    async def _give_up(self):
        self._is_given_up = True
        cancelled = None
        while not self._task.done():
            self._task.cancel()
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError as exception:
                cancelled = exception
        if cancelled is not None:
            raise cancelled

    async def _leave(self):
        cancelled = None
        while not self._task.done():
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError as exception:
                cancelled = exception
                self._task.cancel(*exception.args)
        if cancelled is None or not (self._task.cancelled() or self._task.exception() is None):
            return self._task.result()
        # Whatever the manager made of that.
        raise cancelled

    async def _hold(self):
        exception = None
        try:
            async with self._manager as value:
                self._entered.set_result(value)
                exception = await self._until_left()
                if exception is not None:
                    raise exception
        except BaseException as raised:
            await self._take_late_cancel()
            if raised is exception:
                # The with statement of the block goes on to raise it.
                return False
            raise
        if await self._take_late_cancel():
            raise asyncio.CancelledError
        return exception is not None

    async def _take_late_cancel(self):
        """Takes the cancel that came too late for the block from the task; whether it still stands."""
        if self._was_cancelled_late:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                # Before Python 3.11 nobody can take a cancel back.
                return getattr(asyncio.current_task(), "cancelling", lambda: 1)() > 0
        return False

    async def _until_left(self):
        while not self._is_given_up:
            try:
                return await asyncio.shield(self._left)
            except asyncio.CancelledError as cancelled:
                if self._left.done():
                    # Too late for the block: it strikes where the manager, leaving, awaits next.
                    self._was_cancelled_late = True
                    _strikes.cancel_again(asyncio.current_task(), cancelled)
                    return self._left.result()
                if self._inside:
                    self._interrupt_soon(cancelled.args)
                else:
                    self._early.append(cancelled.args)
        raise asyncio.CancelledError

    def _interrupt_soon(self, args):
        _sides.get_hub().schedule_call_global(0, self._interrupt, args)

    def _interrupt(self, args):
        if self._inside:
            self._green.throw(asyncio.CancelledError(*args))


def _runs_in_task_of_ours():
    loop = asyncio._get_running_loop()
    return isinstance(loop, _evio.LoopCore) and asyncio.current_task(loop) is not None


# Green, for async code


async def _call(function, *args):
    """Call what blocks greenly: here where the task may, so that it is the task that does."""
    if not _runs_in_task_of_ours():
        return await bridge.sync_to_async(function)(*args)
    with green_blocks._checked_already(greenlet.getcurrent()):
        return function(*args)


class sync_iter:
    """An async iterator over what an iterable gives that blocks greenly."""

    def __init__(self, iterable):
        if not hasattr(type(iterable), "__getitem__"):
            _check_methods(iterable, "sync_iter", "an iterable", "__iter__")
        self._iterator = iter(iterable)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            item = await _call(next, self._iterator, _END)
        except StopAsyncIteration as stop:
            raise RuntimeError("the iterator raised StopAsyncIteration, which would end the loop over it: return from it instead") from stop
        if item is _END:
            raise StopAsyncIteration
        return item


class sync_context:
    """An async context manager that enters and leaves one that blocks greenly."""

    def __init__(self, manager):
        _check_methods(manager, "sync_context", "a context manager", "__enter__", "__exit__")
        self._manager = manager

    async def __aenter__(self):
        entered = False

        def enter():
            nonlocal entered
            value = type(self._manager).__enter__(self._manager)
            entered = True
            return value

        try:
            return await _call(enter)
        except BaseException as exception:
            if entered:
                # The task was cancelled on its way into the block, which it will not leave.
                await self.__aexit__(type(exception), exception, exception.__traceback__)
            raise

    async def __aexit__(self, *exc_info):
        leave = functools.partial(type(self._manager).__exit__, self._manager, *exc_info)
        if _runs_in_task_of_ours():
            return await _call(leave)
        return await _begun_at_least(leave)


async def _begun_at_least(function):
    """Call what blocks greenly and cleans up: a cancel strikes where it blocks, and does not keep it from beginning."""
    begun = asyncio.get_running_loop().create_future()

    def call():
        begun.set_result(None)
        return function()

    green = greenthread.spawn(call)
    green.gr_context = _sides.current_context()
    future = bridge.greenlet_to_future(green)
    cancelled = None
    while not begun.done():
        try:
            await asyncio.wait([begun])
        except asyncio.CancelledError as exception:
            cancelled = exception
    if cancelled is not None and not future.cancel(*cancelled.args):
        # It has ended without a block at which the cancel could strike.
        cancelled.__context__ = future.exception()
        raise cancelled
    return await future
