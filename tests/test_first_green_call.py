"""The green call that makes its thread's hub works as any later one does."""

import asyncio
import contextvars
import sys
import threading

import eventlet
import pytest
from eventlet import hubs, queue

import eventlet_asyncio
from eventlet_asyncio import await_, sync_to_async


def chosen(name):
    return lambda monkeypatch: hubs.use_hub(name)


def in_environment(name):
    return lambda monkeypatch: monkeypatch.setenv("EVENTLET_HUB", name)


CHOICES = {
    "ours": chosen("eventlet_asyncio.hub"),
    "none": lambda monkeypatch: None,
    "ours by environment": in_environment("eventlet_asyncio.hub"),
    "epolls by environment": in_environment("epolls"),
    **{name: chosen(name) for name in ("epolls", "poll", "selects")},
}


@pytest.fixture(params=CHOICES.values(), ids=CHOICES)
def run_without_hub(request, in_thread, monkeypatch):
    """Runs an async function on a loop of ours, in a thread whose hub is chosen but not made."""

    def program(main):
        request.param(monkeypatch)
        assert not hasattr(hubs._threadlocal, "hub")
        return eventlet_asyncio.run(main())

    return lambda main: in_thread(program, main)


def test_an_item_put_by_a_callback(run_without_hub):
    async def main():
        items = queue.Queue()
        asyncio.get_running_loop().call_later(0.01, items.put, "item")
        return items.get(timeout=5)

    assert run_without_hub(main) == "item"


def test_an_item_put_by_another_thread(in_thread):
    def program():
        eventlet_asyncio.use_hub()
        items = queue.Queue()
        thread = threading.Timer(0.05, items.put, ["item"])
        thread.start()
        got = items.get(timeout=5)
        thread.join()
        return got

    assert in_thread(program) == "item"


def test_a_method_that_was_looked_up_before(in_thread):
    def program():
        eventlet_asyncio.use_hub()
        items = queue.Queue()
        get, put = items.get, items.put
        eventlet.spawn_after(0.01, put, "item")
        return get(timeout=5)

    assert in_thread(program) == "item"


async def sleeps(is_enough=lambda: True):
    eventlet.sleep(0.05)
    with eventlet.Timeout(10):
        while not is_enough():
            eventlet.sleep(0.01)
    return 3


async def awaits(is_enough):
    return await eventlet.spawn(await_, sleeps(is_enough))


async def calls(is_enough):
    return await sync_to_async(await_)(sleeps(is_enough))


async def drives(is_enough=lambda: True):
    return await_(sleeps(is_enough))


async def only_asks(is_enough):
    hubs.get_hub()
    await asyncio.sleep(0.01)
    return await sleeps(is_enough)


@pytest.mark.parametrize("first", [sleeps, awaits, calls, drives, only_asks])
def test_the_loop_goes_on_meanwhile(run_without_hub, first):
    async def main():
        order = []

        async def note_when_slept(seconds):
            await asyncio.sleep(seconds)
            order.append(seconds)

        def ticks_are_over():
            return len(order) >= 2

        ticks = [asyncio.create_task(note_when_slept(seconds)) for seconds in (0.01, 0.03)]
        await asyncio.sleep(0)
        order.append(await first(ticks_are_over))
        await asyncio.gather(*ticks)
        order.append(await first(ticks_are_over))
        return order

    assert run_without_hub(main) == [0.01, 0.03, 3, 3]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks share contexts from Python 3.11 on")
def test_tasks_of_one_context_wait_for_each_other(run_without_hub):
    async def main():
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        tasks = [loop.create_task(coroutine, context=context) for coroutine in (sleeps(), drives())]
        # Its wakeup comes while the first of them blocks.
        tasks.append(loop.create_task(asyncio.sleep(0.01, 3), context=context))
        return await asyncio.gather(*tasks)

    assert run_without_hub(main) == [3, 3, 3]


def test_the_next_loops_of_the_thread_find_the_hub(in_thread):
    async def main():
        return await_(sleeps()), id(hubs.get_hub())

    def program():
        hubs.use_hub("epolls")
        green = [eventlet_asyncio.run(main())]
        green.append(eventlet.spawn(eventlet_asyncio.run, main()).wait())
        green.append(eventlet_asyncio.run(main()))
        return green

    first, *others = in_thread(program)
    assert first[0] == 3
    assert others == [first] * 2
