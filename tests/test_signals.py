"""Signals reach every loop that handles them, and end a wait of the main thread whoever catches them."""

import asyncio
import os
import signal
import socket
import threading
import time

import eventlet
import eventlet.hubs
import pytest
from eventlet import event

import eventlet_asyncio
from eventlet_asyncio import await_

# A wait that nobody ends is over then, and the test has failed.
LONG = 20


@pytest.fixture(autouse=True)
def as_before():
    """No test leaves a handler or a wakeup descriptor behind."""
    yield
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def strike(number):
    os.kill(os.getpid(), number)


@pytest.fixture
def struck_elsewhere():
    """Has a signal caught by another thread soon, so that it interrupts nothing in the main thread."""
    threads = []

    def strike_elsewhere(number):
        def body():
            time.sleep(0.05)
            signal.pthread_kill(threading.get_ident(), number)

        threads.append(threading.Thread(target=body))
        threads[-1].start()

    yield strike_elsewhere
    for thread in threads:
        thread.join()


def ending(loop, log):
    """A handler that stops a loop."""

    def handle(*arguments):
        log.append(arguments)
        loop.stop()

    return handle


# A signal that another thread catches.


def test_the_idle_hub_wakes(hub, struck_elsewhere):
    heard = event.Event()
    signal.signal(signal.SIGUSR1, lambda *_: heard.send("heard"))
    struck_elsewhere(signal.SIGUSR1)
    with eventlet.Timeout(LONG):
        assert heard.wait() == "heard"


def test_an_exception_of_the_handler_ends_the_wait(hub, struck_elsewhere):
    def handler(number, frame):
        raise ZeroDivisionError

    signal.signal(signal.SIGUSR1, handler)
    struck_elsewhere(signal.SIGUSR1)
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        eventlet.sleep(LONG)
    assert time.monotonic() - start < LONG / 2
    eventlet.sleep(0)


def test_an_idle_loop_wakes(loop, struck_elsewhere):
    log = []
    loop.add_signal_handler(signal.SIGUSR1, ending(loop, log))
    struck_elsewhere(signal.SIGUSR1)
    loop.call_later(LONG, log.append, "nobody woke the loop")
    loop.run_forever()
    assert log == [()]


def test_a_loop_in_a_green_thread_wakes(hub, struck_elsewhere):
    async def main():
        heard = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set_result, "heard")
        struck_elsewhere(signal.SIGUSR1)
        return await asyncio.wait_for(heard, LONG)

    assert eventlet.spawn(asyncio.run, main()).wait() == "heard"


def test_a_hub_of_another_kind_hears_of_signals_by_our_loop(struck_elsewhere):
    eventlet.hubs.use_hub("epolls")

    async def main():
        heard = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set_result, "heard")
        asyncio.get_running_loop().call_later(0.05, strike, signal.SIGUSR1)
        return await asyncio.wait_for(heard, LONG)

    assert eventlet.spawn(eventlet_asyncio.run, main()).wait() == "heard"


def test_the_hub_wakes_where_the_wakeup_descriptor_is_somebody_elses(hub, struck_elsewhere, pair):
    theirs, ours = pair
    eventlet.sleep(0.001)
    signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    test_an_exception_of_the_handler_ends_the_wait(hub, struck_elsewhere)
    assert signal.set_wakeup_fd(-1) == ours.fileno()
    assert theirs.recv(10) == bytes([signal.SIGUSR1])


def test_the_hub_takes_the_wakeup_descriptor_that_others_let_go_of(hub, struck_elsewhere, pair):
    signal.set_wakeup_fd(pair[0].fileno())
    eventlet.sleep(0.001)
    signal.set_wakeup_fd(-1)
    for _ in range(100):
        # For so long it believes what it has seen; and it looks when it waits.
        eventlet.sleep(0.02)
        eventlet.sleep(0.001)
        ours = signal.set_wakeup_fd(-1)
        if ours != -1:
            break
    assert ours not in (-1, pair[0].fileno())


def test_a_loop_that_ran_in_the_main_thread_leaves_signals_to_it(struck_elsewhere):
    """Its thread must not take note of what the main thread still waits for."""
    moved = eventlet_asyncio.new_event_loop()
    moved.run_until_complete(asyncio.sleep(0.001))
    thread = threading.Thread(target=moved.run_forever)
    thread.start()
    log = []
    loop = eventlet_asyncio.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, ending(loop, log))
    for _ in range(20):
        struck_elsewhere(signal.SIGUSR1)
        loop.run_forever()
    moved.call_soon_threadsafe(moved.stop)
    thread.join()
    loop.close()
    moved.close()
    assert log == [()] * 20


# Several loops.


