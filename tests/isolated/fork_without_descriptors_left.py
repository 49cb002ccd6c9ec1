"""A fork in a process that can open no further descriptor: the child has pollers of its own all the same."""

import asyncio
import os
import resource
import socket
import warnings

import eventlet
import eventlet.green.os
import eventlet.hubs

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()


async def gives(value):
    await asyncio.sleep(0.01)
    return value


def use_up():
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return taken


def main():
    near, far = socket.socketpair()
    hearing = eventlet.spawn(eventlet.hubs.trampoline, near, read=True)
    running = eventlet.spawn(asyncio.run, gives("run"))
    assert await_(gives("before")) == "before"
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken = use_up()
    child = os.fork()
    # Everything goes on without a descriptor more.
    with eventlet.Timeout(15):
        eventlet.sleep(0.001)
        assert await_(gives("after")) == "after"
        assert running.wait() == "run"
        far.send(b"x")
        hearing.wait()
    if child == 0:
        os._exit(0)
    for fd in taken:
        os.close(fd)
    assert eventlet.green.os.waitpid(child, 0) == (child, 0)


eventlet.spawn(main).wait()
print("pass")
