"""What is for a waiter whose thread has ended, or ends meanwhile, is for the next, in whatever thread."""

import threading
import time

import eventlet
from eventlet import hubs, queue, semaphore

import eventlet_asyncio

PROMPT = 5


def until(condition):
    end = time.monotonic() + PROMPT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def in_thread(body, *arguments):
    def run():
        eventlet_asyncio.use_hub()
        body(*arguments)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def join(thread):
    thread.join(PROMPT)
    assert not thread.is_alive()


def wait_and_end(permits, items, end):
    eventlet.spawn(permits.acquire)
    eventlet.spawn(items.get)
    eventlet.sleep(0)
    # Nothing switches from here on.
    end.wait()


def scenario(ends_first):
    permits = semaphore.Semaphore(0)
    items = queue.Queue()
    end = threading.Event()
    got = []
    ending = in_thread(wait_and_end, permits, items, end)
    until(lambda: permits._waiters and items.getting())
    if ends_first:
        end.set()
        join(ending)
    others = [
        in_thread(lambda: got.append(permits.acquire())),
        in_thread(lambda: got.append(items.get())),
    ]
    until(lambda: len(permits._waiters) == 2 and items.getting() == 2)
    permits.release()
    items.put("item")
    end.set()
    join(ending)
    for thread in others:
        join(thread)
    assert sorted(got, key=str) == [True, "item"]
    assert not permits._waiters


for with_hub in (False, True):
    if with_hub:
        eventlet_asyncio.use_hub()
        hubs.get_hub()
    else:
        # The patches are made by a hub of some thread, not by this one's.
        join(in_thread(hubs.get_hub))
    for _ in range(20):
        scenario(ends_first=True)
        scenario(ends_first=False)
print("pass")
