"""What strikes green code in the turn in which its await_() has its result already: what is lost, and what is not."""

import asyncio
import time

import eventlet
import greenlet
import pytest

from eventlet_asyncio import async_context, await_

pytestmark = pytest.mark.usefixtures("quiet")


class Wrong(Exception):
    pass


def by_timeout(body):
    """Runs a body in a green thread whose Timeout is due in the turn in which the lock becomes free."""

    async def main():
        lock, log = asyncio.Lock(), []
        await lock.acquire()
        green = eventlet.spawn(body, lock, log)
        await asyncio.sleep(0.001)
        lock.release()
        time.sleep(0.02)
        try:
            green.wait()
        except BaseException as ended:
            log.append(type(ended))
        await asyncio.sleep(0.01)
        assert not lock.locked() and len(asyncio.all_tasks()) == 1
        return log

    return asyncio.run(main())


def test_a_result_that_is_there_comes_before_a_timeout(hub):
    def body(lock, log):
        with eventlet.Timeout(0.01):
            await_(lock.acquire())
            log.append("acquired")
            lock.release()
        eventlet.sleep(0.01)
        log.append("slept")

    assert by_timeout(body) == ["acquired", "slept"]


@pytest.mark.parametrize("silent", [False, True])
def test_the_timeout_is_raised_where_its_block_blocks_next(hub, silent):
    def body(lock, log):
        with eventlet.Timeout(0.01, False if silent else None) as limit:
            await_(lock.acquire())
            try:
                await_(asyncio.sleep(60)) if silent else eventlet.sleep(60)
            except eventlet.Timeout as raised:
                log.append(raised is limit)
                raise
            finally:
                lock.release()
        log.append("left")

    assert by_timeout(body) == ([True, "left"] if silent else [True, eventlet.Timeout])


def test_a_context_manager_that_was_entered_is_left(hub):
    def body(lock, log):
        with eventlet.Timeout(0.01):
            with async_context(lock):
                eventlet.sleep(60)

    assert by_timeout(body) == [eventlet.Timeout]


@pytest.mark.parametrize("by_kill", [False, True], ids=["Timeout", "kill"])
@pytest.mark.parametrize("turns", range(5))
def test_one_that_is_entered_at_any_moment_is_left(hub, turns, by_kill):
    async def main():
        lock = asyncio.Lock()
        await lock.acquire()

        def body():
            with eventlet.Timeout(60 if by_kill else 0.01):
                with async_context(lock):
                    eventlet.sleep(60)

        green = eventlet.spawn(body)
        await asyncio.sleep(0.001)
        lock.release()
        for _ in range(turns):
            await asyncio.sleep(0)
        if by_kill:
            green.kill(Wrong())
        else:
            time.sleep(0.02)
        with pytest.raises(Wrong if by_kill else eventlet.Timeout):
            green.wait()
        await asyncio.sleep(0.01)
        assert not lock.locked() and len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_an_exception_that_is_there_comes_before_a_timeout(hub):
    def body(lock, log):
        async def fail():
            async with lock:
                raise Wrong

        with eventlet.Timeout(0.01):
            try:
                await_(fail())
            except Wrong:
                log.append("Wrong")
            eventlet.sleep(60)

    assert by_timeout(body) == ["Wrong", eventlet.Timeout]


def test_what_may_be_of_a_timeout_that_is_over_is_raised_at_once(hub):
    async def main():
        future = asyncio.get_running_loop().create_future()
        green = eventlet.spawn(await_, future)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        future.set_result("lost")
        green.kill(Wrong())
        with pytest.raises(Wrong):
            green.wait()

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(4))
def test_a_kill_always_strikes_and_takes_nothing_along(hub, turns):
    async def main():
        items, got, ended = asyncio.Queue(), [], []

        def work():
            try:
                while True:
                    got.append(await_(items.get()))
            except greenlet.GreenletExit:
                ended.append(True)
                raise

        green = eventlet.spawn(work)
        await asyncio.sleep(0.001)
        items.put_nowait("item")
        for _ in range(turns):
            await asyncio.sleep(0)
        green.kill()
        await asyncio.sleep(0.01)
        assert green.dead and ended == [True]
        assert got + [items.get_nowait() for _ in range(items.qsize())] == ["item"]

    asyncio.run(main())


def test_a_coroutine_that_two_await_is_the_firsts(hub):
    async def main():
        coroutine = asyncio.sleep(0.01, "slept")
        first = eventlet.spawn(await_, coroutine)
        second = eventlet.spawn(await_, coroutine)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            second.wait()
        assert await asyncio.wait_for(first, 5) == "slept"

    asyncio.run(main())


async def cleans_up(log):
    try:
        await asyncio.sleep(5)
    finally:
        log.append("begun")
        await asyncio.sleep(0.05)
        log.append("ended")


BELOW = {
    "green block": lambda coroutine: (coroutine.close(), eventlet.sleep(5)),
    "await_": await_,
    "await_ of a task": lambda coroutine: await_(asyncio.ensure_future(coroutine)),
}


@pytest.mark.parametrize("below", BELOW.values(), ids=BELOW)
@pytest.mark.parametrize("cancel_at", [0.0199, 0.0201], ids=["cancel first", "timeout first"])
def test_a_cancel_in_the_turn_of_a_timeout_is_not_lost(blocking_host, below, cancel_at):
    async def blocks():
        try:
            with eventlet.Timeout(0.02):
                below(asyncio.sleep(5))
        except eventlet.Timeout:
            await asyncio.sleep(5)

    async def main():
        task = asyncio.create_task(blocks())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(cancel_at, task.cancel)
        await asyncio.sleep(0)
        # Both are due in the next turn.
        time.sleep(0.03)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 2)
        assert task.cancelled()

    blocking_host(main)


@pytest.mark.parametrize("below", ["await_", "await_ of a task"])
def test_a_cancel_in_the_cleanup_after_a_timeout_is_not_lost(blocking_host, below):
    log = []

    async def blocks():
        try:
            with eventlet.Timeout(0.1):
                BELOW[below](cleans_up(log))
        except eventlet.Timeout:
            await asyncio.sleep(5)

    async def main():
        task = asyncio.create_task(blocks())
        while not log:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 2)
        assert task.cancelled()
        assert log == ["begun"]

    blocking_host(main)


@pytest.mark.parametrize("below", ["await_", "await_ of a task"])
@pytest.mark.parametrize("silent", [None, False])
def test_a_timeout_in_the_cleanup_after_a_cancel_takes_nothing_from_it(blocking_host, below, silent):
    log = []

    async def blocks():
        try:
            with eventlet.Timeout(0.03, silent):
                BELOW[below](cleans_up(log))
        except eventlet.Timeout:
            pass
        await asyncio.sleep(5)

    async def main():
        task = asyncio.create_task(blocks())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 2)
        assert task.cancelled()
        assert log[0] == "begun"

    blocking_host(main)
