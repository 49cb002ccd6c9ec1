"""What either side of a crossing sees when the other ends, fails, is cancelled or killed."""

import asyncio
import contextvars
import inspect
import sys
import traceback

import eventlet
import greenlet
import pytest
from eventlet import event

import eventlet_asyncio
from eventlet_asyncio import (
    async_to_sync,
    await_,
    future_to_greenlet,
    greenlet_to_future,
    sync_to_async,
)

pytestmark = pytest.mark.usefixtures("quiet")


class Wrong(Exception):
    pass


class Other(Exception):
    pass


class Base(BaseException):
    pass


@pytest.fixture(params=["in a green thread", "in a task"])
def await_somewhere(request):
    """Runs a function that calls await_, where the parameter says, and gives its result."""
    if request.param == "in a green thread":
        return lambda function: eventlet.spawn(function).wait()

    def below_a_task(function):
        async def step():
            return function()

        return eventlet_asyncio.run(step())

    return below_a_task


class Job:
    """A coroutine that says how far it is and ends as it was told to."""

    def __init__(self, on_cancel=None):
        self.on_cancel = on_cancel
        self.log = []

    async def run(self):
        self.log.append("start")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.log.append("cancelled")
            for _ in range(3):
                await asyncio.sleep(0)
            self.log.append("clean")
            if self.on_cancel is None:
                raise
            return self.on_cancel()


def raising(exception):
    def call():
        raise exception

    return call


# The green thread is killed.


@pytest.mark.parametrize(
    "thrown, seen",
    [
        ((), greenlet.GreenletExit),
        ((Wrong("kill"),), Wrong),
        ((Base("kill"),), Base),
        ((Wrong,), Wrong),
        ((Wrong, Wrong("kill"), None), Wrong),
    ],
)
def test_a_killed_green_thread_cancels_its_task_and_wait_returns_after_the_cleanup(thrown, seen):
    job = Job()
    green = future_to_greenlet(job.run())
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert job.log == ["start"]
    green.kill(*thrown)
    assert "clean" not in job.log, "kill() waited for the cleanup"
    with pytest.raises(seen) as raised:
        green.wait()
    assert not thrown or raised.value in thrown or thrown == (Wrong,)
    assert job.log == ["start", "cancelled", "clean"]


def test_a_second_kill_cancels_again_and_its_exception_wins():
    cancels = []

    async def stubborn():
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancels.append(len(cancels))
        raise asyncio.CancelledError

    green = future_to_greenlet(stubborn())
    eventlet.sleep(0)
    eventlet.sleep(0)
    green.kill(Wrong("first"))
    eventlet.sleep(0)
    second = Other("second")
    green.kill(second)
    with pytest.raises(Other) as raised:
        green.wait()
    assert raised.value is second
    assert cancels == [0, 1]


def test_a_green_thread_killed_before_its_first_step_closes_the_coroutine():
    job = Job()
    coroutine = job.run()
    green = future_to_greenlet(coroutine, autostart_future=False)
    green.kill(Wrong("kill"))
    with pytest.raises(Wrong):
        green.wait()
    assert job.log == []
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coroutine.send(None)


def test_a_green_thread_killed_at_once_never_starts_its_task():
    job = Job()
    green = future_to_greenlet(job.run())
    green.kill(Wrong("kill"))
    with pytest.raises(Wrong):
        green.wait()
    eventlet.sleep(0)
    assert "start" not in job.log


# The cancelled coroutine ends otherwise.


def test_a_killed_coroutine_that_returns_a_value_has_it_delivered():
    job = Job(on_cancel=lambda: "value")
    green = future_to_greenlet(job.run())
    eventlet.sleep(0)
    eventlet.sleep(0)
    green.kill(Wrong("kill"))
    assert green.wait() == "value"


def test_a_killed_coroutine_that_raises_has_that_delivered_with_the_kill_as_its_context():
    mine, kill = Other("mine"), Wrong("kill")

    async def clumsy():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
        raise mine

    green = future_to_greenlet(clumsy())
    eventlet.sleep(0)
    eventlet.sleep(0)
    green.kill(kill)
    with pytest.raises(Other) as raised:
        green.wait()
    assert raised.value is mine
    assert mine.__context__ is kill


