"""Kills, timeouts and cancels of both worlds cross, whoever waits for the loop: the cleanup runs, and then the waiter hears of it.

Each test runs on every kind of host, with all the ways in which the worlds wait for one another at once.
"""

import asyncio
import functools
import itertools
import sys

import anyio
import eventlet
import greenlet
import pytest
from eventlet import event

from eventlet_asyncio import (
    async_to_sync,
    await_,
    future_to_greenlet,
    greenlet_to_future,
    sync_to_async,
)

class Wrong(Exception):
    pass


class Strike(BaseException):
    pass


KINDS = [Strike, Wrong, greenlet.GreenletExit]


async def all_at_once(check, *choices):
    """Checks all combinations of choices side by side; names those that fail."""
    cases = list(itertools.product(*choices))
    results = await asyncio.gather(*(check(*case) for case in cases), return_exceptions=True)
    failed = [
        ([each.__name__ for each in case], result)
        for case, result in zip(cases, results)
        if result is not None
    ]
    if failed:
        raise AssertionError([names for names, _ in failed]) from failed[0][1]


# A task waits for green code.


async def awaits_green_thread(function):
    return await eventlet.spawn(function)


async def awaits_future(function):
    return await greenlet_to_future(eventlet.spawn(function))


async def awaits_function(function):
    return await sync_to_async(function)()


async def awaits_below_a_task(function):
    return await asyncio.create_task(awaits_green_thread(function))


async def awaits_green_code_that_awaits(function):
    """Async, green, async, green."""
    return await sync_to_async(lambda: await_(awaits_future(function)))()


async def blocks(function):
    return function()


async def blocks_below_await_(function):
    return await_(blocks(function))


async def blocks_in_await_of_green(function):
    return eventlet.spawn(lambda: await_(awaits_future(function))).wait()


WAYS_TO_GREEN = [
    awaits_green_thread,
    awaits_future,
    awaits_function,
    awaits_below_a_task,
    awaits_green_code_that_awaits,
]
#: Where only our loops can.
WAYS_TO_BLOCK = [blocks, blocks_below_await_]


class Green:
    """Green code that waits for ever, and cleans up when it is struck."""

    def __init__(self, blocks_at_its_end=True):
        self.log = []
        self.started = asyncio.Event()
        self.blocks_at_its_end = blocks_at_its_end

    def __call__(self):
        self.log.append("started")
        self.started.set()
        try:
            eventlet.sleep(60)
        except BaseException as exception:
            self.log.append(type(exception))
            raise
        finally:
            if self.blocks_at_its_end:
                eventlet.sleep(0.002)
            self.log.append("clean")


async def cancelled(wait):
    task = asyncio.create_task(wait())
    await wait.args[0].started.wait()
    task.cancel("by whom")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def limited_by_timeout(wait):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait()
    assert asyncio.current_task().cancelling() == 0


async def limited_by_wait_for(wait):
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(wait(), 0.01)


async def limited_by_group(wait):
    async def fails():
        await wait.args[0].started.wait()
        raise Wrong

    with pytest.raises(BaseExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fails())
    assert [type(each) for each in raised.value.exceptions] == [Wrong]


async def limited_by_gather(wait):
    gathered = asyncio.gather(wait())
    await wait.args[0].started.wait()
    gathered.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gathered


async def limited_by_scope(wait):
    with anyio.move_on_after(0.01) as scope:
        await wait()
    assert scope.cancelled_caught


async def limited_by_anyio(wait):
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            await wait()


async def limited_by_anyios_group(wait):
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await wait.args[0].started.wait()
        group.cancel_scope.cancel()


LIMITS = [
    cancelled,
    limited_by_wait_for,
    limited_by_gather,
    limited_by_scope,
    limited_by_anyio,
    limited_by_anyios_group,
]
if sys.version_info >= (3, 11):
    LIMITS += [limited_by_timeout, limited_by_group]
BY_TIME = [limited_by_wait_for, limited_by_timeout, limited_by_scope, limited_by_anyio]
OF_ANYIO = (limited_by_scope, limited_by_anyio, limited_by_anyios_group)


async def check_limit(limit, way):
    # A scope of anyio's cancels again in every turn, so what blocks at its end is struck there, too.
    green = Green(blocks_at_its_end=limit not in OF_ANYIO)
    ticks = []

    async def ticks_on():
        while True:
            await asyncio.sleep(0.001)
            ticks.append(None)

    ticking = asyncio.create_task(ticks_on())
    await asyncio.wait_for(limit(functools.partial(way, green)), 20)
    if not green.log and limit in BY_TIME:
        # A machine that is too busy: it was over before it began.
        return await check_limit(limit, way)
    struck = asyncio.CancelledError if way in WAYS_TO_BLOCK else greenlet.GreenletExit
    assert green.log == ["started", struck, "clean"]
    ticking.cancel()
    # It has left nothing for the next await.
    await asyncio.sleep(0.001)


