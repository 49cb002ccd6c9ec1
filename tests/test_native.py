"""The native equals of eventlet's functions do what those do, seen from outside."""

import gc
import os
import re
import resource
import socket
import subprocess
import sys
import weakref

import eventlet
import pytest
from eventlet import greenthread, hubs
from eventlet.event import Event
from eventlet.hubs import trampoline
from greenlet import GreenletExit, getcurrent, greenlet

from eventlet_asyncio import _evio, await_, future_to_greenlet, greenlet_to_future

BOTH = pytest.mark.parametrize("spawn", ["spawn", "spawn_n"])


@pytest.fixture(autouse=True)
def native(hub):
    assert eventlet.spawn is _evio.spawn


@BOTH
def test_a_green_thread_runs_in_the_next_turn_with_its_arguments(spawn):
    log = []

    def runs(*args, **kwargs):
        log.append((args, kwargs))

    getattr(eventlet, spawn)(runs, 1, 2, three=3)
    getattr(eventlet, spawn)(runs)
    assert log == []
    eventlet.sleep(0)
    assert log == [((1, 2), {"three": 3}), ((), {})]


@BOTH
def test_a_function_is_needed(spawn):
    with pytest.raises(TypeError):
        getattr(eventlet, spawn)()


def test_the_classes_are_eventlets():
    assert type(eventlet.spawn(int)) is greenthread.GreenThread
    assert type(eventlet.spawn_n(int)) is greenlet
    eventlet.sleep(0)


@BOTH
def test_what_is_killed_before_it_starts_never_runs(spawn):
    log = []
    green = getattr(eventlet, spawn)(log.append, 1)
    greenthread.kill(green)
    eventlet.sleep(0)
    assert log == []
    assert green.dead
    if spawn == "spawn":
        with pytest.raises(GreenletExit):
            green.wait()


@BOTH
def test_a_failure_is_reported_by_the_hub_and_stops_nobody(spawn, capsys):
    getattr(eventlet, spawn)(int, "no number")
    log = []
    getattr(eventlet, spawn)(log.append, 1)
    eventlet.sleep(0)
    assert log == [1]
    assert "invalid literal" in capsys.readouterr().err


@BOTH
def test_nothing_is_kept_of_a_green_thread_that_ended(spawn):
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    green = getattr(eventlet, spawn)(id, thing)
    eventlet.sleep(0)
    del thing, green
    gc.collect()
    assert gone() is None


@BOTH
def test_a_green_thread_that_waits_to_start_is_a_timer_of_the_hub(spawn, hub):
    green = getattr(eventlet, spawn)(int)
    assert green.switch in [timer.tpl[0] for _, timer in hub.timers]
    assert hub.get_timers_count() == 1
    eventlet.sleep(0)


def test_a_green_thread_without_a_parent_has_who_made_it():
    assert greenthread.GreenThread(None).parent is getcurrent()


def test_a_subclass_of_green_thread_begins_as_eventlets():
    class Mine(greenthread.GreenThread):
        def main(self, function, args, kwargs):
            super().main(function, args, {**kwargs, "base": 16})

    mine = Mine(hubs.get_hub().greenlet)
    hubs.get_hub().schedule_call_global(0, mine.switch, int, ("ff",), {})
    assert mine.wait() == 255


def test_links_are_called_while_the_failure_is_handled(capsys):
    def fails():
        eventlet.sleep(0)
        raise KeyError("lost")

    seen = []
    green = eventlet.spawn(fails)
    green.link(lambda green: seen.append((green, sys.exc_info()[0])))
    eventlet.sleep(0.001)
    assert seen == [(green, KeyError)]
    shown = capsys.readouterr().err
    assert re.search(r"in main\n(.|\n)*in fails\n(.|\n)*KeyError: 'lost'", shown)
    for _ in range(2):
        with pytest.raises(KeyError, match="lost"):
            green.wait()


def test_links_are_called_after_a_return():
    seen = []
    green = eventlet.spawn(int, "3")
    green.link(lambda green, *args, **kwargs: seen.append((green.wait(), args, kwargs)), 1, key=2)
    assert green.wait() == 3
    assert seen == [(3, (1,), {"key": 2})]


