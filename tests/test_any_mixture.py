"""Green and async code call one another in any mixture, at any depth, whoever waits for the loop."""

import asyncio
import contextvars
import sys

import anyio
import eventlet
import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.utils.asyncio import async_unsafe
from eventlet import event, queue, semaphore
from eventlet.green import socket as green_socket
from eventlet.green import subprocess as green_subprocess

import eventlet_asyncio
from eventlet_asyncio import (
    async_to_sync,
    await_,
    future_to_greenlet,
    greenlet_to_future,
    sync_to_async,
)

variable = contextvars.ContextVar("variable", default=None)


async def slow(value, seconds=0.001):
    await asyncio.sleep(seconds)
    return value


def green_slow(value, seconds=0.001):
    eventlet.sleep(seconds)
    return value


# What blocks greenly in async code.


def sleeps():
    eventlet.sleep(0.003)


def yields():
    for _ in range(3):
        eventlet.sleep(0)


def waits_for_green_thread():
    assert eventlet.spawn(green_slow, 1).wait() == 1


def maps_in_pool():
    assert list(eventlet.GreenPool(3).imap(green_slow, range(5))) == list(range(5))
    pile = eventlet.GreenPile(2)
    for number in range(3):
        pile.spawn(green_slow, number)
    assert list(pile) == [0, 1, 2]


def takes_lock():
    lock = semaphore.Semaphore()
    lock.acquire()
    eventlet.spawn_after(0.001, lock.release)
    with lock:
        pass


def waits_for_event():
    happened = event.Event()
    eventlet.spawn_after(0.001, happened.send, 1)
    assert happened.wait() == 1


def gets_from_queue():
    items = queue.Queue(1)
    eventlet.spawn(lambda: [items.put(number) for number in range(3)])
    assert [items.get() for _ in range(3)] == [0, 1, 2]


def talks_by_sockets():
    near, far = green_socket.socketpair()
    eventlet.spawn_after(0.001, far.sendall, b"hello")
    assert near.recv(5) == b"hello"
    near.close()
    far.close()


def runs_program():
    program = green_subprocess.Popen(["sh", "-c", "sleep 0.003; echo out"], stdout=green_subprocess.PIPE)
    assert program.communicate() == (b"out\n", None)
    assert program.returncode == 0


def awaits():
    assert await_(slow(1)) == 1


def times_out():
    with eventlet.Timeout(0.002, False):
        eventlet.sleep(60)


BLOCKS = [
    sleeps,
    yields,
    waits_for_green_thread,
    maps_in_pool,
    takes_lock,
    waits_for_event,
    gets_from_queue,
    talks_by_sockets,
    runs_program,
    awaits,
    times_out,
]


def identity():
    task = asyncio.current_task()
    return asyncio.get_running_loop(), task, task.get_name(), variable.get()


async def blocks_in_task(block):
    variable.set(block)
    mine = identity()
    block()
    assert identity() == mine
    await asyncio.sleep(0)
    assert identity() == mine
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(20) as limit:
            block()
            await asyncio.sleep(0)
        assert not limit.expired()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                while True:
                    block()
        assert identity() == mine
        assert mine[1].cancelling() == 0


def test_everything_green_blocks_in_tasks_and_callbacks(blocking_host):
    async def main():
        loop = asyncio.get_running_loop()
        ticks = []

        async def ticks_on():
            while True:
                ticks.append(None)
                await asyncio.sleep(0.0005)

        ticking = asyncio.create_task(ticks_on())
        await asyncio.gather(*map(blocks_in_task, BLOCKS))
        assert ticks
        done = [loop.create_future() for _ in BLOCKS]

        def callback(block, future):
            block()
            assert asyncio.get_running_loop() is loop and asyncio.current_task() is None
            future.set_result(block)

        for block, future in zip(BLOCKS, done):
            loop.call_soon(callback, block, future)
        assert await asyncio.gather(*done) == BLOCKS
        ticking.cancel()
        return True

    assert blocking_host(main)


