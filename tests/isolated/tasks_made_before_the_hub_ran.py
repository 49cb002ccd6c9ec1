"""Green code makes tasks before the hub has run for the first time, and afterwards, by names taken at import."""

import asyncio
from asyncio import create_task, ensure_future, gather, shield

import eventlet
import eventlet.hubs

eventlet.hubs.use_hub("eventlet_asyncio.hub")
eventlet.monkey_patch()

from eventlet_asyncio import await_  # noqa: E402

hub = eventlet.hubs.get_hub()
ran = []


async def work(name):
    assert asyncio.get_running_loop() is hub.loop
    await asyncio.sleep(0.001)
    ran.append(name)
    return name


# Each way of making a task that is a plain function.
WAYS = {
    "create_task": create_task,
    "asyncio.create_task": asyncio.create_task,
    "ensure_future": ensure_future,
    "loop.create_task": hub.loop.create_task,
    "shield": lambda coroutine: shield(create_task(coroutine)),
    "gather": lambda coroutine: gather(create_task(coroutine)),
}


def make(stage):
    made = {f"{stage}, {name}": make(work(f"{stage}, {name}")) for name, make in WAYS.items()}
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return made
    raise AssertionError("a loop runs in green code")


def check(made):
    results = {name: await_(future) for name, future in made.items()}
    assert results == {name: [name] if "gather" in name else name for name in made}, results
    assert sorted(ran) == sorted(made)
    ran.clear()


before = make("before")
assert ran == []
check(before)
check(make("afterwards"))
check(eventlet.spawn(make, "in a green thread").wait())
eventlet.spawn(lambda: check(make("there and awaited there"))).wait()

# Nobody awaits these; the hub runs them all the same.
made = make("left alone")
while len(ran) < len(made):
    eventlet.sleep(0.001)
assert all(future.done() for future in made.values())
print("pass")