def test_a_main_that_the_program_puts_there_is_called(monkeypatch):
    def main(self, function, args, kwargs):
        mains.append(self)
        own_main(self, function, args, kwargs)

    mains = []
    own_main = greenthread.GreenThread.main
    monkeypatch.setattr(greenthread.GreenThread, "main", main)
    green = eventlet.spawn(int)
    assert green.wait() == 0
    assert mains == [green]


def test_a_main_of_a_subclass_is_called():
    class Counted(greenthread.GreenThread):
        def main(self, function, args, kwargs):
            mains.append(self)
            super().main(function, args, kwargs)

    mains = []
    green = Counted(hubs.get_hub().greenlet)
    hubs.get_hub().schedule_call_global(0, green.switch, int, ("7",), {})
    assert green.wait() == 7
    assert mains == [green]


async def _three():
    return 3


async def _that_of(green):
    return await green


def _by_linked_future(green):
    future = greenlet_to_future(green)
    green.link(lambda _: None)
    return future


@pytest.mark.parametrize("how", [_that_of, greenlet_to_future, _by_linked_future])
@pytest.mark.parametrize("raises", [False, True])
def test_a_wait_of_a_subclass_tells_who_awaits_the_result(how, raises):
    class Doubling(greenthread.GreenThread):
        def wait(self):
            doubled = 2 * super().wait()
            if raises:
                raise LookupError(doubled)
            return doubled

    green = Doubling(hubs.get_hub().greenlet)
    hubs.get_hub().schedule_call_global(0, green.switch, int, ("7",), {})
    if raises:
        with pytest.raises(LookupError, match="14"):
            await_(how(green))
    else:
        assert await_(how(green)) == 14


@pytest.mark.parametrize("how", [_that_of, greenlet_to_future])
def test_so_does_one_that_a_green_thread_has_for_itself(how):
    green = eventlet.spawn(int, 3)
    green.wait = lambda: 4
    assert await_(how(green)) == 4


@pytest.mark.parametrize("how", [lambda green: green.wait(), lambda green: await_(green)])
@pytest.mark.parametrize("start", [lambda: eventlet.spawn(int, 3), lambda: future_to_greenlet(_three())])
def test_a_wait_that_the_program_puts_there_is_called(monkeypatch, how, start):
    own = greenthread.GreenThread.wait

    def wait(self):
        waits.append(self)
        return 2 * own(self)

    waits = []
    with monkeypatch.context() as patch:
        patch.setattr(greenthread.GreenThread, "wait", wait)
        green = start()
        assert how(green) == 6
        assert set(waits) == {green}


@pytest.mark.parametrize("name", ["send", "wait", "_do_send"])
@pytest.mark.parametrize("start", [lambda: eventlet.spawn(int, 3), lambda: future_to_greenlet(_three())])
def test_a_method_of_event_that_the_program_puts_there_is_called(monkeypatch, name, start):
    own = getattr(Event, name)

    def method(self, *args):
        calls.append(name)
        return own(self, *args)

    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(Event, name, method)
        assert start().wait() == 3
    assert calls == [name]


@pytest.mark.parametrize("name", ["__init__", "reset"])
def test_so_is_one_that_makes_the_event_of_a_green_thread(monkeypatch, name):
    own = getattr(Event, name)

    def method(self):
        calls.append(name)
        own(self)

    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(Event, name, method)
        assert eventlet.spawn(int, 3).wait() == 3
    assert calls == [name]


def test_an_event_is_as_eventlet_makes_it():
    green = eventlet.spawn(int)
    assert type(green._exit_event) is Event
    assert vars(green._exit_event) == vars(Event())
    green.wait()
    with pytest.raises(AssertionError, match="re-send"):
        green._exit_event.send(1)


def test_the_hub_lists_what_an_event_was_sent_for_who_waits(hub):
    event = Event()
    green = eventlet.spawn(event.wait)
    eventlet.sleep(0)
    event.send(5)
    ((_, timer),) = hub.timers
    assert timer.tpl == (event._do_send, (5, None, green), {})
    assert green.wait() == 5


def test_the_hub_lists_a_future_green_thread_that_is_to_begin(hub):
    green = future_to_greenlet(_three())
    assert not green
    ((_, timer),) = hub.timers
    assert timer.tpl == (green._begin, (), {})
    assert green.wait() == 3


