"""Who is struck in the turn in which a Condition, Semaphore or queue notifies him takes nothing from the next."""

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402
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


def by_task(wait):
    async def waits():
        wait()

    return asyncio.get_running_loop().create_task(waits()).cancel


def by_green_thread(wait):
    return eventlet.spawn(wait).kill


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
    await asyncio.sleep(0.01)
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
    await asyncio.sleep(0.01)
    by = asyncio.CancelledError if begin is by_task else greenlet.GreenletExit
    assert ended == [("first", by), ("second", None)], ended


async def event_is_waited_for(begin):
    """Nobody is told that an Event was set because somebody else was struck."""

    def waits(event):
        told.append(event.wait(0.02))

    told, event = [], threading.Event()
    strikes = [begin(lambda: waits(event)) for _ in range(3)]
    await asyncio.sleep(0.001)
    for strike in strikes[:2]:
        strike()
    await asyncio.sleep(0.04)
    assert told == [False], told


async def notified_too_late():
    """Who is notified after his time, but before he has the lock back, was notified."""

    def waits():
        with made:
            told.append(made.wait(0.005))

    told, made = [], threading.Condition()
    waiting = eventlet.spawn(waits)
    await asyncio.sleep(0.001)
    with made:
        await asyncio.sleep(0.01)
        made.notify()
    waiting.wait()
    assert told == [True], told


for case in itertools.product(
    (semaphore, condition, condition_of_a_lock, items), (by_task, by_green_thread), (True, False)
):
    eventlet_asyncio.run(main(*case))
for begin in (by_task, by_green_thread):
    for lock in (None, threading.Lock()):
        eventlet_asyncio.run(while_the_lock_is_taken(lock, begin))
    eventlet_asyncio.run(event_is_waited_for(begin))
eventlet_asyncio.run(notified_too_late())
print("pass")
