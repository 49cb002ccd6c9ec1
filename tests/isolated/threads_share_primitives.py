"""Hubs of several threads and plain threads share a queue and a semaphore, with timeouts and kills: all counts are right."""

import random
import sys
import threading
import time

import eventlet
import greenlet
from eventlet import hubs, queue, semaphore

import eventlet_asyncio

ITEMS = 200
PERMITS = 2
LAST = (10_000, 0)
KINDS = [
    (queue.Queue, None),
    (queue.Queue, 3),
    (queue.LightQueue, 0),
    (queue.LightQueue, None),
    (queue.LifoQueue, 2),
    (queue.PriorityQueue, None),
    (queue.PriorityQueue, 3),
]
HUBS = [["ours"] * 3, ["ours", "epolls", "poll"]]


def use(hub):
    if hub == "ours":
        eventlet_asyncio.use_hub()
    else:
        hubs.use_hub(hub)


class Round:
    def __init__(self, kind, size, hub_names, seed):
        self.items = kind(size)
        self.permits = semaphore.Semaphore(PERMITS)
        self.chance = random.Random(seed)
        self.put = []
        self.got = []
        self.inside = []
        self.crowds = set()
        self.victims = []
        self.failures = []
        bodies = [self.with_hub(name, number) for number, name in enumerate(hub_names)]
        self.consumers = 3 * len(bodies)
        if size != 0:
            bodies += [self.plain(number) for number in (100, 101)]
        self.total = ITEMS * (2 * len(hub_names) + len(bodies) - len(hub_names))
        self.threads = [threading.Thread(target=self.guard, args=(body,)) for body in bodies]

    def guard(self, body):
        try:
            body()
        except BaseException as failure:
            self.failures.append(failure)
            raise

    def put_all(self, thread):
        for number in range(ITEMS):
            item = (thread, number)
            while True:
                try:
                    self.items.put(item, timeout=self.chance.choice([0.001, 0.01, 1, None]))
                    break
                except queue.Full:
                    pass
            self.put.append(item)

    def plain(self, thread):
        def body():
            for number in range(ITEMS):
                while True:
                    try:
                        self.items.put_nowait((thread, number))
                        break
                    except queue.Full:
                        time.sleep(0.0005)
                self.put.append((thread, number))
            assert vars(hubs._threadlocal) == {}

        return body

    def get_all(self):
        while True:
            try:
                item = self.items.get(timeout=self.chance.choice([0.001, 0.01, 1, None]))
            except queue.Empty:
                continue
            if item == LAST:
                return
            self.got.append(item)
            if self.permits.acquire(timeout=self.chance.choice([0.001, 1, None])):
                self.inside.append(item)
                self.crowds.add(len(self.inside))
                eventlet.sleep(self.chance.choice([0, 0, 0.0003]))
                self.inside.remove(item)
                self.permits.release()
            if isinstance(self.items, queue.Queue):
                self.items.task_done()

    def victim(self):
        try:
            while True:
                with self.permits:
                    eventlet.sleep(0)
                eventlet.sleep(0.0002)
        except greenlet.GreenletExit:
            pass

    def with_hub(self, name, thread):
        def body():
            use(name)
            greens = [eventlet.spawn(self.put_all, 2 * thread + number) for number in range(2)]
            greens += [eventlet.spawn(self.get_all) for _ in range(3)]
            greens += [eventlet.spawn(self.victim) for _ in range(4)]
            self.victims += greens[-4:]
            for green in greens:
                green.wait()

        return body

    def finish(self):
        use("ours")
        if isinstance(self.items, queue.Queue):
            self.items.join()
        for _ in range(self.consumers):
            self.items.put(LAST)

    def run(self):
        for thread in self.threads:
            thread.start()
        end = time.monotonic() + 30
        while len(self.got) < self.total:
            assert time.monotonic() < end, self.items
            time.sleep(0.005)
            if self.victims:
                self.chance.choice(self.victims).kill()
        for victim in self.victims:
            victim.kill()
        finish = threading.Thread(target=self.finish)
        finish.start()
        for thread in [finish, *self.threads]:
            thread.join(10)
            assert not thread.is_alive(), (self.items, self.permits)
        assert not self.failures
        assert sorted(self.got) == sorted(self.put)
        assert len(self.got) == self.total
        assert max(self.crowds) <= PERMITS
        assert self.permits.counter == PERMITS


sys.setswitchinterval(1e-5)
use("ours")
hubs.get_hub()
seed = random.randrange(10**6)
print("seed", seed)
for kind, size in KINDS:
    for hub_names in HUBS:
        Round(kind, size, hub_names, seed).run()
print("pass")