def test_who_waits_for_an_event_and_is_killed_is_not_woken(hub):
    event = Event()
    green = eventlet.spawn(event.wait)
    eventlet.sleep(0)
    event.send(5)
    green.kill()
    eventlet.sleep(0)
    assert green.dead
    assert not event._waiters


def test_an_exception_that_an_event_was_sent_reaches_all_who_wait():
    event = Event()
    greens = [eventlet.spawn(event.wait) for _ in range(3)]
    eventlet.sleep(0)
    event.send_exception(ValueError("sent"))
    for green in greens:
        with pytest.raises(ValueError, match="sent"):
            green.wait()


def test_a_timeout_is_raised_where_the_greenlet_blocks():
    with pytest.raises(eventlet.Timeout) as caught, eventlet.Timeout(0.001) as timeout:
        assert timeout.pending
        eventlet.sleep(1)
    assert caught.value is timeout
    assert not timeout.pending
    assert timeout.timer is None


def test_a_timeout_that_is_not_reached_leaves_nothing(hub):
    with eventlet.Timeout(60):
        assert hub.get_timers_count() == 1
    hub.timers_canceled = 0
    assert hub.get_timers_count() == 0


@pytest.mark.parametrize("exception", [ValueError, ValueError("mine")])
def test_a_timeout_raises_what_it_was_given(exception):
    with pytest.raises(ValueError), eventlet.Timeout(0.001, exception):
        eventlet.sleep(1)


def test_a_silent_timeout_is_swallowed_by_its_own_with_statement():
    with eventlet.Timeout(0.001, False):
        eventlet.sleep(1)
        pytest.fail("the timeout was not raised")


def test_a_timeout_without_seconds_never_comes():
    with eventlet.Timeout() as timeout:
        assert not timeout.pending
        eventlet.sleep(0.001)


def test_a_timeout_is_started_again_after_a_cancel_only():
    timeout = eventlet.Timeout(60)
    with pytest.raises(AssertionError, match="already started"):
        timeout.start()
    timeout.cancel()
    assert timeout.start() is timeout
    assert timeout.pending
    timeout.cancel()
    timeout.cancel()
    assert not timeout.pending


def test_methods_of_a_subclass_of_timeout_are_called():
    log = []

    class Mine(eventlet.Timeout):
        def start(self):
            log.append("start")
            return super().start()

        def cancel(self):
            log.append("cancel")
            super().cancel()

    with Mine(60):
        pass
    assert log == ["start", "cancel"]


def test_a_timeout_is_left_by_keywords():
    timeout = eventlet.Timeout(60)
    assert timeout.__exit__(typ=None, value=None, tb=None) is None
    assert not timeout.pending


@pytest.mark.parametrize("seconds", [None, "1"])
def test_a_sleep_must_be_a_number(seconds):
    with pytest.raises(TypeError):
        eventlet.sleep(seconds)


def test_a_timeout_must_be_a_number():
    with pytest.raises(TypeError):
        eventlet.Timeout("soon")


def test_a_timeout_takes_its_arguments_by_name():
    timeout = eventlet.Timeout(seconds=1, exception=ValueError)
    assert (timeout.seconds, timeout.exception) == (1, ValueError)
    timeout.cancel()


def test_the_timer_of_a_timeout_tells_what_it_will_do():
    timeout = eventlet.Timeout(60)
    callback, args, kwargs = timeout.timer.tpl
    assert (callback, args, kwargs) == (getcurrent().throw, (timeout,), {})
    assert timeout.timer.seconds == 60
    timeout.cancel()


def test_trampoline_returns_when_the_descriptor_is_ready(hub):
    a, b = socket.socketpair()
    with a, b:
        green = eventlet.spawn(trampoline, a, read=True)
        eventlet.sleep(0)
        [listener] = hub.get_readers()
        assert listener.fileno == a.fileno()
        assert (listener.cb, listener.tb) == (green.switch, green.throw)
        assert not green.dead
        b.send(b"x")
        assert green.wait() == a.fileno()
        assert list(hub.get_readers()) == []
        assert trampoline(a.fileno(), write=True) == a.fileno()


