"""A queue whose `_put` stands still in a thread that is gone, by its end or by a fork, goes on for all others."""

import os
import signal
import threading
import time
import warnings

import eventlet
from eventlet import hubs, queue

import eventlet_asyncio

eventlet_asyncio.use_hub()
hubs.get_hub()


class Slow(queue.Queue):
    """Calls what it is to put, first."""

    def _put(self, item):
        item()
        super()._put(item)


def nothing():
    pass


def with_a_put_under_way():
    """A queue, the thread that puts something into it, and what lets it end."""

    def blocks():
        begun.set()
        end.wait()

    slow, begun, end = Slow(10), threading.Event(), threading.Event()
    thread = threading.Thread(target=slow.put, args=(blocks,))
    thread.start()
    begun.wait()
    return slow, thread, end


def of_a_thread_that_has_ended():
    slow = Slow(10)
    begun = []

    def blocks():
        begun.append(True)
        eventlet.sleep(1000)

    def body():
        eventlet_asyncio.use_hub()
        eventlet.spawn(slow.put, blocks)
        eventlet.sleep(0)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert begun
    slow.put(nothing)
    assert slow.get() is nothing


def of_a_thread_that_was_not_forked():
    slow, thread, end = with_a_put_under_way()
    with warnings.catch_warnings():
        # From Python 3.12 on it warns of forks beside threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        slow.put(nothing)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    end.set()
    thread.join()
    assert slow.qsize() == 1


class Alarm(Exception):
    pass


def who_waits_hears_signals():
    def alarm(_signal, _frame):
        raise Alarm

    before = signal.signal(signal.SIGALRM, alarm)
    slow, thread, end = with_a_put_under_way()
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    started = time.monotonic()
    failsafe = threading.Timer(10, end.set)
    failsafe.start()
    try:
        slow.put(nothing)
    except Alarm:
        assert time.monotonic() - started < 5
    else:
        raise AssertionError("the handler did not run")
    failsafe.cancel()
    end.set()
    thread.join()
    signal.signal(signal.SIGALRM, before)
    assert slow.qsize() == 1


class GivesUpTheLock:
    def __lt__(self, other):
        time.sleep(0.0001)
        return False


def beside_one_that_puts_all_the_time():
    def puts():
        while not is_over.is_set():
            items.put(GivesUpTheLock())
            items.get()

    items, is_over = queue.PriorityQueue(), threading.Event()
    for _ in range(3):
        items.put(GivesUpTheLock())
    thread = threading.Thread(target=puts)
    thread.start()
    failsafe = threading.Timer(20, is_over.set)
    failsafe.start()
    for _ in range(20):
        items.put(GivesUpTheLock())
    assert not is_over.is_set(), "it had no turn before the other thread was over"
    failsafe.cancel()
    is_over.set()
    thread.join()


# First, while the hub has no loop yet.
of_a_thread_that_was_not_forked()
of_a_thread_that_has_ended()
who_waits_hears_signals()
beside_one_that_puts_all_the_time()
print("pass")
