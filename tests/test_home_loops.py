"""What green code awaits runs on its home loop: that of the task that made the green thread, on every host."""

import asyncio
import gc
import sys
import weakref

import eventlet
import greenlet
import pytest
from eventlet import event, hubs

import eventlet_asyncio
from eventlet_asyncio import async_to_sync, await_, future_to_greenlet, greenlet_to_future


async def running_loop():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


def wait_for_task():
    return await_(asyncio.create_task(running_loop()))


def wait_for_future():
    return await_(asyncio.ensure_future(running_loop()))


def wait_for_green_future():
    return await_(greenlet_to_future(eventlet.spawn(lambda: None), loop=None)) or await_(running_loop())


WAYS = {
    "await_": lambda: await_(running_loop()),
    "future_to_greenlet": lambda: future_to_greenlet(running_loop()).wait(),
    "async_to_sync": async_to_sync(running_loop),
    "create_task": wait_for_task,
    "ensure_future": wait_for_future,
    "get_event_loop": asyncio.get_event_loop,
    "greenlet_to_future": wait_for_green_future,
}

def by_pool(function):
    return eventlet.GreenPool(1).spawn(function)


def by_plain_greenlet(function):
    done = eventlet.Event()
    eventlet.spawn_n(lambda: done.send(function()))
    return eventlet.spawn(done.wait)


def by_green_thread(function):
    return eventlet.spawn(lambda: eventlet.spawn(function).wait())


def later(function):
    return eventlet.spawn_after(0.001, function)


@pytest.mark.parametrize("make", [eventlet.spawn, later, by_pool, by_plain_greenlet, by_green_thread])
@pytest.mark.parametrize("way", WAYS)
def test_green_code_has_the_loop_of_the_task_that_made_it(host, way, make):
    async def main():
        assert await make(WAYS[way]) is asyncio.get_running_loop()
        return "done"

    assert host(main) == "done"


def test_green_code_and_its_maker_share_what_is_bound_to_a_loop(host):
    async def main():
        queue, lock, heard = asyncio.Queue(1), asyncio.Lock(), []
        getter = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)

        def green():
            await_(queue.put("first"))
            await_(lock.acquire())
            await_(queue.put("second"))
            heard.append(await_(queue.get()))
            lock.release()

        async with lock:
            waiting = eventlet.spawn(green)
            assert await getter == "first"
            await asyncio.sleep(0.001)
            assert heard == []
        await waiting
        return heard

    assert host(main) == ["second"]


def in_green_thread(main):
    return eventlet.spawn(eventlet_asyncio.run, main).wait()


def on_stdlib(main, *, close=True):
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        if close:
            loop.close()


def on_stdlib_that_stays_open(main):
    return on_stdlib(main, close=False)


@pytest.mark.parametrize("run", [in_green_thread, on_stdlib, on_stdlib_that_stays_open])
def test_a_loop_that_has_ended_is_no_home(hub, run):
    go_on = eventlet.Event()
    greens = []

    async def main():
        greens.append(eventlet.spawn(lambda: go_on.wait() and await_(running_loop())))
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    loop = run(main())
    go_on.send(True)
    assert greens[0].wait() is hub.loop
    assert hub.loop is not loop
    loop.close()


def test_a_home_is_free_when_the_green_thread_is(hub):
    ended = []

    async def main():
        loop = asyncio.get_running_loop()
        assert await eventlet.spawn(lambda: await_(running_loop())) is loop
        return weakref.ref(loop)

    ended = [in_green_thread(main()), on_stdlib(main())]
    # The hub knows its last host.
    on_stdlib(main())
    gc.collect()
    assert [loop() for loop in ended] == [None, None]


def test_who_cancels_all_tasks_of_a_home_cancels_what_green_code_awaits_there(hub):
    seen = []

    def green():
        try:
            await_(asyncio.sleep(3600))
        except asyncio.CancelledError:
            seen.append("cancelled")

    async def main():
        waiting = eventlet.spawn(green)
        await asyncio.sleep(0.01)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await waiting

    on_stdlib(main())
    assert seen == ["cancelled"]


@pytest.mark.parametrize("wait", [await_, lambda coroutine: future_to_greenlet(coroutine).wait()])
def test_what_green_code_begins_while_its_home_shuts_down_is_cancelled(hub, wait):
    seen = []

    def green():
        for _ in range(2):
            try:
                wait(asyncio.sleep(3600))
            except asyncio.CancelledError:
                seen.append("cancelled")
        seen.append(wait(running_loop()))

    async def main():
        eventlet.spawn(green)
        await asyncio.sleep(0.01)

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    # As asyncio.run() does.
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    eventlet.sleep(0.01)
    assert seen == ["cancelled", "cancelled", hub.loop]


def run_as_asyncio_does(loop, main, shutdown=None):
    """asyncio.run() on a given loop, with something to wait for before it is closed."""
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
        if shutdown is not None:
            loop.run_until_complete(shutdown)
    finally:
        loop.close()


