"""A kill or a Timeout of green code cancels the task behind it, waits for its cleanup, and is not lost."""

import asyncio

import eventlet
import greenlet
import pytest

import eventlet_asyncio
from eventlet_asyncio import await_, future_to_greenlet, greenlet_to_future

pytestmark = pytest.mark.usefixtures("quiet")


class Wrong(Exception):
    pass


class Other(Exception):
    pass


class Base(BaseException):
    pass


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


def test_the_future_of_a_green_thread_is_alive_while_its_links_run():
    """So that a kill reaches a link that blocks greenly."""
    log = []

    def link(green):
        log.append((bool(green), green.dead))
        try:
            eventlet.sleep(60)
        except greenlet.GreenletExit:
            log.append("killed")
            raise

    async def value():
        return 1

    green = future_to_greenlet(value())
    green.link(link)
    assert green.wait() == 1
    eventlet.sleep(0)
    green.kill()
    eventlet.sleep(0)
    assert log == [(True, False), "killed"]
    assert green.dead and not green


@pytest.mark.parametrize("await_late", [False, True])
def test_a_link_that_raises_or_blocks_keeps_the_result_from_nobody_who_awaits(await_late):
    def blocks(green):
        eventlet.sleep(60)

    def raises(green):
        raise Wrong("link")

    async def result_of(green):
        return await green

    async def main():
        greens = [eventlet.spawn(lambda: 5) for _ in range(2)]
        for green, link in zip(greens, (blocks, raises)):
            green.link(link)
        if await_late:
            await asyncio.sleep(0.001)
        for green in greens:
            assert await asyncio.wait_for(result_of(green), 10) == 5
            assert await asyncio.wait_for(greenlet_to_future(green), 10) == 5
        greens[0].kill()

    eventlet_asyncio.run(main())


def test_the_kill_of_a_green_thread_that_has_ended_does_nothing(host):
    async def main():
        green = eventlet.spawn(lambda: "ended")
        assert await green == "ended"
        green.kill()
        assert await green == "ended"

    host(main)


def test_a_green_thread_of_a_future_that_is_switched_to_early_hangs_nobody(hub, capfd):
    async def slow():
        await asyncio.sleep(0.01)
        return 5

    green = future_to_greenlet(slow())
    eventlet.spawn_n(green.switch)
    with eventlet.Timeout(5):
        assert green.wait() == 5
