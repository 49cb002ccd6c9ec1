"""A Python signal handler runs while the hub is idle, and may start green threads."""

import os
import signal
import threading

import eventlet
from eventlet import event

import eventlet_asyncio

eventlet_asyncio.use_hub()
done = event.Event()


def handler(signum, frame):
    eventlet.spawn_n(done.send, "handled")


signal.signal(signal.SIGUSR1, handler)
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
with eventlet.Timeout(20):
    assert done.wait() == "handled"
print("pass")
