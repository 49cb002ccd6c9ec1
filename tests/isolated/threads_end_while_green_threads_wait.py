"""Threads that end while green threads of theirs wait leave no descriptor behind, on whatever hub."""

import asyncio
import gc
import os
import threading

import eventlet
from eventlet import hubs, queue

import eventlet_asyncio
from eventlet_asyncio import await_

THREADS = 20


async def sleeps(seconds):
    await asyncio.sleep(seconds)
    return seconds


def waits():
    eventlet_asyncio.use_hub()
    for function in (eventlet.Event().wait, queue.Queue().get, eventlet.Semaphore(0).acquire):
        eventlet.spawn(function)
    eventlet.spawn(eventlet.sleep, 60)
    eventlet.sleep(0)


def waits_for_a_loop():
    eventlet_asyncio.use_hub()
    eventlet.spawn(asyncio.run, sleeps(60))
    eventlet.sleep(0.005)


def awaits_in_polls_hub():
    hubs.use_hub("poll")
    assert await_(sleeps(0)) == 0


def waits_for_a_loop_in_polls_hub():
    hubs.use_hub("poll")
    eventlet.spawn(asyncio.run, sleeps(60))
    eventlet.sleep(0.005)


def waits_in_selects_hub():
    hubs.use_hub("selects")
    eventlet.spawn(eventlet.Event().wait)
    eventlet.sleep(0)


def run_in_threads(body):
    for _ in range(THREADS):
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


eventlet_asyncio.use_hub()
hubs.get_hub()
for body in (
    waits,
    waits_for_a_loop,
    awaits_in_polls_hub,
    waits_for_a_loop_in_polls_hub,
    waits_in_selects_hub,
):
    assert run_in_threads(body) == run_in_threads(body), body
print("pass")
