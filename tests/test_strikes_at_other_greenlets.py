"""A Timeout, kill or cancel of a task strikes the greenlet that waits in it, also one of SQLAlchemy's or greenback's."""

import asyncio
import functools
import sys

import eventlet
import greenback
import greenlet
import pytest
from eventlet import event, hubs
from sqlalchemy.util import await_only, greenlet_spawn

import eventlet_asyncio
from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")


class Wrong(Exception):
    pass


class Witness:
    """Looks whether the code that runs is the task's in which this was made, and whether that goes on rightly."""

    def __init__(self):
        self.task = asyncio.current_task()
        self.loop = asyncio.get_running_loop()

    def looks(self):
        assert asyncio._get_running_loop() is self.loop
        assert asyncio.current_task() is self.task

    def cleans_up(self):
        """In a greenlet that may await."""
        self.looks()
        assert await_only(asyncio.sleep(0.001, "rolled back")) == "rolled back"
        self.looks()
        eventlet.sleep(0.001)
        self.looks()
        assert await_(asyncio.sleep(0, "committed")) == "committed"
        self.looks()

    async def goes_on(self):
        """In the coroutine of the task."""
        self.looks()
        assert await asyncio.sleep(0.001, "next") == "next"
        self.looks()
        eventlet.sleep(0.001)
        self.looks()
        if sys.version_info >= (3, 11):
            assert self.task.cancelling() == 0
        assert not hasattr(self.task, "_thrown")


async def blocks_greenly():
    eventlet.sleep(60)


#: Ways to wait in a greenlet that SQLAlchemy has made.
WAITS = {
    "green block": lambda: eventlet.sleep(60),
    "await": lambda: await_only(asyncio.sleep(60)),
    "await_": lambda: await_(asyncio.sleep(60)),
    "green block in what is awaited": lambda: await_only(blocks_greenly()),
    "green thread": lambda: eventlet.spawn(eventlet.sleep, 60).wait(),
    "another greenlet": lambda: await_only(greenlet_spawn(lambda: eventlet.sleep(60))),
    "await in another greenlet": lambda: await_only(greenlet_spawn(lambda: await_only(asyncio.sleep(60)))),
    "portal": lambda: await_only(greenback.with_portal_run_sync(eventlet.sleep, 60)),
    "await in a portal": lambda: await_only(greenback.with_portal_run_sync(lambda: greenback.await_(asyncio.sleep(60)))),
}
waits = pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)

#: Timeouts, and what is raised where their block is left.
TIMEOUTS = [(None, eventlet.Timeout), (Wrong("late"), Wrong), (Wrong, Wrong), (False, None)]
timeouts = pytest.mark.parametrize("exception, seen", TIMEOUTS, ids=["plain", "instance", "class", "silent"])


async def beside(struck):
    """Runs what is struck beside tasks that do the same and are not."""

    def waits(witness):
        for _ in range(3):
            eventlet.sleep(0.002)
            await_only(asyncio.sleep(0.002))
            witness.looks()

    async def bystander():
        witness = Witness()
        await greenlet_spawn(waits, witness)
        await witness.goes_on()

    bystanders = [asyncio.create_task(bystander()) for _ in range(3)]
    await asyncio.wait_for(asyncio.create_task(struck()), 10)
    await asyncio.gather(*bystanders)


@timeouts
@waits
def test_a_timeout_around_such_a_greenlet_is_raised_where_that_waits(blocking_host, wait, exception, seen):
    log = []

    def waits(witness):
        try:
            wait()
        finally:
            log.append("cleans up")
            witness.cleans_up()
            log.append("clean")

    async def struck():
        witness = Witness()
        # The greenlet belongs to a step that came before.
        await asyncio.sleep(0)
        try:
            with eventlet.Timeout(0.005, exception):
                await greenlet_spawn(waits, witness)
        except BaseException as raised:
            log.append(type(raised))
        else:
            log.append(None)
        await witness.goes_on()

    blocking_host(functools.partial(beside, struck))
    assert log == ["cleans up", "clean", seen]


@timeouts
@waits
def test_a_timeout_in_such_a_greenlet_is_raised_in_it(blocking_host, wait, exception, seen):
    log = []

    def waits(witness):
        for _ in range(2):
            try:
                with eventlet.Timeout(0.005, exception):
                    try:
                        wait()
                    finally:
                        log.append("cleans up")
                        witness.cleans_up()
            except BaseException as raised:
                witness.looks()
                log.append(type(raised))
            else:
                log.append(None)
            witness.cleans_up()

    async def struck():
        witness = Witness()
        await greenlet_spawn(waits, witness)
        await witness.goes_on()

    blocking_host(functools.partial(beside, struck))
    assert log == ["cleans up", seen] * 2


