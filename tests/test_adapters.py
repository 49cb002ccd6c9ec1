"""Iterators and context managers of one world are used in the other, with all that crosses the bridge."""

import asyncio
import contextlib
import contextvars
import gc
import sys

import eventlet
import greenlet
import pytest
from eventlet import event, semaphore

import eventlet_asyncio
from eventlet_asyncio import (
    async_context,
    async_iter,
    green_in_async,
    greenlet_to_future,
    no_green_block,
    sync_context,
    sync_iter,
)
from tests import hosts

pytestmark = pytest.mark.usefixtures("quiet")

variable = contextvars.ContextVar("variable", default=None)
with_timeouts = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="asyncio.timeout() and TaskGroup are new in Python 3.11"
)


@pytest.fixture(params=["in a green thread", "below a task", "in the main greenlet"])
def run_green(request):
    """Runs green code where the parameter says."""
    if request.param == "in a green thread":
        return lambda function: eventlet.spawn(function).wait()
    if request.param == "in the main greenlet":
        return lambda function: function()

    def below_a_task(function):
        async def step():
            return function()

        return eventlet_asyncio.run(step())

    return below_a_task


# Async iterators in green code.


async def numbers(count, log):
    try:
        for number in range(count):
            await asyncio.sleep(0.001)
            yield number
        log.append("end")
    finally:
        await asyncio.sleep(0)
        log.append("closed")


def test_a_green_loop_over_an_async_generator(run_green):
    log = []

    def green():
        others = eventlet.spawn(lambda: [eventlet.sleep(0) for _ in range(3)])
        found = [number for number in async_iter(numbers(3, log))]
        others.wait()
        return found

    assert run_green(green) == [0, 1, 2]
    assert log == ["end", "closed"]


def test_an_exception_ends_a_green_loop(run_green):
    async def fails():
        yield 1
        raise LookupError("here")

    found = []

    def green():
        for number in async_iter(fails()):
            found.append(number)

    with pytest.raises(LookupError, match="here"):
        run_green(green)
    assert found == [1]


def test_a_kill_reaches_the_async_generator():
    log = []

    async def waits():
        try:
            yield 1
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    def green():
        for number in async_iter(waits()):
            log.append(number)

    thread = eventlet.spawn(green)
    eventlet.sleep(0.01)
    thread.kill(LookupError())
    with pytest.raises(LookupError):
        thread.wait()
    assert log == [1, "cancelled"]


# Async context managers in green code.


class Manager:
    def __init__(self, log, suppress=False):
        self.log = log
        self.suppress = suppress

    async def __aenter__(self):
        self.task = asyncio.current_task()
        await asyncio.sleep(0.001)
        variable.set("entered")
        self.log.append("enter")
        return self

    async def __aexit__(self, kind, exception, traceback):
        assert asyncio.current_task() is self.task, "entered and left by two tasks"
        await asyncio.sleep(0.001)
        self.log.append(kind)
        return self.suppress


def test_an_async_context_manager_around_green_code(run_green):
    log = []

    def green():
        with async_context(Manager(log)) as manager:
            assert manager.log is log
            eventlet.sleep(0.001)
            log.append("block")
        return variable.get()

    assert contextvars.copy_context().run(run_green, green) == "entered"
    assert log == ["enter", "block", None]


