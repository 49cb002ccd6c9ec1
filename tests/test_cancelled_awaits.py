"""A cancel of a task that awaits green code is never lost, whatever ends in the same turn, as with a task that is awaited."""

import asyncio
import itertools

import eventlet
import greenlet
import pytest
from eventlet import event, semaphore

import eventlet_asyncio
from eventlet_asyncio import (
    future_to_greenlet,
    greenlet_to_future,
    sync_context,
    sync_to_async,
)


async def by_task(call, yields):
    async def work():
        return await call(yields)

    return await asyncio.create_task(work())


async def by_function(call, yields):
    return await sync_to_async(call)(yields)


async def by_green_thread(call, yields):
    return await eventlet.spawn(call, yields)


async def by_future(call, yields):
    return await greenlet_to_future(eventlet.spawn(call, yields))


async def by_plain_greenlet(call, yields):
    green = greenlet.greenlet(lambda: call(yields))
    return await greenlet_to_future(green, autostart_greenlet=yields > 1)


async def by_coroutine(call, yields):
    return await future_to_greenlet(call(yields))


async def by_shared_coroutine(call, yields):
    return await greenlet_to_future(future_to_greenlet(call(yields)))


class Work:
    """Green code, or async code, that yields some times, and notes how far it comes."""

    def __init__(self):
        self.begun = self.ended = False

    def green(self, yields):
        self.begun = True
        for _ in range(yields):
            eventlet.sleep(0)
        self.ended = True
        return "value"

    async def asynchronous(self, yields):
        self.begun = True
        for _ in range(yields):
            await asyncio.sleep(0)
        self.ended = True
        return "value"


WAYS = {
    by_task: Work.asynchronous,
    by_function: Work.green,
    by_green_thread: Work.green,
    by_future: Work.green,
    by_plain_greenlet: Work.green,
    by_coroutine: Work.asynchronous,
    by_shared_coroutine: Work.asynchronous,
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_cancel_is_seen(host, way):
    async def main():
        for yields, turns in itertools.product(range(4), range(10)):
            work = Work()
            task = asyncio.create_task(way(WAYS[way].__get__(work), yields))
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                assert task.result() == "value"
                continue
            had_begun = work.begun
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(5):
                await asyncio.sleep(0)
            # What had not started never does.
            assert work.begun is had_begun, (yields, turns)

    host(main)


@pytest.mark.parametrize("turns", range(1, 8))
def test_a_worker_that_awaits_green_code_ends(host, turns):
    async def worker():
        for _ in range(200):
            await sync_to_async(eventlet.sleep)(0)

    async def main():
        task = asyncio.create_task(worker())
        for _ in range(turns):
            await asyncio.sleep(0)
        assert task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    host(main)


def test_a_green_thread_that_swallows_the_kill_has_its_value_seen(host):
    def stubborn(begun):
        try:
            begun.set()
            eventlet.sleep(5)
        except greenlet.GreenletExit:
            eventlet.sleep(0)
        return "value"

    async def main():
        begun = asyncio.Event()
        task = asyncio.create_task(by_function(lambda _: stubborn(begun), 0))
        await begun.wait()
        task.cancel()
        assert await task == "value"

    host(main)


def test_a_second_cancel_is_seen_that_comes_too_late_for_the_cleanup(host):
    def stubborn(begun, cleans_up):
        try:
            begun.set()
            eventlet.sleep(5)
        except greenlet.GreenletExit:
            cleans_up.set()
            eventlet.sleep(0)
        return "value"

    async def main():
        begun, cleans_up = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(by_function(lambda _: stubborn(begun, cleans_up), 0))
        await begun.wait()
        task.cancel()
        await cleans_up.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    host(main)


def test_other_awaiters_see_the_value(host):
    async def main():
        for turns in range(6):
            ends = event.Event()
            green = eventlet.spawn(ends.wait)
            tasks = [asyncio.ensure_future(by_awaiting(green)) for _ in range(2)]
            for _ in range(turns):
                await asyncio.sleep(0)
            assert tasks[0].cancel()
            ends.send("value")
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if turns:
                assert isinstance(results[0], asyncio.CancelledError) and results[1] == "value"

    async def by_awaiting(green):
        return await green

    host(main)


def test_a_kill_is_seen_that_comes_after_the_end_of_the_future(hub):
    async def main():
        future = asyncio.get_running_loop().create_future()
        green = future_to_greenlet(future)
        await asyncio.sleep(0.01)
        # So that what follows from the result comes in its turn.
        asyncio.get_running_loop().call_soon(int)
        future.set_result("value")
        eventlet.kill(green)
        with pytest.raises(greenlet.GreenletExit):
            green.wait()

    eventlet_asyncio.run(main())


# Context managers that block greenly.


@pytest.mark.parametrize("turns", range(12))
def test_what_a_context_has_entered_is_left(host, turns):
    async def holds(permits):
        async with sync_context(permits):
            await asyncio.sleep(0)

    async def main():
        permits = semaphore.Semaphore(1)
        task = asyncio.create_task(holds(permits))
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.done():
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert permits.counter == 1

    host(main)


class Slow:
    """Blocks greenly as it is entered and left."""

    def __init__(self):
        self.inside = 0

    def __enter__(self):
        eventlet.sleep(0)
        self.inside += 1

    def __exit__(self, kind, exception, traceback):
        self.inside -= 1
        eventlet.sleep(0)


@pytest.mark.parametrize("turns", range(16))
def test_a_slow_context_is_left_once(host, turns):
    async def holds(slow):
        async with sync_context(slow):
            await asyncio.sleep(0)

    async def main():
        slow = Slow()
        task = asyncio.create_task(holds(slow))
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.done():
            assert task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert slow.inside == 0

    host(main)
