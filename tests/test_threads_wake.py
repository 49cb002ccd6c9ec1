"""Who waits in one thread is woken from another: in the right thread, at once, and nothing is lost."""

import asyncio
import decimal
import fractions
import sys
import threading
import time

import eventlet
import greenlet
import pytest
from eventlet import event, hubs, lock, queue, semaphore

import eventlet_asyncio

#: Far more than any of it takes, and far less than what the waits would last.
PROMPT = 5

HUBS = ["ours", "epolls", "poll", "selects"]


def choose(name):
    if name == "ours":
        eventlet_asyncio.use_hub()
    else:
        hubs.use_hub(name)


class Threads:
    """Threads that have a hub each, or none."""

    def __init__(self):
        self._threads = []

    def start(self, hub, body):
        """Runs a function in a thread of its own; the answer gives its result, and its thread."""
        outcome = []

        def run():
            if hub is not None:
                choose(hub)
            try:
                outcome.append((body(), None))
            except BaseException as exception:
                outcome.append((None, exception))

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

        def result():
            thread.join(PROMPT)
            assert not thread.is_alive(), "not woken"
            ((value, exception),) = outcome
            if exception is not None:
                raise exception
            return value

        return result

    def join(self):
        for thread in self._threads:
            thread.join(PROMPT)


@pytest.fixture
def threads(hub):
    # What is patched is so by the hub of ours in the main thread, whatever hub the others have.
    threads = Threads()
    yield threads
    threads.join()


def until(condition):
    """Waits until another thread has come so far."""
    end = time.monotonic() + PROMPT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class Case:
    """A wait, what to see when it has begun, what ends it, and what it gives."""

    def __init__(self, wait, begun, wake, gives=None):
        self.wait = wait
        self.begun = begun
        self.wake = wake
        self.gives = gives


def an_event():
    it = event.Event()
    return Case(it.wait, lambda: it._waiters, lambda: it.send("sent"), "sent")


def an_event_with_timeout():
    it = event.Event()
    return Case(lambda: it.wait(60), lambda: it._waiters, lambda: it.send("sent"), "sent")


def a_semaphore():
    it = semaphore.Semaphore(0)
    return Case(it.acquire, lambda: it._waiters, it.release, True)


def a_semaphore_with_timeout():
    it = semaphore.Semaphore(0)
    return Case(lambda: it.acquire(timeout=60), lambda: it._waiters, it.release, True)


def a_bounded_semaphore():
    it = semaphore.BoundedSemaphore(1)
    it.acquire()
    return Case(it.acquire, lambda: it._waiters, it.release, True)


def a_capped_semaphore():
    it = semaphore.CappedSemaphore(0, 1)
    return Case(it.acquire, lambda: it.lower_bound._waiters, it.lower_bound.release, True)


def a_lock():
    it = lock.Lock()
    it.acquire()
    return Case(it.acquire, lambda: it._waiters, it.release, True)


def an_empty(kind):
    it = kind()
    return Case(it.get, it.getting, lambda: it.put("item"), "item")


def an_empty_queue():
    return an_empty(queue.Queue)


def an_empty_light_queue():
    return an_empty(queue.LightQueue)


def an_empty_priority_queue():
    return an_empty(queue.PriorityQueue)


def an_empty_lifo_queue():
    return an_empty(queue.LifoQueue)


def a_full_queue():
    it = queue.Queue(1)
    it.put("first")
    return Case(lambda: it.put("second"), it.putting, lambda: it.get() and None)


def a_queue_made_larger():
    it = queue.Queue(1)
    it.put("first")
    return Case(lambda: it.put("second"), it.putting, lambda: it.resize(2))


def a_join():
    it = queue.Queue()
    it.put("item")
    return Case(it.join, lambda: it._cond._waiters, lambda: (it.get(), it.task_done()) and None)


