"""What a hub calls may run a loop of its own. What the hub would have to wake, while it waits for that, is refused."""

import asyncio
import functools
import os
import signal
import threading
import time

import eventlet
import pytest
from eventlet import event, hubs

import eventlet_asyncio
from eventlet_asyncio import await_, future_to_greenlet, greenlet_to_future, sync_to_async
from tests import hosts

REFUSED = "do not call blocking functions from the mainloop"


@pytest.fixture(params=hosts.HUBS)
def run_in_a_call(request, in_thread):
    """Runs an async function in a call that the hub makes; what it gave, and whether all went on."""

    def body(main):
        hubs.use_hub(request.param)
        done = event.Event()

        def called_by_the_hub():
            try:
                done.send(eventlet_asyncio.run(main()))
            except BaseException as exception:
                done.send(exception)

        hubs.get_hub().schedule_call_global(0, called_by_the_hub)
        ticks = eventlet.spawn(eventlet.sleep, 0.002)
        result = done.wait()
        ticks.wait()
        assert await_(asyncio.sleep(0.001, "goes on")) == "goes on"
        if isinstance(result, BaseException):
            raise result
        return result

    return lambda main: in_thread(body, main)


async def sleeps():
    eventlet.sleep(0.001)


async def yields():
    eventlet.sleep(0)


async def waits_for_an_event():
    event.Event().wait()


async def awaits_in_plain_code():
    await_(asyncio.sleep(0.001))


async def waits_for_an_awaitable():
    future_to_greenlet(asyncio.sleep(0.001)).wait()


async def awaits_a_green_thread():
    await eventlet.spawn(eventlet.sleep, 0)


async def awaits_the_future_of_a_green_thread():
    await greenlet_to_future(eventlet.spawn(eventlet.sleep, 0))


async def awaits_green_code():
    await sync_to_async(eventlet.sleep)(0)


async def blocks_in_a_task():
    await asyncio.gather(sleeps(), asyncio.sleep(0.001))


@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited")
@pytest.mark.parametrize(
    "main",
    [
        sleeps,
        yields,
        waits_for_an_event,
        awaits_in_plain_code,
        waits_for_an_awaitable,
        awaits_a_green_thread,
        awaits_the_future_of_a_green_thread,
        awaits_green_code,
        blocks_in_a_task,
    ],
)
def test_what_the_hub_would_have_to_wake_is_refused(run_in_a_call, main):
    with pytest.raises(RuntimeError, match=REFUSED):
        run_in_a_call(main)


def test_what_is_asyncios_alone_goes_on(run_in_a_call):
    async def main():
        killed = eventlet.spawn(eventlet.sleep, 60)
        killed.kill()
        async with asyncio.Lock():
            async with asyncio.Semaphore():
                await asyncio.gather(asyncio.sleep(0.001), asyncio.to_thread(time.sleep, 0.001))
        return killed.dead

    assert run_in_a_call(main) is True


def test_runs_below_one_another(hub):
    async def main():
        return asyncio.run(asyncio.sleep(0.001, "inner"))

    async def blocks_below():
        try:
            asyncio.run(sleeps())
        except RuntimeError as error:
            return str(error)

    results = []
    hub.schedule_call_global(0, lambda: results.append(asyncio.run(main())))
    hub.schedule_call_global(0, lambda: results.append(asyncio.run(blocks_below())))
    eventlet.sleep(0.02)
    assert results == ["inner", REFUSED]


@pytest.mark.parametrize("green", [False, True])
@pytest.mark.parametrize("idle", [lambda: eventlet.sleep(0.1), lambda: asyncio.run(asyncio.sleep(0.1))])
def test_a_handler_of_a_signal_runs_a_cleanup(hub, idle, green):
    seen = []

    async def cleanup():
        await asyncio.sleep(0.001)
        if green:
            eventlet.sleep(0.001)
        return "cleaned up"

    def handler(*_):
        try:
            seen.append(asyncio.run(cleanup()))
        except RuntimeError as error:
            seen.append(str(error))

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        strike = functools.partial(os.kill, os.getpid(), signal.SIGUSR1)
        threading.Timer(0.02, strike).start()
        while not seen:
            idle()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [REFUSED if green else "cleaned up"]


def test_a_finalizer_runs_a_loop_where_the_hub_drops_something(hub):
    seen = []

    class Closes:
        def __del__(self):
            try:
                asyncio.run(sleeps())
            except RuntimeError as error:
                seen.append(str(error))

    hub.schedule_call_global(0, lambda _: None, Closes())
    eventlet.sleep(0.01)
    assert seen == [REFUSED]