@timeouts
@pytest.mark.parametrize("how", ["await", "green block", "greenback.await_", "greenlet_spawn"])
def test_a_timeout_in_a_portal_of_greenback(blocking_host, how, exception, seen):
    async def struck():
        await greenback.ensure_portal()
        witness = Witness()
        for _ in range(2):
            raised = None
            try:
                with eventlet.Timeout(0.005, exception):
                    if how == "await":
                        await asyncio.sleep(60)
                    elif how == "green block":
                        eventlet.sleep(60)
                    elif how == "greenback.await_":
                        greenback.await_(asyncio.sleep(60))
                    else:
                        await greenlet_spawn(await_only, asyncio.sleep(60))
            except BaseException as error:
                raised = type(error)
            assert raised is seen
            await witness.goes_on()
            assert greenback.await_(asyncio.sleep(0.001, "value")) == "value"
            witness.looks()

    blocking_host(functools.partial(beside, struck))


def test_a_timeout_around_an_inner_run_in_such_a_greenlet():
    log = []

    def waits(witness):
        try:
            eventlet_asyncio.run(asyncio.sleep(60))
        finally:
            witness.cleans_up()
            log.append("clean")

    async def struck():
        witness = Witness()
        with pytest.raises(eventlet.Timeout):
            with eventlet.Timeout(0.005):
                await greenlet_spawn(waits, witness)
        await witness.goes_on()

    eventlet_asyncio.run(beside(struck))
    assert log == ["clean"]


@pytest.mark.parametrize("first", ["outer", "inner"])
@waits
def test_of_two_timeouts_each_is_raised_at_its_own_block(blocking_host, wait, first):
    log = []

    def waits(witness):
        try:
            with eventlet.Timeout(0.005 if first == "inner" else 60, LookupError("inner")):
                wait()
        except LookupError:
            witness.cleans_up()
            log.append("inner")
            eventlet.sleep(60)

    async def struck():
        witness = Witness()
        with pytest.raises(Wrong, match="outer"):
            with eventlet.Timeout(0.4 if first == "inner" else 0.005, Wrong("outer")):
                await greenlet_spawn(waits, witness)
        await witness.goes_on()

    blocking_host(functools.partial(beside, struck))
    assert log == (["inner"] if first == "inner" else [])


def cancelled_by_wait_for(coroutine):
    return asyncio.wait_for(coroutine, 0.005)


async def cancelled_by_timeout(coroutine):
    async with asyncio.timeout(0.005):
        await coroutine


async def cancelled(coroutine):
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    raise asyncio.TimeoutError


CANCELS = [cancelled_by_wait_for, cancelled]
if sys.version_info >= (3, 11):
    CANCELS.append(cancelled_by_timeout)


@pytest.mark.parametrize("cancel", CANCELS)
@waits
def test_a_cancel_is_raised_where_such_a_greenlet_waits(blocking_host, wait, cancel):
    log = []

    def waits():
        witness = Witness()
        try:
            wait()
        except asyncio.CancelledError:
            witness.cleans_up()
            log.append("clean")
            raise

    async def struck():
        witness = Witness()
        with pytest.raises(asyncio.TimeoutError):
            await cancel(greenlet_spawn(waits))
        await witness.goes_on()

    blocking_host(functools.partial(beside, struck))
    assert log == ["clean"]


# Thrown by green code that has kept the greenlet, or its throw().


def thrown_by_timer(green, throw, exception):
    hubs.get_hub().schedule_call_global(0, throw, exception)


def thrown_in_green_thread(green, throw, exception):
    eventlet.spawn(thrown_by_timer, green, throw, exception)


def killed_by_timer(green, throw, exception):
    hubs.get_hub().schedule_call_global(0, eventlet.kill, green, exception)


def killed_by_task(green, throw, exception):
    witness = Witness()
    eventlet.kill(green, exception)
    witness.looks()


def killed_by_green_thread(green, throw, exception):
    def kills():
        eventlet.kill(green, exception)
        assert asyncio._get_running_loop() is None
        green_log.append("killed")

    green_log = []
    eventlet.spawn(kills).wait()
    # And not waked again.
    eventlet.sleep(0)
    assert green_log == ["killed"]


KILLS = [killed_by_timer, killed_by_task, killed_by_green_thread]


