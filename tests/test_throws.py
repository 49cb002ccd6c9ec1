"""What is thrown at the greenlet of a step strikes that step, with its own identity, and nobody else."""

import asyncio
import sys
import time

import eventlet
import greenlet
import pytest
from eventlet import event, hubs

import eventlet_asyncio
from eventlet_asyncio import await_, greenlet_to_future, sync_to_async
from tests import hosts

pytestmark = pytest.mark.usefixtures("quiet")


class Wrong(Exception):
    pass


def cleans_slowly():
    """Ends some turns after it is killed, so that kill() keeps its caller away for as long."""
    try:
        eventlet.sleep(60)
    finally:
        for _ in range(3):
            hubs.get_hub().schedule_call_global(0, greenlet.getcurrent().switch)
            hubs.get_hub().switch()


async def identity():
    return asyncio.get_running_loop(), asyncio.current_task()


def started(function, *args):
    """A green thread that has begun."""
    green = eventlet.spawn(function, *args)
    eventlet.sleep(0)
    return green


# Thrown at the step that runs.


def test_a_task_that_waits_for_what_has_failed_already_gets_the_failure():
    def fails():
        raise Wrong("green")

    async def main():
        green = eventlet.spawn(fails)
        while not green.dead:
            await asyncio.sleep(0)
        with pytest.raises(Wrong, match="green"):
            green.wait()
        await asyncio.sleep(0)
        failed = event.Event()
        failed.send_exception(Wrong("event"))
        for ask in (failed.wait, failed.poll_exception, failed.poll):
            with pytest.raises(Wrong, match="event"):
                ask()
            await asyncio.sleep(0)

    eventlet_asyncio.run(main())


def test_a_callback_that_waits_for_what_has_failed_already_gets_the_failure(hub):
    seen = []

    def asks():
        failed = event.Event()
        failed.send_exception(Wrong("event"))
        try:
            failed.wait()
        except Wrong as wrong:
            seen.append(str(wrong))

    hub.loop.call_soon(asks)
    while not seen:
        eventlet.sleep(0)
    assert seen == ["event"]


# Thrown at a step that is away in kill().


@pytest.mark.parametrize("strike", ["timeout", "throw"])
def test_what_strikes_a_step_inside_kill_finds_it_with_its_identity(hub, strike):
    log = []

    async def main():
        before = await identity()
        green = started(cleans_slowly)
        if strike == "timeout":
            with pytest.raises(eventlet.Timeout):
                with eventlet.Timeout(0):
                    green.kill()
                    log.append("kill() was not interrupted")
        else:
            hub.schedule_call_global(0, greenlet.getcurrent().throw, Wrong("thrown"))
            with pytest.raises(Wrong, match="thrown"):
                green.kill()
                log.append("kill() was not interrupted")
        assert await identity() == before
        # The task itself goes on as well.
        await asyncio.sleep(0)
        assert await identity() == before
        eventlet.sleep(0)
        return "done"

    assert asyncio.run(main()) == "done"
    assert log == []


def test_a_callback_of_the_context_of_a_step_inside_kill_waits_for_it():
    """Here it is the wakeup of the task that shares its context with the green code it calls."""
    tasks = []

    def cancels_and_cleans():
        try:
            eventlet.sleep(60)
        finally:
            tasks[0].cancel()
            for _ in range(3):
                hubs.get_hub().schedule_call_global(0, greenlet.getcurrent().switch)
                hubs.get_hub().switch()

    async def kills():
        started(cancels_and_cleans).kill()

    async def caller():
        with pytest.raises(asyncio.CancelledError):
            await sync_to_async(lambda: await_(kills()), autokill_greenlet=False)()
        return "cancelled"

    async def main():
        tasks.append(asyncio.create_task(caller()))
        done, pending = await asyncio.wait(tasks, timeout=5)
        assert not pending, "the wakeup was lost"
        return tasks[0].result()

    assert await_(main()) == "cancelled"


# Thrown at the step of another task.


