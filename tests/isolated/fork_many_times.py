"""Many forks while listeners, timers, tasks, loops and signal handlers are pending: whatever the children do, the parent loses no event."""

import asyncio
import os
import signal
import socket
import warnings

import eventlet
import eventlet.green.os
import eventlet.hubs

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
hub = eventlet.hubs.get_hub()

FORKS = 24
PAIRS = 10


class Listener:
    """A green thread that counts what arrives."""

    def __init__(self):
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.heard = 0
        self.green = eventlet.spawn(self.listen)

    def listen(self):
        while True:
            eventlet.hubs.trampoline(self.near, read=True)
            self.heard += len(self.near.recv(10))


class Pending:
    """Everything that a process waits for, and what came of it."""

    def __init__(self):
        self.green, self.task, self.run, self.python, self.loop = [], [], [], [], []
        self.ticker = eventlet.spawn(self.tick)
        self.ticking = asyncio.create_task(self.tick_async(self.task))
        self.running = eventlet.spawn(asyncio.run, self.tick_async(self.run))
        signal.signal(signal.SIGUSR1, lambda *_: self.python.append(1))
        hub.loop.add_signal_handler(signal.SIGUSR2, self.loop.append, 1)

    def tick(self):
        while True:
            eventlet.sleep(0.001)
            self.green.append(1)

    async def tick_async(self, log):
        while True:
            await asyncio.sleep(0.001)
            log.append(1)

    def go_on(self, listeners):
        """Sees that nothing of it is lost in this process."""
        logs = (self.green, self.task, self.run, self.python, self.loop)
        for log in logs:
            del log[:]
        before = [listener.heard for listener in listeners]
        for listener in listeners:
            listener.far.send(b"abc")
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        with eventlet.Timeout(15):
            while not all(logs) or [listener.heard - 3 for listener in listeners] != before:
                eventlet.sleep(0.001)
        assert (self.python, self.loop) == ([1], [1])


def child(number, pending, listeners, ready):
    for listener in listeners:
        listener.green.kill()
        listener.near.close()
    mine = [Listener() for _ in range(PAIRS)]
    # Until now it might have read what was for the parent.
    os.write(ready, b"r")
    pending.go_on(mine)
    if number % 4 == 0:
        eventlet_asyncio.use_hub()
        assert await_(asyncio.sleep(0.001, "new hub")) == "new hub"
    elif number % 4 == 1:
        hub.abort()
    elif number % 4 == 2:
        pending.ticking.cancel()
        pending.running.kill()
        hub.loop.remove_signal_handler(signal.SIGUSR2)
        eventlet.sleep(0.002)
    os._exit(0)


def main():
    pending = Pending()
    listeners = [Listener() for _ in range(PAIRS)]
    reader, writer = os.pipe()
    for number in range(FORKS):
        pid = os.fork()
        if pid == 0:
            child(number, pending, listeners, writer)
        eventlet.hubs.trampoline(reader, read=True)
        assert os.read(reader, 1) == b"r"
        pending.go_on(listeners)
        with eventlet.Timeout(15):
            assert eventlet.green.os.waitpid(pid, 0) == (pid, 0), number
        pending.go_on(listeners)


eventlet.spawn(main).wait()
print("pass", flush=True)
os._exit(0)