def test_everything_green_is_awaited_by_tasks(host):
    async def main():
        loop = asyncio.get_running_loop()
        for call in (
            lambda block: sync_to_async(block)(),
            lambda block: greenlet_to_future(eventlet.spawn(block)),
            lambda block: awaits_green_thread(eventlet.spawn(block)),
        ):
            mine = identity()
            await asyncio.gather(*map(call, BLOCKS))
            assert identity() == mine
        return loop is asyncio.get_running_loop()

    async def awaits_green_thread(green):
        return await green

    assert host(main)


# Async calls in green code.


def with_runner(main):
    with asyncio.Runner(loop_factory=eventlet_asyncio.new_event_loop) as runner:
        return [runner.run(main), runner.run(slow(2))][0]


def with_loop(main):
    loop = eventlet_asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def with_anyio(main):
    async def run():
        return await main

    return anyio.run(run)


def with_decorator(main):
    async def run():
        return await main

    return async_to_sync(run)()


CALLS = [await_, lambda main: future_to_greenlet(main).wait(), with_decorator]
RUNS = [eventlet_asyncio.run, asyncio.run, with_loop, with_anyio]
if sys.version_info >= (3, 11):
    RUNS.append(with_runner)


def test_every_call_of_async_code_in_many_green_threads_at_once(on_hub):
    def body():
        # From then on a loop of asyncio.run() is ours, on whatever hub.
        await_(slow(0))
        calls = [*CALLS, *RUNS] * 3
        greens = [eventlet.spawn(call, slow(number, 0.005)) for number, call in enumerate(calls)]
        return [green.wait() for green in greens] == list(range(len(calls)))

    assert on_hub(body)


def test_every_call_nested_in_every_other(hub):
    """Async, green, asyncio.run(), green, await_() and so on, below green threads and below tasks."""
    calls = [*CALLS, *RUNS]

    async def descends(rest, deep):
        await asyncio.sleep(0)
        mine = identity()
        if rest:
            call, *rest = rest
            # Below the task itself, and in a green thread that it awaits.
            deep.append(call(descends(rest, deep)))
            assert identity() == mine
            await eventlet.spawn(eventlet.sleep, 0)
        assert identity() == mine
        return len(rest)

    def both(outer, inner):
        deep = []
        outer(descends([inner, await_, eventlet_asyncio.run], deep))
        return len(deep)

    pool = eventlet.GreenPool()
    greens = [pool.spawn(both, outer, inner) for outer in calls for inner in calls]
    assert [green.wait() for green in greens] == [3] * len(calls) ** 2


def test_calls_nested_on_every_host(host):
    async def descends(depth):
        await asyncio.sleep(0)
        if depth == 0:
            return 0
        return 1 + await sync_to_async(rises)(depth - 1)

    def rises(depth):
        eventlet.sleep(0)
        kinds = (await_, lambda coroutine: future_to_greenlet(coroutine).wait())
        return kinds[depth % 2](descends(depth))

    async def main():
        return await asyncio.gather(*map(descends, range(20)))

    assert host(main) == list(range(20))


@async_unsafe
def query():
    eventlet.sleep(0)
    return "row"


def test_green_code_is_nobodys_task(on_hub):
    """Neither while others run loops, nor where a task started it."""

    def green():
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        assert asyncio._get_running_loop() is None
        assert query() == "row"
        eventlet.sleep(0.001)
        return query()

    async def main():
        with pytest.raises(SynchronousOnlyOperation):
            query()
        rows = [await eventlet.spawn(green), await sync_to_async(green)()]
        eventlet.sleep(0)
        with pytest.raises(SynchronousOnlyOperation):
            query()
        return rows

    def body():
        greens = [eventlet.spawn(green) for _ in range(3)]
        greens += [eventlet.spawn(eventlet_asyncio.run, main()), eventlet.spawn(await_, main())]
        greens += [eventlet.spawn(green) for _ in range(3)]
        return [green.wait() for green in greens]

    assert on_hub(body) == [*["row"] * 3, ["row"] * 2, ["row"] * 2, *["row"] * 3]


# Results, context variables and primitives.


class Own(Exception):
    pass


class OwnBase(BaseException):
    pass


