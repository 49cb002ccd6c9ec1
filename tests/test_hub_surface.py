"""What a program sees of the hub is what it sees of eventlet's own: each scenario runs on both."""

import gc
import weakref

import eventlet
import greenlet
import pytest
from both_hubs import Pair, check_same, raised, settle
from eventlet import debug, event, hubs
from eventlet.hubs import hub as base
from eventlet.hubs import timer as timers

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


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
def cancelled_timers_are_counted_until_they_would_have_come_due(hub):
    hub.schedule_call_global(60, print)
    before = hub.get_timers_count(), hub.timers_canceled
    cancelled = [hub.schedule_call_global(delay, print, "never") for delay in (0.02, 0.03, 30)]
    settle()
    for timer in cancelled:
        timer.cancel()
    counted = hub.get_timers_count() - before[0], hub.timers_canceled - before[1]
    eventlet.sleep(0.05)
    return counted, hub.get_timers_count() - before[0]


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


@pytest.mark.parametrize("function", SCENARIOS, ids=lambda function: function.__name__)
def test_same_as_eventlets(function):
    check_same(function)
