"""What is thrown at green code in asyncio.run() or run_until_complete() cancels what runs there, and waits for its cleanup."""

import asyncio
import contextlib
import gc
import weakref

import eventlet
import greenlet
import pytest
from eventlet import hubs

import eventlet_asyncio
from eventlet_asyncio import await_, sync_to_async
from tests import hosts
from tests.ends import until

pytestmark = pytest.mark.usefixtures("quiet")

needs_counts = pytest.mark.skipif(
    not hasattr(asyncio.Task, "cancelling"), reason="before Python 3.11 no scope can tell whose cancel it gets"
)


def by_run(coroutine):
    return eventlet_asyncio.run(coroutine)


def by_loop(coroutine):
    loop = eventlet_asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


@pytest.fixture(params=[hosts.hub_first, hosts.loop_in_green_thread])
def on_loop(request, in_thread):
    """Runs an async function where a task may run a loop below itself."""
    return lambda main: in_thread(request.param, main)


class Cleanup:
    """A coroutine whose cleanup takes some turns, which a second cancel cuts short where it strikes."""

    def __init__(self, result=None, seconds=0.05):
        self.log = []
        self.result = result
        self.seconds = seconds
        self.waits = 0

    def until_it_waits(self, times=1):
        while self.waits < times:
            eventlet.sleep(0.001)

    async def __call__(self):
        try:
            self.waits += 1
            await asyncio.sleep(5)
        finally:
            self.log.append("begun")
            try:
                self.waits += 1
                await asyncio.sleep(self.seconds)
                self.log.append("undisturbed")
            finally:
                await asyncio.sleep(0)
                self.log.append("ended")
                if self.result is not None:
                    return self.result  # noqa: B012


@pytest.mark.parametrize("run", [by_run, by_loop])
@pytest.mark.parametrize("kills", [1, 2])
def test_kills(on_hub, run, kills):
    cleanup = Cleanup(seconds=0.05 if kills == 1 else 5)

    def main():
        green = eventlet.spawn(run, cleanup())
        for number in range(kills):
            cleanup.until_it_waits(number + 1)
            green.kill(greenlet.GreenletExit(f"kill {number}"))
        with pytest.raises(greenlet.GreenletExit, match=f"kill {kills - 1}"):
            green.wait()
        return cleanup.log

    whole = ["begun", "undisturbed", "ended"]
    assert on_hub(main) == (whole if kills == 1 else ["begun", "ended"])


@pytest.mark.parametrize("run", [by_run, by_loop])
def test_a_kill_of_what_returns_a_value_all_the_same(on_hub, run):
    cleanup = Cleanup("value")

    def main():
        green = eventlet.spawn(run, cleanup())
        cleanup.until_it_waits()
        green.kill()
        return green.wait()

    assert on_hub(main) == "value"


@pytest.mark.parametrize("run", [by_run, by_loop])
def test_a_timeout_is_raised_after_the_cleanup_whatever_that_returns(on_hub, run):
    cleanup = Cleanup("value")

    def main():
        with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.3):
            run(cleanup())
        return cleanup.log

    assert on_hub(main) == ["begun", "undisturbed", "ended"]


@pytest.mark.parametrize("where", ["in the task", "in a green thread that it awaits"])
@pytest.mark.parametrize("cancels", [1, 2])
def test_cancels_of_a_task_that_runs_a_loop(on_loop, where, cancels):
    cleanup = Cleanup(seconds=0.05 if cancels == 1 else 5)

    async def runs():
        if where == "in the task":
            asyncio.run(cleanup())
        else:
            await sync_to_async(asyncio.run)(cleanup())

    async def main():
        task = asyncio.create_task(runs())
        for number in range(cancels):
            await until(lambda: cleanup.waits > number)  # noqa: B023
            assert task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return cleanup.log

    whole = ["begun", "undisturbed", "ended"]
    assert on_loop(main) == (whole if cancels == 1 else ["begun", "ended"])


def test_a_cancel_at_each_turn_cuts_no_cleanup_off(on_loop):
    cleanup = Cleanup(seconds=5)

    async def runs():
        asyncio.run(cleanup())

    async def main():
        task = asyncio.create_task(runs())
        await until(lambda: cleanup.waits)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        return task.cancelled(), cleanup.log

    assert on_loop(main) == (True, ["begun", "ended"])


def test_a_loop_that_is_stopped_meanwhile_says_so(on_hub):
    begun = []

    async def stops():
        try:
            begun.append(True)
            await asyncio.sleep(5)
        finally:
            asyncio.get_running_loop().stop()
            await asyncio.sleep(0.01)

    def main():
        loop = eventlet_asyncio.new_event_loop()
        task = loop.create_task(stops())

        def runs():
            with pytest.raises(RuntimeError, match="stopped before Future completed"):
                loop.run_until_complete(task)
            return task.done()

        green = eventlet.spawn(runs)
        while not begun:
            eventlet.sleep(0.001)
        green.kill()
        assert not green.wait()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    on_hub(main)


