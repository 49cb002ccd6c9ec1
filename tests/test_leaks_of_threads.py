"""Threads that had hubs and loops, and in which nothing waits any more, leave nothing behind."""

import asyncio
import collections
import gc
import os
import threading
import weakref

import eventlet
import greenlet
import pytest
from eventlet import hubs, queue

import eventlet_asyncio
from eventlet_asyncio import _sides, await_

THREADS = 20
#: What the interpreter keeps of threads that ended last, which comes and goes.
SLACK = 5


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def census():
    for _ in range(3):
        gc.collect()
    count = collections.Counter()
    for each in gc.get_objects():
        kind = type(each)
        if issubclass(kind, greenlet.greenlet):
            count["greenlets"] += 1
        elif issubclass(kind, asyncio.Future):
            count["futures"] += 1
        elif str(kind.__module__).startswith("eventlet"):
            count[kind.__name__] += 1
    return count


def run_in_threads(body, threads=THREADS):
    failures = []

    def guarded():
        try:
            body()
        except BaseException as failure:
            failures.append(failure)

    for _ in range(threads):
        thread = threading.Thread(target=guarded)
        thread.start()
        thread.join()
    assert failures == []


async def sleeps(seconds):
    await asyncio.sleep(seconds)
    return seconds


def hub_that_never_ran():
    eventlet_asyncio.use_hub()
    hubs.get_hub()


def green_threads():
    eventlet_asyncio.use_hub()
    items = queue.Queue()
    green = eventlet.spawn(items.get)
    eventlet.sleep(0)
    items.put(1)
    assert green.wait() == 1


def green_threads_that_await():
    eventlet_asyncio.use_hub()
    assert eventlet.spawn(await_, sleeps(0)).wait() == 0
    assert await_(sleeps(0.001)) == 0.001


def a_loop_and_its_hub():
    async def main():
        eventlet.sleep(0)
        await eventlet.spawn(eventlet.sleep, 0)

    eventlet_asyncio.run(main())


def loops_in_green_threads():
    eventlet_asyncio.use_hub()
    greens = [eventlet.spawn(asyncio.run, sleeps(0.001)) for _ in range(3)]
    assert [green.wait() for green in greens] == [0.001] * 3


def main_woken_from_a_call_of_the_hub():
    eventlet_asyncio.use_hub()
    current = greenlet.getcurrent()
    hubs.get_hub().schedule_call_global(0, current.switch)
    hubs.get_hub().switch()


@pytest.mark.parametrize(
    "body",
    [
        hub_that_never_ran,
        green_threads,
        green_threads_that_await,
        a_loop_and_its_hub,
        loops_in_green_threads,
        main_woken_from_a_call_of_the_hub,
    ],
)
def test_of_threads_where_all_has_ended_nothing_is_left(hub, body):
    run_in_threads(body)
    before = census(), descriptors()
    run_in_threads(body)
    after = census(), descriptors()
    grown = {kind: number for kind, number in (after[0] - before[0]).items() if number > SLACK}
    assert grown == {}
    assert after[1] == before[1]


def test_a_thousand_threads_with_hubs_leave_no_descriptor(hub):
    def body():
        green_threads_that_await()
        a_loop_and_its_hub()

    run_in_threads(body)
    before = descriptors()
    run_in_threads(body, 1000)
    assert descriptors() == before


@pytest.mark.parametrize(
    "body",
    [hub_that_never_ran, green_threads, green_threads_that_await, main_woken_from_a_call_of_the_hub],
)
def test_a_hub_ends_when_its_thread_takes_another(hub, body, in_thread):
    def chooses_often():
        ended = []
        for _ in range(THREADS):
            body()
            ended.append(weakref.ref(hubs.get_hub()))
        eventlet_asyncio.use_hub()
        hubs.get_hub()
        gc.collect()
        return [hub() for hub in ended]

    assert in_thread(chooses_often) == [None] * THREADS


def test_a_hub_of_eventlets_gives_up_our_loop_when_its_thread_takes_another(hub, in_thread):
    def chooses_often():
        ended = []
        for _ in range(THREADS):
            hubs.use_hub("poll")
            assert await_(sleeps(0)) == 0
            ended.append(weakref.ref(_sides.home_loop()))
        eventlet_asyncio.use_hub()
        hubs.get_hub()
        gc.collect()
        return [loop() for loop in ended]

    assert in_thread(chooses_often) == [None] * THREADS


@pytest.mark.parametrize("body", [hub_that_never_ran, green_threads, green_threads_that_await])
def test_a_hub_ends_with_its_thread_without_the_garbage_collector(hub, body):
    ended = []

    def watched():
        body()
        ended.append(weakref.ref(hubs.get_hub()))

    gc.disable()
    try:
        run_in_threads(watched)
        assert [hub() for hub in ended] == [None] * THREADS
    finally:
        gc.enable()
