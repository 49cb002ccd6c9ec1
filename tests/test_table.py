"""What either side of a crossing sees when the other ends, fails or is cancelled."""

import asyncio
import contextvars
import inspect
import traceback

import eventlet
import greenlet
import pytest
from eventlet import event, greenthread

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


class Base(BaseException):
    pass


def raising(exception):
    def call():
        raise exception

    return call


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


def test_an_awaiter_whose_loop_is_closed_takes_nothing_from_the_others():
    released = event.Event()
    green = eventlet.spawn(released.wait)
    other = eventlet_asyncio.new_event_loop()
    first = greenlet_to_future(green, loop=other)
    # It must call this on the loop that is closed.
    first.add_done_callback(print)
    other.close()

    async def waits():
        return await green

    def release():
        while green._eventlet_asyncio_crossing.awaiter_count < 2:
            eventlet.sleep(0)
        released.send("released")

    eventlet.spawn(release)
    with eventlet.Timeout(5):
        assert await_(waits()) == "released"


@pytest.mark.parametrize("spawn_after", [eventlet.spawn_after, greenthread.spawn_after_local])
@pytest.mark.parametrize("awaits", [lambda green: green, greenlet_to_future])
def test_a_green_thread_that_starts_later_is_awaited_until_it_has_run(spawn_after, awaits):
    ran = []

    async def main():
        loop = asyncio.get_running_loop()
        due = loop.time() + 0.005
        green = spawn_after(0.005, lambda number: ran.append(loop.time() - due) or 2 * number, 21)
        with eventlet.Timeout(5):
            return await awaits(green)

    assert eventlet_asyncio.run(main()) == 42
    assert len(ran) == 1 and ran[0] >= 0


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
