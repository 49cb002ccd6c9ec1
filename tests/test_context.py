"""Calls across share the context: what the callee sets, the caller sees; spawned work has a copy."""

import asyncio
import contextvars

import eventlet
import greenlet
import pytest
from eventlet import event, greenthread

import eventlet_asyncio
from eventlet_asyncio import async_to_sync, await_, future_to_greenlet, sync_to_async

pytestmark = pytest.mark.usefixtures("quiet")

variable = contextvars.ContextVar("variable", default="default")
other = contextvars.ContextVar("other", default="default")


async def swap(expected, value):
    """Sees one value and leaves another, across an await."""
    assert variable.get() == expected
    await asyncio.sleep(0)
    assert variable.get() == expected
    variable.set(value)


def swap_greenly(expected, value):
    """The same for green code."""
    assert variable.get() == expected
    eventlet.sleep(0)
    assert variable.get() == expected
    variable.set(value)


def in_green(body):
    return eventlet.spawn(body).wait()


def in_task(body):
    async def step():
        return body()

    return eventlet_asyncio.run(step())


def in_child(body):
    return in_task(lambda: greenlet.greenlet(body).switch())


def in_main(body):
    return contextvars.copy_context().run(body)


@pytest.mark.parametrize("where", [in_green, in_task, in_child, in_main])
@pytest.mark.parametrize("call", [await_, lambda coroutine: async_to_sync(lambda: coroutine)()])
def test_an_async_callee_shares_its_green_callers_context(where, call):
    def body():
        variable.set("mine")
        call(swap("mine", "callee's"))
        first = variable.get()
        call(swap("callee's", "again"))
        return first, variable.get()

    assert where(body) == ("callee's", "again")


def test_a_green_callee_shares_its_async_callers_context():
    callee = sync_to_async(swap_greenly)

    async def main():
        variable.set("mine")
        await callee("mine", "callee's")
        assert variable.get() == "callee's"
        await callee("callee's", "again")
        return variable.get()

    assert eventlet_asyncio.run(main()) == "again"


def test_calls_both_ways_share_one_context():
    async def bottom():
        await swap("middle", "bottom")

    @sync_to_async
    def middle():
        swap_greenly("top", "middle")
        await_(bottom())

    async def top():
        variable.set("top")
        await middle()
        return variable.get()

    assert eventlet_asyncio.run(top()) == "bottom"


def test_a_callee_that_raises_shares_it_too():
    async def fails():
        variable.set("callee's")
        raise LookupError

    def body():
        with pytest.raises(LookupError):
            await_(fails())
        return variable.get()

    assert in_green(body) == "callee's"
    assert in_task(body) == "callee's"


def test_a_callee_that_is_cancelled_shares_it_too():
    async def cleans():
        try:
            await asyncio.sleep(60)
        finally:
            variable.set("cleaned")

    def body():
        with eventlet.Timeout(0.005, False):
            await_(cleans())
        return variable.get()

    assert in_green(body) == "cleaned"
    assert in_task(body) == "cleaned"


def test_a_variable_that_the_callee_resets_is_reset():
    async def resets():
        token = variable.set("for a while")
        await asyncio.sleep(0)
        variable.reset(token)

    def body():
        variable.set("mine")
        await_(resets())
        return variable.get()

    assert in_green(body) == "mine"


def test_variables_that_the_callee_leaves_alone_stay():
    async def sets_other():
        await asyncio.sleep(0)
        other.set("set")

    def body():
        variable.set("mine")
        await_(sets_other())
        return variable.get(), other.get()

    assert in_green(body) == ("mine", "set")


def test_callers_at_the_same_time_do_not_share():
    async def callee(number):
        assert variable.get() == number
        for _ in range(3):
            await asyncio.sleep(0.001)
            assert variable.get() == number
        variable.set(-number)

    def body(number):
        variable.set(number)
        await_(callee(number))
        return variable.get()

    greens = [eventlet.spawn(body, number) for number in range(20)]
    assert [green.wait() for green in greens] == [-number for number in range(20)]


def test_future_to_greenlet_starts_from_a_copy():
    variable.set("maker's")
    try:
        green = future_to_greenlet(swap("maker's", "task's"))
        variable.set("later")
        green.wait()
        assert variable.get() == "later"
    finally:
        variable.set("default")


@pytest.mark.parametrize(
    "spawn",
    [
        eventlet.spawn,
        eventlet.spawn_n,
        lambda function: eventlet.spawn_after(0, function),
        lambda function: greenthread.spawn_after_local(0, function),
        lambda function: eventlet.GreenPool().spawn(function),
    ],
    ids=["spawn", "spawn_n", "spawn_after", "spawn_after_local", "GreenPool"],
)
@pytest.mark.parametrize("where", [in_green, in_task])
def test_a_spawned_green_thread_starts_from_a_copy(where, spawn):
    seen = []
    done = event.Event()

    def spawned():
        seen.append(variable.get())
        variable.set("its own")
        eventlet.sleep(0)
        seen.append(variable.get())
        done.send()

    def maker():
        variable.set("maker's")
        spawn(spawned)
        variable.set("later")
        done.wait()
        return variable.get()

    assert where(maker) == "later"
    assert seen == ["maker's", "its own"]


def test_a_task_has_a_copy_as_asyncio_gives_it():
    async def main():
        variable.set("maker's")
        await asyncio.create_task(swap("maker's", "task's"))
        return variable.get()

    assert eventlet_asyncio.run(main()) == "maker's"


def test_green_code_inside_a_context_run_can_call_async_code():
    def body():
        await_(swap("default", "callee's"))
        return variable.get()

    def green():
        return contextvars.Context().run(body)

    assert in_green(green) == "callee's"
    assert in_green(variable.get) == "default"
