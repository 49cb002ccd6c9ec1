"""A greenlet that one task has made and another resumes is part of the task that runs it, as generators on greenlets are."""

import asyncio
import contextlib
import gc
import weakref

import eventlet
import greenlet
import pytest

from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")

BLOCKS = {
    "sleep": lambda: eventlet.sleep(0.001),
    "yield": lambda: eventlet.sleep(0),
    "await_": lambda: await_(asyncio.sleep(0.001)),
    "spawn": lambda: eventlet.spawn(eventlet.sleep, 0).wait(),
}


@pytest.fixture(params=BLOCKS.values(), ids=BLOCKS)
def block(request):
    return request.param


def name():
    return asyncio.current_task().get_name()


class Wrong(Exception):
    pass


class Generator:
    """Values of a function that runs in a greenlet of its own."""

    def __init__(self, function):
        self.greenlet = greenlet.greenlet(lambda: function(self))
        self.caller = None

    def next(self):
        self.caller = greenlet.getcurrent()
        return self.greenlet.switch()

    def send(self, value):
        return self.caller.switch(value)


class ByParent(Generator):
    """The same where who is resumed finds its caller as SQLAlchemy does."""

    def send(self, value):
        return self.greenlet.parent.switch(value)


@pytest.mark.parametrize("kind", [Generator, ByParent])
@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "side by side"])
def test_it_has_the_identity_of_who_resumes_it(blocking_host, block, kind, at_once):
    def names(generator):
        while True:
            before = name()
            block()
            generator.send((before, name()))

    async def take(generator, seen):
        for _ in range(3):
            seen.append((name(), *generator.next(), name()))
            await asyncio.sleep(0.001)
            block()
            await asyncio.sleep(0)

    async def main():
        seen = []
        generators = [kind(names) for _ in range(3)]
        tasks = []
        for number, generator in enumerate(generators * 2):
            tasks.append(asyncio.create_task(take(generator, seen), name=f"task {number}"))
            if not at_once or number % 3 == 2:
                await asyncio.gather(*tasks)
        assert len(seen) == 18
        for names_seen in seen:
            assert len(set(names_seen)) == 1, seen

    blocking_host(main)


@contextlib.asynccontextmanager
async def made_elsewhere(maker, *functions):
    """Greenlets of functions, each made by a task of its own, and what that does meanwhile."""
    made, over = [], asyncio.Event()

    async def make(function):
        made.append(greenlet.greenlet(function))
        if maker == "awaits":
            await over.wait()
        elif maker == "blocks":
            await_(over.wait())

    makers = [asyncio.create_task(make(function)) for function in functions]
    await asyncio.sleep(0.001)
    yield made
    over.set()
    await asyncio.gather(*makers)


async def done_as(task_name, work):
    """Has a task of that name do some work, which gives the name of the task that it ends in."""
    task = asyncio.create_task(work, name=task_name)
    assert await asyncio.wait_for(task, 5) == task_name


@pytest.mark.parametrize("maker", ["is over", "awaits", "blocks"])
def test_its_end_comes_to_who_resumed_it_last(blocking_host, block, maker):
    def ends(value):
        block()
        # A yield blocks nobody where nobody else wants to run.
        eventlet.sleep(0.001)
        return value

    def fails():
        ends(None)
        raise Wrong

    async def resume(ending, failing):
        assert ending.switch("value") == "value"
        with pytest.raises(Wrong):
            failing.switch()
        return name()

    async def main():
        async with made_elsewhere(maker, ends, fails) as made:
            await done_as("resumes", resume(*made))

    blocking_host(main)


@pytest.mark.parametrize("maker", ["is over", "awaits"])
def test_an_exception_without_a_block_comes_to_who_resumed_it(blocking_host, maker):
    def fails():
        raise Wrong

    async def resume(failing):
        with pytest.raises(Wrong):
            failing.switch()
        return name()

    async def main():
        async with made_elsewhere(maker, fails) as made:
            await done_as("resumes", resume(*made))

    blocking_host(main)


def test_cancels_and_timeouts_strike_who_resumed_it(blocking_host):
    def blocks(generator):
        while True:
            try:
                eventlet.sleep(5)
            except BaseException as exception:
                generator.send(exception)

    async def main():
        generator = Generator(blocks)

        async def take():
            return generator.next()

        cancelled = asyncio.create_task(take())
        await asyncio.sleep(0.001)
        cancelled.cancel()
        assert isinstance(await asyncio.wait_for(cancelled, 2), asyncio.CancelledError)

        async def take_in_time():
            with eventlet.Timeout(0.001) as timeout:
                return generator.next() is timeout

        assert await asyncio.wait_for(asyncio.create_task(take_in_time()), 2)

    blocking_host(main)


@pytest.mark.parametrize("before", ["is over", "awaits"])
def test_a_kill_of_it_strikes_who_resumed_it_last(blocking_host, before):
    def blocks(generator):
        for seconds in (0.002, 5):
            try:
                eventlet.sleep(seconds)
            except Wrong as wrong:
                generator.send(wrong)
            else:
                generator.send("not struck")

    async def main():
        over, resumed = asyncio.Event(), []

        async def make():
            return Generator(blocks)

        async def resume(then):
            seen = generator.next()
            resumed.append(seen)
            await then
            return seen

        generator = await asyncio.create_task(make())
        first = asyncio.create_task(resume(over.wait() if before == "awaits" else asyncio.sleep(0)))
        while not resumed:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        last = asyncio.create_task(resume(asyncio.sleep(0)))
        await asyncio.sleep(0)
        wrong = Wrong()
        eventlet.kill(generator.greenlet, wrong)
        over.set()
        assert await asyncio.gather(first, last) == ["not struck", wrong]

    blocking_host(main)


def test_a_cancel_that_ends_it_ends_who_resumed_it(blocking_host):
    async def main():
        green = greenlet.greenlet(lambda: eventlet.sleep(5))

        async def resume():
            green.switch()

        task = asyncio.create_task(resume())
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 2)
        assert task.cancelled() and green.dead

    blocking_host(main)


def test_those_that_are_never_resumed_again_leave_nothing(blocking_host, block):
    class Witness:
        pass

    async def main():
        witnesses = []

        def begins(callers):
            witness = Witness()
            witnesses.append(weakref.ref(witness))
            block()
            callers.pop().switch()

        async def take(green):
            green.switch([greenlet.getcurrent()])

        for _ in range(20):
            green = greenlet.greenlet(begins)
            await asyncio.create_task(take(green))
            assert witnesses[-1]() is not None
            del green
        await asyncio.sleep(0.001)
        gc.collect()
        await asyncio.sleep(0.001)
        assert [reference() for reference in witnesses] == [None] * 20

    blocking_host(main)


@pytest.mark.parametrize("maker", ["is done", "awaits", "blocks greenly"])
def test_a_timeout_that_it_has_begun_strikes_whoever_has_it(blocking_host, maker):
    log = []

    def body(generator):
        try:
            with eventlet.Timeout(0.2):
                generator.send("begun")
                eventlet.sleep(5)
        except eventlet.Timeout:
            log.append("struck")
        generator.send("over")

    async def main():
        generator, done = Generator(body), asyncio.Event()

        async def make():
            assert generator.next() == "begun"
            if maker == "awaits":
                await done.wait()
            elif maker == "blocks greenly":
                while not done.is_set():
                    eventlet.sleep(0.001)

        async def resume():
            assert generator.next() == "over"

        making = asyncio.create_task(make())
        await asyncio.sleep(0.001)
        await asyncio.create_task(resume())
        done.set()
        await making
        assert log == ["struck"]

    blocking_host(main)
