"""A cancel is seen by who awaits green code as by who awaits a task: with its message, once, the first of a turn."""

import asyncio
import sys
import traceback

import anyio
import eventlet
import pytest

from eventlet_asyncio import await_, future_to_greenlet, greenlet_to_future, sync_to_async

#: Before Python 3.11 a task does not give its error to who awaits it, but makes another.
LOST = sys.version_info < (3, 11)


class Both:
    """Ends when it is cancelled, after a cleanup."""

    def __init__(self, cleanup=0.02):
        self.log = []
        self._cleanup = cleanup

    def green(self):
        try:
            self.log.append("started")
            eventlet.sleep(60)
        finally:
            self.log.append("cleaning")
            eventlet.sleep(self._cleanup)
            self.log.append("clean")

    async def coroutine(self):
        try:
            self.log.append("started")
            await asyncio.sleep(60)
        finally:
            self.log.append("cleaning")
            await asyncio.sleep(self._cleanup)
            self.log.append("clean")

    async def comes_to(self, point):
        while self.log[-1:] != [point]:
            await asyncio.sleep(0.001)


async def awaits_a_task(both):
    await asyncio.create_task(both.coroutine())


async def awaits_a_green_thread(both):
    await eventlet.spawn(both.green)


async def awaits_a_future(both):
    await greenlet_to_future(eventlet.spawn(both.green))


async def awaits_a_function(both):
    await sync_to_async(both.green)()


async def awaits_one_that_awaits(both):
    await eventlet.spawn(await_, both.coroutine())


async def awaits_the_green_thread_of_a_coroutine(both):
    await future_to_greenlet(both.coroutine())


WAYS = [
    awaits_a_task,
    awaits_a_green_thread,
    awaits_a_future,
    awaits_a_function,
    awaits_one_that_awaits,
]
EVERY_WAY = [*WAYS, awaits_the_green_thread_of_a_coroutine]


async def awaits_below(both):
    await_(both.coroutine())


async def blocks(both):
    both.green()


async def seen_by(task):
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    return raised.value


def cancels_twice_in_one_turn(host, way):
    async def main():
        both = Both()
        task = asyncio.create_task(way(both))
        await both.comes_to("started")
        task.cancel("first")
        task.cancel("next")
        seen = await seen_by(task)
        if not LOST:
            assert seen.args == ("first",)
        assert both.log == ["started", "cleaning", "clean"]

    host(main)


@pytest.mark.parametrize("way", WAYS)
def test_two_cancels_of_one_turn_are_one_with_the_first_message(host, way):
    cancels_twice_in_one_turn(host, way)


@pytest.mark.parametrize("way", [awaits_below, blocks])
def test_so_they_are_where_the_task_blocks_itself(blocking_host, way):
    cancels_twice_in_one_turn(blocking_host, way)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_cancel_of_the_cleanup_has_the_first_as_its_context(host, way):
    async def main():
        both = Both(cleanup=60)
        task = asyncio.create_task(way(both))
        await both.comes_to("started")
        task.cancel("first")
        await both.comes_to("cleaning")
        task.cancel("next")
        seen = await seen_by(task)
        if not LOST:
            assert (seen.args, seen.__context__.args) == (("next",), ("first",))
        assert both.log == ["started", "cleaning"]

    host(main)


@pytest.mark.skipif(LOST, reason="asyncio.timeout() is new in Python 3.11")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_scope_of_anyio_knows_its_own_cancel(host, way):
    async def main():
        with anyio.move_on_after(0.02):
            async with asyncio.timeout(0.02):
                await way(Both())

    host(main)


async def cancels_itself():
    # Long enough for a green thread to wait for it.
    await asyncio.sleep(0.02)
    raise asyncio.CancelledError("why")


async def is_done_before():
    future = greenlet_to_future(eventlet.spawn(await_, cancels_itself()))
    await asyncio.wait([future])
    return await future


@pytest.mark.skipif(LOST, reason="asyncio itself loses it")
@pytest.mark.parametrize(
    "way",
    [
        lambda: asyncio.create_task(cancels_itself()),
        lambda: eventlet.spawn(await_, cancels_itself()),
        lambda: greenlet_to_future(eventlet.spawn(await_, cancels_itself())),
        lambda: sync_to_async(await_)(cancels_itself()),
        lambda: future_to_greenlet(cancels_itself()),
        lambda: asyncio.gather(greenlet_to_future(eventlet.spawn(await_, cancels_itself()))),
        is_done_before,
    ],
)
def test_a_cancel_that_green_code_raises_comes_with_message_and_traceback(host, way):
    async def main():
        with pytest.raises(asyncio.CancelledError) as raised:
            await way()
        assert raised.value.args == ("why",)
        frames = traceback.extract_tb(raised.value.__traceback__)
        assert "cancels_itself" in [frame.name for frame in frames]

    host(main)
