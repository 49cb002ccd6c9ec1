"""What `spawn_after_local()` starts in a task comes as long as the task lives, whichever greenlets run it."""

import asyncio
import gc
import weakref

import eventlet
import pytest
from eventlet import event
from eventlet.greenthread import spawn_after_local

import eventlet_asyncio
from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")

#: More than there are greenlets kept for the next callbacks.
MANY = 100


@pytest.fixture(params=["await", "green block", "both"])
def passes(request):
    """Passes some turns, in a task."""

    async def turns(count):
        for _ in range(count):
            if request.param != "green block":
                await asyncio.sleep(0)
            if request.param != "await":
                eventlet.sleep(0)

    return turns


def test_it_comes_while_the_task_lives(passes):
    log = []

    async def main():
        timer = spawn_after_local(0.002, log.append, "came")
        while not log:
            await passes(3)
        assert timer.wait() is None

    eventlet_asyncio.run(main())
    assert log == ["came"]


def test_it_is_dropped_with_the_task_though_others_go_on_where_that_ran(passes):
    log = []

    async def ends(number):
        await passes(number % 3)
        spawn_after_local(0.001, log.append, number)

    async def main():
        await asyncio.gather(*map(ends, range(10)))
        for _ in range(5):
            await asyncio.sleep(0.001)
            eventlet.sleep(0.001)

    eventlet_asyncio.run(main())
    assert log == []


def test_it_comes_though_the_greenlet_that_ran_the_task_is_gone():
    log = []

    async def lives(number):
        eventlet.sleep(0.001)
        spawn_after_local(0.01, log.append, number)
        # All of them block at once, each in a greenlet of its own.
        eventlet.sleep(0.001)
        await asyncio.sleep(0.1)

    async def main():
        await asyncio.gather(*map(lives, range(MANY)))

    eventlet_asyncio.run(main())
    assert sorted(log) == list(range(MANY))


def test_each_is_its_own_tasks():
    log = []

    async def task(number):
        for _ in range(number % 3):
            await asyncio.sleep(0)
        spawn_after_local(0.005, log.append, number)
        if number % 2:
            await asyncio.sleep(0.05)

    async def main():
        await asyncio.gather(*map(task, range(MANY)))

    eventlet_asyncio.run(main())
    assert sorted(log) == [number for number in range(MANY) if number % 2]


def test_a_task_that_is_cancelled_takes_its_timers_along():
    log = []

    async def task():
        spawn_after_local(0.002, log.append, "came")
        await asyncio.sleep(60)

    async def main():
        victim = asyncio.create_task(task())
        await asyncio.sleep(0)
        victim.cancel()
        await asyncio.sleep(0.01)

    eventlet_asyncio.run(main())
    assert log == []


def test_of_code_that_await_runs_below_a_task_it_is_the_tasks():
    log = []

    async def inner():
        spawn_after_local(0.002, log.append, "came")

    async def main():
        await_(inner())
        await asyncio.sleep(0.01)

    eventlet_asyncio.run(main())
    assert log == ["came"]


@pytest.mark.parametrize("blocks", [True, False])
def test_of_a_callback_it_comes_while_the_callback_blocks_and_is_dropped_with_it(hub, blocks):
    log = []

    def callback(done):
        spawn_after_local(0.002, log.append, "came")
        if blocks:
            eventlet.sleep(0.01)
        done.send()

    done = event.Event()
    hub.loop.call_soon(callback, done)
    done.wait()
    eventlet.sleep(0.01)
    assert log == ["came"] * blocks


def test_of_a_green_thread_it_is_dropped_with_that_as_ever():
    log = []

    def green(number):
        spawn_after_local(0.002, log.append, number)
        eventlet.sleep(0.01 * number)

    for each in [eventlet.spawn(green, number) for number in range(2)]:
        each.wait()
    eventlet.sleep(0.01)
    assert log == [1]


def test_a_timer_says_whether_it_is_still_to_come(hub):
    async def task(timers):
        timers.append(hub.schedule_call_local(60, print))
        await asyncio.sleep(0)
        eventlet.sleep(0)
        assert timers[0].pending

    async def main():
        timers = []
        await asyncio.create_task(task(timers))
        assert not timers[0].pending
        timers[0].cancel()

    eventlet_asyncio.run(main())


def test_a_timer_keeps_no_task_that_has_ended(hub):
    async def task():
        hub.schedule_call_local(60, print)
        kept.append(weakref.ref(asyncio.current_task()))

    async def main():
        await asyncio.create_task(task())
        await asyncio.sleep(0)
        gc.collect()
        assert kept[0]() is None

    kept = []
    eventlet_asyncio.run(main())
