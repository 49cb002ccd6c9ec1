"""nest_asyncio, which libraries apply for their users, leaves our loops as they are: runs and crossings go on."""

import asyncio

import eventlet
import nest_asyncio

import eventlet_asyncio
from eventlet_asyncio import await_

eventlet_asyncio.use_hub()
eventlet.hubs.get_hub()
nest_asyncio.apply()
theirs = asyncio.SelectorEventLoop()
nest_asyncio.apply(theirs)
theirs.close()


async def returns(value):
    await asyncio.sleep(0.001)
    return value


async def mixes():
    task = asyncio.create_task(returns(1))
    eventlet.sleep(0.002)
    below = await_(returns(2))
    green = await eventlet.spawn(lambda: await_(returns(3)))
    assert asyncio.current_task() is not None
    return await task, below, green, eventlet_asyncio.run(returns(4))


async def runs_itself():
    waits = asyncio.sleep(0.001)
    try:
        asyncio.get_running_loop().run_until_complete(waits)
    except RuntimeError as error:
        waits.close()
        return str(error)


assert eventlet_asyncio.run(runs_itself()) == "This event loop is already running"
assert asyncio.run(mixes()) == (1, 2, 3, 4)
assert eventlet_asyncio.run(mixes()) == (1, 2, 3, 4)
assert await_(returns(5)) == 5
runs = [eventlet.spawn(eventlet_asyncio.run, returns(each)) for each in range(3)]
assert [each.wait() for each in runs] == [0, 1, 2]


def nested(loop):
    """A loop of asyncio's own is the hub's host, and green threads run that loop itself."""
    ticks = []

    def counts():
        while True:
            ticks.append(None)
            eventlet.sleep(0.001)

    async def main():
        runs = [eventlet.spawn(loop.run_until_complete, returns(each)) for each in range(3)]
        results = [await each for each in runs]
        seen = len(ticks)
        while len(ticks) < seen + 3:
            await asyncio.sleep(0.001)
        return results

    green = eventlet.spawn(counts)
    assert loop.run_until_complete(asyncio.wait_for(main(), 10)) == [0, 1, 2]
    green.kill()
    loop.close()


loop = asyncio.SelectorEventLoop()
nest_asyncio.apply(loop)
nested(loop)
eventlet.monkey_patch()
# It takes a greenlet for the thread from here on.
loop = asyncio.SelectorEventLoop()
nest_asyncio.apply(loop)
nested(loop)
print("pass")
