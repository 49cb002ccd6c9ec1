"""Who waits for a Condition and is struck several times before he has its lock back forgets none of them."""

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402
import threading  # noqa: E402

import eventlet.debug  # noqa: E402
import greenlet  # noqa: E402

import eventlet_asyncio  # noqa: E402

eventlet_asyncio.use_hub()
eventlet.debug.hub_exceptions(False)
condition = threading.Condition()


def holds_the_lock(seconds=0.03):
    with condition:
        eventlet.sleep(seconds)


def waits():
    with condition:
        eventlet.spawn(holds_the_lock)
        with eventlet.Timeout(0.01, False):
            condition.wait()


def in_green_thread():
    try:
        with eventlet.Timeout(0.005) as outer:
            waits()
            eventlet.sleep(5)
    except eventlet.Timeout as raised:
        return raised is outer


def limits_the_other_way_round():
    with eventlet.Timeout(0.01) as outer, condition:
        eventlet.spawn(holds_the_lock)
        try:
            with eventlet.Timeout(0.005):
                condition.wait()
        except eventlet.Timeout as inner:
            assert inner is not outer
        try:
            eventlet.sleep(5)
        except eventlet.Timeout as raised:
            return raised is outer


def limits_with_exceptions_of_their_own():
    try:
        with eventlet.Timeout(0.01, KeyError), condition:
            eventlet.spawn(holds_the_lock)
            try:
                with eventlet.Timeout(0.005, ValueError):
                    condition.wait()
            except ValueError:
                eventlet.sleep(5)
    except KeyError:
        return True


def killed_twice():
    def main():
        try:
            waits()
        finally:
            try:
                eventlet.sleep(5)
            except greenlet.GreenletExit as exit:
                ends.append(str(exit))

    ends = []
    green = eventlet.spawn(main)
    eventlet.sleep(0)
    green.kill(KeyError("first"))
    green.kill(greenlet.GreenletExit("second"))
    try:
        green.wait()
    except KeyError:
        return ends == ["second"]


async def cancelled():
    async def task():
        waits()
        await asyncio.sleep(5)

    made = asyncio.create_task(task())
    await asyncio.sleep(0)
    made.cancel()
    (outcome,) = await asyncio.gather(made, return_exceptions=True)
    return isinstance(outcome, asyncio.CancelledError)


async def cancelled_after_a_timeout():
    async def task():
        try:
            with condition:
                eventlet.spawn(holds_the_lock, 0.05)
                with eventlet.Timeout(0.005):
                    condition.wait()
        except eventlet.Timeout:
            kept.append(True)
        await asyncio.sleep(5)

    kept = []
    with condition:
        # Whoever held it before has let go.
        made = asyncio.create_task(task())
    await asyncio.sleep(0.02)
    made.cancel()
    (outcome,) = await asyncio.gather(made, return_exceptions=True)
    return kept == [True] and isinstance(outcome, asyncio.CancelledError)


for function in (
    in_green_thread,
    limits_the_other_way_round,
    limits_with_exceptions_of_their_own,
    killed_twice,
):
    assert eventlet.spawn(function).wait(), function
for function in (cancelled, cancelled_after_a_timeout):
    assert asyncio.run(function()), function
    assert eventlet_asyncio.await_(function()), function
assert not condition._waiters
assert condition.acquire(blocking=False)
print("pass")
