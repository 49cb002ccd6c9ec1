"""Descriptors that a hub watches: what a program sees is what it sees of eventlet's own hub."""

import errno
import os

import eventlet
import greenlet
import pytest
from both_hubs import Pair, check_same, raised, settle
from eventlet import debug, event, hubs
from eventlet.hubs import hub as base

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


@scenario
def a_listener_and_its_attributes(hub):
    with Pair() as pair:
        called = []
        tb, mark = called.append, called.clear
        listener = hub.add(hub.READ, pair.quiet, called.append, tb, mark)
        seen = [
            listener.evtype,
            listener.fileno == pair.quiet,
            listener.cb == called.append,
            listener.tb == tb,
            listener.mark_as_closed == mark,
            listener.spent,
            listener.greenlet is greenlet.getcurrent(),
            list(hub.get_readers()) == [listener],
            list(hub.get_writers()),
            hub.listeners["read"] == {pair.quiet: listener},
            hub.secondaries,
        ]
        hub.remove(listener)
        return seen, hub.listeners, listener.spent


@scenario
def a_listener_is_written_as_eventlet_writes_it(hub):
    with Pair() as pair:
        listener = hub.add(hub.READ, pair.quiet, print, len, None)
        text = repr(listener), str(listener), debug.format_hub_listeners()
        hub.remove(listener)
        return [each.replace(str(pair.quiet), "N") for each in text]


@scenario
def listeners_with_the_stacks_of_their_makers(hub):
    debug.hub_listener_stacks(True)
    try:
        with Pair() as pair:
            listener = hub.add(hub.READ, pair.quiet, print, len, None)
            shown = debug.format_hub_listeners()
            waiting = eventlet.spawn(hubs.trampoline, pair.ready, write=True)
            reading = eventlet.spawn(hubs.trampoline, pair.sockets[1].dup(), read=True)
            hub.remove(listener)
            name = "listeners_with_the_stacks_of_their_makers"
            settle()
            return (
                name in repr(listener),
                shown.count(name),
                "DebugListener('read'" in shown,
                shown.endswith("EndDebugFdListener\nWRITERS:"),
                waiting.dead,
                reading.dead,
            )
    finally:
        debug.hub_listener_stacks(False)


@scenario
def a_waiting_green_thread_shows_where_it_waits(hub):
    def waits_in_a_green_thread():
        hubs.trampoline(quiet, read=True)

    debug.hub_listener_stacks(True)
    try:
        with Pair() as pair:
            quiet = pair.quiet
            waiting = eventlet.spawn(waits_in_a_green_thread)
            settle()
            shown = debug.format_hub_listeners()
            waiting.kill()
            return "waits_in_a_green_thread" in shown, hub.listeners
    finally:
        debug.hub_listener_stacks(False)


@scenario
def whom_a_listener_wakes_runs_before_it_is_called_again(hub):
    with Pair() as pair:
        calls, woken = [], event.Event()

        def ready(fd):
            calls.append(fd)
            woken.send()

        listener = hub.add(hub.READ, pair.ready, ready, print, print)
        woken.wait()
        hub.remove(listener)
        settle()
        return len(calls)


@scenario
def a_listener_stays_until_it_is_removed(hub):
    with Pair() as pair:
        calls = []
        listener = hub.add(hub.READ, pair.ready, calls.append, None, None)
        while len(calls) < 3:
            eventlet.sleep(0)
        hub.remove(listener)
        settle()
        return len(calls) - 3, set(calls) == {pair.ready}


@scenario
def several_listeners_of_a_descriptor(hub):
    debug.hub_prevent_multiple_readers(False)
    try:
        with Pair() as pair:
            listeners = [hub.add(hub.READ, pair.quiet, print, None, None) for _ in range(3)]
            seen = [hub.listeners["read"][pair.quiet] is listeners[0]]
            seen.append(hub.secondaries["read"][pair.quiet] == listeners[1:])
            for listener in listeners:
                hub.remove(listener)
                first = hub.listeners["read"].get(pair.quiet)
                seen.append(listeners.index(first) if first else None)
            return seen, hub.listeners, hub.secondaries
    finally:
        debug.hub_prevent_multiple_readers(True)