def test_a_cleanup_is_never_timed_out():
    """However long it takes, as counted in turns of the loop."""
    turns = []

    async def slow():
        try:
            await asyncio.sleep(60)
        finally:
            for turn in range(500):
                await asyncio.sleep(0)
                turns.append(turn)

    green = future_to_greenlet(slow())
    eventlet.sleep(0)
    eventlet.sleep(0)
    green.kill()
    with pytest.raises(greenlet.GreenletExit):
        green.wait()
    assert len(turns) == 500


# A Timeout around await_.


def test_a_timeout_cancels_and_is_raised_after_the_cleanup(await_somewhere):
    job = Job()

    def limited():
        with eventlet.Timeout(0.01) as limit:
            with pytest.raises(eventlet.Timeout) as raised:
                await_(job.run())
            assert raised.value is limit
        return job.log

    assert await_somewhere(limited) == ["start", "cancelled", "clean"]


@pytest.mark.parametrize("on_cancel", [lambda: "value", raising(Wrong("mine"))])
def test_a_timeout_is_raised_whatever_the_coroutine_makes_of_it(await_somewhere, on_cancel):
    def limited():
        with pytest.raises(eventlet.Timeout):
            with eventlet.Timeout(0.01):
                await_(Job(on_cancel).run())
        return True

    assert await_somewhere(limited)


def test_a_timeout_with_an_exception_of_the_callers_raises_that(await_somewhere):
    def limited():
        with pytest.raises(Wrong, match="late"):
            with eventlet.Timeout(0.01, Wrong("late")):
                await_(Job().run())
        return True

    assert await_somewhere(limited)


def test_a_silent_timeout_stays_silent(await_somewhere):
    job = Job()

    def limited():
        with eventlet.Timeout(0.01, False):
            await_(job.run())
        return job.log

    assert await_somewhere(limited)[-1] == "clean"


# The task is cancelled from the asyncio side.


