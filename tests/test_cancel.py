"""A cancel reaches a task wherever it is: at an await, parked in green code, or waiting by await_."""

import asyncio
import sys
import time

import eventlet
import greenlet
import pytest
from eventlet import event, hubs

import eventlet_asyncio
from eventlet_asyncio import await_, greenlet_to_future

pytestmark = pytest.mark.usefixtures("quiet")

COUNTS = sys.version_info >= (3, 11)
counts_cancels = pytest.mark.skipif(not COUNTS, reason="tasks count cancels since Python 3.11")


async def turns(number=5):
    for _ in range(number):
        await asyncio.sleep(0)


def blocks_greenly():
    eventlet.sleep(60)


def awaits():
    await_(asyncio.sleep(60))


def waits_for_green():
    eventlet.spawn(eventlet.sleep, 60).wait()


def in_a_child():
    greenlet.greenlet(blocks_greenly).switch()


@pytest.fixture(params=[blocks_greenly, awaits, waits_for_green, in_a_child])
def block(request):
    return request.param


def test_a_cancel_is_raised_where_the_step_is_parked(block):
    log = []

    async def step():
        try:
            block()
        except asyncio.CancelledError as cancelled:
            log.append(cancelled.args)
            raise
        finally:
            log.append("finally")

    async def main():
        task = asyncio.create_task(step())
        await asyncio.sleep(0.001)
        assert task.cancel("because") is True
        assert log == [], "cancel() ran the task itself"
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == [("because",), "finally"]


def python_tasks(loop, coro, **kwargs):
    return asyncio.tasks._PyTask(coro, loop=loop, **kwargs)


class SomebodysTask(asyncio.Task):
    """Somebody else's kind of task."""


def somebodys_tasks(loop, coro, **kwargs):
    return SomebodysTask(coro, loop=loop, **kwargs)


@pytest.mark.parametrize("factory", [None, python_tasks, somebodys_tasks])
def test_a_cancel_that_was_bound_before_strikes_at_the_green_block_too(block, factory):
    log = []

    async def step():
        cancel = asyncio.current_task().cancel
        asyncio.get_running_loop().call_later(0.001, cancel)
        try:
            block()
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            log.append("cleaned up")
            raise

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        task = asyncio.create_task(step())
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
        if COUNTS:
            assert task.cancelling() == 1

    eventlet_asyncio.run(main())
    assert log == ["cleaned up"]


def test_a_task_shows_that_it_blocks_greenly_and_awaits_nothing_afterwards():
    over = event.Event()

    async def step():
        over.wait()
        return asyncio.current_task()._fut_waiter

    async def main():
        task = asyncio.create_task(step())
        await turns()
        assert "wait_for=<green block of <" in repr(task)
        wait = task._fut_waiter
        over.send()
        assert await task is None
        assert repr(wait) == "<green block that is over>"

    eventlet_asyncio.run(main())


def test_a_cancel_strikes_once_and_the_cleanup_may_await(block):
    log = []

    async def step():
        try:
            block()
        except asyncio.CancelledError:
            await asyncio.sleep(0.001)
            log.append("awaited")
            eventlet.sleep(0.001)
            log.append("blocked")
            await_(asyncio.sleep(0.001))
            log.append("await_")
            raise

    async def main():
        task = asyncio.create_task(step())
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["awaited", "blocked", "await_"]


def test_a_task_may_refuse_a_cancel(block):
    async def step():
        try:
            block()
        except asyncio.CancelledError:
            pass
        await turns()
        return "refused"

    async def main():
        task = asyncio.create_task(step())
        await asyncio.sleep(0.001)
        task.cancel()
        assert await task == "refused"
        assert task.cancel() is False

    eventlet_asyncio.run(main())


@counts_cancels
def test_cancels_of_a_parked_step_are_counted(block):
    async def step():
        mine = asyncio.current_task()
        with pytest.raises(asyncio.CancelledError):
            block()
        assert mine.cancelling() == 1
        await asyncio.sleep(0)
        assert mine.cancelling() == 1
        assert mine.uncancel() == 0
        assert mine.cancelling() == 0
        with pytest.raises(asyncio.CancelledError):
            block()
        assert mine.cancelling() == 1
        assert mine.uncancel() == 0
        assert mine.uncancel() == 0
        await asyncio.sleep(0)
        return "done"

    async def main():
        task = asyncio.create_task(step())
        for _ in range(2):
            await asyncio.sleep(0.002)
            assert task.cancelling() == 0
            task.cancel()
            assert task.cancelling() == 1
        assert await task == "done"

    eventlet_asyncio.run(main())