@pytest.mark.parametrize("kept", ["greenlet", "throw"])
def test_a_task_that_throws_at_another_ones_green_block_strikes_that_one(hub, kept):
    exception = Wrong("for the victim")

    async def victim(box):
        current = greenlet.getcurrent()
        box.append(current if kept == "greenlet" else current.throw)
        eventlet.sleep(5)
        return "slept through"

    async def thrower(box):
        if kept == "greenlet":
            eventlet.kill(box[0], exception)
        else:
            hub.schedule_call_global(0, box[0], exception)
        await asyncio.sleep(0)
        return "goes on"

    async def main():
        box = []
        first = asyncio.create_task(victim(box))
        while not box:
            await asyncio.sleep(0)
        second = asyncio.create_task(thrower(box))
        return await asyncio.gather(first, second, return_exceptions=True)

    assert await_(main()) == [exception, "goes on"]


# Thrown at the green thread inside asyncio.run(), by what runs there.


def test_code_inside_a_run_may_kill_the_green_thread_that_runs_it():
    log = []

    async def killer():
        green.kill()

    async def main():
        task = asyncio.create_task(killer())
        try:
            await asyncio.sleep(5)
            log.append("ended by itself")
        finally:
            log.append("clean")
            del task

    green = eventlet.spawn(asyncio.run, main())
    with pytest.raises(greenlet.GreenletExit):
        green.wait()
    assert log == ["clean"]
    assert asyncio._get_running_loop() is None


# Thrown at a step that drives a coroutine by await_.


class Inner:
    """Awaits a task, or a future with a cleanup of its own, and says what came in which order."""

    def __init__(self, what):
        self.what = what
        self.log = []

    async def cleans(self):
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            self.log.append("inner clean")

    def cleans_greenly(self):
        try:
            eventlet.sleep(60)
        finally:
            eventlet.sleep(0)
            self.log.append("inner clean")

    async def run(self):
        try:
            if self.what == "task":
                await asyncio.create_task(self.cleans())
            elif self.what == "gather":
                await asyncio.gather(self.cleans(), self.cleans())
            elif self.what == "green thread":
                await eventlet.spawn(self.cleans_greenly)
            else:
                await greenlet_to_future(eventlet.spawn(self.cleans_greenly))
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise


def thrown_by_timeout(exception, function):
    with eventlet.Timeout(0.002, exception):
        function()


def thrown_directly(exception, function):
    hubs.get_hub().schedule_call_global(0.002, greenlet.getcurrent().throw, exception)
    function()


@pytest.mark.parametrize("throw", [thrown_by_timeout, thrown_directly])
@pytest.mark.parametrize("what", ["task", "gather", "green thread", "future of a green thread"])
def test_await_below_a_task_waits_for_the_cleanup_of_what_the_coroutine_awaits(what, throw):
    inner = Inner(what)

    async def main():
        with pytest.raises(Wrong, match="late"):
            throw(Wrong("late"), lambda: await_(inner.run()))
        inner.log.append("seen")

    eventlet_asyncio.run(main())
    assert inner.log[-3:] == ["inner clean", "cancelled", "seen"]


def test_a_second_throw_below_a_task_cancels_again_and_its_exception_wins(hub):
    cancels = []

    async def stubborn(throw):
        for number in range(2):
            hub.schedule_call_global(0, throw, Wrong(f"{number}"))
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancels.append(number)
        raise asyncio.CancelledError

    async def awaits(throw):
        await asyncio.create_task(stubborn(throw))

    async def main():
        with pytest.raises(Wrong, match="1"):
            await_(awaits(greenlet.getcurrent().throw))

    eventlet_asyncio.run(main())
    assert cancels == [0, 1]


def test_what_refuses_to_be_cancelled_below_a_throw_gives_its_value():
    async def refuses():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "refused"

    async def awaits():
        return await asyncio.create_task(refuses())

    async def main():
        with eventlet.Timeout(0.002, Wrong("late")):
            return await_(awaits())

    assert eventlet_asyncio.run(main()) == "refused"


# A Timeout of such a coroutine's own.


