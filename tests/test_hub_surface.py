"""What a program sees of the hub is what it sees of eventlet's own: each scenario runs on both."""

import errno
import gc
import os
import socket
import threading
import weakref

import eventlet
import greenlet
import pytest
from eventlet import debug, event, hubs
from eventlet.hubs import hub as base
from eventlet.hubs import timer as timers

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


def settle(turns=5):
    for _ in range(turns):
        eventlet.sleep(0)


def raised(function, *arguments):
    """What an exception is, without the words in it."""
    try:
        return function(*arguments)
    except BaseException as exception:
        return type(exception), getattr(exception, "errno", None)


class Pair:
    """Two connected descriptors, the second of which is ready to read."""

    def __enter__(self):
        self.sockets = socket.socketpair()
        self.quiet, self.ready = (each.fileno() for each in self.sockets)
        self.sockets[0].send(b"x")
        return self

    def __exit__(self, *_):
        for each in self.sockets:
            each.close()


# What there is.


@scenario
def names(hub):
    """Whatever a program can look up in any hub of eventlet's, it can look up in ours."""
    wanted = {name for name in vars(base.BaseHub) if not name.startswith("__")}
    return sorted(name for name in wanted if not hasattr(hub, name))


@scenario
def constants(hub):
    return hub.READ, hub.WRITE, hub.SYSTEM_EXCEPTIONS, hubs.get_hub() is hub


@scenario
def state_before_it_ran(hub):
    return (
        hub.running,
        hub.stopping,
        list(hub.closed),
        list(hub.timers),
        list(hub.next_timers),
        hub.timers_canceled,
        hub.get_timers_count(),
        hub.listeners,
        hub.secondaries,
        hub.debug_exceptions,
        bool(hub.debug_blocking),
        hub.debug_blocking_resolution,
        hub.lclass is base.FdListener,
        hub.default_sleep(),
        hub.sleep_until(),
        bool(hub.greenlet),
        hub.greenlet.dead,
    )


@scenario
def state_while_it_runs(hub):
    eventlet.sleep(0)
    return hub.running, hub.stopping, bool(hub.greenlet), hub.greenlet.dead


# Timers.


@scenario
def a_timer_before_and_after_its_call(hub):
    calls = []
    call = hub.schedule_call_global(0, lambda *a, **k: calls.append((a, k)), 1, two=2)
    before = call.called, call.pending, call.seconds, call.tpl[1:]
    settle()
    return before, calls, call.called, call.pending, call.seconds, hasattr(call, "tpl")


@scenario
def a_timer_that_is_cancelled(hub):
    hub.schedule_call_global(60, print)
    call = hub.schedule_call_global(0, print, "never")
    before = hub.timers_canceled
    call.cancel()
    call.cancel()
    seen = call.called, call.pending, hasattr(call, "tpl"), hub.timers_canceled - before
    settle()
    return seen


@scenario
def a_timer_called_by_hand(hub):
    calls = []
    call = hub.schedule_call_global(0, calls.append, 1)
    call()
    call()
    settle()
    return calls, call.called, call.pending


@scenario
def a_timer_is_written_as_eventlet_writes_it(hub):
    call = hub.schedule_call_global(30, print, "a", end="b")
    local = hub.schedule_call_local(30, print)
    text = repr(call), repr(local)
    call.cancel()
    local.cancel()
    return text


@scenario
def timers_compare_by_identity(hub):
    one, two = (hub.schedule_call_global(30, print) for _ in range(2))
    return one == one, one == two, (one < two) != (two < one), len({one, two})


@scenario
def a_local_timer_and_its_green_thread(hub):
    calls, made = [], []

    def maker():
        made.append(hub.schedule_call_local(0.001, calls.append, "local"))
        made.append(hub.schedule_call_global(0.001, calls.append, "global"))

    eventlet.spawn(maker).wait()
    pending = [call.pending for call in made]
    eventlet.sleep(0.01)
    return pending, calls, [call.called for call in made]


@scenario
def timers_are_listed(hub):
    settle()
    calls = [hub.schedule_call_global(60 + n, print) for n in (2, 0, 1)]
    count = hub.get_timers_count()
    eventlet.sleep(0)
    order = [calls.index(call) for _, call in sorted(hub.timers) if call in calls]
    until = 59 < hub.sleep_until() - hub.clock() < 60
    for call in calls:
        call.cancel()
    return count, order, until


