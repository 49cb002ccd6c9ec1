"""An item of eventlet's queues is got by somebody, or it is still there."""

import asyncio

import eventlet
import pytest
from eventlet import queue

from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")


class Own(queue.Queue):
    """A program's own, which keeps its items as it likes."""

    def _init(self, maxsize):
        self.items = []

    def qsize(self):
        return len(self.items)

    def _put(self, item):
        self.items.append(item)
        self._put_bookkeeping()

    def _get(self):
        return self.items.pop(0)


KINDS = [queue.LightQueue, queue.Queue, queue.LifoQueue, queue.PriorityQueue, Own]


async def struck_when_given(get, give):
    """A task that is given something and cancelled in the same turn."""

    async def take():
        return get()

    task = asyncio.create_task(take())
    await asyncio.sleep(0.01)
    give()
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_cancelled_task_was_given_goes_back_to_its_place(hub, kind):
    async def main():
        items = kind()

        def give():
            items.put(1)
            items.put(2)

        assert await struck_when_given(items.get, give)
        assert items.qsize() == 2
        # A program's own kind gets it as a new one.
        expected = {queue.LifoQueue: [2, 1], Own: [2, 1]}.get(kind, [1, 2])
        assert [items.get(), items.get()] == expected
        if isinstance(items, queue.Queue):
            assert items.unfinished_tasks == 2
            for _ in range(2):
                items.task_done()

    asyncio.run(main())


def test_it_goes_to_the_next_who_waits(hub):
    async def main():
        items, got = queue.Queue(), []
        waiting = [eventlet.spawn(lambda: got.append(items.get())) for _ in range(2)]

        async def first():
            got.append(items.get())

        struck = asyncio.create_task(first())
        await asyncio.sleep(0.01)
        for item in "abc":
            items.put(item)
        struck.cancel()
        await asyncio.wait([struck])
        await asyncio.sleep(0.01)
        assert struck.cancelled() and sorted(got + [items.get()]) == ["a", "b", "c"]
        for green in waiting:
            green.wait()

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(4))
def test_a_channel_has_the_item_whose_putter_has_left(hub, turns):
    async def main():
        channel, left, got = queue.LightQueue(0), [], []

        def put():
            channel.put("item")
            left.append(1)

        async def take():
            got.append(channel.get())

        task = asyncio.create_task(take())
        await asyncio.sleep(0.01)
        eventlet.spawn(put)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            got.append(channel.get())
        await asyncio.sleep(0.01)
        assert (got, left) == (["item"], [1])

    asyncio.run(main())


@pytest.mark.parametrize("by", ["cancel", "timeout", "Timeout"])
def test_no_item_is_lost_or_doubled_under_load(hub, by):
    if by == "timeout" and not hasattr(asyncio, "timeout"):
        pytest.skip("asyncio.timeout() is new in Python 3.11")
    items, got = queue.Queue(), []
    number, stop = 400, False

    async def take():
        got.append(items.get())

    def take_in_time():
        with eventlet.Timeout(0.001, False):
            await_(take())

    async def take_or_end():
        if by == "cancel":
            task = asyncio.create_task(take())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        elif by == "Timeout":
            await eventlet.spawn(take_in_time)
        else:
            try:
                async with asyncio.timeout(0.001):
                    await take()
            except TimeoutError:
                pass

    async def consume():
        while not stop:
            await take_or_end()

    async def main():
        nonlocal stop
        loop = asyncio.get_running_loop()
        consumers = [asyncio.create_task(consume()) for _ in range(4)]
        for item in range(number):
            items.put(item)
            if item % 5 == 0:
                await asyncio.sleep(0.001)
        end = loop.time() + 5
        while len(got) < number and loop.time() < end:
            await asyncio.sleep(0.001)
        stop = True
        await asyncio.wait(consumers)
        assert sorted(got) == list(range(number))

    asyncio.run(main())
