"""A Timeout, kill or cancel of a task strikes the greenlet that waits in it, also one of SQLAlchemy's or greenback's."""

import asyncio
import functools
import sys

import eventlet
import greenback
import pytest
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
