"""A fork leaves the hubs of other threads alone: in the parent they are woken as before, and the child has its own."""

import os
import socket
import threading
import time
import warnings

import eventlet
from eventlet import event, hubs, queue

import eventlet_asyncio

THREADS = 3
ROUNDS = 5

items = queue.Queue()
given = queue.Queue()
ready = threading.Semaphore(0)


near, far = socket.socketpair()
near.settimeout(5)
far.setblocking(False)


def answer():
    while True:
        hubs.trampoline(far, read=True)
        try:
            data = far.recv(1)
        except BlockingIOError:
            continue
        if not data:
            return
        far.send(data)


def body():
    eventlet_asyncio.use_hub()
    ready.release()
    eventlet.spawn(answer)
    while True:
        item = items.get()
        if item is None:
            return
        given.put(item)


# From Python 3.12 on, of every fork beside threads.
warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
hubs.get_hub()
threads = [threading.Thread(target=body) for _ in range(THREADS)]
for thread in threads:
    thread.start()
    ready.acquire()
while items.getting() < THREADS:
    time.sleep(0.001)

for number in range(ROUNDS):
    before = len(os.listdir("/proc/self/fd"))
    child = os.fork()
    if child == 0:
        sent = event.Event()
        eventlet.spawn_after(0.01, sent.send, "sent")
        with eventlet.Timeout(5):
            fine = sent.wait() == "sent" and eventlet.spawn(int).wait() == 0
        os._exit(0 if fine else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(os.listdir("/proc/self/fd")) == before
    near.send(b"x")
    assert near.recv(1) == b"x"
    for each in range(THREADS):
        items.put((number, each))
    with eventlet.Timeout(5):
        assert sorted(given.get() for _ in range(THREADS)) == [(number, n) for n in range(THREADS)]

for _ in threads:
    items.put(None)
for thread in threads:
    thread.join(5)
    assert not thread.is_alive()
print("pass")
