"""A kill or Timeout while await_() is in the scope of a timeout of asyncio's, which is over in the cleanup: who gets what.

To the coroutine it is a cancel. So that the scope, too, tells it from its own, and lets it go on.
"""

import asyncio
import contextlib
import functools

import anyio
import eventlet
import greenlet
import pytest

from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")

counts = hasattr(asyncio.Task, "cancelling")
needs_counts = pytest.mark.skipif(not counts, reason="before Python 3.11 no scope can tell whose cancel it gets")


class OfAsyncio:
    """A time limit that passes when it is told to."""

    async def __aenter__(self):
        self._limit = asyncio.timeout(None)
        await self._limit.__aenter__()
        return self

    def expire(self):
        self._limit.reschedule(asyncio.get_running_loop().time())

    async def __aexit__(self, *exc_info):
        return await self._limit.__aexit__(*exc_info)


class OfAnyio:
    """The same of anyio's."""

    async def __aenter__(self):
        self._limit = anyio.fail_after(None)
        self._scope = self._limit.__enter__()
        return self

    def expire(self):
        self._scope.deadline = anyio.current_time()

    async def __aexit__(self, *exc_info):
        return self._limit.__exit__(*exc_info)


SCOPES = {"timeout": OfAsyncio, "anyio": OfAnyio}


def begin(limit):
    """Has a Timeout strike in a moment that has been entered without a time."""
    limit.seconds = 0.001
    limit.start()


async def cleans_up_for_too_long(scope, log, limit=None):
    try:
        async with scope() as entered:
            log.append("begun")
            if limit is not None:
                begin(limit)
            try:
                await asyncio.sleep(5)
            finally:
                log.append("cleanup")
                entered.expire()
                await asyncio.sleep(5)
    except TimeoutError:
        log.append("TimeoutError")
    log.append("went on")


def by_cancel(task, _green):
    task.cancel()


def by_kill(_task, green):
    eventlet.kill(green)


def by_two_kills(_task, green):
    eventlet.kill(green)
    asyncio.get_running_loop().call_later(0.005, eventlet.kill, green)


ENDS = {
    "cancel": (by_cancel, asyncio.CancelledError),
    "kill": (by_kill, greenlet.GreenletExit),
    "two kills": (by_two_kills, greenlet.GreenletExit),
}


@needs_counts
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
@pytest.mark.parametrize("end, ends_by", ENDS.values(), ids=ENDS)
def test_it_goes_on_through_the_scope(blocking_host, scope, end, ends_by):
    log, kept = [], []

    async def blocks():
        kept.append(greenlet.getcurrent())
        try:
            await_(cleans_up_for_too_long(scope, log))
        finally:
            log.append(asyncio.current_task().cancelling())

    async def main():
        task = asyncio.create_task(blocks())
        while not log:
            await asyncio.sleep(0)
        end(task, kept.pop())
        with pytest.raises(ends_by):
            await asyncio.wait_for(asyncio.shield(task), 2)
        assert task.cancelled() == (end is by_cancel)
        # Only what cancel() asked for is left to the task.
        assert log == ["begun", "cleanup", 1 if end is by_cancel else 0]

    blocking_host(main)


@needs_counts
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
@pytest.mark.parametrize("silent", [None, False])
def test_a_timeout_around_it_goes_on_through_the_scope(blocking_host, scope, silent):
    log = []

    async def blocks():
        try:
            with eventlet.Timeout(None, silent) as limit:
                await_(cleans_up_for_too_long(scope, log, limit))
        except eventlet.Timeout:
            log.append("Timeout")
        # Nothing is left that would strike here, or have a scope take the task for cancelled.
        await asyncio.sleep(0.01)
        assert asyncio.current_task().cancelling() == 0
        with pytest.raises(TimeoutError):
            async with scope() as entered:
                entered.expire()
                await asyncio.sleep(5)

    async def main():
        await asyncio.wait_for(asyncio.create_task(blocks()), 2)
        assert log == ["begun", "cleanup"] + ([] if silent is False else ["Timeout"])

    blocking_host(main)


@needs_counts
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
def test_a_scope_that_is_over_before_has_its_own(blocking_host, scope):
    log = []

    async def slow(limit):
        try:
            async with scope() as entered:
                entered.expire()
                await asyncio.sleep(5)
        except TimeoutError:
            log.append("TimeoutError")
        begin(limit)
        await asyncio.sleep(5)

    async def blocks():
        with eventlet.Timeout(None, False) as limit:
            await_(slow(limit))
            log.append("not here")
        log.append("left")

    async def main():
        await asyncio.wait_for(asyncio.create_task(blocks()), 2)
        assert log == ["TimeoutError", "left"]

    blocking_host(main)


def test_a_strike_that_the_coroutine_swallows_is_not_left_to_its_task(blocking_host):
    async def swallows():
        loop = asyncio.get_running_loop()
        end = loop.time() + 0.1
        while loop.time() < end:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                pass
        return "result"

    async def blocks():
        with pytest.raises(eventlet.Timeout):
            with eventlet.Timeout(0.02):
                with eventlet.Timeout(0.01):
                    await_(swallows())
        if counts:
            assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0.01)

    async def main():
        await asyncio.wait_for(asyncio.create_task(blocks()), 2)

    blocking_host(main)


async def cleans_up(wait, log):
    try:
        await wait()
    finally:
        log.append("cleanup")
        await asyncio.sleep(5)


async def awaits_below():
    await_(asyncio.sleep(5))