async def strike(wait, strikes):
    """What a greenlet gets that is struck where it waits, and what the task that made it then does."""
    box, log = [], []

    def waits(witness):
        # It is the task's, by way of which it has come here.
        await_only(asyncio.sleep(0))
        box.extend([greenlet.getcurrent(), greenlet.getcurrent().throw])
        try:
            wait()
        except BaseException as exception:
            log.append(type(exception))
            witness.cleans_up()
            raise

    async def victim():
        witness = Witness()
        try:
            await greenlet_spawn(waits, witness)
        finally:
            await witness.goes_on() if log == [Wrong] else witness.looks()

    task = asyncio.create_task(victim())
    while not box:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    strikes(*box, Wrong("struck"))
    done, _ = await asyncio.wait([task], timeout=5)
    assert done
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert [type(outcome)] == log
    # What is done is not struck again.
    strikes(*box, Wrong("again"))
    await asyncio.sleep(0.002)
    return log


@pytest.mark.parametrize("strikes", KILLS)
@pytest.mark.parametrize("what, seen", [("green block", Wrong), ("await_", Wrong), ("await", asyncio.CancelledError)])
def test_who_kills_such_a_greenlet_strikes_its_task(blocking_host, what, seen, strikes):
    async def struck():
        assert await strike(WAITS[what], strikes) == [seen]

    blocking_host(functools.partial(beside, struck))


@pytest.mark.parametrize("strikes", [thrown_by_timer, thrown_in_green_thread])
@pytest.mark.parametrize("what, seen", [("green block", Wrong), ("await_", Wrong), ("await", asyncio.CancelledError)])
def test_a_call_of_its_throw_is_one_of_its_tasks(what, seen, strikes):
    async def struck():
        assert await strike(WAITS[what], strikes) == [seen]

    eventlet_asyncio.run(beside(struck))


def test_what_is_left_of_a_timeout_strikes_nobody_when_the_task_is_done(blocking_host):
    left = []

    def leave():
        # Longer than it takes until those tasks are done.
        left.append(eventlet.Timeout(0.2))

    def leaves():
        leave()
        await_only(asyncio.sleep(0))
        leave()

    def is_left():
        leave()
        await_only(asyncio.sleep(0))
        leave()
        with pytest.raises(asyncio.CancelledError):
            await_only(asyncio.sleep(60))
        leave()

    async def struck():
        await asyncio.create_task(greenlet_spawn(leaves))
        task = asyncio.create_task(greenlet_spawn(is_left))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await task
        # On the carriers of those that are done.
        while any(timeout.pending for timeout in left):
            eventlet.sleep(0.01)
            await asyncio.sleep(0.01)
        assert len(left) == 5

    blocking_host(functools.partial(beside, struck))


def test_a_timeout_strikes_such_a_greenlet_inside_kill(hub):
    log = []

    def cleans_slowly():
        try:
            eventlet.sleep(60)
        finally:
            for _ in range(3):
                hub.schedule_call_global(0, greenlet.getcurrent().switch)
                hub.switch()

    def kills(green, witness):
        try:
            green.kill()
            log.append("kill() was not interrupted")
        finally:
            witness.looks()
            log.append("clean")

    async def struck():
        witness = Witness()
        green = eventlet.spawn(cleans_slowly)
        eventlet.sleep(0)
        with pytest.raises(eventlet.Timeout):
            with eventlet.Timeout(0):
                await greenlet_spawn(kills, green, witness)
        # kill() would have gone on now.
        eventlet.sleep(0)
        await witness.goes_on()

    asyncio.run(struck())
    assert log == ["clean"]


def test_a_greenlet_of_a_callback_is_struck_by_what_was_thrown_at_the_callback(hub):
    log = []

    def waits():
        try:
            eventlet.sleep(60)
        finally:
            log.append(asyncio._get_running_loop())

    def callback():
        try:
            with eventlet.Timeout(0.002):
                greenlet.greenlet(waits).switch()
        except eventlet.Timeout:
            log.append(asyncio._get_running_loop())

    hub.loop.call_soon(callback)
    while len(log) < 2:
        eventlet.sleep(0.001)
    assert log == [hub.loop, hub.loop]


def test_a_greenlet_that_protocols_keep_has_its_own_timeouts(hub):
    """It belongs to no task, and goes on when one of its callbacks comes, or the hub for a Timeout of it."""
    log = []

    def serves():
        caller = greenlet.getcurrent().parent
        for number in range(2):
            try:
                with eventlet.Timeout(0.002):
                    log.append(caller.switch())
                    log.append(caller.switch())
            except eventlet.Timeout:
                log.append(number)

    keeps = greenlet.greenlet(serves)
    hub.loop.call_soon(keeps.switch)
    hub.loop.call_later(0.0005, keeps.switch, "data")
    while log != ["data", 0, 1]:
        eventlet.sleep(0.001)
