"""A fork in a green thread, with sleepers, listeners and tasks pending: both sides go on and lose nothing."""

import asyncio
import os
import socket
import sys
import warnings

import eventlet
import eventlet.green.os

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()


async def gives(value):
    await asyncio.sleep(0.01)
    return value


def serve(server):
    while True:
        peer, _ = server.accept()
        peer.sendall(peer.recv(5))
        peer.close()


def talk(address):
    client = eventlet.connect(address)
    client.sendall(b"hello")
    received = client.recv(5)
    client.close()
    return received


def check(address):
    assert await_(gives(1)) == 1
    assert eventlet.spawn(asyncio.run, gives(2)).wait() == 2
    assert talk(address) == b"hello"


def generation(rounds):
    """Forks, and forks in the child again."""
    if rounds == 0:
        return
    log = []
    sleeper = eventlet.spawn(lambda: log.append(eventlet.sleep(0.05)))
    task = asyncio.create_task(gives("task"))
    server = eventlet.listen(("127.0.0.1", 0))
    serving = eventlet.spawn(serve, server)
    left, right = socket.socketpair()
    reader = eventlet.spawn(eventlet.hubs.trampoline, left, read=True)
    check(server.getsockname())
    child = os.fork()
    if child == 0:
        # Else it might take the parent's connections.
        serving.kill()
        server.close()
        server = eventlet.listen(("127.0.0.1", 0))
        serving = eventlet.spawn(serve, server)
    check(server.getsockname())
    assert await_(task) == "task"
    sleeper.wait()
    assert log == [None]
    # Whichever side: the other has its own end of the pair, and its own engine.
    right.send(b"x")
    reader.wait()
    serving.kill()
    server.close()
    if child == 0:
        generation(rounds - 1)
        sys.stdout.flush()
        os._exit(0)
    pid, status = eventlet.green.os.waitpid(child, 0)
    assert (pid, status) == (child, 0)


eventlet.spawn(generation, 3).wait()
print("pass")
