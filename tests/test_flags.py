"""Each flag of the bridge does what its line of documentation says."""

import asyncio

import eventlet
import greenlet
import pytest
from eventlet import event

import eventlet_asyncio
from eventlet_asyncio import future_to_greenlet, greenlet_to_future

pytestmark = pytest.mark.usefixtures("quiet")


class Wrong(Exception):
    pass


# The flags of future_to_greenlet.


def test_autostart_future_starts_the_task_before_anybody_waits():
    log = []

    async def job():
        log.append("start")
        await asyncio.sleep(60)

    future_to_greenlet(job())
    eventlet.sleep(0)
    eventlet.sleep(0)
    assert log == ["start"]


def test_without_autostart_future_the_task_starts_with_its_green_thread():
    """A green thread runs of itself, so the difference is when: not before the hub comes to it."""
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
    assert started[1] is eventlet.hubs.get_hub().greenlet


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