@pytest.mark.parametrize("exception, seen", [(None, eventlet.Timeout), (Wrong("late"), Wrong), (Wrong, Wrong)])
@pytest.mark.parametrize("what", ["sleep", "turns", "task"])
def test_a_timeout_inside_a_coroutine_below_a_task_is_raised_inside_of_it(what, exception, seen, quiet):
    inner = Inner(what)

    async def waits():
        if what == "sleep":
            await asyncio.sleep(60)
        elif what == "task":
            await inner.run()
        else:
            while True:
                await asyncio.sleep(0)

    async def limited():
        with pytest.raises(seen):
            with eventlet.Timeout(0.002, exception):
                await waits()
        assert not hasattr(asyncio.current_task(), "_thrown")
        await asyncio.sleep(0)
        return "went on"

    async def main():
        assert await_(limited()) == "went on"
        if sys.version_info >= (3, 11):
            assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    eventlet_asyncio.run(main())


def test_a_silent_timeout_inside_a_coroutine_below_a_task_stays_silent():
    async def limited():
        with eventlet.Timeout(0.002, False):
            await asyncio.sleep(60)
        return "went on"

    async def main():
        return await_(limited())

    assert eventlet_asyncio.run(main()) == "went on"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 tasks do not count their cancels")
@pytest.mark.parametrize("order", ["cancel first", "timeout first"])
def test_a_cancel_beside_a_timeout_inside_a_coroutine_below_a_task_is_not_lost(hub, order):
    async def cleans():
        try:
            await asyncio.sleep(60)
        finally:
            while len(struck) < 2:
                await asyncio.sleep(0)

    async def limited():
        with eventlet.Timeout(60) as limit:
            limits.append(limit)
            await cleans()

    async def victim():
        await_(limited())

    async def main():
        task = asyncio.create_task(victim())
        await asyncio.sleep(0.001)
        strikes = [task.cancel, limits[0].timer]
        if order == "timeout first":
            strikes.reverse()
        for strike in strikes:
            hub.schedule_call_global(0, strike)
            await asyncio.sleep(0.0001)
            struck.append(strike)
        with pytest.raises(asyncio.CancelledError):
            await task

    limits, struck = [], []
    eventlet_asyncio.run(main())


def test_an_outer_timeout_strikes_outside_of_a_coroutine_that_has_one_of_its_own():
    async def limited():
        with eventlet.Timeout(60):
            await asyncio.sleep(60)

    async def main():
        with pytest.raises(Wrong, match="outer"):
            with eventlet.Timeout(0.002, Wrong("outer")):
                await_(limited())
        assert not hasattr(asyncio.current_task(), "_thrown")

    eventlet_asyncio.run(main())


# Thrown at green code that waits for the first step of a task.


def test_a_coroutine_that_kills_who_awaits_it_in_its_first_step_is_cancelled_and_cleans_up():
    log = []

    async def kills():
        mine = await identity()
        green.kill(Wrong("kill"))
        log.append("killed")
        assert await identity() == mine
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            log.append("clean")

    def waits():
        try:
            await_(kills())
        finally:
            log.append((asyncio._get_running_loop(), "seen"))

    green = eventlet.spawn(waits)
    with pytest.raises(Wrong, match="kill"):
        green.wait()
    assert log == ["killed", "clean", (None, "seen")]


def test_green_code_that_is_woken_during_the_first_step_of_what_it_awaits_waits_on(hub):
    async def wakes(switch):
        hub.schedule_call_global(0, greenlet.getcurrent().switch)
        switch()
        await asyncio.sleep(0)
        return "value"

    def waits():
        return await_(wakes(greenlet.getcurrent().switch))

    assert eventlet.spawn(waits).wait() == "value"


# What a green thread ends with that a callback, a task or the end of a run has killed.


@pytest.mark.parametrize("exception", [Wrong("kill"), BaseException("kill")])
@pytest.mark.parametrize("killer", ["callback", "task", "after a run"])
def test_what_a_killed_green_thread_raises_ends_nothing_else(hub, killer, exception):
    async def kills(green):
        green.kill(exception)
        await asyncio.sleep(0)

    green = started(eventlet.sleep, 60)
    if killer == "callback":
        hub.loop.call_soon(green.kill, exception)
    elif killer == "task":
        hub.loop.create_task(kills(green))
    else:
        asyncio.run(asyncio.sleep(0))
        green.kill(exception)
    eventlet.sleep(0.002)
    with pytest.raises(type(exception), match="kill"):
        green.wait()