@pytest.mark.parametrize("wait", [await_, lambda coroutine: future_to_greenlet(coroutine).wait()])
def test_who_awaits_first_while_the_home_shuts_down_does_so_elsewhere(hub, wait):
    seen, shuts_down = [], event.Event()

    def green():
        shuts_down.wait()
        seen.append(wait(running_loop()))

    async def main():
        eventlet.spawn(green)
        await asyncio.sleep(0)

    async def shutdown():
        shuts_down.send()
        await asyncio.sleep(0.01)

    run_as_asyncio_does(asyncio.SelectorEventLoop(), main(), shutdown())
    with eventlet.Timeout(10):
        while not seen:
            eventlet.sleep(0.001)
    assert seen == [hub.loop]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 brought eager tasks")
@pytest.mark.parametrize("wait", [await_, lambda coroutine: future_to_greenlet(coroutine).wait()])
def test_a_home_with_eager_tasks_is_the_running_loop_from_the_first_step_on(hub, wait):
    async def at_once():
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        async with asyncio.timeout(60), asyncio.Lock():
            await asyncio.sleep(0)
        assert asyncio.current_task() is task
        return loop

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        assert await eventlet.spawn(lambda: wait(at_once())) is loop

    on_stdlib(main())


def test_who_waits_on_a_loop_that_was_closed_can_be_killed(hub):
    loop = asyncio.SelectorEventLoop()
    made = []

    async def main():
        made.append(future_to_greenlet(asyncio.sleep(60)))
        made.append(eventlet.spawn(lambda: await_(asyncio.sleep(60))))
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    loop.close()
    for green in made:
        green.kill()
        with eventlet.Timeout(5), pytest.raises(greenlet.GreenletExit):
            raise green.wait() or greenlet.GreenletExit


def test_our_loop_runs_after_a_foreign_one_that_hosted_the_hub(hub):
    async def main():
        await asyncio.sleep(0.001)
        return await eventlet.spawn(lambda: 4)

    assert on_stdlib(main()) == 4
    assert eventlet_asyncio.run(main()) == 4
    assert on_stdlib(main()) == 4
    assert asyncio.run(main()) == 4


def begin_after_the_cancel(seen, function):
    """Green code that asyncio.run() cancels as it ends, and that goes on to await something else."""
    try:
        await_(asyncio.sleep(60))
    except asyncio.CancelledError:
        pass
    try:
        seen.append(function())
    except asyncio.CancelledError:
        seen.append("cancelled")


async def blocks_greenly():
    eventlet.sleep(60)


async def blocks_greenly_in_a_later_step():
    await asyncio.sleep(0)
    eventlet.sleep(60)


def run_until(seen):
    """What was struck ends here, and whatever else would be seen."""
    with eventlet.Timeout(10):
        while not seen:
            eventlet.sleep(0.001)
    eventlet.sleep(0.01)


@pytest.mark.parametrize("wait", [await_, lambda coroutine: future_to_greenlet(coroutine).wait()])
@pytest.mark.parametrize("work", [blocks_greenly, blocks_greenly_in_a_later_step, lambda: asyncio.sleep(60)])
@pytest.mark.usefixtures("quiet")
def test_what_green_code_begins_while_a_loop_of_ours_shuts_down_is_cancelled(hub, work, wait):
    seen = []

    async def main():
        eventlet.spawn(begin_after_the_cancel, seen, lambda: wait(work()))
        await asyncio.sleep(0.005)

    eventlet_asyncio.run(main())
    run_until(seen)
    assert seen == ["cancelled"]


@pytest.mark.parametrize("wait", [await_, lambda coroutine: future_to_greenlet(coroutine).wait()])
@pytest.mark.parametrize("work", [blocks_greenly, blocks_greenly_in_a_later_step, lambda: asyncio.sleep(60)])
@pytest.mark.usefixtures("quiet")
def test_what_green_code_waits_for_as_its_loop_is_closed_is_cancelled_and_disturbs_nobody(hub, work, wait):
    seen = []

    def green():
        try:
            wait(work())
        except asyncio.CancelledError:
            seen.append("cancelled")

    async def main():
        eventlet.spawn(green)
        await asyncio.sleep(0.005)

    loop = eventlet_asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    run_until(seen)
    assert seen == ["cancelled"]
    eventlet_asyncio.run(asyncio.sleep(0.01))


def test_what_goes_on_greenly_after_its_loop_was_closed_has_its_result_seen(hub):
    seen = []

    async def stubborn():
        try:
            eventlet.sleep(0.02)
        except asyncio.CancelledError:
            eventlet.sleep(0.02)
        return "value"

    async def main():
        eventlet.spawn(lambda: seen.append(await_(stubborn())))
        await asyncio.sleep(0.005)

    loop = eventlet_asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    eventlet.sleep(0.1)
    assert seen == ["value"]
