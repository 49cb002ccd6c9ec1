"""Who is struck in the turn in which a Condition, Semaphore or queue notifies him takes nothing from the next."""

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402
import itertools  # noqa: E402
import queue  # noqa: E402
import threading  # noqa: E402

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


for case in itertools.product(
    (semaphore, condition, condition_of_a_lock, items), (by_task, by_green_thread), (True, False)
):
    eventlet_asyncio.run(main(*case))
print("pass")
