"""What fails on other bridges between green threads and asyncio, and works here.

Each test names the project and the number under which the failure is known there. Those that need monkey_patch() run in
a process of their own.
"""

import asyncio
import contextvars
import time

import eventlet
import pytest

from eventlet_asyncio import async_to_sync, await_, sync_to_async
from tests.patched import patched


# asyncio-gevent, and gevent with asyncio.


@patched
def test_an_interrupt_ends_a_task_that_blocks_greenly():
    """asyncio-gevent 8: the loop is left running, and complains of that instead."""
    seen = []

    async def main():
        try:
            time.sleep(60)
        finally:
            seen.append(sys.exc_info()[0])
            await asyncio.sleep(0)

    def interrupts():
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for _ in range(2):
        eventlet.spawn(interrupts)
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            seen.append("interrupted")
        assert asyncio.run(asyncio.sleep(0, "goes on")) == "goes on"
    assert seen == [asyncio.CancelledError, "interrupted"] * 2, seen


@patched
def test_a_loop_runs_in_a_patched_thread_while_another_runs_in_main():
    """asyncio-gevent 12: two loops in one OS thread; the second is refused."""

    async def counts(name):
        for number in range(5):
            await asyncio.sleep(0.001)
            log.append((name, number))
        return name

    log = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(counts("thread"), loop)
    assert asyncio.run(counts("main")) == "main"
    while not future.done():
        time.sleep(0.001)
    assert future.result() == "thread"
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert sorted(log) == [("main", n) for n in range(5)] + [("thread", n) for n in range(5)]
    assert log != sorted(log), "one after the other"


def test_green_threads_call_async_functions_at_the_same_time(on_any_hub):
    """asyncio-gevent 16: the first call runs the loop, and the second finds it running."""

    begun = []

    @async_to_sync
    async def waits_for_all(value):
        begun.append(value)
        while len(begun) < 10:
            await asyncio.sleep(0.001)
        return value

    def body():
        greens = [eventlet.spawn(waits_for_all, number) for number in range(10)]
        with eventlet.Timeout(20):
            return [green.wait() for green in greens]

    assert on_any_hub(body) == list(range(10))


@patched
def test_an_executor_that_blocks_leaves_loop_and_green_threads_running():
    """asyncio-gevent 27: work for an executor runs in a patched thread, which is green, so it stops everybody."""
    real_sleep = eventlet.patcher.original("time").sleep
    ticks = []

    def ticks_on():
        while True:
            time.sleep(0.001)
            ticks.append("green")

    async def main():
        async def ticks_too():
            while True:
                await asyncio.sleep(0.001)
                ticks.append("async")

        task = asyncio.create_task(ticks_too())
        ticks.clear()
        await asyncio.get_running_loop().run_in_executor(None, real_sleep, 0.1)
        assert ticks.count("green") > 1 < ticks.count("async"), ticks
        task.cancel()

    ticking = eventlet.spawn(ticks_on)
    await_(main())
    asyncio.run(main())
    eventlet.spawn(asyncio.run, main()).wait()
    ticking.kill()


def test_tasks_have_contexts_of_their_own(host):
    """gevent 1656: with its patched contextvars all tasks had the context of the greenlet that ran the loop."""
    variable = contextvars.ContextVar("variable")

    async def keeps(value):
        variable.set(value)
        for _ in range(3):
            await asyncio.sleep(0.001)
            assert variable.get() == value
            # Also where a task calls green code, which sees it and sets it for the task.
            assert await sync_to_async(changes)(value) == value
            assert variable.get() == value
        return value

    def changes(value):
        assert variable.get() == value
        eventlet.sleep(0.001)
        variable.set(value)
        return value

    async def main():
        return await asyncio.gather(*map(keeps, range(4)))

    assert host(main) == list(range(4))


@patched
def test_patched_threads_run_loops_of_their_own_at_the_same_time():
    """gevent 2026: to asyncio they are one thread, whose loop is running."""

    async def counts():
        for _ in range(5):
            await asyncio.sleep(0.001)
        return asyncio.get_running_loop()

    def body():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        assert loop.run_until_complete(counts()) is loop
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
        loop.close()
        done.append(loop)

    done = []
    threads = [threading.Thread(target=body) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(done)) == 5
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        assert len(set(pool.map(lambda _: asyncio.run(counts()), range(5)))) == 5


@patched
def test_the_result_of_a_thread_arrives_at_once():
    """gevent 2213: the loop is not told, since the thread that ends is taken for the loop's own, and sleeps on."""

    async def main():
        began = time.monotonic()
        assert await asyncio.wait_for(asyncio.to_thread(pow, 2, 3), 20) == 8
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, pow, 2, 4) == 16
        # Of a thread that is green.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            assert await asyncio.wait_for(asyncio.wrap_future(pool.submit(pow, 2, 5)), 20) == 32
        assert time.monotonic() - began < 10

    asyncio.run(main())
    await_(main())
    eventlet.spawn(asyncio.run, main()).wait()


# asgiref.


def test_a_task_below_a_green_call_calls_green_code(host):
    """asgiref 249: there is one thread for what blocks, which waits for the task and is waited for by it."""

    async def main():
        return await sync_to_async(view)()

    def view():
        return async_to_sync(tasks)()

    async def tasks():
        return await asyncio.create_task(task()), await asyncio.gather(task(), task())

    async def task():
        return await sync_to_async(eventlet.sleep)(0.001)

    assert host(main) == (None, [None, None])


