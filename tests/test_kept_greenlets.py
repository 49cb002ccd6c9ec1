"""Who keeps the greenlet of a task means the task: what is done to that greenlet later reaches this task or nobody."""

import asyncio
import gc
import threading
import time
import weakref

import eventlet
import greenlet
import pytest
from eventlet import event, hubs
from eventlet.hubs import timer
from sqlalchemy.util import await_only, greenlet_spawn

import eventlet_asyncio
from eventlet_asyncio import _steps, await_

pytestmark = pytest.mark.usefixtures("quiet")


class Wrong(Exception):
    pass


def by_hub(strike):
    """Strikes from the hub, in its next turn, and waits until it has."""

    def strikes(kept):
        hubs.get_hub().schedule_call_global(0, strike, kept)
        eventlet.sleep(0.001)

    return strikes


STRIKES = {
    "kill": eventlet.kill,
    "kill by": lambda kept: eventlet.kill(kept, Wrong("kill")),
    "throw": lambda kept: kept.throw(Wrong("throw")),
    "throw nothing": lambda kept: kept.throw(),
    "switch": lambda kept: kept.switch(),
}
STRIKES.update({f"{name} by the hub": by_hub(strike) for name, strike in list(STRIKES.items())})


async def keeps(box):
    box.append(eventlet.getcurrent())
    return "kept"


async def keeps_over_both(box):
    await asyncio.sleep(0)
    eventlet.sleep(0)
    return await keeps(box)


def keeps_in_a_callback(box):
    box.append(eventlet.getcurrent())


class Others:
    """Tasks, parked, suspended and running in turn, that nothing may strike."""

    def __init__(self):
        self.turns = 0
        self.ends = False
        self.tasks = [asyncio.create_task(self.run(number)) for number in range(6)]

    async def run(self, number):
        while not self.ends:
            self.turns += 1
            if number % 3 != 0:
                await asyncio.sleep(0.0001 * number)
            if number % 3 != 1:
                eventlet.sleep(0.0001 * number)
        return "untouched"

    async def end(self):
        self.ends = True
        assert await asyncio.gather(*self.tasks) == ["untouched"] * 6


async def strike_untouched(strike, kept):
    """Strikes, and sees to it that who strikes is not struck, nor woken when that comes too early."""
    began = time.monotonic()
    strike(kept)
    eventlet.sleep(0.003)
    await asyncio.sleep(0.003)
    eventlet.sleep(0.003)
    assert time.monotonic() - began > 0.008, "it was woken too early"


# A task that is done


@pytest.mark.parametrize("strike", STRIKES.values(), ids=STRIKES)
@pytest.mark.parametrize("keeper", [keeps, keeps_over_both])
def test_what_is_done_to_that_of_a_task_that_is_done_reaches_nobody(blocking_host, keeper, strike):
    async def main():
        box = []
        assert await asyncio.create_task(keeper(box)) == "kept"
        others = Others()
        for _ in range(3):
            assert box[0].dead
            assert not box[0]
            await strike_untouched(strike, box[0])
            await asyncio.sleep(0.001)
        assert others.turns
        await others.end()
        assert box[0].dead

    blocking_host(main)


@pytest.mark.parametrize("strike", STRIKES.values(), ids=STRIKES)
def test_what_is_done_to_that_of_a_callback_that_is_over_reaches_nobody(strike):
    async def main():
        box = []
        asyncio.get_running_loop().call_soon(keeps_in_a_callback, box)
        await asyncio.sleep(0)
        others = Others()
        for _ in range(3):
            assert box[0].dead
            await strike_untouched(strike, box[0])
        await others.end()

    eventlet_asyncio.run(main())


@pytest.mark.parametrize("strike", STRIKES.values(), ids=STRIKES)
def test_a_green_thread_may_strike_as_well(strike):
    struck = []

    def strikes(kept):
        began = time.monotonic()
        strike(kept)
        eventlet.sleep(0.005)
        struck.append(time.monotonic() - began)

    async def main():
        box = []
        await asyncio.create_task(keeps(box))
        others = Others()
        for _ in range(3):
            await eventlet.spawn(strikes, box[0])
        await others.end()

    eventlet_asyncio.run(main())
    assert len(struck) == 3
    assert min(struck) > 0.004, "who struck was woken too early"


