"""What fails in eventlet, its asyncio hub above all, where green threads and asyncio meet, and works here.

Each test names the number under which eventlet knows the failure. Those that need monkey_patch() run in a process of
their own. test_known_failures_elsewhere.py does the same for other projects.
"""

import asyncio
import contextvars
import os
import random
import socket
import threading

import aiohttp
import eventlet
import pytest
from eventlet import debug, hubs, semaphore, wsgi
from eventlet.green import socket as green_socket
from eventlet.greenio import GreenSocket

import eventlet_asyncio
from eventlet_asyncio import await_, use_hub
from tests.patched import PATCHED, patched, program


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


@pytest.fixture
def several_readers(hub):
    """Several green threads may wait for one descriptor."""
    debug.hub_prevent_multiple_readers(False)
    yield
    debug.hub_prevent_multiple_readers(True)


def test_a_pipe_is_a_lock_for_the_green_threads_of_several_threads(several_readers):
    """eventlet 874: in the asyncio hub one of the waiters takes the place of another, which waits for ever."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    held, most, counted = 0, 0, []

    def acquire():
        while True:
            try:
                return os.read(reading, 1)
            except BlockingIOError:
                hubs.trampoline(reading, read=True)

    def count():
        nonlocal held, most
        for _ in range(20):
            acquire()
            held += 1
            most = max(most, held)
            eventlet.sleep(0)
            counted.append(None)
            held -= 1
            os.write(writing, b"-")

    def body():
        use_hub()
        for green in [eventlet.spawn(count) for _ in range(5)]:
            green.wait()

    threads = [threading.Thread(target=body) for _ in range(3)]
    for thread in threads:
        thread.start()
    os.write(writing, b"-")
    body()
    for thread in threads:
        thread.join()
    os.close(reading)
    os.close(writing)
    assert len(counted) == 4 * 5 * 20
    assert most == 1


def test_several_green_threads_write_to_one_socket_that_is_full(several_readers):
    """eventlet 874: a socket to which all log is written by whoever has something to say."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    lines = [b"%d-%d" % (who, number) for who in range(10) for number in range(100)]

    def log(who):
        for number in range(100):
            line = b"%d-%d" % (who, number)
            while True:
                try:
                    near.send(line)
                    break
                except BlockingIOError:
                    hubs.trampoline(near, write=True)

    def read():
        return [green_far.recv(100) for _ in lines]

    green_far = GreenSocket(far)
    writers = [eventlet.spawn(log, who) for who in range(10)]
    eventlet.sleep(0)
    reader = eventlet.spawn(read)
    for writer in writers:
        writer.wait()
    assert sorted(reader.wait()) == sorted(lines)
    near.close()
    green_far.close()


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