def test_wait_raises_cancelled_error_when_the_task_is_cancelled():
    async def main():
        await asyncio.sleep(60)

    def waits():
        task = asyncio.create_task(main())
        eventlet.spawn(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            future_to_greenlet(task).wait()
        return task.cancelled()

    assert eventlet.spawn(waits).wait()


def test_await_raises_cancelled_error_when_the_task_is_cancelled(await_somewhere):
    def waits():
        future = asyncio.get_event_loop().create_future()
        eventlet.spawn(future.cancel)
        with pytest.raises(asyncio.CancelledError):
            await_(future)
        return True

    assert await_somewhere(waits)


def test_the_message_of_a_cancel_arrives():
    future = eventlet.hubs.get_hub().loop.create_future()
    eventlet.spawn(future.cancel, "because")
    with pytest.raises(asyncio.CancelledError, match="because"):
        future_to_greenlet(future).wait()


# The awaiting task is cancelled.


def sleeper(log):
    try:
        eventlet.sleep(60)
    except greenlet.GreenletExit:
        log.append("exit")
        raise
    finally:
        log.append("end")


@pytest.mark.parametrize("awaits", [lambda green: green, greenlet_to_future])
def test_cancelling_the_last_awaiter_ends_the_green_thread(awaits):
    log = []

    async def waits(green):
        await awaits(green)

    async def main():
        green = eventlet.spawn(sleeper, log)
        tasks = [asyncio.create_task(waits(green)) for _ in range(2)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        assert tasks[0].cancelled()
        assert log == [], "the first of two awaiters ended the green thread"
        tasks[1].cancel()
        await asyncio.wait(tasks)
        assert tasks[1].cancelled()
        assert log == ["exit", "end"]

    eventlet_asyncio.run(main())


def test_green_waiters_count_as_awaiters():
    async def main():
        released = event.Event()
        green = eventlet.spawn(released.wait)
        waiter = eventlet.spawn(green.wait)
        task = asyncio.ensure_future(greenlet_to_future(green))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not green.dead
        released.send("released")
        assert await waiter == "released"

    eventlet_asyncio.run(main())


def test_links_count_as_awaiters():
    linked = []

    async def main():
        released = event.Event()
        green = eventlet.spawn(released.wait)
        green.link(lambda green: linked.append(green.wait()))
        task = asyncio.ensure_future(greenlet_to_future(green))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        released.send("released")
        while not green.dead:
            await asyncio.sleep(0.001)

    eventlet_asyncio.run(main())
    assert linked == ["released"]


def test_the_awaiter_sees_its_end_only_after_the_green_threads_cleanup():
    log = []

    def tidy():
        try:
            eventlet.sleep(60)
        finally:
            eventlet.sleep(0.01)
            log.append("clean")

    async def main():
        task = asyncio.ensure_future(greenlet_to_future(eventlet.spawn(tidy)))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert log == ["clean"]

    eventlet_asyncio.run(main())


# The green thread ends.


def test_an_exit_of_the_green_thread_is_a_cancel_to_its_awaiter():
    async def main():
        green = eventlet.spawn(eventlet.sleep, 60)
        eventlet.spawn_after(0.01, green.kill)
        with pytest.raises(asyncio.CancelledError):
            await green
        assert not asyncio.current_task().cancelled()

    eventlet_asyncio.run(main())


@pytest.mark.parametrize("exception", [Wrong("x"), Base("x"), asyncio.InvalidStateError("x")])
def test_what_green_code_raises_reaches_its_awaiter_with_its_traceback(exception):
    def fails():
        eventlet.sleep(0)
        raise exception

    async def main():
        with pytest.raises(type(exception)) as raised:
            await eventlet.spawn(fails)
        assert raised.value is exception
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[0] == "main" and "fails" in names

    eventlet_asyncio.run(main())


def test_what_asyncio_cannot_carry_comes_as_the_cause_of_a_runtime_error():
    def fails():
        raise StopIteration("x")

    async def main():
        with pytest.raises(RuntimeError, match="StopIteration") as raised:
            await eventlet.spawn(fails)
        assert isinstance(raised.value.__cause__, StopIteration)
        assert raised.value.__cause__.args == ("x",)

    eventlet_asyncio.run(main())


@pytest.mark.parametrize("exception", [Wrong("x"), Base("x")])
def test_what_async_code_raises_reaches_green_code_with_its_traceback(await_somewhere, exception):
    async def fails():
        await asyncio.sleep(0)
        raise exception

    def waits():
        with pytest.raises(type(exception)) as raised:
            await_(fails())
        assert raised.value is exception
        names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert names[0] == "waits" and names[-1] == "fails"
        return True

    assert await_somewhere(waits)


def test_results_cross_both_ways():
    result = object()

    async def gives():
        await asyncio.sleep(0)
        return result

    assert future_to_greenlet(gives()).wait() is result
    assert await_(gives()) is result

    async def main():
        assert await eventlet.spawn(lambda: result) is result
        assert await greenlet_to_future(greenlet.greenlet(lambda: result)) is result

    eventlet_asyncio.run(main())


def test_one_failed_green_thread_fails_all_its_awaiters():
    async def waits(green):
        await green

    async def main():
        green = eventlet.spawn(raising(Wrong("x")))
        outcomes = await asyncio.gather(*(waits(green) for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Wrong] * 3

    eventlet_asyncio.run(main())


# Context variables.

variable = contextvars.ContextVar("variable", default="default")


def test_a_call_across_shares_the_context(await_somewhere):
    async def changes():
        assert variable.get() == "caller's"
        variable.set("callee's")
        await asyncio.sleep(0)

    def calls():
        variable.set("caller's")
        await_(changes())
        return variable.get()

    assert await_somewhere(calls) == "callee's"


# Eager tasks.


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
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


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
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


# The flags of future_to_greenlet.


def test_autostart_future_starts_the_task_before_anybody_waits():
    job = Job()
    future_to_greenlet(job.run())
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert job.log == ["start"]


def test_without_autostart_future_the_task_starts_with_its_green_thread():
    """A green thread runs of itself, so the difference is when: not before its own first step."""
    started = []

    def factory(loop, coroutine, **options):
        started.append(greenlet.getcurrent())
        return asyncio.Task(coroutine, loop=loop, **options)

    eventlet.hubs.get_hub().loop.set_task_factory(factory)

    async def nothing():
        pass

    future_to_greenlet(nothing(), autostart_future=True)
    assert started == [greenlet.getcurrent()]
    late = future_to_greenlet(nothing(), autostart_future=False)
    assert len(started) == 1
    late.wait()
    assert started[1] is late


def test_without_autocancel_future_the_task_survives_the_kill():
    future = eventlet.hubs.get_hub().loop.create_future()
    green = future_to_greenlet(future, autocancel_future=False)
    eventlet.sleep(0)
    green.kill(Wrong("kill"))
    with pytest.raises(Wrong):
        green.wait()
    assert not future.done()
    future.set_result(None)


@pytest.mark.parametrize(
    "autokill, seen", [(True, greenlet.GreenletExit), (False, asyncio.CancelledError)]
)
def test_autokill_greenlet_ends_quietly_whom_a_cancel_meets_before_it_has_asked(autokill, seen):
    future = eventlet.hubs.get_hub().loop.create_future()
    green = future_to_greenlet(future, autokill_greenlet=autokill, autostart_future=True)
    future.cancel()
    with pytest.raises(seen):
        green.wait()


def test_loop_names_the_loop_that_runs_the_awaitable():
    async def which():
        return asyncio.get_running_loop()

    other = eventlet_asyncio.new_event_loop()
    runner = eventlet.spawn(other.run_forever)
    eventlet.sleep(0)
    assert future_to_greenlet(which(), loop=other).wait() is other
    assert future_to_greenlet(which()).wait() is eventlet.hubs.get_hub().loop
    other.call_soon(other.stop)
    runner.wait()
    other.close()


# The flags of greenlet_to_future.


def test_autostart_greenlet_starts_a_plain_greenlet_before_anybody_awaits():
    log = []

    async def main():
        greenlet_to_future(greenlet.greenlet(lambda: log.append("ran")))
        await asyncio.sleep(0.01)
        assert log == ["ran"]

    eventlet_asyncio.run(main())


def test_without_autostart_greenlet_it_starts_when_it_is_awaited():
    log = []

    async def main():
        future = greenlet_to_future(
            greenlet.greenlet(lambda: log.append("ran")), autostart_greenlet=False
        )
        await asyncio.sleep(0.01)
        assert log == []
        await future
        assert log == ["ran"]

    eventlet_asyncio.run(main())


def test_without_autokill_greenlet_the_green_thread_survives_its_awaiter():
    log = []

    async def main():
        done = event.Event()
        green = eventlet.spawn(lambda: log.append(done.wait()))
        future = greenlet_to_future(green, autokill_greenlet=False)
        await asyncio.sleep(0.01)
        future.cancel()
        await asyncio.sleep(0.01)
        assert future.cancelled() and not green.dead
        done.send("survived")
        await green

    eventlet_asyncio.run(main())
    assert log == ["survived"]


@pytest.mark.parametrize(
    "autocancel, seen", [(True, asyncio.CancelledError), (False, greenlet.GreenletExit)]
)
def test_autocancel_future_says_what_an_exit_looks_like(autocancel, seen):
    async def main():
        green = eventlet.spawn(eventlet.sleep, 60)
        future = greenlet_to_future(green, autocancel_future=autocancel)
        eventlet.spawn_after(0.01, green.kill)
        with pytest.raises(seen):
            await future
        assert future.cancelled() is autocancel

    eventlet_asyncio.run(main())


def test_greenlet_to_future_makes_its_future_on_the_loop_that_is_named():
    other = eventlet_asyncio.new_event_loop()
    green = eventlet.spawn(lambda: 1)
    assert greenlet_to_future(green, loop=other).get_loop() is other
    assert greenlet_to_future(green).get_loop() is eventlet.hubs.get_hub().loop
    other.close()


# The names that eventlet and decorators give to the same.


def test_spawn_for_awaitable_is_future_to_greenlet():
    async def gives():
        return 1

    green = eventlet_asyncio.spawn_for_awaitable(gives())
    assert type(green) is type(future_to_greenlet(gives()))
    assert green.wait() == 1


def test_the_decorators_cross_and_keep_signature_and_documentation():
    @async_to_sync
    async def double(number: int) -> int:
        """Twice the number."""
        await asyncio.sleep(0)
        return 2 * number

    @sync_to_async()
    def triple(number: int) -> int:
        """Thrice the number."""
        eventlet.sleep(0)
        return 3 * number

    assert double(2) == 4
    assert await_(triple(2)) == 6
    assert (double.__name__, double.__doc__) == ("double", "Twice the number.")
    assert (triple.__name__, triple.__doc__) == ("triple", "Thrice the number.")
    assert str(inspect.signature(double)) == "(number: int) -> int"
    assert str(inspect.signature(triple)) == "(number: int) -> int"
    assert inspect.iscoroutinefunction(triple) and not inspect.iscoroutinefunction(double)
