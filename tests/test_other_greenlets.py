"""Other users of greenlet go on to work in tasks, beside green blocks: SQLAlchemy, greenback, and generators."""

import asyncio
import contextlib
import gc
import random
import sys
import weakref

import eventlet
import greenlet
import pytest

import eventlet_asyncio
from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")

TASKS = 20


class Child(greenlet.greenlet):
    """A greenlet that a task keeps over its awaits, made as SQLAlchemy makes its own."""


def await_only(awaitable):
    return greenlet.getcurrent().parent.switch(awaitable)


async def greenlet_spawn(function, *args):
    child = Child(function, greenlet.getcurrent())
    result = child.switch(*args)
    while not child.dead:
        try:
            value = await result
        except BaseException:
            result = child.throw(*sys.exc_info())
        else:
            result = child.switch(value)
    return result


async def later(value, seconds=0):
    await asyncio.sleep(seconds)
    return value


async def blocks_now_and_then(chance):
    for _ in range(10):
        eventlet.sleep(chance.choice([0, 0.0005]))
        await asyncio.sleep(0)


def beside_green_blocks(run, make):
    """Runs tasks of both kinds, in the main greenlet and in green threads."""
    chance = random.Random(1)

    async def main():
        tasks = [make(number, chance) for number in range(TASKS)]
        tasks += [blocks_now_and_then(chance) for _ in range(TASKS)]
        results = await asyncio.wait_for(asyncio.gather(*tasks), 20)
        assert results[:TASKS] == list(range(TASKS))

    run(main())


RUNS = [eventlet_asyncio.run, lambda main: eventlet.spawn(asyncio.run, main).wait()]
IDS = ["main greenlet", "green thread"]


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_a_greenlet_over_several_awaits(run):
    def work(number, chance):
        for step in range(5):
            assert await_only(later(step)) == step
            if chance.random() < 0.5:
                eventlet.sleep(chance.choice([0, 0.001]))
            if chance.random() < 0.3:
                assert await_(later(step)) == step
        return number

    beside_green_blocks(run, lambda number, chance: greenlet_spawn(work, number, chance))


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_exceptions_cancels_and_kills_find_their_way(run):
    def work(number, chance):
        with pytest.raises(ZeroDivisionError):
            await_only(fails())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.current_task().cancel()
                await_only(later(0, 60))
        finally:
            eventlet.sleep(0)
        if sys.version_info >= (3, 11):
            asyncio.current_task().uncancel()
        green = eventlet.spawn(eventlet.sleep, 60)
        await_only(later(0))
        green.kill()
        assert await_only(later(number)) == number
        raise LookupError(number)

    async def fails():
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def caught(number, chance):
        with pytest.raises(LookupError) as raised:
            await greenlet_spawn(work, number, chance)
        return raised.value.args[0]

    beside_green_blocks(run, caught)


def test_a_cancel_from_outside_is_raised_where_the_greenlet_blocks():
    log = []

    def work():
        await_only(later(0))
        try:
            eventlet.sleep(60)
        except asyncio.CancelledError:
            log.append(await_only(later("cleaned up")))
            raise

    async def main():
        task = asyncio.create_task(greenlet_spawn(work))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["cleaned up"]


def test_a_generator_made_of_a_greenlet_in_one_step():
    def generate():
        caller = greenlet.getcurrent().parent
        for number in range(3):
            eventlet.sleep(0)
            caller.switch(number)

    async def main():
        generator = greenlet.greenlet(generate)
        assert [generator.switch() for _ in range(4)] == [0, 1, 2, None]
        assert generator.dead

    eventlet_asyncio.run(main())


def test_nothing_is_left_of_those_that_have_ended_or_were_left():
    left = []

    def ends():
        await_only(later(0))

    def is_left():
        await_only(later(0))
        await_only(later(0, 60))

    class Noted(Child):
        pass

    async def main():
        async def spawn(function):
            child = Noted(function, greenlet.getcurrent())
            left.append(weakref.ref(child))
            result = child.switch()
            while not child.dead:
                result = child.switch(await result)

        await spawn(ends)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(spawn(is_left), 0.01)
        await asyncio.sleep(0)

    eventlet_asyncio.run(main())
    gc.collect()
    assert [child() for child in left] == [None, None]


# The real ones.


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_sqlalchemy(run, tmp_path):
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/db", pool_size=3)
        chance = random.Random(2)

        async def query(number):
            async with engine.connect() as connection:
                eventlet.sleep(chance.choice([0, 0.001]))

                def inside(sync_connection):
                    eventlet.sleep(chance.choice([0, 0.001]))
                    return sync_connection.execute(text(f"select {number}")).scalar()

                assert await connection.run_sync(inside) == number
                return (await connection.execute(text(f"select {number}"))).scalar()

        tasks = [query(number) for number in range(TASKS)]
        tasks += [blocks_now_and_then(chance) for _ in range(TASKS)]
        results = await asyncio.wait_for(asyncio.gather(*tasks), 20)
        assert results[:TASKS] == list(range(TASKS))
        await engine.dispose()

    run(main())


@pytest.mark.parametrize("run", RUNS, ids=IDS)
def test_greenback(run):
    import greenback

    async def portal(number, chance):
        await greenback.ensure_portal()

        def plain():
            for step in range(5):
                assert greenback.await_(later(step)) == step
                eventlet.sleep(chance.choice([0, 0.001]))
                assert await_(later(step)) == step
            return number

        assert plain() == number
        await asyncio.sleep(0)
        return plain()

    async def run_with(number, chance):
        await asyncio.sleep(0)
        return await greenback.with_portal_run(portal, number, chance)

    beside_green_blocks(run, portal)
    beside_green_blocks(run, run_with)


@pytest.mark.parametrize("block", [lambda: eventlet.sleep(0.001), lambda: await_(asyncio.sleep(0.001))], ids=["sleep", "await_"])
def test_a_greenlet_that_blocks_greenly_ends_in_its_task(blocking_host, block):
    async def work(number):
        child = greenlet.greenlet(lambda: block() or number)
        return child.switch()

    async def main():
        return await asyncio.wait_for(asyncio.gather(*map(work, range(3))), 5)

    assert blocking_host(main) == [0, 1, 2]
