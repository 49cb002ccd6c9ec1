"""Methods of asyncio's own loop that are called unbound, as by a class above ours, do what they do there."""

import asyncio
import contextvars
import os
import threading
from asyncio import selector_events

import pytest

import eventlet_asyncio

BASE = asyncio.BaseEventLoop
SELECTING = selector_events.BaseSelectorEventLoop


def run(loop, seconds=0.02):
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


SCHEDULE = {
    "call_soon": lambda loop, *call, **options: BASE.call_soon(loop, *call, **options),
    "call_soon_threadsafe": lambda loop, *call, **options: BASE.call_soon_threadsafe(loop, *call, **options),
    "call_later": lambda loop, *call, **options: BASE.call_later(loop, 0.001, *call, **options),
    "call_at": lambda loop, *call, **options: BASE.call_at(loop, loop.time() + 0.001, *call, **options),
    "_add_callback": lambda loop, callback, *args, context=None: loop._add_callback(
        asyncio.Handle(callback, args, loop, context)
    ),
}


@pytest.fixture(params=SCHEDULE.values(), ids=SCHEDULE)
def schedule(request):
    return request.param


@pytest.mark.parametrize("debug", [False, True])
def test_what_they_schedule_is_called(loop, schedule, debug):
    loop.set_debug(debug)
    seen, running = [], []
    schedule(loop, seen.append, 1)
    schedule(loop, lambda: running.append(asyncio.get_running_loop()))
    run(loop)
    assert seen == [1]
    assert running == [loop]


def test_it_is_called_in_its_context(loop, schedule):
    name = contextvars.ContextVar("name")
    context = contextvars.copy_context()
    context.run(name.set, "given")
    seen = []
    schedule(loop, lambda: seen.append(name.get(None)), context=context)
    run(loop)
    assert seen == ["given"]


def test_it_is_not_called_if_it_is_cancelled(loop, schedule):
    seen = []
    handle = schedule(loop, seen.append, 1)
    if handle is None:
        pytest.skip("_add_callback() gives nothing that could be cancelled")
    handle.cancel()
    run(loop)
    assert seen == []


def test_what_it_raises_is_reported(loop, schedule):
    reported = []
    loop.set_exception_handler(lambda loop, context: reported.append(type(context["exception"])))
    schedule(loop, int, "x")
    run(loop)
    assert reported == [ValueError]


def test_what_it_exits_by_ends_the_run(loop, schedule):
    def leave():
        raise SystemExit(3)

    schedule(loop, leave)
    with pytest.raises(SystemExit):
        run(loop)


def test_timers_come_in_order_and_not_early(loop):
    seen = []
    start = loop.time()
    for seconds in (0.003, 0.001, 0.002):
        BASE.call_at(loop, start + seconds, lambda seconds=seconds: seen.append((seconds, loop.time() - start)))
    run(loop)
    assert [seconds for seconds, _ in seen] == [0.001, 0.002, 0.003]
    assert all(at >= seconds for seconds, at in seen)


def test_another_thread_wakes_the_loop(loop):
    threading.Timer(0.01, BASE.call_soon_threadsafe, (loop, loop.stop)).start()
    start = loop.time()
    loop.call_later(10, loop.stop)
    loop.run_forever()
    assert loop.time() - start < 5


def test_a_class_that_calls_them_does_not_come_back_to_itself():
    class Above(eventlet_asyncio.EventLoop):
        def call_soon(self, *call, **options):
            counted.append("soon")
            return BASE.call_soon(self, *call, **options)

        def call_soon_threadsafe(self, *call, **options):
            counted.append("threadsafe")
            return BASE.call_soon_threadsafe(self, *call, **options)

        def call_at(self, *call, **options):
            counted.append("at")
            return BASE.call_at(self, *call, **options)

        def call_later(self, *call, **options):
            counted.append("later")
            return BASE.call_later(self, *call, **options)

        def _add_reader(self, *call):
            counted.append("reader")
            return SELECTING._add_reader(self, *call)

        def _remove_reader(self, *call):
            return SELECTING._remove_reader(self, *call)

    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.001)
        loop.call_soon_threadsafe(counted.append, "called")
        ready = loop.create_future()
        reading, writing = os.pipe()
        loop.add_reader(reading, ready.set_result, None)
        os.write(writing, b"x")
        await ready
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
        return await asyncio.create_task(asyncio.sleep(0, "done"))

    counted = []
    loop = Above()
    try:
        assert loop.run_until_complete(main()) == "done"
    finally:
        loop.close()
    assert set(counted) == {"soon", "threadsafe", "at", "later", "reader", "called"}


def test_a_task_runs(loop):
    async def main():
        return asyncio.get_running_loop()

    task = BASE.create_task(loop, main())
    assert loop.run_until_complete(task) is loop


@pytest.mark.parametrize("way", ["reader", "writer"])
def test_descriptors_are_watched_by_the_last_callback(loop, pair, way):
    add, remove = (getattr(SELECTING, f"_{verb}_{way}") for verb in ("add", "remove"))
    left, right = pair
    right.send(b"x")
    seen = []

    def ready(name):
        seen.append(name)
        seen.append(remove(loop, left.fileno()))

    add(loop, left.fileno(), ready, "first")
    add(loop, left.fileno(), ready, "second")
    run(loop)
    assert seen == ["second", True]
    assert remove(loop, left.fileno()) is False


def test_both_ways_of_a_descriptor_are_watched(loop, pair):
    left, right = pair
    right.send(b"x")
    seen = []

    def ready(name, remove):
        seen.append((name, remove(loop, left.fileno())))

    SELECTING._add_reader(loop, left.fileno(), ready, "read", SELECTING._remove_reader)
    loop.add_writer(left, ready, "write", SELECTING._remove_writer)
    run(loop)
    assert sorted(seen) == [("read", True), ("write", True)]


def test_asyncios_close_closes_it_wholly():
    before = len(os.listdir("/proc/self/fd"))
    loop = eventlet_asyncio.new_event_loop()
    asyncio.SelectorEventLoop.close(loop)
    assert loop.is_closed()
    loop.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_asyncios_own_run_says_that_it_cannot(loop):
    with pytest.raises(RuntimeError, match="run_forever"):
        BASE.run_forever(loop)
    run(loop)
    assert asyncio._get_running_loop() is None
