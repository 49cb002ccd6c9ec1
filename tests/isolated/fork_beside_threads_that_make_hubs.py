"""A process is forked while other threads make hubs: threads of the child make theirs, too."""

import os
import signal
import threading
import time
import warnings

import eventlet
from eventlet import hubs

import eventlet_asyncio
import eventlet_asyncio.hub

FORKS = 60


def uses_hub():
    eventlet_asyncio.use_hub()
    eventlet.sleep(0)


def makes_hubs():
    while not over.is_set():
        eventlet_asyncio.use_hub()
        hubs.get_hub()


def child():
    # What a lock that nobody releases any more would stop.
    signal.alarm(20)
    thread = threading.Thread(target=uses_hub)
    thread.start()
    thread.join()
    uses_hub()
    os._exit(0)


# From Python 3.12 on, of every fork beside threads.
warnings.simplefilter("ignore", DeprecationWarning)
over = threading.Event()
threads = [threading.Thread(target=makes_hubs) for _ in range(2)]
for thread in threads:
    thread.start()
try:
    for _ in range(FORKS):
        pid = os.fork()
        if pid == 0:
            child()
        assert os.waitpid(pid, 0)[1] == 0
        time.sleep(0.001)
finally:
    over.set()
for thread in threads:
    thread.join()
print("pass")
