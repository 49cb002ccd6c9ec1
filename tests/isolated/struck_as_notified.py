"""Who is struck in the turn in which a Condition, Semaphore or queue notifies him takes nothing from the next."""

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402
import contextlib  # noqa: E402
import itertools  # noqa: E402
import queue  # noqa: E402
import threading  # noqa: E402

import greenlet  # noqa: E402

import eventlet_asyncio  # noqa: E402


def semaphore():
    made = threading.Semaphore(0)
    return made.acquire, made.release


def condition():
    made = threading.Condition()

    def wait():
        with made:
            made.wait()

    def notify():
        with made:
            made.notify()

    return wait, notify


def condition_of_a_lock():
    made = threading.Condition(threading.Lock())

    def wait():
        with made:
            return made.wait(60)

    def notify():
        with made:
            made.notify()

    return wait, notify


def items():
    made = queue.Queue()
    return made.get, lambda: made.put(None)


class Struck(Exception):
    pass


def by_task(wait):
    async def waits():
        wait()

    return asyncio.get_running_loop().create_task(waits()).cancel


def by_green_thread(wait):
    return eventlet.spawn(wait).kill


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def main(make, begin, strike_first):
    def waits(name):
        try:
            wait()
        finally:
            ended.append(name)

    ended = []
    wait, notify = make()
    strike = begin(lambda: waits("first"))
    begin(lambda: waits("second"))
    await asyncio.sleep(0.001)
    for act in (strike, notify) if strike_first else (notify, strike):
        act()
    await until(lambda: len(ended) == 2)
    assert sorted(ended) == ["first", "second"], (make, begin, strike_first, ended)


async def while_the_lock_is_taken(lock, begin):
    """Who is struck as he takes the lock back has it, passes the notification on, and ends by the strike."""

    def waits(name):
        try:
            with made:
                made.wait()
        except BaseException as exception:
            ended.append((name, type(exception)))
            raise
        ended.append((name, None))

    ended, made = [], threading.Condition(lock)
    strike = begin(lambda: waits("first"))
    begin(lambda: waits("second"))
    await asyncio.sleep(0.001)
    with made:
        made.notify()
        await asyncio.sleep(0.001)
        strike()
        strike()
        await asyncio.sleep(0.001)
        assert ended == [], ended
    await until(lambda: len(ended) == 2)
    by = asyncio.CancelledError if begin is by_task else greenlet.GreenletExit
    assert ended == [("first", by), ("second", None)], ended


async def again_and_again():
    """Whatever strikes him, and however often, he has the lock, and nobody has it with him."""

    def waits():
        with made:
            with contextlib.suppress(Struck):
                made.wait()
            assert made._lock.locked()
            log.append("has it")

    log, made = [], threading.Condition(threading.Lock())
    waiting = eventlet.spawn(waits)
    await asyncio.sleep(0.001)
    with made:
        made.notify()
        for _ in range(2000):
            waiting.kill(Struck())
            await asyncio.sleep(0)
        log.append("leaves it")
    waiting.wait()
    assert log == ["leaves it", "has it"], log


async def event_is_waited_for(begin):
    """Nobody is told that an Event was set because somebody else was struck."""

    def waits():
        try:
            told.append(event.wait())
        finally:
            ended.append("ended")

    told, ended, event = [], [], threading.Event()
    strikes = [begin(waits) for _ in range(3)]
    await asyncio.sleep(0.001)
    for strike in strikes[:2]:
        strike()
    await until(lambda: len(ended) == 2)
    await asyncio.sleep(0.001)
    assert told == [], told
    event.set()
    await until(lambda: len(ended) == 3)
    assert told == [True], told


async def notified_too_late():
    """Who is notified after his time, but before he has the lock back, was notified."""

    def waits():
        with made:
            told.append(made.wait(0.05))

    told, made = [], threading.Condition()
    while True not in told:
        waiting = eventlet.spawn(waits)
        await until(lambda: made._waiters or waiting.dead)
        with made:
            is_in_time = bool(made._waiters)
            await asyncio.sleep(0.1)
            made.notify()
        waiting.wait()
        # Where the machine stood still he may have had his time before.
        assert told.pop() is True or not is_in_time
        told.append(is_in_time)


for case in itertools.product(
    (semaphore, condition, condition_of_a_lock, items), (by_task, by_green_thread), (True, False)
):
    eventlet_asyncio.run(main(*case))
for begin in (by_task, by_green_thread):
    for lock in (None, threading.Lock()):
        eventlet_asyncio.run(while_the_lock_is_taken(lock, begin))
    eventlet_asyncio.run(event_is_waited_for(begin))
eventlet_asyncio.run(notified_too_late())
eventlet_asyncio.run(again_and_again())
print("pass")
