"""Tasks of celery's eventlet pool call async code by whatever way there is, many at a time."""

import os

os.environ["EVENTLET_HUB"] = "eventlet_asyncio.hub"

import eventlet

eventlet.monkey_patch()

import asyncio
import time

import celery
import celery.worker.state
import eventlet_asyncio

TASKS = 20
app = celery.Celery("program", broker="memory://", backend="cache+memory://")
app.conf.update(
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_transport_options={"polling_interval": 0.01},
)
running = set()
most = 0


async def twice(number):
    global most
    running.add(number)
    most = max(most, len(running))
    await asyncio.sleep(0.1)
    time.sleep(0.1)
    running.discard(number)
    return 2 * number


@app.task
def by_run(number):
    return asyncio.run(twice(number))


@app.task
def by_await(number):
    return eventlet_asyncio.await_(twice(number))


@app.task
def failing(number):
    async def fail():
        await asyncio.sleep(0)
        raise LookupError(number)

    return asyncio.run(fail())


quick = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}
worker = app.Worker(pool="eventlet", concurrency=TASKS, loglevel="CRITICAL", quiet=True, **quick)
green = eventlet.spawn(worker.start)
for task in (by_run, by_await):
    results = [task.delay(number) for number in range(TASKS)]
    assert [result.get(timeout=20, interval=0.01) for result in results] == [2 * n for n in range(TASKS)]
    assert most == TASKS, most
    most = 0
result = failing.delay(7)
try:
    result.get(timeout=20, interval=0.01)
except LookupError as error:
    assert error.args == (7,)
else:
    raise AssertionError("nothing was raised")
celery.worker.state.should_stop = 0
green.wait()
print("pass")
