"""To asyncio a green thread looks like a thread: running loop, current task and hooks belong to a step."""

import asyncio
import contextvars
import sys

import eventlet
import greenlet
import pytest
from eventlet import event

import eventlet_asyncio
from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")


def identity():
    """What asyncio knows of the running code."""
    loop = asyncio._get_running_loop()
    task = None if loop is None else asyncio.current_task(loop)
    return loop, task, sys.get_asyncgen_hooks()


NOBODY = (None, None, (None, None))


def ways_to_block():
    """The ways in which green code blocks, each of which lets others run."""

    def event_wait():
        done = event.Event()
        eventlet.spawn(done.send)
        done.wait()

    def green_wait():
        eventlet.spawn(eventlet.sleep, 0.001).wait()

    def timeout():
        with eventlet.Timeout(0.001, False):
            eventlet.sleep(60)

    def kill():
        green = eventlet.spawn(eventlet.sleep, 60)
        eventlet.sleep(0)
        green.kill()

    def throw():
        with pytest.raises(LookupError):
            current = greenlet.getcurrent()
            eventlet.hubs.get_hub().schedule_call_global(0, current.throw, LookupError())
            eventlet.sleep(60)

    def awaits():
        await_(asyncio.sleep(0.001))

    return [lambda: eventlet.sleep(0), event_wait, green_wait, timeout, kill, throw, awaits]


@pytest.fixture(
    params=range(7), ids=["sleep", "event", "wait", "timeout", "kill", "throw", "await_"]
)
def block(request):
    return ways_to_block()[request.param]


def test_a_green_thread_has_no_running_loop_and_no_task():
    assert identity() == NOBODY
    assert eventlet.spawn(identity).wait() == NOBODY
    with pytest.raises(RuntimeError, match="no running event loop"):
        eventlet.spawn(asyncio.get_running_loop).wait()


def test_a_green_thread_has_none_either_when_a_task_started_it(block):
    seen = []

    def green():
        seen.append(identity())
        block()
        seen.append(identity())

    async def main():
        one = eventlet.spawn(green)
        two = eventlet.spawn(green)
        await one
        two.wait()
        assert identity()[1] is asyncio.current_task() is not None

    eventlet_asyncio.run(main())
    assert seen == [NOBODY] * 4


def test_a_task_has_the_same_identity_before_and_after_a_green_block(block):
    async def busy():
        while True:
            await asyncio.sleep(0)

    async def step():
        before = identity()
        assert before[0] is asyncio.get_running_loop() and before[1] is asyncio.current_task()
        assert None not in before[2]
        block()
        assert identity() == before
        await asyncio.sleep(0)
        assert identity() == before
        block()
        block()
        assert identity() == before

    async def main():
        others = [asyncio.create_task(busy()) for _ in range(3)]
        await asyncio.gather(*(step() for _ in range(10)))
        for other in others:
            other.cancel()

    eventlet_asyncio.run(main())
    assert identity() == NOBODY


def test_a_callback_has_a_running_loop_and_no_task(block):
    seen = []

    def callback(done):
        seen.append(identity()[:2])
        block()
        seen.append(identity()[:2])
        done.set_result(None)

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(callback, done)
        await done
        assert seen == [(loop, None)] * 2

    eventlet_asyncio.run(main())


def test_what_the_hubs_own_timers_call_has_no_identity(hub):
    seen = []

    async def main():
        hub.schedule_call_global(0, lambda: seen.append(identity()))
        await asyncio.sleep(0.01)

    eventlet_asyncio.run(main())
    assert seen == [NOBODY]


def test_greenlets_of_a_step_share_its_identity():
    async def main():
        mine = identity()
        assert greenlet.greenlet(identity).switch() == mine

        def blocks():
            eventlet.sleep(0)
            return identity()

        assert greenlet.greenlet(blocks).switch() == mine

    eventlet_asyncio.run(main())


def test_asyncio_run_works_in_many_green_threads_at_once():
    running, most = set(), []

    async def main(number):
        loop = asyncio.get_running_loop()
        running.add(loop)
        for _ in range(5):
            await asyncio.sleep(0.001)
            assert asyncio.get_running_loop() is loop
            eventlet.sleep(0.001)
            assert asyncio.get_running_loop() is loop
        most.append(len(running))
        running.remove(loop)
        return number

    greens = [eventlet.spawn(asyncio.run, main(number)) for number in range(10)]
    assert [green.wait() for green in greens] == list(range(10))
    assert max(most) == 10, "they did not run at once"
    assert identity() == NOBODY


