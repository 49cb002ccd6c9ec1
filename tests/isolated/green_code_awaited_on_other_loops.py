"""A task of asyncio's own loop awaits green code: with no hub chosen ours goes on as a guest; another stands still, and says so."""

import asyncio
import threading

import eventlet

import eventlet_asyncio
from eventlet_asyncio import await_, greenlet_to_future, sync_to_async

hubs = eventlet.hubs


def in_thread(function, *args):
    def body():
        try:
            outcome.append(function(*args))
        except BaseException as exception:
            outcome.append(exception)

    outcome = []
    thread = threading.Thread(target=body)
    thread.start()
    thread.join(20)
    return outcome.pop()


def run(main):
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


@sync_to_async
def blocks():
    eventlet.sleep(0.001)
    return 7


async def awaits_a_future():
    return await greenlet_to_future(eventlet.spawn(eventlet.sleep, 0.001))


def without_a_hub():
    assert run(blocks()) == 7
    assert isinstance(hubs.get_hub(), eventlet_asyncio.hub.Hub)


def stands_still(choose, main):
    choose()
    try:
        run(main())
    except RuntimeError as error:
        assert "call eventlet_asyncio.use_hub() in this thread" in str(error), error
        return
    raise AssertionError("no error")


def has_ended_already():
    hubs.use_hub("epolls")
    green = eventlet.spawn(int, 7)
    assert green.wait() == 7

    async def awaits_it():
        return await greenlet_to_future(green)

    assert run(awaits_it()) == 7


def begins_a_timeout_first():
    """Which makes the hub, before it has changed eventlet's Timeout."""
    eventlet_asyncio.use_hub()

    async def limited():
        for _ in range(2):
            try:
                with eventlet.Timeout(0.005):
                    await asyncio.sleep(20)
            except eventlet.Timeout:
                continue
            raise AssertionError("no Timeout")

    run(limited())


def chosen_while_green_code_waits(kind, begin):
    async def waits():
        begun.append(True)
        await asyncio.sleep(100)

    begun = []
    hubs.use_hub(kind)
    begin(waits())
    while not begun:
        eventlet.sleep(0.001)
    eventlet_asyncio.use_hub()
    for _ in range(2):
        assert await_(asyncio.sleep(0.001, 5)) == 5
        eventlet.sleep(0.001)
        assert eventlet.spawn(int, 6).wait() == 6


# First, while nothing of eventlet is changed.
assert in_thread(begins_a_timeout_first) is None
assert in_thread(without_a_hub) is None
assert in_thread(has_ended_already) is None
for choose in (lambda: hubs.use_hub("epolls"), lambda: hubs.use_hub("selects")):
    assert in_thread(stands_still, choose, blocks) is None
    assert in_thread(stands_still, choose, awaits_a_future) is None
assert in_thread(stands_still, hubs.get_hub, awaits_a_future) is None
for kind in ("epolls", "poll"):
    for begin in (
        eventlet_asyncio.future_to_greenlet,
        lambda coroutine: eventlet.spawn(await_, coroutine),
    ):
        outcome = in_thread(chosen_while_green_code_waits, kind, begin)
        assert outcome is None, outcome
print("pass")