CASES = [
    an_event,
    an_event_with_timeout,
    a_semaphore,
    a_semaphore_with_timeout,
    a_bounded_semaphore,
    a_capped_semaphore,
    a_lock,
    an_empty_queue,
    an_empty_light_queue,
    an_empty_priority_queue,
    an_empty_lifo_queue,
    a_full_queue,
    a_queue_made_larger,
    a_join,
]


@pytest.mark.parametrize("make", CASES)
@pytest.mark.parametrize("hub_name", HUBS)
def test_a_plain_thread_wakes_and_gets_no_hub(threads, make, hub_name):
    case = make()
    waiting = threads.start(hub_name, case.wait)
    until(case.begun)

    def wake():
        case.wake()
        return vars(hubs._threadlocal)

    assert threads.start(None, wake)() == {}
    assert waiting() == case.gives


@pytest.mark.parametrize("make", CASES)
@pytest.mark.parametrize("hub_name", HUBS)
def test_a_green_thread_of_another_hub_wakes(threads, make, hub_name):
    case = make()
    waiting = threads.start("ours", lambda: eventlet.spawn(case.wait).wait())
    until(case.begun)
    threads.start(hub_name, lambda: eventlet.spawn(case.wake).wait())()
    assert waiting() == case.gives


@pytest.mark.parametrize("make", CASES)
def test_other_green_threads_of_the_waiting_thread_go_on(threads, make):
    case = make()
    ticks = []

    def body():
        waiting = eventlet.spawn(case.wait)
        while not waiting.dead:
            ticks.append(1)
            eventlet.sleep(0.001)
        return waiting.wait()

    waiting = threads.start("ours", body)
    until(case.begun)
    count = len(ticks)
    until(lambda: len(ticks) > count + 3)
    case.wake()
    assert waiting() == case.gives


def test_a_channel_passes_items_between_threads(threads):
    channel = queue.LightQueue(0)
    getting = threads.start("ours", lambda: [channel.get() for _ in range(100)])
    putting = threads.start("ours", lambda: [channel.put(number) for number in range(100)])
    putting()
    assert getting() == list(range(100))


class Crowded(queue.LightQueue):
    """A queue to which others come in the middle of what it does."""

    come = None

    def qsize(self):
        come, self.come = self.come, None
        if come is not None:
            come()
        return super().qsize()


@pytest.mark.parametrize("waiting", ["getters", "putters"])
def test_threads_that_begin_to_wait_while_others_are_woken(threads, capfd, waiting):
    it = Crowded(1)
    others = 8
    results = []
    if waiting == "getters":
        wait, wake = it.get, lambda: it.put("item")
    else:
        it.put("item")
        wait, wake = lambda: it.put("item"), it.get

    def come():
        # The first of them takes what there was for the one who waits here.
        results.extend(threads.start("ours", wait) for _ in range(others))
        until(lambda: len(getattr(it, waiting)) == others)
        wake()

    def crowd():
        it.come = come

    own = eventlet.spawn(wait)
    eventlet.sleep(0)
    # Right before what the wake has scheduled looks at the queue.
    hubs.get_hub().schedule_call_global(0, crowd)
    wake()
    with eventlet.Timeout(PROMPT):
        while not results:
            eventlet.sleep(0.001)
        for _ in range(others - 1):
            wake()
        own.wait()
    assert [result() for result in results] == [own.wait()] * others
    assert "different thread" not in capfd.readouterr().err


def test_an_exception_is_raised_in_the_waiting_thread(threads):
    it = event.Event()

    def body():
        try:
            it.wait()
        except ValueError as exception:
            return exception, threading.get_ident()

    waiting = threads.start("ours", body)
    until(lambda: it._waiters)
    error = ValueError("sent")
    it.send_exception(error)
    exception, thread = waiting()
    assert exception is error
    assert thread != threading.get_ident()


def test_an_event_wakes_all_threads(threads):
    it = event.Event()
    waiting = [threads.start(name, it.wait) for name in HUBS * 2]
    until(lambda: len(it._waiters) == len(waiting))
    it.send("all")
    assert [result() for result in waiting] == ["all"] * len(waiting)


