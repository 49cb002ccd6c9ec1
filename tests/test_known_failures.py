"""What fails on other bridges between green threads and asyncio, and works here.

Each test names the project and the number under which the failure is known there. Those that need monkey_patch() run in
a process of their own.
"""

import asyncio
import contextvars
import functools
import inspect
import os
import random
import subprocess
import sys
import textwrap
import threading
import time

import aiohttp
import eventlet
import pytest
from eventlet import debug, semaphore, wsgi
from eventlet.green import socket as green_socket

import eventlet_asyncio
from eventlet_asyncio import async_to_sync, await_, future_to_greenlet, sync_to_async

PATCHED = """\
import eventlet
eventlet.monkey_patch()
import asyncio, concurrent.futures, os, signal, socket, sys, threading, time
import eventlet.hubs, eventlet.patcher
import eventlet_asyncio
from eventlet_asyncio import await_, async_to_sync, future_to_greenlet, greenlet_to_future, sync_to_async
"""


def run_program(text):
    environment = {**os.environ, "EVENTLET_HUB": "eventlet_asyncio.hub", "EVENTLET_TESTS": "1"}
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", text],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )
    assert (ended.stderr, ended.stdout, ended.returncode) == ("", "pass\n", 0), ended


def program(imports):
    """Makes of a test a program with those imports, which must end without a word on stderr."""

    def decorate(test):
        lines = textwrap.dedent(inspect.getsource(test)).splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("def "))
        text = "\n".join([imports, *lines[start:], "", f"{test.__name__}()", "print('pass')"])

        @functools.wraps(test)
        def run():
            run_program(text)

        return run

    return decorate


patched = program(PATCHED)


# eventlet's asyncio hub, and eventlet where threads and contexts are concerned.