@scenario
def every_entry_of_the_list_is_a_timer(hub):
    sleeper = eventlet.spawn(eventlet.sleep, 60)
    settle()
    seen = []
    for when, call in hub.timers:
        function, arguments, keywords = call.tpl
        seen.append((call.called, call.pending, function == sleeper.switch, arguments, keywords))
        seen.append(59 < when - hub.clock() < 60)
    return seen


@scenario
def timers_with_the_stacks_of_their_makers(hub):
    debug.hub_timer_stacks(True)
    name = "timers_with_the_stacks_of_their_makers"
    try:
        call = hub.schedule_call_global(30, print)
        eventlet.sleep(0)
        seen = name in repr(call), name in debug.format_hub_timers()
    finally:
        debug.hub_timer_stacks(False)
    return seen, name in repr(call), name in call.traceback.getvalue()


@scenario
def whatever_has_a_timer_shows_where_it_was_made(hub):
    def sleeps_here():
        eventlet.sleep(60)

    def waits_here():
        with eventlet.Timeout(60):
            hub.switch()

    def spawns_here():
        return eventlet.spawn_after(60, print), eventlet.spawn(print)

    debug.hub_timer_stacks(True)
    try:
        greens = [eventlet.spawn(each) for each in (sleeps_here, waits_here)]
        settle()
        greens.extend(spawns_here())
        greens.append(eventlet.spawn_n(print))
        eventlet.sleep(0)
        shown = debug.format_hub_timers()
    finally:
        debug.hub_timer_stacks(False)
        for green in greens:
            eventlet.kill(green)
    return [shown.count(f"in {name}_here\n") for name in ("sleeps", "waits", "spawns")]


@scenario
def timers_of_eventlets_own_classes(hub):
    calls = []
    one = timers.Timer(0.001, calls.append, "one")
    due = hub.add_timer(one) - hub.clock()
    two = timers.LocalTimer(0.001, calls.append, "two").schedule()
    three = timers.Timer(0.001, calls.append, "three").schedule()
    three.cancel()
    counted = hub.timers_canceled
    eventlet.sleep(0.01)
    return 0 < due < 1, counted, calls, one.called, two.called


@scenario
def many_cancelled_timers_of_eventlets_own_classes_are_let_go_of(hub):
    class Argument:
        pass

    gone = []
    for _ in range(1500):
        argument = Argument()
        gone.append(weakref.ref(argument))
        call = timers.Timer(3600, print, argument).schedule()
        call.cancel()
        del argument
    del call
    gc.collect()
    eventlet.sleep(0)
    return sum(each() is not None for each in gone), hub.get_timers_count() <= 1001


@scenario
def a_timers_bad_arguments(hub):
    return (
        raised(hub.schedule_call_global, "1", print),
        raised(hub.schedule_call_global, None, print),
        raised(hub.schedule_call_global),
    )


@scenario
def a_timer_that_raises(hub):
    def fails():
        raise KeyError

    calls = []
    hub.set_timer_exceptions(False)
    hub.schedule_call_global(0, fails)
    hub.schedule_call_global(0, calls.append, 1)
    settle()
    return calls


@scenario
def a_timer_that_raises_is_reported_to_the_hub(hub):
    def fails():
        raise KeyError

    reports = []
    hub.squelch_timer_exception = lambda call, info: reports.append((call, info[0]))
    call = hub.schedule_call_global(0, fails)
    settle()
    return [(reported is call, kind) for reported, kind in reports]


# Listeners.


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


# Running and ending.


@scenario
def switch_comes_back_with_what_it_is_given(hub):
    hub.schedule_call_global(0, greenlet.getcurrent().switch, "given")
    return hub.switch()


@scenario
def switch_on_the_hubs_own_greenlet(hub):
    outcome = []
    hub.schedule_call_global(0, lambda: outcome.append(raised(hub.switch)))
    hub.schedule_call_global(0, lambda: outcome.append(raised(eventlet.sleep, 1)))
    settle()
    return outcome


@scenario
def abort(hub):
    eventlet.sleep(0)
    calls = []
    first = hub.greenlet
    hub.schedule_call_global(60, calls.append, 1)
    hub.abort(wait=True)
    seen = first.dead, hub.running, hub.stopping, list(hub.timers), hub.timers_canceled
    eventlet.sleep(0.001)
    return seen, hub.greenlet is first, hub.running, calls


