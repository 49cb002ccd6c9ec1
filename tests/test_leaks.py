"""However often the sides cross, however they end: descriptors, greenlets, tasks and objects stay as many."""

import asyncio
import collections
import gc
import os
import threading
import weakref

import eventlet
import greenlet
import pytest
from eventlet import hubs

import eventlet_asyncio
from eventlet_asyncio import (
    async_to_sync,
    await_,
    future_to_greenlet,
    greenlet_to_future,
    sync_to_async,
)

CROSSINGS = 10_000
#: So many are under way at once.
BATCH = 100
#: What may come and go on its own: caches of the interpreter, of asyncio, of eventlet and of ours.
SLACK = 250


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def census():
    """How many objects there are of each kind that could pile up."""
    for _ in range(3):
        gc.collect()
    kinds = collections.Counter(type(each) for each in gc.get_objects())
    count = collections.Counter()
    for kind, number in kinds.items():
        if issubclass(kind, greenlet.greenlet):
            count["greenlets"] += number
        elif issubclass(kind, asyncio.Future):
            count["futures"] += number
        elif str(kind.__module__).startswith("eventlet_asyncio"):
            count[kind.__name__] += number
        count["objects"] += number
    count["descriptors"] = descriptors()
    return count


def assert_flat(work):
    """Does the work twice: what the second time adds is lost for good."""
    work()
    census()  # To ask for classes makes objects, too.
    before = census()
    work()
    after = census()
    grown = {kind: after[kind] - before[kind] for kind in after if after[kind] > before[kind]}
    assert all(number <= SLACK for number in grown.values()), grown
    assert "descriptors" not in grown


def assert_descriptors_flat(work):
    """The same of descriptors alone."""
    work()
    gc.collect()
    before = descriptors()
    work()
    gc.collect()
    assert descriptors() == before


class Wrong(Exception):
    pass


async def returns():
    return 1


async def awaits():
    await asyncio.sleep(0)
    return 1


async def fails():
    await asyncio.sleep(0)
    raise Wrong


async def sleeps():
    await asyncio.sleep(60)


def green_returns():
    eventlet.sleep(0)
    return 1


def green_fails():
    eventlet.sleep(0)
    raise Wrong


def green_sleeps():
    eventlet.sleep(60)


# From green code.


def awaits_in_green():
    assert await_(awaits()) == 1


def awaits_what_is_done():
    assert await_(returns()) == 1


def awaits_a_failure():
    try:
        await_(fails())
    except Wrong:
        pass


def times_out():
    with eventlet.Timeout(0, False):
        await_(sleeps())


def follows():
    assert future_to_greenlet(awaits()).wait() == 1


def follows_a_failure():
    try:
        future_to_greenlet(fails()).wait()
    except Wrong:
        pass


def kills():
    green = future_to_greenlet(sleeps())
    eventlet.sleep(0)
    green.kill()
    try:
        green.wait()
    except greenlet.GreenletExit:
        pass


def kills_at_once():
    green = future_to_greenlet(sleeps())
    green.kill()
    try:
        green.wait()
    except greenlet.GreenletExit:
        pass


def is_killed():
    green = eventlet.spawn(await_, sleeps())
    eventlet.sleep(0)
    green.kill()


def cancels():
    task = asyncio.create_task(sleeps())
    eventlet.spawn(task.cancel)
    try:
        await_(task)
    except asyncio.CancelledError:
        pass


def calls():
    assert async_to_sync(awaits)() == 1


FROM_GREEN = [
    awaits_in_green,
    awaits_what_is_done,
    awaits_a_failure,
    times_out,
    follows,
    follows_a_failure,
    kills,
    kills_at_once,
    is_killed,
    cancels,
    calls,
]


