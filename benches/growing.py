"""The work of the curves: each function measures one point and checks what it did.

`at` is the place on the axis; whatever the contender needs is loaded here.
"""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import subprocess

import crossings as crossing_work
import green
import sides
import traffic
from harness import Meter, check, resident

KILOBYTE = 1_000


def peak():
    """The most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def possible(connections):
    """As many as descriptors allow, some being for the listener and for Python."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
    return min(connections, room - 200)


@contextlib.contextmanager
def clients(port, connections, each):
    """A program on another processor that connects, and sends once it is told to."""
    program = traffic.compiled("echo.c")
    command = [program, str(connections), str(each), str(KILOBYTE), str(port)]
    (mine,) = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(range(os.cpu_count())) - {mine} or {mine})
    pipe = subprocess.PIPE
    far = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    os.sched_setaffinity(0, {mine})
    try:
        yield far
        check(float(far.communicate()[0].split()[2]), connections * each)
    finally:
        far.kill()


def go(far):
    far.stdin.write("go\n")
    far.stdin.flush()


class Counting(asyncio.Protocol):
    """Echoes, and knows when all have come."""

    def __init__(self, state):
        self._state = state

    def connection_made(self, transport):
        self._transport = transport
        self._state.connected(1)

    def data_received(self, data):
        self._transport.write(data)
        self._state.received(len(data))


class Count:
    def __init__(self, connections, size, when_connected, when_received):
        self._connections = connections
        self._size = size
        self._when = when_connected, when_received

    def connected(self, count):
        self._connections -= count
        if not self._connections:
            self._when[0]()

    def received(self, size):
        self._size -= size
        if not self._size:
            self._when[1]()


def served_by_protocols(contender, size, at):
    run = traffic.load(contender)
    connections = possible(at)
    each = max(size // connections, 1)

    async def main():
        loop = asyncio.get_running_loop()
        connected, received = loop.create_future(), loop.create_future()
        bytes_to_come = connections * each * KILOBYTE
        ends = [lambda end=end: end.set_result(None) for end in (connected, received)]
        state = Count(connections, bytes_to_come, *ends)
        before = resident()
        server = await loop.create_server(
            lambda: Counting(state), "127.0.0.1", 0, backlog=4096, reuse_address=True
        )
        port = server.sockets[0].getsockname()[1]
        with clients(port, connections, each) as far:
            await connected
            gc.collect()
            memory = resident() - before
            with Meter() as meter:
                go(far)
                await received
        return meter, memory

    meter, memory = run(main())
    return with_memory(meter.per(connections * each), "connection", memory, connections)


def served_by_green_threads(contender, size, at):
    side = green.load(contender)
    connections = possible(at)
    each = max(size // connections, 1)
    done = [side.Event(), side.Event()]
    ends = [lambda event=event: side.send(event, 1) for event in done]
    state = Count(connections, connections * each * KILOBYTE, *ends)
    before = resident()
    listener = side.socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)

    def echo(peer):
        while data := peer.recv(65536):
            peer.sendall(data)
            state.received(len(data))

    def serve():
        for _ in range(connections):
            peer, _ = listener.accept()
            side.spawn(echo, peer)
            state.connected(1)

    with clients(listener.getsockname()[1], connections, each) as far:
        side.spawn(serve)
        side.receive(done[0])
        side.sleep(0)
        gc.collect()
        memory = resident() - before
        with Meter() as meter:
            go(far)
            side.receive(done[1])
    return with_memory(meter.per(connections * each), "connection", memory, connections)


def with_memory(sample, what, memory, count):
    sample.figures[f"bytes a {what}"] = memory / count
    return sample


def timers(contender, size, at):
    """An operation is a timer that is made and cancelled, 64 being open."""

    async def main():
        loop = asyncio.get_running_loop()
        fired = []
        gc.collect()
        before = resident()
        pending = [loop.call_later(600 + number % 3600, fired.append, 1) for number in range(at)]
        memory = resident() - before
        recent = [loop.call_later(60, fired.append, 1) for _ in range(64)]
        await asyncio.sleep(0)
        with Meter() as meter:
            for turn in range(size // 64):
                for place in range(64):
                    recent[place].cancel()
                    recent[place] = loop.call_later(60, fired.append, 1)
                await asyncio.sleep(0)
        check((len(pending), fired), (at, []))
        check(sum(timer.cancelled() for timer in recent), 0)
        return meter, memory

    meter, memory = traffic.load(contender)(main())
    return with_memory(meter.per(size // 64 * 64), "timer", memory, at)


def timeouts(contender, size, at):
    """An operation is a Timeout that is entered and left, with now and then a look at the hub."""
    side = green.load(contender)
    start = getattr(side.Timeout, "start_new", side.Timeout)
    gc.collect()
    before = resident()
    pending = [start(600 + number % 3600) for number in range(at)]
    side.sleep(0)
    memory = resident() - before
    entered = 0
    with Meter() as meter:
        for _ in range(size // 64):
            for _ in range(64):
                with side.Timeout(60):
                    entered += 1
            side.sleep(0)
    check((len(pending), entered), (at, size // 64 * 64))
    return with_memory(meter.per(entered), "timeout", memory, at)


def crossings(contender, size, at):
    """An operation is a coroutine that yields once, awaited by one of many that do so at a time."""
    side = sides.load("asyncio" if contender == "eventlet" else contender)
    await_, each = side.await_, max(size // at, 1)
    done = []

    def body():
        total = 0
        for number in range(each):
            total += await_(crossing_work._after_yield(number))
        done.append(total)

    gc.collect()
    before = resident()
    with Meter() as meter:
        side.all_at_once(body, at)
    check(done, [each * (each - 1) // 2] * at)
    return with_memory(meter.per(each * at), "crossing", max(peak() - before, 0), at)


def echoes(contender, size, at):
    """An operation is a message that went to the server and came back."""
    run = traffic.load(contender)
    sample = traffic.protocol_echo(run, size, length=at, connections=50)
    if contender != "c":
        sample.figures["bytes at peak"] = peak()
    return sample