def test_every_loop_that_handles_a_signal_is_told(hub):
    async def nested(log):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, log.append, "nested")
        loop.add_signal_handler(signal.SIGUSR2, log.append, "nested, the other")
        strike(signal.SIGUSR1)
        strike(signal.SIGUSR2)
        await asyncio.sleep(0.01)

    log = []
    hub.loop.add_signal_handler(signal.SIGUSR1, log.append, "hub")
    strike(signal.SIGUSR1)
    eventlet.sleep(0.01)
    assert log == ["hub"]
    del log[:]
    eventlet.spawn(asyncio.run, nested(log)).wait()
    assert sorted(log) == ["hub", "nested", "nested, the other"]
    del log[:]
    # The nested loop was closed, and only what it alone handled is over.
    strike(signal.SIGUSR1)
    eventlet.sleep(0.01)
    assert log == ["hub"]
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    assert hub.loop.remove_signal_handler(signal.SIGUSR1) is True
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_loop_of_the_stdlib_takes_no_signal_away(hub):
    async def handles():
        loop = asyncio.get_running_loop()
        heard = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR2, heard.set_result, "heard")
        strike(signal.SIGUSR2)
        return await asyncio.wait_for(heard, LONG)

    log = []
    hub.loop.add_signal_handler(signal.SIGUSR1, log.append, "hub")
    foreign = asyncio.SelectorEventLoop()
    assert foreign.run_until_complete(handles()) == "heard"
    foreign.close()
    strike(signal.SIGUSR1)
    eventlet.sleep(0.01)
    assert log == ["hub"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_handler_set_later_by_the_program_is_called_besides(loop, struck_elsewhere, elsewhere):
    calls = []

    async def main():
        told = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, lambda: (calls.append("loop"), told.set()))
        signal.signal(signal.SIGUSR1, lambda *_: calls.append("program"))
        for _ in range(2):
            # For so long it believes what it has seen; and it looks when it waits.
            for _ in range(3):
                await asyncio.sleep(0.02)
            (struck_elsewhere if elsewhere else strike)(signal.SIGUSR1)
            await asyncio.wait_for(told.wait(), LONG)
            told.clear()
        loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(main())
    assert sorted(calls) == ["loop", "loop", "program", "program"]


def test_a_loop_that_is_gone_is_told_no_more(loop):
    log = []
    loop.add_signal_handler(signal.SIGUSR1, log.append, "remains")
    gone = eventlet_asyncio.new_event_loop()
    gone.add_signal_handler(signal.SIGUSR1, log.append, "gone")
    gone.close()
    strike(signal.SIGUSR1)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert log == ["remains"]


def test_the_last_loop_may_go_in_another_thread(in_thread):
    gone = eventlet_asyncio.new_event_loop()
    gone.add_signal_handler(signal.SIGWINCH, print)
    in_thread(gone.close)
    strike(signal.SIGWINCH)
    assert signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL


# One loop.


def test_a_handler_may_block_greenly_while_the_signal_comes_again(hub):
    log = []

    def handle():
        log.append("begins")
        eventlet.sleep(0.01)
        log.append("ends")

    hub.loop.add_signal_handler(signal.SIGUSR1, handle)
    for _ in range(3):
        strike(signal.SIGUSR1)
        eventlet.sleep(0.002)
    with eventlet.Timeout(LONG):
        while len(log) < 6:
            eventlet.sleep(0.001)
    # In one context, so one after the other.
    assert log == ["begins", "ends"] * 3


def test_a_handler_may_stop_and_remove_itself(loop):
    def handle():
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handle)
    loop.call_soon(strike, signal.SIGUSR1)
    loop.run_forever()
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_what_a_handler_raises_goes_to_the_exception_handler(loop):
    reports = []
    loop.set_exception_handler(lambda loop, report: reports.append(report["exception"]))
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    loop.call_soon(strike, signal.SIGUSR1)
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert [type(exception) for exception in reports] == [ZeroDivisionError]


def test_handlers_are_refused_as_by_the_stdlib(loop, in_thread):
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        loop.add_signal_handler(signal.SIGUSR1, asyncio.sleep)
    with pytest.raises(TypeError, match="sig must be an int"):
        loop.add_signal_handler("USR1", print)
    with pytest.raises(ValueError, match="invalid signal number"):
        loop.add_signal_handler(1000, print)
    with pytest.raises(RuntimeError, match="cannot be caught"):
        loop.add_signal_handler(signal.SIGKILL, print)
    with pytest.raises(RuntimeError, match="main thread"):
        in_thread(loop.add_signal_handler, signal.SIGUSR1, print)
    assert loop.remove_signal_handler(signal.SIGUSR1) is False
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_handler_is_removed_in_the_main_thread_alone(loop, in_thread):
    log = []
    assert in_thread(loop.remove_signal_handler, signal.SIGWINCH) is False
    loop.add_signal_handler(signal.SIGWINCH, log.append, "told")
    with pytest.raises(ValueError, match="signal only works in main thread"):
        in_thread(loop.remove_signal_handler, signal.SIGWINCH)
    strike(signal.SIGWINCH)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert log == ["told"]
    assert loop.remove_signal_handler(signal.SIGWINCH) is True
    assert signal.getsignal(signal.SIGWINCH) is signal.SIG_DFL


def test_a_run_leaves_no_wakeup_descriptor_behind():
    eventlet_asyncio.run(asyncio.sleep(0.001))
    assert signal.set_wakeup_fd(-1) == -1


# The hub and Python's own handlers.


def test_a_handler_may_spawn_kill_and_wake(hub):
    log = []
    victim = eventlet.spawn(eventlet.sleep, LONG)
    heard = event.Event()

    def handler(number, frame):
        eventlet.spawn(log.append, "spawned")
        eventlet.kill(victim, ZeroDivisionError())
        heard.send("heard")

    signal.signal(signal.SIGUSR1, handler)
    eventlet.spawn_after(0.01, strike, signal.SIGUSR1)
    with eventlet.Timeout(LONG):
        assert heard.wait() == "heard"
        with pytest.raises(ZeroDivisionError):
            victim.wait()
        eventlet.sleep(0)
    assert log == ["spawned"]


def test_deadlines_hold_under_a_storm_of_signals(hub):
    log = []
    signal.signal(signal.SIGALRM, lambda *_: log.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        start = time.monotonic()
        eventlet.sleep(0.3)
        assert 0.3 <= time.monotonic() - start < 5
        assert await_(asyncio.sleep(0.1, "result")) == "result"
        left, right = socket.socketpair()
        with eventlet.Timeout(0.1, False):
            eventlet.hubs.trampoline(left, read=True)
        left.close()
        right.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    assert len(log) > 100