def cross_from_green(cross, times):
    for _ in range(times // BATCH):
        greens = [eventlet.spawn(cross) for _ in range(BATCH)]
        for green in greens:
            green.wait()


@pytest.mark.parametrize("cross", FROM_GREEN)
def test_crossings_from_green_code(hub, cross):
    hub.set_timer_exceptions(False)
    assert_flat(lambda: cross_from_green(cross, CROSSINGS))


# From async code.


async def awaits_green():
    assert await eventlet.spawn(green_returns) == 1


async def awaits_a_green_failure():
    try:
        await greenlet_to_future(eventlet.spawn(green_fails))
    except Wrong:
        pass


async def awaits_a_plain_greenlet():
    assert await greenlet_to_future(greenlet.greenlet(green_returns)) == 1


async def awaits_a_killed_one():
    green = eventlet.spawn(green_sleeps)
    future = greenlet_to_future(green)
    await asyncio.sleep(0)
    eventlet.spawn(green.kill)
    try:
        await future
    except asyncio.CancelledError:
        pass


async def is_cancelled():
    future = greenlet_to_future(eventlet.spawn(green_sleeps))
    await asyncio.sleep(0)
    future.cancel()
    try:
        await future
    except asyncio.CancelledError:
        pass


async def blocks():
    eventlet.sleep(0)


async def is_cancelled_while_parked():
    async def parked():
        eventlet.sleep(60)

    task = asyncio.create_task(parked())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


async def awaits_below():
    assert await_(awaits()) == 1


async def calls_green():
    assert await sync_to_async(green_returns)() == 1


FROM_ASYNC = [
    awaits_green,
    awaits_a_green_failure,
    awaits_a_plain_greenlet,
    awaits_a_killed_one,
    is_cancelled,
    blocks,
    is_cancelled_while_parked,
    awaits_below,
    calls_green,
]


def cross_from_async(cross, times):
    async def main():
        for _ in range(times // BATCH):
            await asyncio.gather(*(cross() for _ in range(BATCH)))

    eventlet_asyncio.run(main())


@pytest.mark.parametrize("cross", FROM_ASYNC)
def test_crossings_from_async_code(hub, cross):
    hub.set_timer_exceptions(False)
    assert_flat(lambda: cross_from_async(cross, CROSSINGS))


# Loops and hubs.


def test_loops_made_and_closed():
    def work():
        for _ in range(500):
            loop = eventlet_asyncio.new_event_loop()
            loop.call_later(60, print)
            loop.call_soon(loop.stop)
            loop.run_forever()
            loop.close()

    assert_flat(work)


def test_runs_in_main_and_in_green_threads(hub):
    async def main():
        eventlet.sleep(0)
        await asyncio.sleep(0)

    def work():
        for _ in range(100):
            asyncio.run(main())
            eventlet.spawn(asyncio.run, main()).wait()

    assert_flat(work)


def test_the_hubs_greenlet_replaced(hub):
    """Its idle carriers end with it."""

    async def parks():
        eventlet.sleep(0)

    def exits():
        raise SystemExit

    def work():
        for _ in range(10):
            for green in [future_to_greenlet(parks()) for _ in range(60)]:
                green.wait()
            eventlet.spawn_n(exits)
            with pytest.raises(SystemExit):
                eventlet.sleep(60)

    assert_flat(work)


def in_threads(body, number):
    for _ in range(number):
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()


def test_threads_with_hubs():
    def body():
        eventlet_asyncio.use_hub()
        assert eventlet.spawn(await_, awaits()).wait() == 1

    assert_descriptors_flat(lambda: in_threads(body, 100))


def test_threads_whose_green_threads_are_left_waiting():
    def body():
        eventlet_asyncio.use_hub()
        eventlet.spawn(eventlet.sleep, 60)
        eventlet.sleep(0)

    assert_descriptors_flat(lambda: in_threads(body, 100))


def test_threads_with_loops_and_hubs():
    async def main():
        eventlet.sleep(0)
        assert await eventlet.spawn(green_returns) == 1

    assert_descriptors_flat(lambda: in_threads(lambda: eventlet_asyncio.run(main()), 100))


def test_hubs_one_after_the_other():
    def work():
        for _ in range(100):
            eventlet_asyncio.use_hub()
            assert eventlet.spawn(green_returns).wait() == 1
            assert type(hubs.get_hub()).__module__ == "eventlet_asyncio.hub"

    assert_descriptors_flat(work)


def test_the_green_thread_of_a_future_is_in_no_circle(hub):
    """So its result is freed with the last reference, without the garbage collector."""

    class Result:
        pass

    async def make():
        return Result()

    gc.collect()
    gc.disable()
    try:
        green = future_to_greenlet(make())
        result = weakref.ref(green.wait())
        assert result() is not None
        del green
        eventlet.sleep(0)
        assert result() is None
    finally:
        gc.enable()


def test_a_green_thread_that_a_callback_woke_is_freed_when_it_has_ended(hub):
    """The carrier that switched to it goes on to wait for callbacks, and does not hold it."""

    def awaits():
        await_(asyncio.sleep(0))
        return weakref.ref(greenlet.getcurrent())

    gc.collect()
    gc.disable()
    try:
        green = eventlet.spawn(awaits)
        known = green.wait()
        assert known() is green
        del green
        eventlet.sleep(0)
        assert known() is None
    finally:
        gc.enable()


async def makes_nothing():
    pass


async def blocks_greenly():
    eventlet.sleep(0.001)


async def is_woken_by_a_thread():
    await asyncio.to_thread(int)


async def awaits_green_code():
    await greenlet_to_future(eventlet.spawn(green_returns))


def run_beneath_a_task(main):
    async def task():
        return asyncio.run(main)

    return asyncio.run(task())


kept = []


async def keeps_its_greenlet():
    for _ in range(2):
        kept.append(greenlet.getcurrent())
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "run",
    [
        asyncio.run,
        lambda main: eventlet.spawn(asyncio.run, main).wait(),
        run_beneath_a_task,
        lambda main: eventlet.spawn(run_beneath_a_task, main).wait(),
    ],
    ids=["main", "green", "main-nested", "green-nested"],
)
@pytest.mark.parametrize(
    "work", [makes_nothing, blocks_greenly, is_woken_by_a_thread, awaits_green_code, keeps_its_greenlet]
)
def test_a_loop_is_free_when_its_run_is_over(run, work, hub):
    async def main():
        await work()
        return weakref.ref(asyncio.get_running_loop())

    def ended():
        gone = run(main())
        # Here, before the hub goes on.
        gc.collect()
        return gone()

    assert isinstance(hub.loop, eventlet_asyncio.EventLoop)
    assert [ended(), eventlet.spawn(ended).wait()] == [None, None]
    kept.clear()