@pytest.mark.parametrize("kind", [LookupError, StopIteration, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("suppress", [False, True])
def test_what_the_block_raises_is_shown_to_it(run_green, kind, suppress):
    log = []
    raised = kind("here")

    def green():
        try:
            with async_context(Manager(log, suppress)):
                raise raised
        except BaseException as exception:
            assert exception is raised
            return "raised"
        return "suppressed"

    assert run_green(green) == ("suppressed" if suppress else "raised")
    assert log == ["enter", kind]


def test_what_it_raises_itself(run_green):
    @contextlib.asynccontextmanager
    async def manager(when):
        if when == "enter":
            raise LookupError("at enter")
        yield
        raise LookupError("at exit")

    def green(when):
        with async_context(manager(when)):
            pass

    for when in ("enter", "exit"):
        with pytest.raises(LookupError, match=f"at {when}"):
            run_green(lambda: green(when))


def test_a_kill_while_it_is_entered_and_while_the_block_runs():
    log, begun = [], []

    @contextlib.asynccontextmanager
    async def manager(seconds):
        try:
            begun.append("to enter")
            await asyncio.sleep(seconds)
            yield
        except BaseException as exception:
            await asyncio.sleep(0)
            log.append(type(exception))
            raise

    def green(seconds):
        with async_context(manager(seconds)):
            begun.append("the block")
            eventlet.sleep(60)

    for seconds, last, seen in ((60, "to enter", asyncio.CancelledError), (0, "the block", ZeroDivisionError)):
        thread = eventlet.spawn(green, seconds)
        while begun[-1:] != [last]:
            eventlet.sleep(0)
        begun.clear()
        thread.kill(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            thread.wait()
        assert log.pop() is seen


@with_timeouts
def test_a_timeout_of_asyncios_around_a_green_block(run_green):
    def green():
        with pytest.raises(TimeoutError):
            with async_context(asyncio.timeout(0.01)):
                eventlet.sleep(60)
        with async_context(asyncio.timeout(60)) as timeout:
            eventlet.sleep(0)
        assert not timeout.expired()
        return "done"

    assert run_green(green) == "done"


@with_timeouts
def test_a_task_group_around_green_code(run_green):
    async def double(number):
        await asyncio.sleep(0.001)
        return 2 * number

    async def fails():
        raise LookupError("here")

    def green():
        with async_context(asyncio.TaskGroup()) as group:
            tasks = [group.create_task(double(number)) for number in range(3)]
            eventlet.sleep(0)
        assert [task.result() for task in tasks] == [0, 2, 4]
        with pytest.raises(BaseExceptionGroup) as raised:  # noqa: F821
            with async_context(asyncio.TaskGroup()) as group:
                group.create_task(fails())
                eventlet.sleep(60)
        return raised.value.exceptions

    (exception,) = run_green(green)
    assert str(exception) == "here"


def test_an_interrupt_that_comes_too_late_strikes_nobody():
    async def hold():
        return asyncio.current_task()

    class Cancels(Manager):
        async def __aexit__(self, *exc_info):
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    def green():
        with async_context(Cancels([])) as manager:
            manager.task.cancel()
        eventlet.sleep(0.01)
        return "untouched"

    assert eventlet.spawn(green).wait() == "untouched"


# Green iterators and context managers in async code.


def green_numbers(count):
    for number in range(count):
        eventlet.sleep(0.001)
        yield number


RUNS = [eventlet_asyncio.run, asyncio.SelectorEventLoop]


@pytest.fixture(params=["our loop", "the stdlib's loop"])
def run_async(request):
    if request.param == "our loop":
        return eventlet_asyncio.run

    def run(main):
        loop = asyncio.SelectorEventLoop()
        try:
            return loop.run_until_complete(main)
        finally:
            loop.close()

    return run


def test_an_async_loop_over_a_green_generator(run_async):
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    async def main():
        ticking = asyncio.ensure_future(tick())
        found = [number async for number in sync_iter(green_numbers(3))]
        ticking.cancel()
        return found

    assert run_async(main()) == [0, 1, 2]
    assert len(ticks) > 3


def test_a_green_context_manager_in_async_code(run_async):
    log = []

    @contextlib.contextmanager
    def manager():
        eventlet.sleep(0.001)
        try:
            yield "value"
        except LookupError:
            eventlet.sleep(0.001)
            log.append("seen")

    lock = semaphore.Semaphore()

    async def one(number):
        async with sync_context(lock):
            log.append(number)
            await asyncio.sleep(0.001)
            log.append(number)

    async def main():
        async with sync_context(manager()) as value:
            assert value == "value"
            raise LookupError
        await asyncio.gather(*map(one, range(3)))

    run_async(main())
    assert log == ["seen", 0, 0, 1, 1, 2, 2]


def test_they_may_block_where_green_blocks_are_refused():
    async def main():
        with no_green_block():
            return [number async for number in sync_iter(green_numbers(2))]

    before = green_in_async("raise")
    try:
        assert eventlet_asyncio.run(main()) == [0, 1]
    finally:
        green_in_async(before)


def test_a_cancel_reaches_the_green_generator():
    log = []

    def waits():
        try:
            eventlet.sleep(60)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        yield

    async def main():
        async def consume():
            async for _ in sync_iter(waits()):
                pass

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["cancelled"]


@pytest.mark.parametrize(
    "make, wrong",
    [
        (async_iter, [1]),
        (async_iter, numbers),
        (async_context, contextlib.nullcontext),
        (async_context, 1),
        (sync_context, 1),
        (sync_iter, 1),
    ],
)
def test_what_is_none_is_refused(make, wrong):
    with pytest.raises(TypeError):
        make(wrong)


async def numbers_with_cleanup(log):
    try:
        while True:
            yield len(log)
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0.001)
        log.append("cleaned up")


def test_an_async_generator_that_a_green_loop_leaves_is_cleaned_up_by_the_loop(run_green):
    log = []

    def green():
        for _ in async_iter(numbers_with_cleanup(log)):
            break
        gc.collect()
        with eventlet.Timeout(10):
            while not log:
                eventlet.sleep(0.001)

    run_green(green)
    assert log == ["cleaned up"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout() is new in Python 3.11")
@pytest.mark.parametrize("raises", [False, True])
def test_a_timeout_of_asyncios_that_comes_too_late_leaves_the_block_its_end(hub, raises):
    def green():
        with async_context(asyncio.timeout(60)) as limit:
            eventlet.sleep(0)
            # It passes now, and the block does not wait again.
            limit.reschedule(0)
            if raises:
                raise KeyError("of the block")

    green_thread = eventlet.spawn(green)
    if raises:
        with pytest.raises(KeyError):
            green_thread.wait()
    else:
        green_thread.wait()


@pytest.fixture(params=["our hub", "epolls", "stdlib"])
def run_in_green_thread(request, in_thread):
    """Runs a function in a green thread that is not below a task of ours."""
    how = hosts.hub_first if request.param == "our hub" else hosts.EVERY[request.param]

    def run(function):
        async def main():
            return await greenlet_to_future(eventlet.spawn(function))

        return in_thread(how, main)

    return run


@with_timeouts
def test_a_limit_that_has_passed_before_the_block_begins_is_raised_in_it(run_in_green_thread):
    def limited():
        with pytest.raises(TimeoutError), async_context(asyncio.timeout(0)):
            eventlet.sleep(5)
        with pytest.raises(TimeoutError), async_context(asyncio.timeout(-1)):
            event.Event().wait()
        with async_context(asyncio.timeout(0)):
            pass
        return True

    assert run_in_green_thread(limited)


def test_a_lock_is_not_kept_by_who_is_killed_as_he_enters(run_in_green_thread):
    def main():
        lock = asyncio.Lock()

        def enters():
            with async_context(lock):
                eventlet.sleep(5)

        eventlet_asyncio.await_(lock.acquire())
        for turns in range(6):
            green = eventlet.spawn(enters)
            for _ in range(turns):
                eventlet.sleep(0)
            green.kill()
            with contextlib.suppress(greenlet.GreenletExit):
                green.wait()
        lock.release()
        eventlet.sleep(0.01)
        return lock.locked()

    assert not run_in_green_thread(main)


@with_timeouts
@pytest.mark.parametrize("passes", [False, True])
def test_a_kill_while_it_is_left_is_not_lost(run_in_green_thread, passes):
    class Manager:
        async def __aenter__(self):
            self.limit = asyncio.timeout(0.001 if passes else 60)
            return await self.limit.__aenter__()

        async def __aexit__(self, *exc_info):
            leaving.send()
            try:
                await asyncio.sleep(0.01)
            finally:
                return await self.limit.__aexit__(*exc_info)  # noqa: B012

    leaving = event.Event()

    def killed():
        with pytest.raises(ValueError, match="killed"), async_context(Manager()):
            eventlet.sleep(5 if passes else 0.001)
        return True

    def main():
        green = eventlet.spawn(killed)
        leaving.wait()
        green.kill(ValueError("killed"))
        return green.wait()

    assert run_in_green_thread(main)


def test_a_green_iterator_that_raises_stop_async_iteration_has_failed(run_async):
    def fails():
        yield 1
        raise StopAsyncIteration

    async def main():
        seen = []
        with pytest.raises(RuntimeError, match="raised StopAsyncIteration"):
            async for each in sync_iter(fails()):
                seen.append(each)
        return seen

    assert run_async(main()) == [1]


def test_a_manager_that_makes_a_cancel_good_as_it_is_entered_is_left(run_in_green_thread):
    class Shields:
        def __init__(self):
            self.left = False

        async def __aenter__(self):
            rest = asyncio.ensure_future(asyncio.sleep(0.02))
            try:
                await asyncio.shield(rest)
            except asyncio.CancelledError:
                await rest

        async def __aexit__(self, *exc_info):
            self.left = True

    def main():
        manager = Shields()
        with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.005), async_context(manager):
            raise AssertionError("it was entered")
        return manager.left

    assert run_in_green_thread(main)
