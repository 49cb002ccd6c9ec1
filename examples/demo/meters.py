"""What is counted and timed: requests, tickers, threads, and whether anything still moves."""

import asyncio
import collections
import contextlib
import os
import signal
import threading
import time

import eventlet

PERIOD = 0.010


class Part:
    """The requests of one kind, shared out among clients."""

    def __init__(self, name, requests):
        self.name = name
        self.requests = requests
        self.begun = 0
        self.latencies = []
        self.errors = collections.Counter()
        self.first = self.last = None
        self.stalled = False

    def begin(self):
        """Takes one request from those that are left; false when there is none."""
        if self.begun == self.requests:
            return False
        self.begun += 1
        return True

    @contextlib.contextmanager
    def one(self):
        """Times one request and counts how it ended."""
        begin = time.perf_counter()
        if self.first is None:
            self.first = begin
        try:
            yield
        except Exception as error:
            self.errors[f"{type(error).__name__}: {error}"] += 1
        else:
            self.latencies.append(time.perf_counter() - begin)
        self.last = time.perf_counter()

    @property
    def done(self):
        return len(self.latencies)

    @property
    def failed(self):
        return self.errors.total()

    @property
    def over(self):
        return self.done + self.failed == self.requests

    @property
    def passed(self):
        return self.done == self.requests

    @property
    def seconds(self):
        return self.last - self.first if self.last else 0.0

    def percentile(self, percent):
        """Seconds within which so many of a hundred requests were done."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


class Tickers:
    """Two clocks, one of each world, that note how much too late they were called."""

    def __init__(self, bridge):
        self._longest = {"green": 0.0, "asyncio": 0.0}
        self._due = {}
        eventlet.spawn(self._green)
        bridge.launch(self._asyncio())

    def _green(self):
        while True:
            self._expect("green")
            eventlet.sleep(PERIOD)
            self._note("green")

    async def _asyncio(self):
        while True:
            self._expect("asyncio")
            await asyncio.sleep(PERIOD)
            self._note("asyncio")

    def _expect(self, world):
        self._due[world] = time.perf_counter() + PERIOD

    def _note(self, world):
        late = time.perf_counter() - self._due[world]
        self._longest[world] = max(self._longest[world], late)

    def longest_wait(self):
        """Seconds by world; who is waiting still counts too."""
        for world in self._due:
            self._note(world)
        return self._longest


class Watch:
    """Waits for parts to be over, for as long as any of them moves."""

    def __init__(self, parts, patience, show):
        self.threads = 1
        self._parts = parts
        self._patience = patience
        self._show = show
        signal.signal(signal.SIGALRM, self._all_stalled)

    def until_over(self, start, parts):
        """Starts the clients of these parts and returns when all are over or stalled."""
        seen, moved = None, time.monotonic()
        eventlet.spawn(start)
        while not all(part.over for part in parts):
            signal.alarm(3 * self._patience)
            eventlet.sleep(0.05)
            self.threads = max(self.threads, count_threads())
            self._show()
            counts = [(part.done, part.failed) for part in parts]
            if counts != seen:
                seen, moved = counts, time.monotonic()
            elif time.monotonic() - moved > self._patience:
                break
        signal.alarm(0)
        for part in parts:
            part.stalled = not part.over

    def _all_stalled(self, signum, frame):
        """Called when not even this watch gets its turn: the thread itself is blocked."""
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "no Python code"
        print(f"\nthe whole thread stands still in {where}", flush=True)
        os._exit(1)


def count_threads():
    """Threads as the operating system counts them, which no monkey-patching can hide."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()