def test_each_of_many_is_that_of_its_task():
    async def main():
        boxes = [[] for _ in range(200)]
        ends = asyncio.Event()

        async def lives(box):
            await keeps(box)
            await ends.wait()

        tasks = [
            asyncio.create_task(lives(box) if number % 2 else keeps_over_both(box)) for number, box in enumerate(boxes)
        ]
        while not all(boxes):
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks[::2])
        kept = [box[0] for box in boxes]
        assert len(set(kept[1::2])) == 100
        assert not set(kept[1::2]) & set(kept[::2])
        assert [bool(each) for each in kept] == [number % 2 == 1 for number in range(200)]
        victims = range(1, 200, 4)
        for number in victims:
            eventlet.kill(kept[number])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ends.set()
        await asyncio.wait(tasks)
        assert [number for number in range(200) if tasks[number].cancelled()] == list(victims)
        assert all(each.dead for each in kept)

    eventlet_asyncio.run(main())


def test_the_first_step_of_what_green_code_awaits_may_keep_its_own_too():
    async def awaited(box, number):
        await keeps(box)
        await asyncio.sleep(0.001 * number)
        return number

    async def main():
        others = Others()
        boxes = [[] for _ in range(6)]
        greens = [eventlet.spawn(await_, awaited(box, number % 3)) for number, box in enumerate(boxes)]
        while not all(boxes):
            await asyncio.sleep(0)
        assert len({box[0] for box in boxes}) == 6
        eventlet.kill(boxes[5][0])
        with pytest.raises(asyncio.CancelledError):
            greens[5].wait()
        for number in range(5):
            assert greens[number].wait() == number % 3
            await strike_untouched(eventlet.kill, boxes[number][0])
        await others.end()

    eventlet_asyncio.run(main())


# A task that is suspended at an await


@pytest.mark.parametrize("strike", [strike for name, strike in STRIKES.items() if "switch" not in name])
def test_what_is_thrown_at_that_of_a_suspended_task_cancels_it(strike):
    log = []

    async def victim(box):
        await keeps(box)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("cancelled")
            await asyncio.sleep(0)
            raise

    async def main():
        box = []
        task = asyncio.create_task(victim(box))
        others = Others()
        await asyncio.sleep(0.001)
        assert box[0]
        assert not box[0].dead
        await strike_untouched(strike, box[0])
        with pytest.raises(asyncio.CancelledError):
            await task
        assert box[0].dead
        await others.end()

    eventlet_asyncio.run(main())
    assert log == ["cancelled"]


def test_a_switch_to_that_of_a_suspended_task_goes_nowhere():
    async def victim(box):
        await keeps(box)
        await asyncio.sleep(0.02)
        return "slept"

    async def main():
        box = []
        task = asyncio.create_task(victim(box))
        others = Others()
        await asyncio.sleep(0.001)
        await strike_untouched(STRIKES["switch"], box[0])
        assert await task == "slept"
        await others.end()

    eventlet_asyncio.run(main())


# A task that blocks greenly, maybe on another greenlet by now


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("strike", ["kill", "throw"])
def test_what_is_thrown_at_that_of_a_task_which_blocks_greenly_is_raised_there(hub, strike, before):
    log = []

    async def victim(box):
        await keeps(box)
        for _ in range(before):
            await asyncio.sleep(0.001)
        box.append("blocks")
        try:
            eventlet.sleep(60)
        except Wrong as wrong:
            log.append(str(wrong))
        await asyncio.sleep(0)
        return "went on"

    async def main():
        box = []
        others = Others()
        task = asyncio.create_task(victim(box))
        while "blocks" not in box:
            await asyncio.sleep(0)
        if strike == "kill":
            eventlet.kill(box[0], Wrong("struck"))
        else:
            hub.schedule_call_global(0, lambda: box[0].throw(Wrong("struck")))
        assert await task == "went on"
        await others.end()

    eventlet_asyncio.run(main())
    assert log == ["struck"]


def test_a_switch_to_that_of_a_task_which_blocks_greenly_wakes_it(hub):
    async def victim(box):
        await keeps(box)
        await asyncio.sleep(0.001)
        box.append("blocks")
        return hub.switch()

    async def main():
        box = []
        others = Others()
        task = asyncio.create_task(victim(box))
        while "blocks" not in box:
            await asyncio.sleep(0)
        hub.schedule_call_global(0, box[0].switch, "value")
        assert await task == "value"
        await others.end()

    eventlet_asyncio.run(main())


