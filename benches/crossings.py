"""The work of the rows of the bridge: each function measures one thing and checks what it did.

`side` is what `sides.load()` gives; it may be any contender's.
"""

import asyncio
import gc

import traffic
from harness import Meter, Sample, check, resident


async def _at_once(number):
    return number


async def _after_yield(number):
    await asyncio.sleep(0)
    return number


def awaits(side, size, where, yields):
    await_, call = side.await_, (_at_once, _after_yield)[yields]

    def body():
        total = 0
        with Meter() as meter:
            for number in range(size):
                total += await_(call(number))
        check(total, size * (size - 1) // 2)
        return meter.per(size)

    return getattr(side, where)(body)


def futures(side, size):
    future = side.future

    def body():
        total = 0
        with Meter() as meter:
            for number in range(size):
                total += future(_at_once(number)).wait()
        check(total, size * (size - 1) // 2)
        return meter.per(size)

    return side.in_green(body)


def awaits_green(side, size):
    spawn = side.spawn

    def same(number):
        return number

    async def main():
        total = 0
        with Meter() as meter:
            for number in range(size):
                total += await spawn(same, number)
        check(total, size * (size - 1) // 2)
        return meter.per(size)

    return side.in_async(main())


def blocks(side, size):
    """An operation is a byte that is sent and received."""
    ends = side.socketpair()
    seen = [0, 0]

    def player(me):
        end = ends[me]
        for number in range(size // 2):
            if me or number:
                seen[me] += len(end.recv(1))
            end.send(b"x")

    with Meter() as meter:
        _together(side, player, (0, 1))
    check(seen, [size // 2 - 1, size // 2])
    return meter.per(size)


def yields(side, size, parties=50):
    sleep, each = side.sleep, max(size // parties, 1)
    counts = [0] * parties

    def player(me):
        for _ in range(each):
            sleep(0)
            counts[me] += 1

    with Meter() as meter:
        _together(side, player, range(parties))
    check(counts, [each] * parties)
    return meter.per(each * parties)


def _together(side, player, arguments):
    """Runs a function that blocks greenly for each argument: in green threads, or in tasks."""
    if not side.in_tasks:
        for thread in [side.spawn(player, argument) for argument in arguments]:
            thread.wait()
        return

    async def task(argument):
        player(argument)

    async def main():
        await asyncio.gather(*map(task, arguments))

    side.in_async(main())


def runs(side, size):
    run = side.run

    def body():
        total = 0
        with Meter() as meter:
            for number in range(size):
                total += run(_after_yield(number))
        check(total, size * (size - 1) // 2)
        return meter.per(size)

    return side.in_green(body)


def memory(side, size, crossing=True):
    """What one more green thread costs that waits: for a coroutine, or asleep."""

    async def waits():
        nonlocal waiting
        waiting += 1
        await asyncio.get_running_loop().create_future()

    def crosses():
        side.await_(waits())

    def sleeps():
        nonlocal waiting
        waiting += 1
        side.sleep(3600)

    waiting = 0
    function = crosses if crossing else sleeps

    def start(count):
        goal = waiting + count
        threads = [side.spawn(function) for _ in range(count)]
        while waiting < goal:
            side.sleep(0)
        gc.collect()
        return threads

    first = start(size // 10)
    before = resident()
    more = start(size)
    after = resident()
    check(waiting, len(first) + len(more))
    return Sample((after - before) / size)


def echo(side, size, connections=50):
    """An operation is a kilobyte that went to the server and came back."""
    return traffic.protocol_echo(side.in_async, size, length=1000, connections=connections)