async def blocks_greenly():
    eventlet.sleep(5)


@pytest.mark.parametrize("wait", [lambda: asyncio.sleep(5), awaits_below, blocks_greenly])
@pytest.mark.parametrize("strike", ["Timeout", "silent Timeout", "kill"])
def test_a_cancel_below_is_not_lost_to_a_strike_in_its_cleanup(blocking_host, wait, strike):
    log, kept = [], []
    seconds, silent = (None if strike == "kill" else 0.03), (False if strike == "silent Timeout" else None)

    async def blocks():
        kept.append(greenlet.getcurrent())
        try:
            with eventlet.Timeout(seconds, silent):
                await_(cleans_up(wait, log))
        except (eventlet.Timeout, greenlet.GreenletExit):
            log.append("struck")
        await asyncio.sleep(0.01)
        log.append("went on")

    async def main():
        task = asyncio.create_task(blocks())
        await asyncio.sleep(0.001)
        task.cancel()
        while not log:
            await asyncio.sleep(0.001)
        if strike == "kill":
            eventlet.kill(kept.pop())
        await asyncio.wait([task])
        assert task.cancelled()
        assert log == ["cleanup"]

    blocking_host(main)


async def has_had_its_limit(limit, log):
    with anyio.move_on_after(0.001):
        await asyncio.sleep(5)
    log.append("over")
    begin(limit)
    await asyncio.sleep(5)


@pytest.mark.parametrize("is_cancelled", [False, pytest.param(True, marks=needs_counts)])
def test_a_scope_that_was_left_has_no_part_in_a_later_strike(blocking_host, is_cancelled):
    log = []

    async def cleanup():
        with pytest.raises(eventlet.Timeout):
            with eventlet.Timeout(None) as limit:
                await_(has_had_its_limit(limit, log))
        await asyncio.sleep(0.001)
        log.append("complete")

    async def blocks():
        try:
            await asyncio.sleep(5 if is_cancelled else 0)
        finally:
            await cleanup()

    async def main():
        task = asyncio.create_task(blocks())
        await asyncio.sleep(0.001)
        if is_cancelled:
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == is_cancelled
        assert log == ["over", "complete"]

    blocking_host(main)


# anyio's lets no cleanup wait for a Timeout.
@needs_counts
@pytest.mark.parametrize("scope, is_first", [(OfAsyncio, False), (OfAnyio, False), (OfAsyncio, True)])
def test_a_scope_around_await_is_not_all_that_is_over(blocking_host, scope, is_first):
    """Two limits pass, one in the cleanup for the other: the outer one has its way, as if both were asyncio's."""
    log = []

    async def body(*pass_one_by_one):
        try:
            pass_one_by_one[0]()
            await asyncio.sleep(5)
        finally:
            log.append("cleanup")
            pass_one_by_one[1]()
            await asyncio.sleep(5)

    async def tries_twice(limit):
        for _ in range(2):
            try:
                async with scope() as entered:
                    ends = [functools.partial(begin, limit), entered.expire]
                    await_(body(*reversed(ends) if is_first else ends))
            except TimeoutError:
                log.append("tried again")

    async def blocks():
        try:
            with eventlet.Timeout(None) as limit:
                await tries_twice(limit)
        except eventlet.Timeout:
            log.append("Timeout")
        assert asyncio.current_task().cancelling() == 0

    async def main():
        await asyncio.wait_for(asyncio.create_task(blocks()), 2)
        assert log == ["cleanup", "Timeout"]

    blocking_host(main)


@needs_counts
@pytest.mark.parametrize("first", ["nothing", "cancel", "Timeout"])
def test_a_scope_in_a_cleanup_takes_back_what_it_asked_for(blocking_host, first):
    """Where its cancel came together with a kill, and so was left for the next await."""
    log, kept = [], []

    async def cleanup():
        kept.append(greenlet.getcurrent())
        async with asyncio.timeout(0.01) as scope:
            asyncio.get_running_loop().call_at(scope.when(), lambda: eventlet.kill(kept.pop(), LookupError))
            with pytest.raises(LookupError):
                eventlet.sleep(5)
        await asyncio.sleep(0.001)
        log.append("complete")

    async def body():
        try:
            await asyncio.sleep(0 if first == "nothing" else 5)
        finally:
            await cleanup()

    async def blocks():
        with eventlet.Timeout(0.01 if first == "Timeout" else None, False):
            if first == "Timeout":
                await_(body())
            else:
                await body()

    async def main():
        task = asyncio.create_task(blocks())
        await asyncio.sleep(0.001)
        if first == "cancel":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == (first == "cancel")
        assert log == ["complete"]

    blocking_host(main)


@needs_counts
def test_a_cancel_is_not_lost_in_a_shielded_cleanup(blocking_host):
    async def main():
        cleanups = []

        async def shields_its_cleanup():
            try:
                await asyncio.sleep(5)
            finally:
                rest = asyncio.ensure_future(asyncio.sleep(0.02))
                cleanups.append(rest)
                while not rest.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.shield(rest)

        async def limited():
            with eventlet.Timeout(0.005):
                await_(shields_its_cleanup())

        task = asyncio.create_task(limited())
        while not cleanups:
            await asyncio.sleep(0)
        task.cancel()
        return await asyncio.gather(task, return_exceptions=True), task.cancelling()

    (outcome,), cancels = blocking_host(main)
    assert type(outcome) is asyncio.CancelledError
    assert cancels == 1