#: What a future cannot carry, or what ends a loop, is tested elsewhere.
ERRORS = [Own("own"), OwnBase("own"), LookupError("there"), asyncio.TimeoutError(), TimeoutError()]
if sys.version_info >= (3, 11):
    ERRORS += [
        ExceptionGroup("several", [Own(), LookupError()]),
        BaseExceptionGroup("several", [OwnBase(), ExceptionGroup("inner", [Own()])]),
    ]


def test_every_exception_is_itself_after_many_crossings(host):
    async def descends(error, depth):
        await asyncio.sleep(0)
        if depth == 0:
            raise error
        await sync_to_async(rises)(error, depth - 1)

    def rises(error, depth):
        eventlet.sleep(0)
        kinds = (await_, lambda coroutine: future_to_greenlet(coroutine).wait())
        kinds[depth % 2](descends(error, depth))

    async def main():
        found = await asyncio.gather(*(descends(each, 4) for each in ERRORS), return_exceptions=True)
        names = []
        for error in found:
            traceback, seen = error.__traceback__, []
            while traceback is not None:
                seen.append(traceback.tb_frame.f_code.co_name)
                traceback = traceback.tb_next
            names.append([name for name in seen if name in ("descends", "rises")])
        assert names == [["descends", "rises"] * 4 + ["descends"]] * len(ERRORS)
        return found

    found = host(main)
    assert [a is b for a, b in zip(found, ERRORS)] == [True] * len(ERRORS)
    for each in ERRORS:
        each.__traceback__ = None


def test_stop_iteration_and_exits_of_both_worlds(host):
    async def main():
        def stops():
            raise StopIteration(7)

        def exits():
            raise eventlet.greenlet.GreenletExit

        with pytest.raises(RuntimeError) as raised:
            await greenlet_to_future(eventlet.spawn(stops))
        assert raised.value.__cause__.value == 7
        with pytest.raises(asyncio.CancelledError):
            await greenlet_to_future(eventlet.spawn(exits))

        async def stops_too():
            raise StopIteration(8)

        def waits():
            with pytest.raises(RuntimeError) as raised:
                await_(stops_too())
            return raised.value.__cause__.value

        return await sync_to_async(waits)()

    assert host(main) == 8


def test_links_and_awaiters_of_one_green_thread(host):
    async def awaits(green):
        return await green

    async def main():
        seen = []

        def fails(go_on):
            go_on.wait()
            raise Own

        for function, expected in ((lambda go_on: go_on.wait(), 1), (fails, Own)):
            go_on = event.Event()
            green = eventlet.spawn(function, go_on)
            for number in range(3):
                green.link(lambda green, number: seen.append(number), number)
            futures = [greenlet_to_future(green) for _ in range(3)]
            waiter = eventlet.spawn(green.wait)
            # Not by wait_for(), which loses a cancel before Python 3.12 where the result comes in the same turn.
            tasks = [asyncio.create_task(awaits(green)) for _ in range(2)]
            await asyncio.sleep(0.001)
            futures[0].cancel()
            tasks[0].cancel()
            go_on.send(1)
            ends = await asyncio.gather(*futures, waiter, *tasks, return_exceptions=True)
            kinds = [asyncio.CancelledError if isinstance(end, asyncio.CancelledError) else end for end in ends]
            kinds = [type(end) if isinstance(end, Own) else end for end in kinds]
            assert kinds == [asyncio.CancelledError, *[expected] * 3, asyncio.CancelledError, expected]
        return seen

    assert host(main) == [0, 1, 2] * 2


def test_calls_share_the_context_and_spawned_work_has_a_copy(host):
    async def main():
        variable.set("main")

        def green():
            assert variable.get() == "main"
            variable.set("green")
            assert await_(changes()) == "green"
            assert variable.get() == "async"

        async def changes():
            before = variable.get()
            variable.set("async")
            return before

        def loses():
            variable.set("lost")

        await sync_to_async(green)()
        assert variable.get() == "async"
        await eventlet.spawn(loses)
        await asyncio.create_task(sync_to_async(loses)())
        await sync_to_async(lambda: future_to_greenlet(sync_to_async(loses)()).wait())()
        return variable.get()

    assert host(main) == "async"