def test_what_is_thrown_at_that_of_a_task_inside_kill_is_raised_there(hub):
    def cleans_slowly():
        try:
            eventlet.sleep(60)
        finally:
            for _ in range(3):
                hub.schedule_call_global(0, greenlet.getcurrent().switch)
                hub.switch()

    async def victim(box):
        await keeps(box)
        await asyncio.sleep(0.001)
        green = eventlet.spawn(cleans_slowly)
        eventlet.sleep(0)
        hub.schedule_call_global(0, lambda: box[0].throw(Wrong("struck")))
        with pytest.raises(Wrong, match="struck"):
            green.kill()
        await asyncio.sleep(0)
        return "went on"

    async def main():
        others = Others()
        assert await asyncio.create_task(victim([])) == "went on"
        await others.end()

    eventlet_asyncio.run(main())


# A task that strikes itself


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("strike", ["kill", "throw"])
def test_a_task_that_throws_at_its_own_gets_it_at_once(strike, later):
    async def victim(box):
        await keeps(box)
        if later:
            await asyncio.sleep(0.001)
        with pytest.raises(Wrong):
            eventlet.kill(box[0], Wrong) if strike == "kill" else box[0].throw(Wrong)
        await asyncio.sleep(0)
        return "went on"

    async def main():
        others = Others()
        assert await asyncio.create_task(victim([])) == "went on"
        await others.end()

    eventlet_asyncio.run(main())


def test_a_task_that_kills_itself_leaves_no_switch_for_others():
    async def victim():
        eventlet.kill(eventlet.getcurrent())

    async def main():
        others = Others()
        for _ in range(10):
            with pytest.raises(greenlet.GreenletExit):
                await asyncio.create_task(victim())
            began = time.monotonic()
            eventlet.sleep(0.002)
            assert time.monotonic() - began > 0.0019
        await others.end()

    eventlet_asyncio.run(main())


# Others that have kept it


def test_a_greenlet_made_in_one_step_and_started_in_another_ends_in_its_task():
    async def work(number):
        child = greenlet.greenlet(lambda: eventlet.sleep(0.0001 * number) or number)
        failing = greenlet.greenlet(fails)
        for _ in range(number % 4):
            await asyncio.sleep(0)
            eventlet.sleep(0)
        assert child.switch() == number
        with pytest.raises(Wrong):
            failing.switch()
        await asyncio.sleep(0)
        return number

    def fails():
        eventlet.sleep(0)
        raise Wrong

    async def main():
        return await asyncio.wait_for(asyncio.gather(*map(work, range(20))), 10)

    assert eventlet_asyncio.run(main()) == list(range(20))
    assert eventlet.spawn(eventlet_asyncio.run, main()).wait() == list(range(20))


def test_eventlets_own_local_timers_go_by_the_task(blocking_host):
    async def task(number, log):
        await asyncio.sleep(0)
        timer.LocalTimer(0.005, log.append, number).schedule()
        eventlet.sleep(0)
        if number % 2:
            await asyncio.sleep(0.02)

    async def main():
        log = []
        await asyncio.gather(*(task(number, log) for number in range(10)))
        await asyncio.sleep(0.01)
        eventlet.sleep(0)
        return sorted(log)

    assert blocking_host(main) == [1, 3, 5, 7, 9]


def test_a_method_that_was_kept_keeps_it():
    async def keeps_switch(box):
        box.append(eventlet.getcurrent().switch)

    async def main():
        box = []
        await asyncio.create_task(keeps_switch(box))
        others = Others()
        for _ in range(5):
            box[0]()
            await asyncio.sleep(0.001)
        await others.end()

    eventlet_asyncio.run(main())


def test_a_wrong_hit_of_the_base_class_does_not_harm_either():
    """`greenlet.throw(kept)` knows nothing of tasks."""

    async def victim(box):
        await keeps(box)
        await asyncio.sleep(60)

    async def main():
        box, done = [], []
        task = asyncio.create_task(victim(box))
        await asyncio.create_task(keeps(done))
        others = Others()
        hub = hubs.get_hub()
        hub.schedule_call_global(0, greenlet.greenlet.throw, box[0], Wrong("struck"))
        hub.schedule_call_global(0, greenlet.greenlet.throw, done[0])
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
        await others.end()

    eventlet_asyncio.run(main())


# What it costs


@pytest.fixture
def made(monkeypatch):
    """Notes the greenlets that are made to run callbacks."""
    made = []

    def note(carrier, name, value):
        if name == "step":
            made.append(weakref.ref(carrier))
        object.__setattr__(carrier, name, value)

    monkeypatch.setattr(_steps.Carrier, "__setattr__", note, raising=False)
    return made