def test_a_time_limit_around_green_code_below_green_code(host):
    """asgiref 348: wait_for() makes a task of its own, which waits for ever for the one thread."""

    async def main():
        return await sync_to_async(middleware)()

    def middleware():
        return async_to_sync(view)()

    async def view():
        ended = []

        def slow(seconds):
            try:
                eventlet.sleep(seconds)
            finally:
                ended.append(seconds)
            return seconds

        assert await asyncio.wait_for(sync_to_async(slow)(0.001), 20) == 0.001
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sync_to_async(slow)(60), 0.2)
        return ended

    assert host(main) == [0.001, 60]


def test_a_callback_that_outlives_its_call_calls_green_code(host):
    """asgiref 491: it has the executor of the call that made it, which has ended."""

    async def main():
        done = asyncio.get_running_loop().create_future()

        async def inner():
            asyncio.get_running_loop().call_later(0.005, later)

        def later():
            task = asyncio.create_task(sync_to_async(eventlet.sleep)(0))
            task.add_done_callback(lambda task: done.set_result(task.result()))

        await sync_to_async(lambda: async_to_sync(inner, loop=loop)())()
        return await done

    async def outer():
        nonlocal loop
        loop = asyncio.get_running_loop()
        return await main()

    loop = None
    assert host(outer) is None


# greenletio.


def test_plain_code_below_a_task_runs_async_code(blocking_host):
    """greenletio 14: await_() is refused in a task, and asyncio.run() by asyncio."""

    def plain(value):
        return await_(asyncio.sleep(0.001, value))

    async def main():
        mine = asyncio.current_task()
        assert plain(1) == 1
        assert asyncio.current_task() is mine
        return await asyncio.gather(*(nested(number) for number in range(5)))

    async def nested(number, depth=3):
        await asyncio.sleep(0)
        if depth == 0:
            return plain(number)
        return await_(nested(number, depth - 1))

    assert blocking_host(main) == list(range(5))


def test_plain_code_below_a_task_runs_a_loop(hub):
    """greenletio 14 again: the loop that runs below the task is one of its own, and the task's goes on."""

    async def inner(ticks):
        assert asyncio.get_running_loop() is not outer
        while len(ticks) < 5:
            await asyncio.sleep(0.001)
        return "inner"

    async def main():
        nonlocal outer
        outer = asyncio.get_running_loop()
        ticks = []
        ticker = asyncio.create_task(ticks_on(ticks))
        assert asyncio.run(inner(ticks)) == "inner"
        assert asyncio.get_running_loop() is outer
        ticker.cancel()
        return "outer"

    async def ticks_on(ticks):
        while True:
            await asyncio.sleep(0.001)
            ticks.append(None)

    outer = None
    assert asyncio.run(main()) == "outer"
    assert eventlet.spawn(asyncio.run, main()).wait() == "outer"


# Programs that serve by green threads, and asyncio in one of them.


@patched
def test_djangos_guard_is_quiet_in_green_threads_while_one_of_them_runs_a_loop():
    """gunicorn 3053: a view calls asyncio.run(), and meanwhile every other view is refused its database."""
    from django.utils.asyncio import async_unsafe
    from django.core.exceptions import SynchronousOnlyOperation

    @async_unsafe
    def query(value):
        time.sleep(0.001)
        return value

    async def download():
        await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(5)))
        try:
            query(1)
        except SynchronousOnlyOperation:
            return "refused in a task, as it must"

    def view(number):
        if number % 5 == 0:
            assert asyncio.run(download()) == "refused in a task, as it must"
            assert await_(download()) == "refused in a task, as it must"
        return [query(n) for n in range(5)]

    pool = eventlet.GreenPool(20)
    assert list(pool.imap(view, range(20))) == [list(range(5))] * 20


@patched
def test_djangos_database_is_used_by_green_threads_beside_a_loop():
    """gunicorn 3429: the same with a query of its ORM, in a program that runs a loop in a thread from its beginning on."""
    import django
    from django.conf import settings
    from django.db import connection

    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
    django.setup()

    def view(number):
        time.sleep(0.001)
        with connection.cursor() as cursor:
            cursor.execute("select %s", [number])
            (row,) = cursor.fetchall()
        time.sleep(0.001)
        connection.close()
        return row[0]

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    loop.call_soon_threadsafe(loop.call_later, 60, print)
    pool = eventlet.GreenPool(20)
    assert list(pool.imap(view, range(20))) == list(range(20))

    # And in green code that a task awaits, where the guard would refuse the task itself.
    async def main():
        return await sync_to_async(view)(7), await greenlet_to_future(eventlet.spawn(view, 8))

    assert asyncio.run(main()) == (7, 8)

    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@patched
def test_asgirefs_calls_work_in_many_green_threads_at_once():
    """celery 7465: tasks of its green pool call async code by asgiref, which finds the loop of another one running."""
    import asgiref.sync

    async def send(value):
        await asyncio.sleep(0.005)
        return value

    def task(number):
        if number % 4 == 0:
            return asyncio.run(send(number))
        return asgiref.sync.async_to_sync(send)(number)

    pool = eventlet.GreenPool(8)
    assert list(pool.imap(task, range(16))) == list(range(16))
    greens = [future_to_greenlet(send(number)) for number in range(5)]
    assert list(pool.imap(task, range(16))) == list(range(16))
    assert [green.wait() for green in greens] == list(range(5))