def test_asyncios_primitives_are_used_by_green_code(host):
    async def main():
        items, happened, lock = asyncio.Queue(1), asyncio.Event(), asyncio.Lock()
        log, held, loop = [], [], asyncio.get_running_loop()

        def wait(coroutine):
            """As await_(), on the loop that the primitives belong to and not on the hub's."""
            return future_to_greenlet(coroutine, loop=loop).wait()

        def green_worker(name):
            wait(happened.wait())
            for _ in range(3):
                wait(lock.acquire())
                held.append(name)
                assert len(held) == 1
                eventlet.sleep(0)
                held.remove(name)
                lock.release()
                log.append(wait(items.get()))

        async def worker(name):
            await happened.wait()
            for _ in range(3):
                async with lock:
                    held.append(name)
                    assert len(held) == 1
                    await asyncio.sleep(0)
                    held.remove(name)
                await items.put(name)

        workers = [worker(name) for name in "ab"]
        workers += [sync_to_async(green_worker)(name) for name in "cd"]
        waiting = asyncio.gather(*workers)
        await asyncio.sleep(0.002)
        happened.set()
        await waiting
        return sorted(log)

    assert host(main) == ["a"] * 3 + ["b"] * 3


def test_a_semaphore_of_eventlets_is_fair_to_tasks_and_green_threads(blocking_host):
    async def main():
        lock, order = semaphore.Semaphore(0), []

        def takes(number):
            with lock:
                order.append(number)
                eventlet.sleep(0)

        async def task(number):
            takes(number)

        waiting = []
        for number in range(10):
            waiting.append(asyncio.create_task(task(number)) if number % 2 else eventlet.spawn(takes, number))
            # Each has begun to wait before the next does.
            await asyncio.sleep(0.001)
        lock.release()
        for each in waiting:
            await each
        return order

    assert blocking_host(main) == list(range(10))


def test_eventlets_queue_and_event_are_used_by_tasks_and_green_threads(blocking_host):
    async def main():
        items, happened = queue.Queue(2), event.Event()

        def produces(name):
            happened.wait()
            for number in range(5):
                items.put((name, number))

        def consumes():
            return [items.get() for _ in range(5)]

        async def in_task(function, *args):
            return function(*args)

        work = [in_task(produces, "a"), greenlet_to_future(eventlet.spawn(produces, "b"))]
        work += [in_task(consumes), greenlet_to_future(eventlet.spawn(consumes))]
        waiting = asyncio.gather(*work)
        await asyncio.sleep(0.001)
        happened.send()
        *_, first, second = await waiting
        found = first + second
        for name in "ab":
            # In order, as each of them was put.
            for part in (first, second):
                numbers = [number for each, number in part if each == name]
                assert numbers == sorted(numbers)
        return sorted(found)

    assert blocking_host(main) == [(name, number) for name in "ab" for number in range(5)]


def test_a_queue_of_eventlets_is_fed_by_green_threads_of_a_foreign_loop(host):
    async def main():
        items = queue.Queue(1)
        feeding = eventlet.spawn(lambda: [items.put(number) for number in range(10)])
        found = [await sync_to_async(items.get)() for _ in range(10)]
        await feeding
        return found

    assert host(main) == list(range(10))


# Ends.


def test_a_run_ends_with_its_main_whatever_is_parked(blocking_host):
    async def main():
        loop = asyncio.get_running_loop()
        ended = []

        async def parks():
            try:
                eventlet.sleep(60)
            finally:
                ended.append("parked")

        async def inner():
            asyncio.get_running_loop().call_soon(eventlet.sleep, 60)
            tasks = [asyncio.create_task(parks()) for _ in range(3)]
            await asyncio.sleep(0.002)
            return len(tasks)

        assert await sync_to_async(lambda: eventlet_asyncio.run(inner()))() == 3
        assert asyncio.get_running_loop() is loop
        return ended

    assert blocking_host(main) == ["parked"] * 3