def test_a_run_in_a_green_thread_leaves_the_others_running():
    ticks = []

    def ticker():
        while True:
            ticks.append(1)
            eventlet.sleep(0)

    async def main():
        for _ in range(2000):
            await asyncio.sleep(0)

    other = eventlet.spawn(ticker)
    eventlet.spawn(asyncio.run, main()).wait()
    other.kill()
    assert len(ticks) > 10


def test_a_run_below_a_task_puts_the_tasks_identity_aside():
    async def inner():
        mine = identity()
        await asyncio.sleep(0.001)
        assert identity() == mine
        return mine

    async def main():
        mine = identity()
        seen = eventlet.spawn(asyncio.run, inner()).wait()
        assert seen[0] is not mine[0] and seen[1] is not mine[1]
        assert identity() == mine

    eventlet_asyncio.run(main())


def test_async_generators_are_closed_by_the_loop_that_ran_them():
    closed = []

    async def numbers():
        try:
            for number in range(10):
                yield number
                eventlet.sleep(0)
        finally:
            await asyncio.sleep(0)
            closed.append(asyncio.get_running_loop())

    async def main():
        async for _ in (generator := numbers()):
            break
        keep.append(generator)
        return asyncio.get_running_loop()

    keep = []
    greens = [eventlet.spawn(asyncio.run, main()) for _ in range(3)]
    loops = [green.wait() for green in greens]
    assert len(closed) == 3
    assert set(loops) == set(closed)


def test_a_context_entered_by_a_parked_step_keeps_other_callbacks_of_it_waiting():
    log = []
    context = contextvars.copy_context()

    released = event.Event()

    def parks():
        log.append("parks")
        released.wait()
        log.append("done")

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(parks, context=context)
        loop.call_soon(log.append, "second", context=context)
        loop.call_soon(log.append, "third", context=context)
        loop.call_soon(log.append, "other")
        await asyncio.sleep(0.01)
        assert log == ["parks", "other"]
        released.send()
        while "third" not in log:
            await asyncio.sleep(0.001)

    eventlet_asyncio.run(main())
    assert log == ["parks", "other", "done", "second", "third"]


def test_a_deferred_callback_that_is_cancelled_does_not_run():
    log = []
    context = contextvars.copy_context()
    released = event.Event()

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(released.wait, context=context)
        handle = loop.call_soon(log.append, "ran", context=context)
        await asyncio.sleep(0.001)
        handle.cancel()
        released.send()
        await asyncio.sleep(0.01)

    eventlet_asyncio.run(main())
    assert log == []


def test_each_green_thread_has_a_current_loop_of_its_own():
    def sets():
        mine = asyncio.new_event_loop()
        asyncio.set_event_loop(mine)
        eventlet.sleep(0)
        same = asyncio.get_event_loop() is mine
        mine.close()
        return same

    assert [green.wait() for green in [eventlet.spawn(sets) for _ in range(3)]] == [True] * 3


def test_green_code_that_set_no_loop_gets_the_hubs(hub):
    assert eventlet.spawn(asyncio.get_event_loop).wait() is hub.loop

    def makes():
        async def which():
            return asyncio.get_running_loop()

        return await_(asyncio.create_task(which()))

    assert eventlet.spawn(makes).wait() is hub.loop


@pytest.mark.parametrize("own_hooks", [False, True])
@pytest.mark.parametrize("beside", [None, "green thread", "other loop"])
def test_steps_that_yield_to_one_another_each_keep_their_identity(hub, own_hooks, beside):
    seen, done = [], []

    async def step(number):
        if own_hooks and number % 2:
            sys.set_asyncgen_hooks(firstiter=done.append, finalizer=done.append)
        mine = identity()
        assert mine[1] is asyncio.current_task()
        for _ in range(5):
            eventlet.sleep(0)
            seen.append(identity() == mine)
        task = asyncio.current_task()
        # What the cancel strikes is the block of this task, not of another.
        asyncio.get_running_loop().call_soon(task.cancel, number)
        with pytest.raises(asyncio.CancelledError, match=f"^{number}$"):
            while True:
                eventlet.sleep(0)
        done.append(number)

    async def main():
        await asyncio.gather(*(step(number) for number in range(4)))

    def yields():
        while len(done) < 4:
            seen.append(identity() == NOBODY)
            eventlet.sleep(0)

    works = [eventlet.spawn(await_, main())]
    if beside == "green thread":
        works.append(eventlet.spawn(yields))
    elif beside == "other loop":
        works.append(eventlet.spawn(asyncio.run, main()))
    for work in works:
        work.wait()
    assert sorted(set(done)) == list(range(4))
    assert all(seen)
    assert identity() == NOBODY