def test_permits_are_given_in_the_order_of_waiting_across_threads(threads):
    it = semaphore.Semaphore(0)
    order = []

    def body(number):
        it.acquire()
        order.append(number)
        it.release()

    waiting = []
    for number in range(10):
        waiting.append(threads.start("ours", lambda number=number: body(number)))
        until(lambda: len(it._waiters) == number + 1)
    it.release()
    for result in waiting:
        result()
    assert order == list(range(10))


def test_a_wake_does_not_wait_for_a_thread_that_is_busy(threads):
    items = queue.Queue()
    busy = threading.Event()
    over = threading.Event()

    def works():
        items.get()
        busy.set()
        over.wait()

    threads.start("ours", works)
    until(items.getting)
    items.put("first")
    until(busy.is_set)
    waiting = threads.start("ours", items.get)
    until(items.getting)
    items.put("second")
    assert waiting() == "second"
    over.set()


# GreenThread


def spawned(threads, hub_name, function):
    """A green thread of another OS thread, and what that gives at its end."""
    greens = []

    def body():
        greens.append(eventlet.spawn(function))
        try:
            return greens[0].wait()
        except BaseException as exception:
            return exception

    result = threads.start(hub_name, body)
    until(lambda: greens and greens[0])
    return greens[0], result


@pytest.mark.parametrize("hub_name", HUBS)
def test_a_kill_from_another_thread(threads, hub_name):
    seen = []

    def sleeps():
        try:
            eventlet.sleep(60)
        finally:
            seen.append(threading.get_ident())

    green, result = spawned(threads, hub_name, sleeps)
    until(lambda: green._exit_event._waiters)
    assert threads.start(None, lambda: (green.kill(), vars(hubs._threadlocal))[1])() == {}
    assert isinstance(result(), greenlet.GreenletExit)
    assert green.dead
    assert seen[0] != threading.get_ident()


def test_a_kill_with_an_exception_from_a_green_thread_of_another_hub(threads):
    green, result = spawned(threads, "ours", lambda: eventlet.sleep(60))
    error = KeyError("killed")
    eventlet.spawn(green.kill, error).wait()
    assert result() is error


def test_a_throw_from_another_thread(threads):
    green, result = spawned(threads, "ours", lambda: eventlet.sleep(60))
    error = KeyError("thrown")
    green.throw(error)
    assert result() is error


def test_a_cancel_from_another_thread_leaves_what_has_started(threads):
    goes_on = event.Event()
    green, result = spawned(threads, "ours", goes_on.wait)
    green.cancel()
    goes_on.send("not cancelled")
    assert result() == "not cancelled"


@pytest.mark.parametrize("hub_name", [None, *HUBS])
def test_waiting_for_a_green_thread_of_another_thread(threads, hub_name):
    goes_on = event.Event()
    green, result = spawned(threads, "ours", goes_on.wait)
    waiting = threads.start(hub_name, green.wait)
    until(lambda: len(green._exit_event._waiters) == 2)
    goes_on.send("result")
    assert result() == waiting() == "result"


def test_a_link_from_another_thread_is_called_once(threads):
    goes_on = event.Event()
    green, result = spawned(threads, "ours", goes_on.wait)
    called = []
    green.link(called.append)
    goes_on.send("result")
    result()
    until(lambda: called)
    green.link(called.append)
    assert called == [green, green]


def test_links_of_many_threads_while_the_green_thread_ends(threads):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(50):
            called = []
            green = eventlet.spawn(lambda: None)
            linking = [
                threads.start(None, lambda: [green.link(called.append) for _ in range(20)])
                for _ in range(2)
            ]
            green.wait()
            for result in linking:
                result()
            until(lambda: len(called) == 40)
    finally:
        sys.setswitchinterval(interval)