@scenario
def a_second_listener_is_refused(hub):
    with Pair() as pair:
        hub.add(hub.READ, pair.quiet, print, None, None)
        hub.add(hub.WRITE, pair.quiet, print, None, None)
        return raised(hub.add, hub.READ, pair.quiet, print, None, None)


@scenario
def remove_descriptor_calls_all_and_forgets_them(hub):
    with Pair() as pair:
        calls = []
        hub.add(hub.READ, pair.quiet, lambda _: calls.append("read"), None, None)
        hub.add(hub.WRITE, pair.quiet, lambda _: calls.append("write"), None, None)
        hub.remove_descriptor(pair.quiet)
        hub.remove_descriptor(pair.quiet)
        return sorted(calls), hub.listeners


@scenario
def remove_descriptor_goes_on_when_a_callback_raises(hub):
    with Pair() as pair:
        calls, reports = [], []

        def fails(_):
            raise KeyError

        hub.squelch_generic_exception = lambda info: reports.append(info[0])
        hub.add(hub.READ, pair.quiet, fails, None, None)
        hub.add(hub.WRITE, pair.quiet, lambda _: calls.append("write"), None, None)
        hub.remove_descriptor(pair.quiet)
        return calls, reports, hub.listeners


@scenario
def a_number_that_is_opened_anew(hub):
    with Pair() as pair:
        marked, told = [], []
        listener = hub.add(hub.READ, pair.quiet, print, told.append, lambda: marked.append(1))
        hub.notify_close(pair.quiet)
        settle()
        before = list(told)
        hub.mark_as_reopened(pair.quiet)
        seen = listener.spent, listener.cb is base.closed_callback, list(marked), hub.listeners
        hub.remove(listener)
        settle()
        kinds = [(type(each), each.errno) for each in told]
        return before, seen, kinds, list(hub.closed)


@scenario
def nobody_is_told_when_the_green_thread_has_ended(hub):
    with Pair() as pair:
        told = []
        eventlet.spawn(lambda: hub.add(hub.READ, pair.quiet, print, told.append, None)).wait()
        hub.mark_as_reopened(pair.quiet)
        settle()
        return told


@scenario
def a_descriptor_that_cannot_be_one(hub):
    return raised(hub.add, hub.READ, -1, print, None, None)[0] in (ValueError, OSError)


@scenario
def a_listener_that_raises(hub):
    with Pair() as pair:
        reports = []

        def fails(_):
            raise KeyError

        def report(fileno, info):
            reports.append((fileno == pair.ready, info[0]))
            hub.remove_descriptor(fileno)

        hub.squelch_exception = report
        hub.squelch_generic_exception = lambda info: reports.append(info[0])
        hub.add(hub.READ, pair.ready, fails, None, None)
        settle()
        return reports, hub.listeners


@scenario
def trampoline_refuses(hub):
    with Pair() as pair:
        return (
            raised(lambda: hubs.trampoline(pair.quiet, read=True, write=True)),
            raised(lambda: hubs.trampoline(pair.quiet, read=True, timeout=0.001)),
            raised(lambda: hubs.trampoline(pair.quiet, read=True, timeout=0.001, timeout_exc=KeyError)),
            raised(lambda: hubs.trampoline(pair.quiet, read=True, timeout=0.001, timeout_exc=KeyError(1))),
            hub.listeners,
            hub.get_timers_count() <= 4,
        )


@pytest.mark.parametrize("function", SCENARIOS, ids=lambda function: function.__name__)
def test_same_as_eventlets(function):
    check_same(function)


def test_a_free_number_is_refused_at_once(hub):
    # What the hub opens for itself must not get the number.
    eventlet.sleep(0)
    free = os.dup(0)
    os.close(free)
    assert raised(hub.add, hub.READ, free, print, None, None) == (OSError, errno.EBADF)