@counts_cancels
def test_two_cancels_at_once_are_counted_twice_and_raised_once(block):
    log = []

    async def step():
        try:
            block()
        except asyncio.CancelledError:
            log.append(asyncio.current_task().cancelling())
        await turns()
        eventlet.sleep(0.001)
        log.append("went on")

    async def main():
        task = asyncio.create_task(step())
        await asyncio.sleep(0.001)
        task.cancel()
        task.cancel()
        await task
        assert task.cancelling() == 2
        task.uncancel()
        assert task.uncancel() == 0

    eventlet_asyncio.run(main())
    assert log == [2, "went on"]


def test_a_second_cancel_during_the_cleanup_strikes_there(block):
    log = []

    async def step():
        try:
            block()
        except asyncio.CancelledError:
            log.append("first")
            try:
                block()
            except asyncio.CancelledError:
                log.append("second")
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    log.append("third")
        return "done"

    async def main():
        task = asyncio.create_task(step())
        for _ in range(3):
            await asyncio.sleep(0.002)
            task.cancel()
        assert await task == "done"

    eventlet_asyncio.run(main())
    assert log == ["first", "second", "third"]


def test_a_cancel_that_comes_with_the_wake_is_raised_at_the_block():
    """As asyncio raises it at an await whose future has got its result in the same turn."""
    log = []

    async def step(woken):
        try:
            woken.wait()
        except asyncio.CancelledError:
            log.append("cancelled at the block")
            raise

    async def main():
        woken = event.Event()
        task = asyncio.create_task(step(woken))
        await asyncio.sleep(0.001)
        woken.send()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        if COUNTS:
            assert task.cancelling() == 1
        # Whoever has the carrier now is not struck.
        eventlet.sleep(0.002)
        await asyncio.sleep(0.002)

    eventlet_asyncio.run(main())
    assert log == ["cancelled at the block"]


@pytest.mark.skipif(not COUNTS, reason="asyncio.timeout came with Python 3.11")
def test_a_timeout_that_is_due_with_the_wake_leaves_nothing_behind():
    async def main():
        for _ in range(20):
            # The wake is a green timer, so that both come in the next turn, the timeout first.
            wake = hubs.get_hub().schedule_call_global, 0, greenlet.getcurrent().switch
            asyncio.get_running_loop().call_soon(*wake)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    hubs.get_hub().switch()
            assert asyncio.current_task().cancelling() == 0
            await asyncio.sleep(0)
            eventlet.sleep(0)
            assert asyncio.current_task().cancelling() == 0

    eventlet_asyncio.run(main())


def test_a_step_that_left_by_kill_is_not_interrupted():
    """kill() switches away from its caller, which has not asked to block."""
    log = []

    def victim(task):
        try:
            eventlet.sleep(60)
        finally:
            task.cancel()

    async def step():
        green = eventlet.spawn(victim, asyncio.current_task())
        eventlet.sleep(0.001)
        green.kill()
        log.append("kill returned")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    async def main():
        task = asyncio.create_task(step())
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["kill returned", "cancelled"]


def test_a_cancel_does_not_wait_for_a_blocked_neighbour():
    async def victim():
        eventlet.sleep(60)

    released = event.Event()

    async def neighbour():
        released.wait()

    async def main():
        other = asyncio.create_task(neighbour())
        task = asyncio.create_task(victim())
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        assert not other.done()
        released.send()
        await other

    eventlet_asyncio.run(main())


def test_wait_for_ends_a_green_block(block):
    async def step():
        block()

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(step(), 0.005)

    eventlet_asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with Python 3.11")
def test_asyncio_timeout_around_a_green_block(block):
    async def main():
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.002):
                    block()
            assert asyncio.current_task().cancelling() == 0
            await turns()
        eventlet.sleep(0.005)

    eventlet_asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with Python 3.11")
def test_nested_timeouts_tell_whose_it_was(block):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002) as outer:
                async with asyncio.timeout(60) as inner:
                    block()
        assert outer.expired() and not inner.expired()
        async with asyncio.timeout(60) as outer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.002) as inner:
                    block()
        assert inner.expired() and not outer.expired()

    eventlet_asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="task groups came with Python 3.11")
def test_a_task_group_cancels_parked_children(block):
    log = []

    async def parked():
        try:
            block()
        finally:
            log.append("ended")

    async def fails():
        await asyncio.sleep(0.002)
        raise LookupError

    async def main():
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(parked())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as raised:  # noqa: F821
        eventlet_asyncio.run(main())
    assert [type(each) for each in raised.value.exceptions] == [LookupError]
    assert log == ["ended"] * 3


def test_gather_passes_a_cancel_on_to_parked_children(block):
    ended = []

    async def parked():
        try:
            block()
        finally:
            ended.append(1)

    async def main():
        both = asyncio.gather(parked(), parked())
        await asyncio.sleep(0.001)
        both.cancel()
        with pytest.raises(asyncio.CancelledError):
            await both
        assert ended == [1, 1]

    eventlet_asyncio.run(main())