def test_an_end_of_the_program_is_not_waited_for(on_hub):
    cleanup = Cleanup()

    def main():
        loop = eventlet_asyncio.new_event_loop()
        waiter = greenlet.getcurrent()

        def interrupt():
            cleanup.until_it_waits()
            waiter.throw(KeyboardInterrupt)

        eventlet.spawn(interrupt)
        task = loop.create_task(cleanup())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        assert cleanup.log == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()
        return cleanup.log

    assert on_hub(main) == ["begun", "undisturbed", "ended"]


async def is_killed_when_done(*runner):
    """Ends in a turn that only begins when the green thread which runs the loop was killed."""
    asyncio.get_running_loop().call_soon(eventlet.sleep, 0.001)
    hubs.get_hub().schedule_call_global(0, eventlet.kill, *runner)


def test_a_kill_of_a_run_that_is_done_leaves_the_loop_whole(on_hub):
    log = []

    async def iterates():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    async def leaves_an_iterator():
        iterator = iterates()
        await iterator.__anext__()
        await is_killed_when_done(*runner)
        runner.append(iterator)

    def main():
        runner.append(eventlet.spawn(by_run, leaves_an_iterator()))
        with pytest.raises(greenlet.GreenletExit):
            runner[0].wait()
        return log

    runner = []
    assert on_hub(main) == ["cleaned up"]


def test_the_next_run_is_not_stopped_for_one_that_was_killed_when_done(on_hub):
    async def goes_on():
        await asyncio.sleep(0.001)
        return "went on"

    def runs():
        loop = eventlet_asyncio.new_event_loop()
        try:
            loop.run_until_complete(is_killed_when_done(greenlet.getcurrent()))
        except greenlet.GreenletExit:
            return loop.run_until_complete(goes_on())
        finally:
            loop.close()

    assert on_hub(lambda: eventlet.spawn(runs).wait()) == "went on"


async def slow():
    try:
        await asyncio.sleep(5)
    finally:
        await asyncio.sleep(0.03)


@needs_counts
@pytest.mark.parametrize("of_eventlet, of_asyncio", [(0.005, 0.01), (0.01, 0.005)])
def test_limits_of_both_worlds_around_a_run_below_a_task(on_loop, of_eventlet, of_asyncio):
    async def main():
        with pytest.raises(eventlet.Timeout), eventlet.Timeout(of_eventlet):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(of_asyncio):
                    asyncio.run(slow())
            await asyncio.sleep(5)
        return asyncio.current_task().cancelling()

    assert on_loop(main) == 0


@needs_counts
def test_a_kill_of_a_task_that_runs_a_loop_goes_on_through_a_limit(on_loop):
    async def main():
        kept, begun, limits = [], [], []

        async def cleans_up_until_it_passes():
            try:
                begun.append(True)
                await asyncio.sleep(60)
            finally:
                while not limits[0].expired():
                    await asyncio.sleep(0.001)

        async def limited():
            kept.append(greenlet.getcurrent())
            async with asyncio.timeout(60) as limit:
                limits.append(limit)
                asyncio.run(cleans_up_until_it_passes())

        task = asyncio.create_task(limited())
        while not begun:
            await asyncio.sleep(0.001)
        eventlet.kill(kept.pop(), KeyError("killed"))
        limits[0].reschedule(asyncio.get_running_loop().time())
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return type(outcome)

    assert on_loop(main) is asyncio.CancelledError


@pytest.mark.parametrize("run", [by_run, by_loop])
def test_a_struck_run_keeps_nothing(on_hub, run):
    class Kept:
        pass

    def main():
        kept = Kept()
        reference = weakref.ref(kept)

        def limited(kept):
            with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001):
                run(slow())
            return kept is not None

        gc.disable()
        try:
            assert limited(kept)
            del kept
            return reference()
        finally:
            gc.enable()

    assert on_hub(main) is None


@needs_counts
@pytest.mark.parametrize("how", [by_run, await_], ids=["run", "await_"])
def test_a_kill_is_over_for_a_task_that_a_limit_cancels_meanwhile(on_loop, how):
    async def main():
        kept, begun = [], []

        async def cleans_up():
            try:
                kept.append(greenlet.getcurrent())
                await asyncio.sleep(5)
            finally:
                begun.append(True)
                await asyncio.sleep(0.05)

        async def limited():
            async with asyncio.timeout(None) as limit:
                kept.append(limit)
                kept.append(greenlet.getcurrent())
                how(cleans_up())

        task = asyncio.create_task(limited())
        await until(lambda: len(kept) == 3)
        limit, carrier, _ = kept
        eventlet.kill(carrier)
        del carrier
        kept.clear()
        await until(lambda: begun)
        limit.reschedule(asyncio.get_running_loop().time())
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return type(outcome), task.cancelling()

    assert on_loop(main) == (TimeoutError, 0)
