"""The work of the rows of scheduling: each function measures one thing and checks what it did.

`run` is what `traffic.load()` gives.
"""

import asyncio

from harness import Meter, check

TOGETHER = 1_000


def call_soon(run, size, measured):
    """Callbacks that are scheduled, or run, a thousand at a time."""
    count = 0

    def callback():
        nonlocal count
        count += 1

    async def main():
        loop = asyncio.get_running_loop()
        rounds = max(size // TOGETHER, 1)
        cpu = clock = 0
        for _ in range(rounds):
            done = loop.create_future()
            with Meter() as meter:
                for _ in range(TOGETHER):
                    loop.call_soon(callback)
            if measured == "run":
                meter = Meter()
                loop.call_soon(meter.__exit__)
                loop.call_soon(done.set_result, None)
                meter.__enter__()
            else:
                loop.call_soon(done.set_result, None)
            await done
            cpu += meter.cpu
            clock += meter.clock
        check(count, rounds * TOGETHER)
        meter.cpu, meter.clock = cpu, clock
        return meter.per(rounds * TOGETHER)

    return run(main())


def chain(run, size):
    """A callback that schedules itself."""

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        left = size

        def callback():
            nonlocal left
            left -= 1
            if left:
                loop.call_soon(callback)
            else:
                done.set_result(None)

        with Meter() as meter:
            loop.call_soon(callback)
            await done
        check(left, 0)
        return meter.per(size)

    return run(main())


def call_later(run, size):
    """Timers that are made and cancelled, as timeouts mostly are."""

    async def main():
        loop = asyncio.get_running_loop()
        with Meter() as meter:
            for _ in range(max(size // TOGETHER, 1)):
                for _ in range(TOGETHER):
                    loop.call_later(60, print).cancel()
                await asyncio.sleep(0)
        return meter.per(size)

    return run(main())


def gather(run, size):
    """Ten thousand tasks that give way once."""
    together = min(size, 10_000)

    async def main():
        rounds = max(size // together, 1)
        with Meter() as meter:
            for _ in range(rounds):
                done = await asyncio.gather(*(asyncio.sleep(0, n) for n in range(together)))
                check(sum(done), together * (together - 1) // 2)
        return meter.per(rounds * together)

    return run(main())


def start_and_close(run, size):
    """Loops that run one coroutine that does nothing."""

    async def main():
        return 1

    run(main())
    with Meter() as meter:
        check(sum(run(main()) for _ in range(size)), size)
    return meter.per(size)
