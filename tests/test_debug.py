"""eventlet.debug says what it says on eventlet's own hubs; blocking is found in every thread."""

import asyncio
import os
import signal
import sys
import time

import eventlet
import pytest
from eventlet import debug, hubs, tpool

import eventlet_asyncio

RESOLUTION = 0.1
ALARM = "Blocking detector ALARMED at.*"


@pytest.fixture
def detecting():
    """Turns detection on for the hub of the running thread, and off at the end."""

    def on(resolution=RESOLUTION):
        debug.hub_blocking_detection(True, resolution=resolution)

    yield on
    debug.hub_blocking_detection(False)


def blocks_in_python(seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def watchers():
    from eventlet_asyncio import _blocking

    threads = _blocking.threading.enumerate()
    return [each for each in threads if each.name == "blocking detection"]


def test_a_green_thread_that_blocks_is_interrupted_and_named(hub, detecting):
    detecting()
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=ALARM + "blocks_in_python"):
        eventlet.spawn(blocks_in_python).wait()
    assert time.monotonic() - began < 4
    assert eventlet.spawn(lambda: "goes on").wait() == "goes on"


def test_a_system_call_of_the_main_thread_is_interrupted(hub, detecting):
    def blocks_in_the_kernel():
        time.sleep(5)

    detecting()
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=ALARM + "blocks_in_the_kernel"):
        eventlet.spawn(blocks_in_the_kernel).wait()
    assert time.monotonic() - began < 4


def test_a_task_that_blocks_is_interrupted_and_named(hub, detecting):
    async def blocks_in_a_task():
        await asyncio.sleep(0)
        blocks_in_python()

    detecting()
    with pytest.raises(RuntimeError, match=ALARM + "blocks_in_python"):
        eventlet_asyncio.await_(blocks_in_a_task())


def test_the_main_greenlet_is_watched_once_the_hub_has_switched_to_it(hub, detecting):
    detecting()
    eventlet.sleep(0.001)
    with pytest.raises(RuntimeError, match=ALARM + "blocks_in_python"):
        blocks_in_python()


def test_a_green_thread_of_another_thread_is_interrupted_and_named(in_thread):
    def other():
        eventlet_asyncio.use_hub()
        debug.hub_blocking_detection(True, resolution=RESOLUTION)
        began = time.monotonic()
        with pytest.raises(RuntimeError, match=ALARM + "blocks_in_python"):
            eventlet.spawn(blocks_in_python).wait()
        return time.monotonic() - began, eventlet.spawn(lambda: "goes on").wait()

    seconds, after = in_thread(other)
    assert seconds < 4 and after == "goes on"


def test_only_the_culprits_thread_is_interrupted(hub, detecting, in_thread):
    def other():
        eventlet_asyncio.use_hub()
        debug.hub_blocking_detection(True, resolution=RESOLUTION)
        eventlet.spawn(blocks_in_python).wait()

    def innocent():
        for _ in range(100):
            eventlet.sleep(0.005)
        return "innocent"

    detecting(10)
    other_thread = eventlet.spawn(tpool.execute, in_thread, other)
    green = eventlet.spawn(innocent)
    with pytest.raises(RuntimeError, match=ALARM + "blocks_in_python"):
        other_thread.wait()
    assert green.wait() == "innocent"
    tpool.killall()


def test_a_system_call_of_another_thread_is_shown_and_ends_by_the_exception(in_thread, capfd):
    def blocks_in_the_kernel():
        time.sleep(6 * RESOLUTION)
        return "not reached"

    def other():
        eventlet_asyncio.use_hub()
        debug.hub_blocking_detection(True, resolution=RESOLUTION)
        with pytest.raises(RuntimeError, match=ALARM + "blocks_in_the_kernel"):
            eventlet.spawn(blocks_in_the_kernel).wait()

    in_thread(other)
    shown = capfd.readouterr().err
    assert shown.count("Blocking detector: blocked for") == 1
    assert "in blocks_in_the_kernel" in shown


def test_waiting_is_not_blocking(hub, detecting, capfd):
    detecting(0.3)
    for _ in range(2):
        eventlet.sleep(0.7)
    assert capfd.readouterr().err == ""


def test_many_short_pieces_of_work_do_not_add_up(hub, detecting, capfd):
    done = []

    def short():
        blocks_in_python(RESOLUTION / 10)
        done.append(1)

    async def short_callbacks():
        for _ in range(40):
            asyncio.get_running_loop().call_soon(short)

    detecting(4 * RESOLUTION)
    for _ in range(100):
        hub.schedule_call_global(0, short)
    eventlet_asyncio.await_(short_callbacks())
    while len(done) < 140:
        eventlet.sleep(0.01)
    assert capfd.readouterr().err == ""


