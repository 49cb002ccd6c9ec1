"""A green block in the first step of an eager task: as any first step, it blocks its creator."""

import asyncio
import sys

import anyio
import eventlet
import pytest

import eventlet_asyncio
from eventlet_asyncio import await_, future_to_greenlet

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12"),
]


def test_a_green_block_in_the_first_step_of_an_eager_task_blocks_its_creator():
    log = []

    async def child():
        log.append("child blocks")
        eventlet.sleep(0.01)
        log.append("child goes on")

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        task = asyncio.create_task(child())
        log.append("creator goes on")
        await task

    eventlet_asyncio.run(main())
    assert log == ["child blocks", "child goes on", "creator goes on"]


def test_a_cancel_of_the_creator_does_not_strike_its_eager_child():
    log = []

    async def child():
        eventlet.sleep(0.05)
        log.append("child")

    async def creator():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        asyncio.create_task(child())
        asyncio.get_running_loop().set_task_factory(None)
        log.append("creator")
        await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(creator())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["child", "creator"]


async def makes_one_that_blocks(is_enough=lambda: True):
    async def child():
        eventlet.sleep(0.05)
        while not is_enough():
            eventlet.sleep(0.01)

    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    task = asyncio.create_task(child())
    asyncio.get_running_loop().set_task_factory(None)
    return task


async def by_eventlet():
    with eventlet.Timeout(0.01):
        return await makes_one_that_blocks()


async def by_asyncio():
    async with asyncio.timeout(0.01):
        return await makes_one_that_blocks()


async def by_anyio():
    with anyio.move_on_after(0.01):
        return await makes_one_that_blocks()


async def by_hand():
    task, cancelled = asyncio.current_task(), []
    asyncio.get_running_loop().call_later(0.01, lambda: cancelled.append(task.cancel()))
    try:
        return await makes_one_that_blocks(lambda: cancelled)
    finally:
        task.uncancel()


@pytest.mark.parametrize("limited", [by_eventlet, by_asyncio, by_anyio, by_hand])
def test_a_limit_that_passed_meanwhile_leaves_nothing_behind(blocking_host, limited):
    async def main():
        task = await limited()
        await asyncio.sleep(0.01)
        eventlet.sleep(0.01)
        await task
        return asyncio.current_task().cancelling()

    assert blocking_host(main) == 0


async def awaits_next():
    await asyncio.sleep(60)


async def blocks_next():
    eventlet.sleep(60)


@pytest.mark.parametrize("goes_on", [awaits_next, blocks_next])
@pytest.mark.parametrize("limit", [eventlet.Timeout, "asyncio"])
def test_a_limit_that_passed_meanwhile_strikes_what_comes_next_inside(blocking_host, limit, goes_on):
    async def main():
        if limit == "asyncio":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await makes_one_that_blocks()
                    await goes_on()
        else:
            with pytest.raises(limit):
                with limit(0.01):
                    await makes_one_that_blocks()
                    await goes_on()
        await asyncio.sleep(0.01)
        return asyncio.current_task().cancelling()

    assert blocking_host(main) == 0


def test_a_task_that_cancels_its_creator_strikes_at_once(blocking_host):
    async def child(creator):
        eventlet.sleep(0.01)
        creator.cancel("child")

    async def creator():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        asyncio.create_task(child(asyncio.current_task()))
        asyncio.get_running_loop().set_task_factory(None)

    async def main():
        task = asyncio.create_task(creator())
        await asyncio.wait([task])
        return task.cancelled()

    assert blocking_host(main)


@pytest.fixture
def eager_hub(hub):
    hub.loop.set_task_factory(asyncio.eager_task_factory)
    return hub


def awaits(coroutine):
    return await_(coroutine)


def waits(coroutine):
    return future_to_greenlet(coroutine).wait()


def makes_a_task(coroutine):
    return await_(asyncio.create_task(coroutine))


@pytest.mark.parametrize("call", [awaits, waits, makes_a_task])
@pytest.mark.parametrize("where", ["in a green thread", "in the main greenlet"])
def test_a_coroutine_that_green_code_calls_has_a_running_loop_with_a_factory_of_eager_tasks(
    eager_hub, call, where
):
    async def callee():
        seen = [(asyncio.get_running_loop(), asyncio.current_task() is None)]
        await asyncio.sleep(0)
        eventlet.sleep(0)
        seen.append((asyncio.get_running_loop(), asyncio.current_task() is None))
        return seen

    def caller():
        return call(callee()), asyncio._get_running_loop()

    seen, left = caller() if where == "in the main greenlet" else eventlet.spawn(caller).wait()
    assert seen == [(eager_hub.loop, False)] * 2
    assert left is None


def test_async_code_makes_eager_tasks_all_the_same(eager_hub):
    log = []

    async def child():
        log.append("child")

    async def main():
        task = asyncio.create_task(child())
        log.append("creator")
        await task

    await_(main())
    assert log == ["child", "creator"]


def test_a_loop_gives_its_task_factory_back(eager_hub):
    loop = eager_hub.loop
    assert loop.get_task_factory() is asyncio.eager_task_factory
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    with pytest.raises(TypeError):
        loop.set_task_factory("factory")
    assert loop.is_running()
