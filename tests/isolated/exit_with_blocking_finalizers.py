"""What is finalized after greenlet has ended its work blocks greenly: an exception says that it cannot."""

import os

import eventlet
from eventlet import hubs
from eventlet.green import socket

import eventlet_asyncio


class Last:
    def __init__(self):
        hub = hubs.get_hub()
        self._socket, self._other = socket.socketpair()
        self._await = eventlet_asyncio.await_
        self._coroutine = never()
        fd = self._socket.fileno()
        self._calls = [
            lambda: eventlet.sleep(0),
            lambda: eventlet.sleep(0.01),
            lambda: hubs.trampoline(fd, read=True),
            lambda: self._socket.recv(1),
            lambda: hub.add(hub.READ, fd, print, print, print),
            lambda: hub.schedule_call_local(0, print),
            lambda: self._await(self._coroutine),
            hub.switch,
        ]
        self._write = os.write

    def __del__(self):
        for call in self._calls:
            try:
                call()
            except (RuntimeError, ImportError):
                continue
            except BaseException as exception:
                self._write(1, f"{exception!r}\n".encode())
                return
            # Older versions of greenlet switch to the very end.
            break
        self._coroutine.close()
        self._write(1, b"pass\n")


async def never():
    raise AssertionError("ran at the end of the interpreter")


eventlet_asyncio.use_hub()
eventlet.sleep(0)
last = Last()