def test_an_exception_that_comes_too_late_hits_nobody_else(hub):
    """Pieces of work end at about the time at which they are struck."""
    ended = []

    def works(seconds):
        try:
            blocks_in_python(seconds)
        except RuntimeError:
            pass
        ended.append(seconds)

    def last():
        debug.hub_blocking_detection(False)
        main.switch("the last has run")

    # What strikes behind the `try` is reported, and that is all.
    hub.set_timer_exceptions(False)
    for number in range(100):
        hub.schedule_call_global(0, works, 0.009 + number % 10 / 2000)
    main = eventlet.getcurrent()
    hub.schedule_call_global(0.001, last)
    debug.hub_blocking_detection(True, resolution=0.01)
    assert hub.switch() == "the last has run"
    assert len(ended) > 90
    assert eventlet.spawn(lambda: "goes on").wait() == "goes on"


def test_off_leaves_nothing_behind(hub):
    before = signal.getsignal(signal.SIGALRM)
    debug.hub_blocking_detection(True, resolution=RESOLUTION)
    assert hub.debug_blocking and hub.debug_blocking_resolution == RESOLUTION
    assert len(watchers()) == 1
    debug.hub_blocking_detection(True, resolution=2 * RESOLUTION)
    debug.hub_blocking_detection(False)
    assert not hub.debug_blocking
    assert signal.getsignal(signal.SIGALRM) == before
    deadline = time.monotonic() + 5
    while watchers() and time.monotonic() < deadline:
        eventlet.sleep(0.01)
    assert watchers() == []
    eventlet.spawn(blocks_in_python, 3 * RESOLUTION).wait()


def test_a_thread_that_ends_takes_its_watcher_along(in_thread):
    def other():
        eventlet_asyncio.use_hub()
        debug.hub_blocking_detection(True, resolution=RESOLUTION)
        eventlet.sleep(0)

    in_thread(other)
    deadline = time.monotonic() + 5
    while watchers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watchers() == []


def test_a_forked_child_goes_on_watching(hub, detecting):
    detecting()
    eventlet.sleep(0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            eventlet.spawn(blocks_in_python).wait()
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    # What follows blocks this thread, too.
    debug.hub_blocking_detection(False)
    os.close(write)
    with os.fdopen(read) as end:
        assert "blocks_in_python" in end.read()
    os.waitpid(child, 0)


# The other switches.


def test_exceptions_of_timers_are_printed_or_not(hub, capfd):
    def fails():
        raise LookupError("in a timer")

    for state in (True, False):
        debug.hub_exceptions(state)
        hub.schedule_call_global(0, fails)
        eventlet.sleep(0.001)
        assert ("in a timer" in capfd.readouterr().err) is state
    debug.hub_exceptions(True)


def test_exceptions_of_the_thread_pool_are_printed_or_not(hub, capfd):
    def fails():
        raise LookupError("in the pool")

    for state in (True, False):
        debug.tpool_exceptions(state)
        with pytest.raises(LookupError):
            tpool.execute(fails)
        assert ("in the pool" in capfd.readouterr().err) is state
    tpool.killall()


def test_spew_traces_green_threads(hub, capfd):
    def traced():
        seen = "a local value"
        eventlet.sleep(0)
        return seen

    def tracing():
        before = sys.gettrace()
        debug.spew(trace_names=[__name__])
        try:
            return traced()
        finally:
            debug.unspew()
            sys.settrace(before)

    assert eventlet.spawn(tracing).wait() == "a local value"
    assert 'seen = "a local value"' in capfd.readouterr().out


def test_what_asyncio_and_threads_do_is_formatted(hub):
    async def task():
        return debug.format_asyncio_info()

    text = eventlet_asyncio.await_(task())
    assert "TASKS:" in text and "EVENTLOOP: <EventLoop" in text
    assert "THREADS:" in debug.format_threads_info()
def test_hubs_are_formatted(hub, pair):
    waiting = eventlet.spawn(hubs.trampoline, pair[0], read=True)
    hub.schedule_call_global(60, print)
    eventlet.sleep(0)
    assert f"FdListener('read', {pair[0].fileno()}" in debug.format_hub_listeners()
    assert "Timer(60, <built-in function print>" in debug.format_hub_timers()
    waiting.kill()