def test_async_code_limits_green_code(host):
    host(lambda: all_at_once(check_limit, LIMITS, WAYS_TO_GREEN))


def test_async_code_limits_green_code_below_a_task(blocking_host):
    blocking_host(lambda: all_at_once(check_limit, LIMITS, WAYS_TO_BLOCK))


def test_green_code_that_is_cancelled_before_it_starts_never_does(host):
    async def check(way):
        green = Green()
        task = asyncio.create_task(way(green))
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.002)
        assert task.cancelled()
        assert green.log == []

    host(lambda: all_at_once(check, WAYS_TO_GREEN))


def test_a_second_cancel_strikes_green_code_in_its_cleanup(host):
    async def check(way):
        log, started, cleaning = [], asyncio.Event(), asyncio.Event()

        def green():
            started.set()
            try:
                eventlet.sleep(60)
            finally:
                cleaning.set()
                try:
                    eventlet.sleep(60)
                finally:
                    log.append("clean")

        task = asyncio.create_task(way(green))
        for each in (started, cleaning):
            await each.wait()
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert log == ["clean"]

    host(lambda: all_at_once(check, WAYS_TO_GREEN))


def test_green_code_may_refuse_a_cancel(host):
    async def check(way):
        struck, started = [], asyncio.Event()

        def green():
            started.set()
            try:
                eventlet.sleep(60)
            except greenlet.GreenletExit:
                struck.append(True)
                eventlet.sleep(0.001)
            return "refused"

        task = asyncio.create_task(way(green))
        await started.wait()
        task.cancel()
        assert await task == "refused"
        assert struck == [True]

    host(lambda: all_at_once(check, WAYS_TO_GREEN))


def test_a_cancel_in_the_turn_in_which_green_code_ends_strikes_the_waiter_alone(host):
    async def check(way):
        log, started, go_on = [], asyncio.Event(), event.Event()

        def green():
            started.set()
            go_on.wait()
            log.append("ended")
            return "value"

        task = asyncio.create_task(way(green))
        await started.wait()
        go_on.send()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        # Which came first depends on how many awaits there are in between.
        assert task.cancelled() or task.result() == "value"
        assert log == ["ended"] or task.cancelled()

    host(lambda: all_at_once(check, WAYS_TO_GREEN))


def test_a_kill_of_green_code_is_seen_by_the_task_that_awaits_it(host):
    async def check(kind, way):
        found, started = [], asyncio.Event()

        def green():
            found.append(greenlet.getcurrent())
            started.set()
            try:
                eventlet.sleep(60)
            finally:
                eventlet.sleep(0.001)
                found.append("clean")

        task = asyncio.create_task(way(green))
        await started.wait()
        await sync_to_async(lambda: found[0].kill(kind()))()
        expected = asyncio.CancelledError if kind is greenlet.GreenletExit else kind
        with pytest.raises(expected):
            await task
        assert found[1:] == ["clean"]

    host(lambda: all_at_once(check, KINDS, WAYS_TO_GREEN))


def raises_timeout():
    with eventlet.Timeout(0.005):
        eventlet.sleep(60)


def raises_own():
    with eventlet.Timeout(0.005, Wrong):
        eventlet.sleep(60)


def stays_silent():
    with eventlet.Timeout(0.005, False):
        eventlet.sleep(60)
    return "silent"


def test_timeouts_inside_of_green_code(host):
    async def check(way):
        with pytest.raises(eventlet.Timeout):
            await way(raises_timeout)
        with pytest.raises(Wrong):
            await way(raises_own)
        assert await way(stays_silent) == "silent"

    host(lambda: all_at_once(check, WAYS_TO_GREEN))


def test_an_eventlet_timeout_around_an_await_of_green_code(blocking_host):
    async def check(way):
        log = []
        while not log:
            green = Green()
            with pytest.raises(eventlet.Timeout) as raised:
                with eventlet.Timeout(0.01) as limit:
                    await way(green)
            assert raised.value is limit
            await asyncio.sleep(0.001)
            # Nothing, on a machine that is too busy: it was over before it began.
            log = green.log
        assert log[-1] == "clean"

    blocking_host(lambda: all_at_once(check, [*WAYS_TO_GREEN, *WAYS_TO_BLOCK]))


