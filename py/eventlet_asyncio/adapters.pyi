"""Iterators and context managers of one world, for the other.

The names say what is taken: `async_iter` and `async_context` make what is async usable in green code,
`sync_iter` and `sync_context` make what blocks greenly usable in async code. Waiting, cancels and
kills follow docs/behaviour.md.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

class async_iter(Iterator[_T_co], Generic[_T_co]):
    """An iterator over what an async iterable gives: `for item in async_iter(items()):` in green code.

    Each item is waited for as by `await_()`. As with `async for`, an async generator that is left
    before its end is not closed by that; its loop does so once it is collected.

    Raises TypeError for what is no async iterable.
    """

    def __init__(self, iterable: AsyncIterable[_T_co]) -> None: ...
    def __iter__(self) -> async_iter[_T_co]: ...
    def __next__(self) -> _T_co: ...

class async_context(Generic[_T_co]):
    """A context manager around an async one: `with async_context(manager) as value:` in green code.

    Below a task the task itself enters and leaves it. In a green thread a task of its own does both, and
    stays inside meanwhile: what cancels that task, as `asyncio.timeout()` and `asyncio.TaskGroup` do,
    raises `asyncio.CancelledError` in the block, where it blocks greenly.

    Before Python 3.11 context variables that the manager sets when it is entered are seen after the
    block, not in it, unless the code is below a task.

    Raises TypeError for what is no async context manager.
    """

    def __init__(self, manager: AbstractAsyncContextManager[_T_co, Any]) -> None: ...
    def __enter__(self) -> _T_co: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None: ...

class sync_iter(AsyncIterator[_T_co], Generic[_T_co]):
    """An async iterator over what blocks greenly: `async for item in sync_iter(items()):`.

    In a task of a loop of ours it is the task that blocks greenly, also where `green_in_async()` or
    `no_green_block()` refuse that; elsewhere a green thread fetches each item.

    Raises TypeError for what is no iterable. The loop over it raises what the iterable's iterator does, but
    RuntimeError in the place of StopAsyncIteration.
    """

    def __init__(self, iterable: Iterable[_T_co]) -> None: ...
    def __aiter__(self) -> sync_iter[_T_co]: ...
    async def __anext__(self) -> _T_co: ...

class sync_context(Generic[_T_co]):
    """An async context manager around one that blocks greenly: `async with sync_context(lock):`.

    In a task of a loop of ours it is the task that enters, blocks and leaves, also where
    `green_in_async()` or `no_green_block()` refuse that; elsewhere green threads do, one for each. What was entered is left also where the task
    is cancelled on its way in.

    Raises TypeError for what is no context manager.
    """

    def __init__(self, manager: AbstractContextManager[_T_co, Any]) -> None: ...
    async def __aenter__(self) -> _T_co: ...
    async def __aexit__(self, *exc_info: Any) -> bool | None: ...