def awaits():
    return asyncio.sleep(0)


def sleeps():
    eventlet.sleep(0)


def waits_for_an_event():
    happens = event.Event()
    eventlet.spawn(happens.send, 1)
    happens.wait()


def waits_for_a_green_thread():
    eventlet.spawn(eventlet.sleep, 0).wait()


def is_struck():
    with eventlet.Timeout(0, False):
        eventlet.sleep(60)


def awaits_below():
    await_(asyncio.sleep(0))


def kills():
    green = eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep(0)
    green.kill()


@pytest.mark.parametrize(
    "work", [awaits, sleeps, waits_for_an_event, waits_for_a_green_thread, is_struck, awaits_below, kills]
)
@pytest.mark.parametrize("run", [eventlet_asyncio.run, lambda main: eventlet.spawn(eventlet_asyncio.run, main).wait()])
def test_where_nobody_keeps_one_they_are_used_again(made, work, run):
    async def task():
        with eventlet.Timeout(60):
            for _ in range(5):
                if waits := work():
                    await waits
                await asyncio.sleep(0)

    async def main():
        for _ in range(30):
            await asyncio.gather(*(task() for _ in range(3)))

    run(main())
    assert len(made) < 20 or run is not eventlet_asyncio.run


def test_those_that_nobody_has_any_more_are_gone(made):
    async def task(box):
        await keeps(box)
        await asyncio.sleep(0)
        eventlet.sleep(0)
        await keeps(box)
        box.clear()

    async def main():
        for _ in range(200):
            await asyncio.gather(*(task([]) for _ in range(3)))
        gc.collect()
        assert sum(carrier() is not None for carrier in made) < 50

    eventlet_asyncio.run(main())
    eventlet.spawn(eventlet_asyncio.run, main()).wait()


def test_that_of_a_done_task_holds_no_stack(made):
    async def main():
        box = []
        for _ in range(100):
            await asyncio.create_task(keeps(box))
        for _ in range(100):
            await asyncio.create_task(keeps([]))
        ended = [greenlet.greenlet.dead.__get__(kept) for kept in box]
        assert sum(ended) > 90

    eventlet_asyncio.run(main())


def test_a_kept_greenlet_keeps_no_task():
    async def main():
        box = []
        task = asyncio.create_task(keeps(box))
        await task
        known = weakref.ref(task)
        del task
        await asyncio.sleep(0)
        gc.collect()
        assert known() is None
        assert box[0].dead

    eventlet_asyncio.run(main())


async def keeps_for_a_while(box):
    keeper = greenlet.getcurrent()
    await asyncio.sleep(0)
    return keeper


async def blocks_for_long():
    eventlet.sleep(5)


async def has_a_greenlet_for_a_while(box):
    return await greenlet_spawn(await_only, asyncio.sleep(0))


@pytest.mark.parametrize("work", [keeps, keeps_for_a_while, has_a_greenlet_for_a_while])
def test_however_many_there_were_there_is_stack_for_the_next(blocking_host, work):
    def deep(levels):
        # Two frames of C each, of which CPython counts few.
        return list(map(deep, [levels - 1])) if levels else None

    async def main():
        box = []
        for _ in range(2000):
            await asyncio.create_task(work(box))
            del box[100:]
        await asyncio.create_task(asyncio.to_thread(int))
        deep(50)

    blocking_host(main)


@pytest.mark.parametrize("strike", [eventlet.kill, lambda kept: kept.throw()], ids=["kill", "throw"])
@pytest.mark.parametrize("waits", [lambda: asyncio.sleep(5), blocks_for_long], ids=["awaits", "blocks"])
@pytest.mark.parametrize("debug", [False, True])
def test_another_thread_strikes_the_task_in_its_own(blocking_host, strike, waits, debug):
    async def keeps_and_waits(box):
        box.append(greenlet.getcurrent())
        try:
            await waits()
        finally:
            box.append(threading.get_ident())

    async def main():
        asyncio.get_running_loop().set_debug(debug)
        box = []
        task = asyncio.create_task(keeps_and_waits(box))
        await asyncio.sleep(0.001)
        await asyncio.to_thread(strike, box[0])
        with pytest.raises((asyncio.CancelledError, greenlet.GreenletExit)):
            await asyncio.wait_for(asyncio.shield(task), 2)
        assert box[1] == threading.get_ident()

    blocking_host(main)