def stranded(threads, hub_name, make):
    """A green thread whose OS thread has ended, who waits for it, and the links that were called."""

    def body():
        # What a hub of eventlet's is told by other threads passes through a loop that this makes.
        eventlet_asyncio.future_to_greenlet(asyncio.sleep(0)).wait()
        green = make()
        eventlet.sleep(0.01)
        return green, make()

    for green in threads.start(hub_name, body)():
        waiting, called = eventlet.spawn(green.wait), []
        green.link(called.append)
        eventlet.sleep(0)
        yield green, waiting, called


STRANDED = {
    "sleeps": lambda: eventlet.spawn(eventlet.sleep, 60),
    "has not started": lambda: eventlet.spawn_after(60, eventlet.sleep),
    "awaits": lambda: eventlet_asyncio.future_to_greenlet(asyncio.sleep(60)),
    "is awaited": lambda: is_awaited(eventlet.spawn(eventlet.sleep, 60)),
}


def is_awaited(green):
    eventlet_asyncio.greenlet_to_future(green)
    return green


@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited")
@pytest.mark.parametrize("hub_name", HUBS)
@pytest.mark.parametrize("make", STRANDED.values(), ids=STRANDED)
@pytest.mark.parametrize("end", ["kill", "throw"])
def test_what_is_killed_after_its_thread_ended_has_ended_too(threads, hub_name, make, end):
    for green, waiting, called in stranded(threads, hub_name, make):
        getattr(green, end)()
        with pytest.raises(greenlet.GreenletExit), eventlet.Timeout(PROMPT):
            waiting.wait()
        assert called == [green]
        # Of what had started greenlet says so when the system has done away with the thread.
        until(lambda: green.dead and not green)
        green.kill()
        assert called == [green]


def test_an_exception_for_what_its_thread_has_left_behind(threads):
    for green, waiting, _ in stranded(threads, "ours", STRANDED["sleeps"]):
        error = KeyError("killed")
        green.kill(error)
        with pytest.raises(KeyError) as raised, eventlet.Timeout(PROMPT):
            waiting.wait()
        assert raised.value is error


def test_a_cancel_of_what_its_thread_never_started(threads):
    for green, waiting, called in stranded(threads, "ours", STRANDED["has not started"]):
        green.cancel()
        with pytest.raises(greenlet.GreenletExit), eventlet.Timeout(PROMPT):
            waiting.wait()
        assert called == [green]


def test_a_kill_that_the_end_of_its_thread_overtakes(threads):
    green_of, killed = [], threading.Event()

    def body():
        green_of.append(eventlet.spawn(eventlet.sleep, 60))
        eventlet.sleep(0)
        assert killed.wait(PROMPT)

    result = threads.start("ours", body)
    until(lambda: green_of and green_of[0])
    waiting = eventlet.spawn(green_of[0].wait)
    eventlet.sleep(0)
    green_of[0].kill()
    killed.set()
    result()
    with pytest.raises(greenlet.GreenletExit), eventlet.Timeout(PROMPT):
        waiting.wait()


# Calls


def test_a_call_that_another_thread_schedules_is_made_in_the_hubs_thread(threads):
    hub_of = []
    called = []

    def body():
        hub_of.append(hubs.get_hub())
        while not called:
            eventlet.sleep(60 if len(hub_of) > 1 else 0.001)
        return threading.get_ident()

    result = threads.start("ours", body)
    until(lambda: hub_of)
    main = greenlet.getcurrent()
    hub_of[0].schedule_call_global(0.01, lambda: called.append(threading.get_ident()))
    assert result() == called[0]
    assert called[0] != threading.get_ident()
    assert greenlet.getcurrent() is main


@pytest.mark.parametrize("size", [fractions.Fraction(5, 2), decimal.Decimal("2.5"), 2.5, 3])
def test_the_size_of_a_queue_may_be_any_number(size):
    items = queue.Queue(size)
    for number in range(3):
        items.put(number, block=False)
    with pytest.raises(queue.Full):
        items.put(3, block=False)
