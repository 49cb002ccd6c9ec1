"""Green blocks in async code can be watched and refused."""

import asyncio
import socket
import warnings

import eventlet
import pytest
from eventlet import semaphore
from eventlet.hubs import trampoline

import eventlet_asyncio
from eventlet_asyncio import await_, green_in_async, no_green_block, sync_to_async

pytestmark = pytest.mark.usefixtures("hub")


@pytest.fixture(autouse=True)
def allowed():
    assert green_in_async("allow") == "allow", "the default"
    yield
    green_in_async("allow")


def run():
    coroutine = asyncio.sleep(0.001)
    try:
        asyncio.run(coroutine)
    finally:
        coroutine.close()


WAYS = {
    "sleep(0)": lambda: eventlet.sleep(0),
    "sleep": lambda: eventlet.sleep(0.001),
    "wait": lambda: eventlet.spawn(eventlet.sleep, 0.001).wait(),
    "await_": lambda: await_(asyncio.sleep(0.001)),
    "lock": lambda: semaphore.Semaphore(0).acquire(timeout=0.001),
    "run": run,
}
each_way = pytest.mark.parametrize("block", WAYS.values(), ids=WAYS)


async def in_task(block):
    await asyncio.sleep(0)
    return block()


@each_way
def test_a_green_block_in_a_task_is_allowed(block):
    eventlet_asyncio.run(in_task(block))


@each_way
def test_it_can_be_refused(block):
    green_in_async("raise")

    async def main():
        with pytest.raises(RuntimeError, match="name='Mine'.* would block greenly.*sync_to_async"):
            block()
        await asyncio.sleep(0)
        return "goes on"

    async def named():
        return await asyncio.create_task(main(), name="Mine")

    assert eventlet_asyncio.run(named()) == "goes on"
    assert green_in_async("allow") == "raise"


def test_what_is_refused_in_a_callback_goes_to_the_exception_handler():
    green_in_async("raise")
    reports = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(str(context["exception"])))
        loop.call_soon(eventlet.sleep, 0.001)
        await asyncio.sleep(0)

    eventlet_asyncio.run(main())
    assert len(reports) == 1
    assert "a callback of the event loop would block greenly" in reports[0]


def test_green_threads_block_as_they_like():
    green_in_async("raise")

    def green():
        eventlet.sleep(0)
        eventlet.sleep(0.001)
        return await_(asyncio.sleep(0.001, 1))

    assert eventlet.spawn(green).wait() == 1

    async def main():
        return await sync_to_async(green)(), await eventlet.spawn(green)

    assert eventlet_asyncio.run(main()) == (1, 1)


def test_a_warning_names_the_task_and_the_line():
    green_in_async("warn")

    async def main():
        eventlet.spawn(eventlet.sleep, 0.001).wait()
        return "goes on"

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert eventlet_asyncio.run(main()) == "goes on"
    [warning] = caught
    assert warning.category is RuntimeWarning
    assert warning.filename == __file__
    assert warning.lineno == main.__code__.co_firstlineno + 1
    assert "blocks greenly" in str(warning.message)


def test_what_shows_the_warning_cannot_block(monkeypatch):
    green_in_async("warn")
    shown = []

    def show(*_):
        with pytest.raises(RuntimeError, match="while a warning is shown"):
            eventlet.sleep(0.001)
        shown.append(1)
        eventlet.sleep(0.001)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", show)
        eventlet_asyncio.run(in_task(lambda: eventlet.sleep(0)))
    assert shown == [1]


def test_another_word():
    with pytest.raises(ValueError, match='"allow", "warn" or "raise"'):
        green_in_async("never")
    assert green_in_async("allow") == "allow"


@each_way
def test_a_stretch_without_green_blocks_in_a_task(block):
    async def main():
        with no_green_block():
            with pytest.raises(RuntimeError, match="no_green_block"):
                block()
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="no_green_block"):
                block()
        block()

    eventlet_asyncio.run(main())


@pytest.mark.parametrize("block", [WAYS[name] for name in ("sleep(0)", "sleep", "wait", "await_", "lock")])
def test_a_stretch_without_green_blocks_in_a_green_thread(block):
    log = []

    def green():
        eventlet.spawn(log.append, "other")
        with no_green_block(), no_green_block():
            with pytest.raises(RuntimeError, match="no_green_block"):
                block()
            assert log == []
        block()

    eventlet.spawn(green).wait()
    assert log == ["other"]


def test_a_stretch_is_nobody_elses():
    log = []

    async def other():
        eventlet.sleep(0.001)
        log.append("task")

    def green():
        eventlet.sleep(0.001)
        log.append("green")

    async def main():
        with no_green_block():
            await asyncio.gather(asyncio.create_task(other()), eventlet.spawn(green))

    eventlet_asyncio.run(main())
    assert sorted(log) == ["green", "task"]


def test_what_is_refused_leaves_nothing_behind(hub):
    with no_green_block(), pytest.raises(RuntimeError):
        eventlet.sleep(60)
    a, b = socket.socketpair()
    with a, b, no_green_block(), pytest.raises(RuntimeError):
        trampoline(a, read=True, timeout=60)
    assert list(hub.get_readers()) == []
    hub.timers_canceled = 0
    assert hub.get_timers_count() == 0
    eventlet.sleep(0.001)