@scenario
def abort_from_the_hubs_own_greenlet(hub):
    outcome = []
    hub.schedule_call_global(0, lambda: outcome.append(raised(hub.abort, True)))
    # The run it asks to stop is that which everybody is in.
    raised(settle)
    return outcome


@scenario
def ensure_greenlet_keeps_a_living_one(hub):
    eventlet.sleep(0)
    first = hub.greenlet
    hub.ensure_greenlet()
    return hub.greenlet is first


@scenario
def ensure_greenlet_replaces_a_dead_one(hub):
    eventlet.sleep(0)
    first, parent = hub.greenlet, hub.greenlet.parent
    hub.abort(wait=True)
    hub.ensure_greenlet()
    return first.dead, hub.greenlet is first, hub.greenlet.parent is parent, first.parent is hub.greenlet


@scenario
def run_while_it_runs(hub):
    return eventlet.spawn(raised, hub.run).wait()


@scenario
def interrupts_end_the_run_and_nobody_else(hub):
    def interrupted(kind):
        raise kind

    outcome = []
    for kind in (KeyboardInterrupt, SystemExit):
        eventlet.spawn_n(interrupted, kind)
        outcome.append(raised(settle))
    outcome.append(eventlet.spawn(lambda: "alive").wait())
    return outcome


@scenario
def system_exceptions_are_the_hubs_to_say(hub):
    class Urgent(Exception):
        pass

    def urgent():
        raise Urgent

    hub.SYSTEM_EXCEPTIONS = (*hub.SYSTEM_EXCEPTIONS, Urgent)
    hub.schedule_call_global(0, urgent)
    return raised(settle)[0] is Urgent, eventlet.spawn(lambda: "alive").wait()


# Greenlets with a `switch` of their own, as those of the backdoor.


class Careful(greenlet.greenlet):
    """Notes each time that it is entered and left."""

    def __init__(self, run):
        super().__init__(run)
        self.log = []

    def switch(self, *arguments):
        self.log.append("in")
        return super().switch(*arguments)

    def switch_out(self):
        self.log.append("out")


def entered(block):
    done = event.Event()

    def body():
        block()
        done.send(True)

    careful = Careful(body)
    hubs.get_hub().schedule_call_global(0, careful.switch)
    done.wait()
    return careful.log


@scenario
def a_switch_of_its_own_is_used_by_sleep(hub):
    others = [eventlet.spawn(settle) for _ in range(2)]
    log = entered(lambda: settle(3)), entered(lambda: eventlet.sleep(0.001))
    for other in others:
        other.wait()
    return log


@scenario
def a_switch_of_its_own_is_used_by_trampoline(hub):
    with Pair() as pair:
        return entered(lambda: hubs.trampoline(pair.ready, read=True))


@scenario
def a_switch_of_its_own_is_used_by_wait(hub):
    return entered(lambda: eventlet.spawn(lambda: 1).wait())


@scenario
def a_throw_of_its_own_is_used_by_timeouts(hub):
    class Thrown(Careful):
        def throw(self, *arguments):
            self.log.append("thrown")
            return super().throw(*arguments)

    done = event.Event()
    careful = []

    def body():
        for block in (
            lambda: eventlet.sleep(60),
            lambda: hubs.trampoline(pair.quiet, read=True, timeout=0.001),
        ):
            careful[0].log.append(raised(limited, block)[0].__name__)
        done.send(True)

    def limited(block):
        with eventlet.Timeout(0.002):
            block()

    with Pair() as pair:
        careful.append(Thrown(body))
        hub.schedule_call_global(0, careful[0].switch)
        done.wait()
    return careful[0].log


def on(name, function):
    """What a scenario gives on a hub by that name, in a thread of its own."""
    outcome = []

    def body():
        hubs.use_hub(name)
        try:
            outcome.append(function(hubs.get_hub()))
        except BaseException as exception:
            outcome.append(exception)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(20)
    assert outcome, "it did not end"
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


@pytest.mark.parametrize("function", SCENARIOS, ids=lambda function: function.__name__)
def test_same_as_eventlets(function):
    expected = on("epolls", function)
    assert on("eventlet_asyncio.hub", function) == expected


def test_a_free_number_is_refused_at_once(hub):
    # What the hub opens for itself must not get the number.
    eventlet.sleep(0)
    free = os.dup(0)
    os.close(free)
    assert raised(hub.add, hub.READ, free, print, None, None) == (OSError, errno.EBADF)
