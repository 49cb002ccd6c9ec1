"""multiprocessing, by every way to start a process, from green and async code; the children run both kinds of code too."""

import asyncio
import multiprocessing
import warnings

import eventlet

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)


async def gives(value):
    await asyncio.sleep(0.001)
    return value


def both_worlds(value):
    assert await_(gives(1)) == 1
    assert eventlet.spawn(asyncio.run, gives(2)).wait() == 2
    return asyncio.run(gives(2 * value))


def child(queue, number):
    eventlet_asyncio.use_hub()
    queue.put(both_worlds(number))


def children(context):
    queue = context.Queue()
    processes = [context.Process(target=child, args=(queue, number)) for number in range(2)]
    for process in processes:
        process.start()
    assert sorted(queue.get(timeout=30) for _ in processes) == [0, 2]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    both_worlds(1)


def pool(context):
    with context.Pool(2) as workers:
        assert workers.map(both_worlds, range(4)) == [0, 2, 4, 6]
    both_worlds(1)


async def children_of_task(context):
    children(context)


if __name__ == "__main__":
    eventlet_asyncio.use_hub()
    both_worlds(1)
    fork = multiprocessing.get_context("fork")
    children(fork)
    eventlet.spawn(children, fork).wait()
    await_(children_of_task(fork))
    asyncio.run(children_of_task(fork))
    pool(fork)
    for method in ("spawn", "forkserver"):
        eventlet.spawn(children, multiprocessing.get_context(method)).wait()
    print("pass")