def test_a_semaphore_passes_between_threads(in_thread):
    """eventlet 662: whoever releases it wakes the waiter of another thread in the wrong one, which greenlet refuses."""
    lock = semaphore.Semaphore()
    counts = []

    def counts_up():
        for _ in range(10):
            with lock:
                count = len(counts)
                eventlet.sleep(0)
                assert len(counts) == count
                counts.append(count)

    def body():
        eventlet_asyncio.use_hub()
        for green in [eventlet.spawn(counts_up) for _ in range(3)]:
            green.wait()

    ended = []
    threads = [threading.Thread(target=lambda: ended.append(in_thread(body))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 3
    assert counts == list(range(90))


def test_green_threads_have_context_variables_of_their_own(on_any_hub):
    """eventlet 663: a variable that one green thread sets was seen by all others."""
    variable = contextvars.ContextVar("variable")

    def sets(value, chance):
        for _ in range(5):
            eventlet.sleep(chance.random() / 1000)
            variable.set(value)
            eventlet.sleep(chance.random() / 1000)
            assert variable.get() == value
        return value

    def body():
        greens = [eventlet.spawn(sets, n, random.Random(n)) for n in range(5)]
        return [green.wait() for green in greens]

    assert on_any_hub(body) == list(range(5))


def test_green_and_async_libraries_serve_one_another(hub):
    """eventlet 868: what the asyncio hub is for; async code may not call a library that is still green."""

    def page(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [await_(asyncio.sleep(0, environ["PATH_INFO"].encode()))]

    listener = eventlet.listen(("127.0.0.1", 0))
    serving = eventlet.spawn(wsgi.server, listener, page, log_output=False)
    host, port = listener.getsockname()

    async def fetch(path):
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{host}:{port}/{path}") as response:
                return await response.text()

    def green_fetch(path):
        connection = green_socket.create_connection((host, port))
        connection.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as received:
            return received.read().rpartition(b"\r\n")[2].decode()

    async def both():
        return await fetch("async"), green_fetch("green")

    try:
        for run in (await_, asyncio.run, lambda both: eventlet.spawn(asyncio.run, both).wait()):
            assert run(both()) == ("/async", "/green")
        assert [green_fetch("green"), await_(fetch("async"))] == ["/green", "/async"]
    finally:
        serving.kill()
        listener.close()


@patched
def test_what_needs_a_thread_of_asyncios_works_after_monkey_patch():
    """eventlet 929: names are looked up in threads of asyncio's, which the patched modules made green; it failed."""

    async def connect():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port)
        assert await reader.read() == b""
        writer.close()
        server.close()
        return await asyncio.to_thread(eventlet.patcher.original("threading").get_ident)

    here = eventlet.patcher.original("threading").get_ident()
    for there in (future_to_greenlet(connect()).wait(), await_(connect()), asyncio.run(connect())):
        assert there != here


@patched
def test_asyncio_asks_the_system_for_names_and_green_code_eventlet():
    """eventlet 938: asyncio's threads asked eventlet's resolver, which belongs to green threads."""
    from eventlet.support import greendns

    class Asked(Exception):
        pass

    class Resolver:
        def __getattr__(self, name):
            raise Asked(name)

    greendns.resolver = Resolver()

    async def main():
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo("localhost", 80, family=socket.AF_INET)
        assert found[0][4] == ("127.0.0.1", 80)

    await_(main())
    asyncio.run(main())
    try:
        socket.getaddrinfo("localhost", 80)
    except Asked:
        return
    raise AssertionError("green code must ask eventlet")


def test_several_green_threads_may_read_one_connection_where_that_is_allowed(hub):
    """eventlet 960: the asyncio hub can have one reader of a descriptor, so the switch is refused there."""
    listener = green_socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    near = green_socket.create_connection(listener.getsockname())
    far, _ = listener.accept()

    debug.hub_prevent_multiple_readers(False)
    try:
        readers = [eventlet.spawn(far.recv, 1) for _ in range(3)]
        eventlet.sleep(0)
        near.sendall(b"abc")
        assert sorted(reader.wait() for reader in readers) == [b"a", b"b", b"c"]
    finally:
        debug.hub_prevent_multiple_readers(True)
    reader = eventlet.spawn(far.recv, 1)
    eventlet.sleep(0)
    with pytest.raises(RuntimeError, match="Second simultaneous read"):
        far.recv(1)
    near.close()
    assert reader.wait() == b""
    far.close()
    listener.close()


@patched
def test_hubs_of_several_threads_sleep_side_by_side():
    """eventlet 994: the asyncio hub could not be made in a second thread."""
    real = eventlet.patcher.original("threading")
    log = []

    def body(name):
        for _ in range(3):
            eventlet.sleep(0.01)
            log.append(name)
        assert await_(asyncio.sleep(0, name)) == name

    threads = [real.Thread(target=body, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    body("main")
    for thread in threads:
        thread.join()
    assert sorted(log) == ["a"] * 3 + ["b"] * 3 + ["main"] * 3


@program(f"import asyncio, concurrent.futures, ssl\n{PATCHED}")
def test_asyncio_may_have_been_imported_before_monkey_patch():
    """eventlet 1003: the asyncio hub then has patched modules below it, and refuses to start."""
    real = eventlet.patcher.original("threading")

    async def main():
        assert await asyncio.to_thread(real.get_ident) != real.get_ident()
        time.sleep(0.001)
        return await greenlet_to_future(eventlet.spawn(time.sleep, 0.001))

    await_(main())
    thread = real.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    asyncio.run(main())


@patched
def test_modules_that_asyncio_imports_stay_green_for_the_program():
    """eventlet 1012: to keep asyncio's modules unpatched, the hub takes the patches from what they import, too."""
    eventlet.hubs.get_hub()
    import logging
    import ssl
    import subprocess

    assert socket.socket is eventlet.green.socket.socket
    assert asyncio.base_events.socket.socket is eventlet.patcher.original("socket").socket
    ticks = []

    def ticks_on():
        while True:
            time.sleep(0.001)
            ticks.append(None)

    def lets_others_run(call):
        before = len(ticks)
        call()
        return len(ticks) > before

    def thread():
        each = threading.Thread(target=time.sleep, args=(0.01,))
        each.start()
        each.join()

    def locked():
        """By a green thread that sleeps meanwhile."""
        handler = logging.StreamHandler()

        def holds():
            with handler.lock:
                time.sleep(0.01)

        eventlet.spawn(holds)
        eventlet.sleep(0)
        with handler.lock:
            pass

    def tls():
        near, far = socket.socketpair()
        with ssl.create_default_context().wrap_socket(near, server_hostname="x", do_handshake_on_connect=False) as end:
            end.settimeout(0.01)
            try:
                end.do_handshake()
            except TimeoutError:
                pass
        far.close()

    ticking = eventlet.spawn(ticks_on)
    for call in (thread, locked, tls, lambda: subprocess.run(["sleep", "0.01"]), lambda: time.sleep(0.01)):
        assert lets_others_run(call), call
    ticking.kill()


@patched
def test_a_fork_leaves_a_child_that_works():
    """eventlet 1030: from Python 3.13 on a forked child is left with threads that its threading module has lost."""

    def child():
        threads = [threading.Thread(target=time.sleep, args=(0.001,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert await_(asyncio.sleep(0, 1)) == 1
        assert asyncio.run(asyncio.sleep(0, 2)) == 2

    pid = os.fork()
    if pid == 0:
        child()
        os._exit(3)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    child()


@patched
def test_green_threads_go_on_in_a_forked_child():
    """eventlet 1047: the threads that were lost are green ones, which a fork does not end."""
    ticks = []

    def ticks_on():
        for _ in range(5):
            time.sleep(0.001)
            ticks.append(None)

    green = eventlet.spawn(ticks_on)
    thread = threading.Thread(target=ticks_on)
    thread.start()
    pid = os.fork()
    green.wait()
    if tuple(map(int, eventlet.__version__.split(".")[:3])) >= (0, 40, 1):
        thread.join()
        assert len(ticks) == 10
        assert not thread.is_alive()
    assert len(ticks) >= 5
    if pid == 0:
        os._exit(3)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 3


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

    @async_to_sync
    async def slow(value):
        await asyncio.sleep(0.02)
        return value

    def body():
        began = time.monotonic()
        greens = [eventlet.spawn(slow, number) for number in range(10)]
        assert [green.wait() for green in greens] == list(range(10))
        return time.monotonic() - began

    assert on_any_hub(body) < 0.15


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
        assert ticks.count("green") > 5 < ticks.count("async"), ticks
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
            await asyncio.wait_for(sync_to_async(slow)(60), 0.01)
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

    async def inner(value):
        assert asyncio.get_running_loop() is not outer
        await asyncio.sleep(0.01)
        return value

    async def main():
        nonlocal outer
        outer = asyncio.get_running_loop()
        ticks = []
        ticker = asyncio.create_task(ticks_on(ticks))
        assert asyncio.run(inner(1)) == 1
        assert asyncio.get_running_loop() is outer
        ticker.cancel()
        return len(ticks)

    async def ticks_on(ticks):
        while True:
            await asyncio.sleep(0.001)
            ticks.append(None)

    outer = None
    assert asyncio.run(main()) > 2
    assert eventlet.spawn(asyncio.run, main()).wait() > 2


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