# Green code waits for a coroutine.


def waits_by_await(coroutine):
    return await_(coroutine)


def waits_by_decorator(coroutine):
    async def call():
        return await coroutine

    try:
        return async_to_sync(call)()
    finally:
        coroutine.close()


def waits_by_green_thread(coroutine):
    """Which is killed with who waits, as a green thread is not by itself."""
    green = future_to_greenlet(coroutine)
    while True:
        try:
            return green.wait()
        except BaseException as exception:
            if green.dead:
                raise
            green.kill(exception)


def waits_through_both(coroutine):
    """Green, async, green, async."""

    async def through():
        return await sync_to_async(await_)(coroutine)

    try:
        return await_(through())
    finally:
        coroutine.close()


WAYS_TO_ASYNC = [waits_by_await, waits_by_decorator, waits_by_green_thread, waits_through_both]


class Async:
    """Async code that waits for ever, and cleans up when it is struck."""

    def __init__(self):
        self.log = []
        self.started = event.Event()

    async def __call__(self):
        self.log.append("started")
        self.started.send()
        try:
            await asyncio.sleep(60)
        except BaseException as exception:
            self.log.append(type(exception))
            raise
        finally:
            await asyncio.sleep(0.002)
            self.log.append("clean")


def test_a_kill_of_green_code_ends_the_coroutine_first(host):
    @sync_to_async
    def check(kind, way):
        coroutine, seen = Async(), []

        def waits():
            try:
                way(coroutine())
            except BaseException as exception:
                seen.extend([type(exception), *coroutine.log])

        green = eventlet.spawn(waits)
        coroutine.started.wait()
        green.kill(kind())
        green.wait()
        assert seen == [kind, "started", asyncio.CancelledError, "clean"]

    host(lambda: all_at_once(check, KINDS, WAYS_TO_ASYNC))


def test_a_timeout_of_green_code_ends_the_coroutine_first(host):
    @sync_to_async
    def check(way):
        for silent in (False, True):
            seen = None
            # Again, where it was over before the coroutine began.
            while seen is None or not coroutine.log:
                coroutine = Async()
                limit = eventlet.Timeout(0.02, *((False,) if silent else ()))
                try:
                    with limit:
                        way(coroutine())
                    seen = True
                except eventlet.Timeout as raised:
                    assert raised is limit
                    seen = False
            assert [seen, *coroutine.log] == [silent, "started", asyncio.CancelledError, "clean"]

    host(lambda: all_at_once(check, WAYS_TO_ASYNC))


def test_a_second_kill_strikes_the_coroutine_in_its_cleanup(host):
    @sync_to_async
    def check(way):
        log, cleaning, started = [], event.Event(), event.Event()

        async def coroutine():
            started.send()
            try:
                await asyncio.sleep(60)
            finally:
                cleaning.send()
                try:
                    await asyncio.sleep(60)
                finally:
                    log.append("clean")

        def waits():
            try:
                way(coroutine())
            except Strike as strike:
                log.append(strike.args)

        green = eventlet.spawn(waits)
        started.wait()
        green.kill(Strike(1))
        cleaning.wait()
        green.kill(Strike(2))
        green.wait()
        assert log == ["clean", (2,)]

    # The one that kills is in its kill() when the second comes, which it does not pass on.
    ways = [way for way in WAYS_TO_ASYNC if way is not waits_by_green_thread]
    host(lambda: all_at_once(check, ways))


def test_a_kill_before_its_task_has_started_closes_the_coroutine(host):
    @sync_to_async
    def body():
        coroutine = Async()
        green = future_to_greenlet(coroutine())
        green.kill(Strike())
        with pytest.raises(Strike):
            green.wait()
        return coroutine.log

    assert host(body) == []


def test_a_coroutine_is_cancelled_from_its_own_side(host):
    @sync_to_async
    def check(way):
        async def cancels_itself():
            asyncio.current_task().cancel()
            await asyncio.sleep(60)

        def waits():
            with pytest.raises((asyncio.CancelledError, greenlet.GreenletExit)):
                way(cancels_itself())
            return "seen"

        assert eventlet.spawn(waits).wait() == "seen"

    host(lambda: all_at_once(check, WAYS_TO_ASYNC))


def test_a_limit_inside_the_coroutine_stays_inside(host):
    """And strikes green code that it awaits there."""

    async def coroutine(limit):
        await check_limit(limit, awaits_green_thread)
        return "over"

    @sync_to_async
    def check(limit, way):
        assert way(coroutine(limit)) == "over"

    host(lambda: all_at_once(check, LIMITS, WAYS_TO_ASYNC))