def test_trampoline_raises_after_its_timeout(hub):
    a, b = socket.socketpair()
    with a, b:
        with pytest.raises(eventlet.Timeout):
            trampoline(a, read=True, timeout=0.001)
        with pytest.raises(TimeoutError):
            trampoline(a, read=True, timeout=0.001, timeout_exc=TimeoutError("late"))
        assert list(hub.get_readers()) == []
        hub.timers_canceled = 0
        assert hub.get_timers_count() == 0


@pytest.mark.parametrize("wanted", [{}, {"read": True, "write": True}])
def test_trampoline_waits_for_one_direction(wanted):
    with pytest.raises(RuntimeError):
        trampoline(0, **wanted)


def test_trampoline_of_a_bad_descriptor_leaves_no_timer(hub):
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with pytest.raises(OSError):
        trampoline(read, read=True, timeout=60)
    with pytest.raises(ValueError):
        trampoline(-1, read=True, timeout=60)
    with pytest.raises(TypeError):
        trampoline(object(), read=True, timeout=60)
    hub.timers_canceled = 0
    assert hub.get_timers_count() == 0


@pytest.mark.parametrize("call", [lambda: trampoline(0, read=True), lambda: eventlet.sleep(1)])
def test_the_hubs_own_greenlet_must_not_block(hub, call):
    caught = []

    def blocks():
        try:
            call()
        except RuntimeError as error:
            caught.append(str(error))

    hub.schedule_call_global(0, blocks)
    eventlet.sleep(0)
    assert caught == ["do not call blocking functions from the mainloop"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="greenlets have no stack chunks on 3.10")
def test_the_memory_of_ended_green_threads_is_used_again():
    """Memory that comes from the kernel faults when it is first written."""

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(1000):
            eventlet.spawn(lambda: None).wait()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 500
    _evio.cache_stack_chunks(False)
    try:
        assert faults() > 900
    finally:
        _evio.cache_stack_chunks(True)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="greenlets have no stack chunks on 3.10")
def test_the_memory_of_ended_loops_is_used_again():
    program = """
import resource, eventlet_asyncio
async def main():
    return 1
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(300):
        eventlet_asyncio.run(main())
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
    found = {}
    for value in "01":
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"EVENTLET_ASYNCIO_STACK_CACHE": value},
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert ended.returncode == 0, ended.stderr
        found[value] = int(ended.stdout)
    assert found["1"] < 200 < 700 < found["0"], found


@pytest.mark.parametrize("base", [greenlet, greenthread.GreenThread])
def test_the_switch_of_a_subclass_is_called_at_every_wake(hub, pair, base):
    class Counted(base):
        switches = 0

        def switch(self, *args, **kwargs):
            self.switches += 1
            return super().switch(*args, **kwargs)

    left, right = pair

    def blocks():
        eventlet.sleep(0)
        eventlet.sleep(0.001)
        trampoline(left, read=True)
        left.recv(1)
        with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001):
            trampoline(left, read=True)
        trampoline(left, write=True)
        ended.append(getcurrent())

    ended = []
    if base is greenlet:
        counted = Counted(blocks, hub.greenlet)
        hub.schedule_call_global(0, counted.switch)
    else:
        counted = Counted(hub.greenlet)
        hub.schedule_call_global(0, counted.switch, blocks, (), {})
    right.send(b"x")
    while not ended:
        eventlet.sleep(0)
    assert ended == [counted]
    # Its begin, two sleeps and two descriptors; the Timeout was thrown.
    assert counted.switches == 5


@pytest.mark.parametrize("how", ["timer", "listener"])
def test_a_yield_lets_the_call_go_on_that_switched_to_who_yields(hub, pair, how):
    me = getcurrent()
    went_on = []

    def calls(*_):
        if how == "listener":
            hub.remove(listener)
        me.switch()
        went_on.append(None)

    pair[1].send(b"x")
    for number in range(50):
        if how == "timer":
            hub.schedule_call_global(0, calls)
        else:
            listener = hub.add(hub.READ, pair[0].fileno(), calls, None, None)
        hub.switch()
        assert len(went_on) == number
        eventlet.sleep(0)
        assert len(went_on) == number + 1