def test_an_awaited_task_that_is_parked_is_cancelled_with_its_awaiter(block):
    """The C code of tasks calls the awaited task's cancel()."""
    log = []

    async def inner():
        try:
            block()
        finally:
            log.append("inner")

    async def outer():
        try:
            await asyncio.create_task(inner())
        finally:
            log.append("outer")

    async def main():
        task = asyncio.create_task(outer())
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["inner", "outer"]


def test_a_cancel_before_the_first_step_keeps_it_from_running(block):
    ran = []

    async def step():
        ran.append(1)
        block()

    async def main():
        task = asyncio.create_task(step())
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert ran == []


def test_a_cancel_from_a_green_thread_and_from_another_parked_step(block):
    async def victim():
        block()

    async def killer(task):
        eventlet.sleep(0.001)
        task.cancel()
        eventlet.sleep(0.001)

    async def main():
        first = asyncio.create_task(victim())
        second = asyncio.create_task(victim())
        eventlet.spawn_after(0.001, lambda: first.cancel())
        asyncio.create_task(killer(second))
        await asyncio.wait([first, second])
        assert first.cancelled() and second.cancelled()

    eventlet_asyncio.run(main())


def test_a_task_cancels_itself_and_then_blocks():
    """As at any await, the cancel strikes where the task next waits."""

    async def step():
        asyncio.current_task().cancel()
        await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(step())
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())


def test_a_kill_thrown_at_a_kept_greenlet_of_an_ended_task_does_nothing():
    """Green code may keep getcurrent() beyond the step, as eventlet.Timeout does."""
    kept = []

    async def first():
        kept.append(greenlet.getcurrent().throw)

    async def main():
        await asyncio.create_task(first())
        task = asyncio.create_task(turns(3))
        await asyncio.sleep(0)
        kept[0](LookupError("stale"))
        await task

    eventlet_asyncio.run(main())


def test_an_eventlet_timeout_around_an_await_is_raised_as_itself():
    async def main():
        with pytest.raises(eventlet.Timeout) as raised:
            with eventlet.Timeout(0.005) as limit:
                await asyncio.sleep(60)
        assert raised.value is limit
        with eventlet.Timeout(0.005, False):
            await asyncio.sleep(60)
        with pytest.raises(LookupError):
            with eventlet.Timeout(0.005, LookupError("late")):
                await asyncio.sleep(60)
        await asyncio.sleep(0.01)
        if COUNTS:
            assert asyncio.current_task().cancelling() == 0

    eventlet_asyncio.run(main())


def test_an_eventlet_timeout_is_raised_at_a_green_block_on_whichever_carrier(hub):
    seen = []

    async def parks():
        eventlet.sleep(0.005)

    async def limited():
        first = greenlet.getcurrent()
        with eventlet.Timeout(0.02):
            while greenlet.getcurrent() is first:
                # Its carrier is busy when it goes on.
                asyncio.create_task(parks())
                await asyncio.sleep(0)
            try:
                eventlet.sleep(60)
            except BaseException as exception:
                seen.append(type(exception))
                raise

    async def main():
        with pytest.raises(eventlet.Timeout):
            await limited()
        if COUNTS:
            assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    await_(main())
    assert seen == [eventlet.Timeout]


def test_a_cancelled_task_that_waits_by_await_cancels_what_it_waits_for():
    log = []

    async def inner():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("inner cancelled")
            await turns()
            log.append("inner clean")
            raise

    async def step():
        try:
            await_(inner())
        finally:
            log.append("outer")

    async def main():
        task = asyncio.create_task(step())
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["inner cancelled", "inner clean", "outer"]


def test_a_cancel_drops_the_exception_that_a_green_thread_has_raised_just_before(hub):
    """As for other futures, without a word of an exception that was never retrieved."""

    def fails():
        raise LookupError

    async def step(futures):
        futures.append(greenlet_to_future(eventlet.spawn(fails)))
        await_(futures[0])

    async def main():
        task = asyncio.create_task(step(futures := []))
        while not (futures and futures[0].done()):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    await_(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 tasks do not count their cancels")
@pytest.mark.parametrize("first", [True, False])
def test_a_cancel_beside_a_timeout_of_the_same_turn_is_not_lost(hub, first):
    async def child():
        with eventlet.Timeout(0.001):
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        time.sleep(0.002)
        if first:
            task.cancel()
        else:
            asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    eventlet_asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 tasks do not count their cancels")
def test_a_timeout_takes_its_cancel_back_however_the_block_ends(hub):
    async def swallows():
        with eventlet.Timeout(0.001):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    async def converts():
        with pytest.raises(LookupError), eventlet.Timeout(0.001):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise LookupError from None

    async def two():
        with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001), eventlet.Timeout(0.001):
            time.sleep(0.002)
            await asyncio.sleep(60)

    async def main():
        for scenario in (swallows, converts, two):
            await scenario()
            assert asyncio.current_task().cancelling() == 0
            assert not hasattr(asyncio.current_task(), "_thrown")
            await asyncio.sleep(0)

    eventlet_asyncio.run(main())
