"""multiprocessing in a monkey-patched program: processes and pools start, and run both kinds of code."""

import warnings

import eventlet

import eventlet_asyncio

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
eventlet.monkey_patch()

import asyncio  # noqa: E402
import concurrent.futures  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import threading  # noqa: E402


async def gives(value):
    await asyncio.sleep(0.001)
    eventlet.sleep(0.001)
    return value


def both_worlds(value):
    assert threading.main_thread().native_id == threading.get_native_id() == os.getpid()
    assert eventlet.spawn(asyncio.run, gives(2)).wait() == 2
    return asyncio.run(gives(2 * value))


if __name__ == "__main__":
    assert both_worlds(1) == 2
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=both_worlds, args=(3,))
    process.start()
    process.join(30)
    assert process.exitcode == 0, process.exitcode
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=fork) as pool:
        assert [pool.submit(both_worlds, number).result(30) for number in range(4)] == [0, 2, 4, 6]
    assert both_worlds(1) == 2
    print("pass")