@pytest.mark.parametrize("killer", ["callback", "task"])
def test_a_green_thread_that_is_killed_inside_kill_has_no_running_loop(hub, killer):
    log = []

    async def task():
        before = await identity()
        green.kill(Wrong("kill"))
        assert await identity() == before
        log.append("task")

    def kills():
        if killer == "callback":
            hub.loop.call_soon(green.kill, Wrong("kill"))
        else:
            hub.loop.create_task(task())
        try:
            other.kill()
        finally:
            log.append(asyncio._get_running_loop())

    other = started(eventlet.sleep, 60)
    green = eventlet.spawn(kills)
    with pytest.raises(Wrong, match="kill"):
        green.wait()
    eventlet.sleep(0.001)
    assert log == ([None] if killer == "callback" else [None, "task"])


@pytest.mark.parametrize("then", ["blocks", "awaits", "ends"])
def test_a_cancel_beside_a_silent_timeout_of_the_same_turn_is_not_lost(hub, then):
    """It strikes where the task waits next, which may be a green block again."""

    async def child():
        with eventlet.Timeout(0.001, False):
            eventlet.sleep(60)
        if then == "blocks":
            eventlet.sleep(60)
        if then == "awaits":
            await asyncio.sleep(0)
        return "ended"

    async def main():
        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        # Timers that are due in one turn, the cancel's and that of the Timeout, which is thrown first.
        asyncio.get_running_loop().call_later(0.001, task.cancel)
        time.sleep(0.002)
        if then == "ends":
            return await task
        with pytest.raises(asyncio.CancelledError):
            await task
        return "ended"

    assert eventlet_asyncio.run(main()) == "ended"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() is new in Python 3.11")
@pytest.mark.parametrize("block", [lambda: eventlet.sleep(0), lambda: eventlet.sleep(0.003)])
def test_a_limit_of_asyncios_ends_a_task_that_only_blocks_within_silent_timeouts(hub, block):
    async def only_blocks():
        while True:
            with eventlet.Timeout(0.002, False):
                eventlet.sleep(60)

    async def main():
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.008):
                    await only_blocks()
            assert asyncio.current_task().cancelling() == 0
            block()
            await asyncio.sleep(0)

    eventlet_asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("host", ["stdlib", "uvloop"])
def test_a_timeout_in_a_task_of_a_loop_that_hosts_our_hub(in_thread, host):
    log = []

    async def slow():
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0.001)
            log.append("cleaned up")

    async def limited():
        with eventlet.Timeout(0.005, False):
            await slow()
        with pytest.raises(LookupError), eventlet.Timeout(0.005, LookupError):
            await slow()
        with pytest.raises(eventlet.Timeout) as raised, eventlet.Timeout(0.005) as outer, eventlet.Timeout(5):
            await slow()
        assert raised.value is outer
        with eventlet.Timeout(0.001):
            pass
        await asyncio.sleep(0.005)
        return getattr(asyncio.current_task(), "cancelling", int)()

    async def main():
        # As a task of its own, and beside green threads that have theirs.
        task = asyncio.create_task(limited())
        green = eventlet.spawn(sleeps)
        assert await greenlet_to_future(green) == "out of time"
        return await task

    def sleeps():
        try:
            with eventlet.Timeout(0.002):
                eventlet.sleep(5)
        except eventlet.Timeout:
            return "out of time"

    assert in_thread(hosts.FOREIGN[host], main) == 0
    assert log == ["cleaned up"] * 3


@pytest.mark.parametrize("host", ["stdlib", "uvloop"])
def test_a_timeout_that_strikes_nobodys_code_does_not_stop_the_hub(in_thread, host):
    async def main():
        loop, reported = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        # Of a callback that is over by then.
        loop.call_soon(eventlet.Timeout, 0.001)
        green = eventlet.spawn(eventlet.sleep, 0.005)
        await asyncio.wait_for(greenlet_to_future(green), 5)
        return [type(each) for each in reported]

    assert in_thread(hosts.FOREIGN[host], main) == [eventlet.Timeout]
