"""The hub does what eventlet and its users ask of a hub."""

import asyncio
import gc
import weakref

import eventlet
import eventlet.hubs.asyncio
import greenlet
import pytest
from eventlet import debug, event, hubs, semaphore
from eventlet.hubs import timer

import eventlet_asyncio
import eventlet_asyncio.hub
from eventlet_asyncio import _patches

pytestmark = pytest.mark.usefixtures("hub")


def settle():
    """Lets everything run that has nothing to wait for."""
    for _ in range(5):
        eventlet.sleep(0)


# Choosing it.


def test_it_is_there_and_is_the_threads_hub(hub):
    assert eventlet_asyncio.hub.is_available() is True
    assert type(hub) is eventlet_asyncio.hub.Hub
    assert isinstance(hub, eventlet.hubs.asyncio.Hub)
    assert hubs.get_hub() is hub


def test_eventlet_takes_it_by_name(in_thread):
    def by_name():
        hubs.use_hub("eventlet_asyncio.hub")
        return type(hubs.get_hub())

    assert in_thread(by_name) is eventlet_asyncio.hub.Hub


def test_who_asks_for_it_while_it_is_made_gets_it(in_thread, monkeypatch):
    def make():
        seen = []
        eventlet_asyncio.use_hub()
        # As a signal handler may, whenever Python code runs.
        monkeypatch.setattr(_patches, "apply", lambda: seen.append(hubs.get_hub()))
        hub = hubs.get_hub()
        return seen == [hub]

    assert in_thread(make)


def test_a_running_loop_keeps_its_hub(in_thread):
    async def main():
        eventlet.sleep(0)
        hub = hubs.get_hub()
        eventlet_asyncio.use_hub()
        assert hubs.get_hub() is hub
        hubs.use_hub("eventlet_asyncio.hub")
        try:
            with pytest.raises(RuntimeError, match="has a hub already: choose hubs before"):
                hubs.get_hub()
        finally:
            hubs._threadlocal.hub = hub
        eventlet.sleep(0)
        return await eventlet.spawn(int)

    assert in_thread(lambda: eventlet_asyncio.run(main())) == 0


def test_repr_says_what_drives_what(hub):
    text = repr(hub)
    assert text.startswith("<Hub at 0x") and "driving <EventLoop running=True" in text
    assert "driven by the hub of this thread" in repr(hub.loop)


def test_each_thread_has_its_own(hub, in_thread):
    def other():
        eventlet_asyncio.use_hub()
        assert eventlet.spawn(lambda: 1).wait() == 1
        return hubs.get_hub() is hub

    assert in_thread(other) is False


# Order and time.


def test_sleepers_wake_in_the_order_of_their_deadlines():
    woken = []

    def sleeper(seconds):
        eventlet.sleep(seconds)
        woken.append(seconds)

    delays = [0.12, 0.04, 0.08, 0]
    for green in [eventlet.spawn(sleeper, delay) for delay in delays]:
        green.wait()
    assert woken == sorted(delays)


def test_equal_deadlines_run_in_the_order_they_were_made(hub):
    ran = []
    for number in range(100):
        hub.schedule_call_global(0, ran.append, number)
    settle()
    assert ran == list(range(100))


def test_negative_delays_are_due_at_once(hub):
    ran = []
    for delay in (-1, -3, 0, -2):
        hub.schedule_call_global(delay, ran.append, delay)
    eventlet.sleep(0)
    assert sorted(ran) == [-3, -2, -1, 0]


def test_a_timer_is_never_early(hub):
    early = []

    def check(due):
        early.append(due - hub.clock())

    for milliseconds in range(20):
        due = hub.clock() + milliseconds / 1000
        hub.schedule_call_global(milliseconds / 1000, check, due)
    eventlet.sleep(0.03)
    assert len(early) == 20
    assert max(early) <= 0


def test_sleep_zero_lets_every_ready_green_thread_run_once():
    log = []

    def runner(name):
        for _ in range(3):
            log.append(name)
            eventlet.sleep(0)

    for green in [eventlet.spawn(runner, name) for name in "abc"]:
        green.wait()
    assert log == list("abcabcabc")


def test_a_delay_that_is_no_number_never_ends(hub):
    called = []
    timer = hub.schedule_call_global(float("nan"), called.append, "called")
    sleeper = eventlet.spawn(eventlet.sleep, float("nan"))
    for seconds in (0, 0.001, 0.01):
        eventlet.sleep(seconds)
    assert called == [] and timer.pending
    assert not sleeper.dead
    timer.cancel()
    sleeper.kill()


# Timers.


def test_a_timer_is_called_once_with_its_arguments(hub):
    calls = []
    call = hub.schedule_call_global(0, lambda *args, **kwargs: calls.append((args, kwargs)), 1, a=2)
    assert call.pending and not call.called and call.seconds == 0
    settle()
    assert calls == [((1,), {"a": 2})]
    assert call.called and not call.pending


def test_a_cancelled_timer_is_not_called_and_frees_its_arguments(hub):
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    called = []
    call = hub.schedule_call_global(0, called.append, argument)
    del argument
    call.cancel()
    call.cancel()
    assert gone() is None
    assert call.called and not call.pending
    settle()
    assert called == []


def test_a_timer_cancelled_by_one_of_the_same_moment_is_not_called(hub):
    called = []
    hub.schedule_call_global(0, lambda: second.cancel())
    second = hub.schedule_call_global(0, called.append, "second")
    settle()
    assert called == []


def test_a_local_timer_dies_with_its_green_thread(hub):
    called = []

    def leaves_timers():
        hub.schedule_call_local(0.01, called.append, "local")
        hub.schedule_call_global(0.01, called.append, "global")

    eventlet.spawn(leaves_timers).wait()
    eventlet.sleep(0.02)
    assert called == ["global"]


def test_timers_are_listed_and_counted(hub):
    settle()
    before = hub.get_timers_count()
    timers = [hub.schedule_call_global(60 + n, lambda: None) for n in (2, 0, 1)]
    assert hub.get_timers_count() == before + 3
    listed = [entry for entry in hub.timers if entry[1] in timers]
    assert [entry[1] for entry in listed] == [timers[1], timers[2], timers[0]]
    assert [entry[0] for entry in listed] == pytest.approx(
        sorted(each.scheduled_time for each in timers), abs=0.01
    )
    assert hub.sleep_until() == listed[0][0]
    assert repr(timers[0]) in debug.format_hub_timers()
    for each in timers:
        each.cancel()
    assert not [entry for entry in hub.timers if entry[1] in timers]


def test_a_timer_of_eventlets_own_class_is_taken_too(hub):
    called = []
    mine = timer.Timer(0.001, called.append, "called")
    now = hub.clock()
    assert hub.add_timer(mine) > now
    eventlet.sleep(0.01)
    assert called == ["called"]


# Ends of green threads.


def test_kill_is_seen_at_once_and_its_exception_is_what_wait_raises():
    log = []

    def sleeper():
        try:
            eventlet.sleep(60)
        finally:
            log.append("end")

    green = eventlet.spawn(sleeper)
    settle()
    green.kill(KeyError("kill"))
    assert log == ["end"]
    with pytest.raises(KeyError):
        green.wait()


def test_a_green_thread_killed_before_it_ran_does_not_run():
    ran = []
    green = eventlet.spawn(ran.append, 1)
    green.kill()
    settle()
    assert ran == []
    with pytest.raises(greenlet.GreenletExit):
        green.wait()


def test_a_timeout_interrupts_a_sleep_and_only_that():
    with eventlet.Timeout(0.01) as limit:
        with pytest.raises(eventlet.Timeout) as raised:
            eventlet.sleep(60)
        assert raised.value is limit
    eventlet.sleep(0.02)


def test_a_cancelled_timeout_does_not_strike():
    with eventlet.Timeout(0.01):
        pass
    eventlet.sleep(0.02)


def test_locks_events_and_pools_work():
    log = []
    lock, started = semaphore.Semaphore(1), event.Event()

    def holder():
        with lock:
            started.send()
            eventlet.sleep(0.01)
            log.append("held")

    eventlet.spawn(holder)
    started.wait()
    with lock:
        log.append("mine")
    assert log == ["held", "mine"]
    pool = eventlet.GreenPool(3)
    assert list(pool.imap(lambda n: n * n, range(10))) == [n * n for n in range(10)]


# Exceptions.


def test_what_a_timer_raises_is_printed_and_the_hub_goes_on(hub, capfd):
    def fails():
        raise LookupError("in a timer")

    hub.schedule_call_global(0, fails)
    settle()
    assert "LookupError: in a timer" in capfd.readouterr().err
    debug.hub_exceptions(False)
    hub.schedule_call_global(0, fails)
    settle()
    assert capfd.readouterr().err == ""


def test_what_a_listener_raises_is_printed_and_the_listener_removed(hub, pair, capfd):
    left, right = pair

    def fails(fileno):
        raise LookupError("in a listener")

    hub.add(hub.READ, left.fileno(), fails, None, None)
    right.send(b"x")
    eventlet.sleep(0.01)
    printed = capfd.readouterr().err
    assert "LookupError: in a listener" in printed
    assert f"Removing descriptor: {left.fileno()}" in printed
    assert hub.listeners["read"] == {}


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_green_thread_comes_out_in_the_main_greenlet(kind):
    def interrupted():
        raise kind("here")

    eventlet.spawn_n(interrupted)
    with pytest.raises(kind, match="here"):
        eventlet.sleep(60)
    assert eventlet.spawn(lambda: "still there").wait() == "still there"


def test_an_interrupt_in_a_task_comes_out_in_the_main_greenlet(hub):
    async def interrupted():
        raise KeyboardInterrupt("here")

    task = hub.loop.create_task(interrupted())
    with pytest.raises(KeyboardInterrupt, match="here"):
        eventlet.sleep(60)
    assert eventlet.spawn(lambda: "still there").wait() == "still there"
    assert isinstance(task.exception(), KeyboardInterrupt)


# The hub's own greenlet.


def test_nobody_blocks_on_the_hubs_greenlet(hub):
    refused = []

    def tries():
        try:
            eventlet.sleep(1)
        except RuntimeError as error:
            refused.append(str(error))
        eventlet.sleep(0)
        try:
            hub.switch()
        except AssertionError as error:
            refused.append(str(error))

    hub.schedule_call_global(0, tries)
    settle()
    assert refused == [
        "do not call blocking functions from the mainloop",
        "Cannot switch to MAINLOOP from MAINLOOP",
    ]


def test_abort_ends_the_run_and_the_hub_can_run_again(hub):
    eventlet.sleep(0)
    dropped = []
    hub.schedule_call_global(60, dropped.append, 1)
    first = hub.greenlet
    assert hub.running and not hub.stopping
    hub.abort(wait=True)
    assert first.dead and not hub.running
    assert hub.timers == []
    assert eventlet.spawn(lambda: "again").wait() == "again"
    assert hub.greenlet is not first


def test_the_hub_runs_only_once(hub):
    refused = []

    def runs():
        try:
            hub.run()
        except RuntimeError as error:
            refused.append(str(error))

    eventlet.spawn(runs).wait()
    assert refused == ["Already running!"]


def test_a_greenlet_that_blocked_returns_to_the_hub_whoever_made_it(hub):
    ended = []

    def child():
        eventlet.sleep(0)
        ended.append("child")
        return "to its maker"

    def maker():
        hub.schedule_call_global(0.01, greenlet.getcurrent().switch, "from the hub")
        return greenlet.greenlet(child).switch()

    assert eventlet.spawn(maker).wait() == "from the hub"
    assert ended == ["child"]


def test_switch_out_is_called_and_what_it_raises_is_squelched(capfd):
    class Watched(greenlet.greenlet):
        def switch_out(self):
            left.append(1)
            raise LookupError("in switch_out")

    left = []
    done = event.Event()

    def body():
        eventlet.sleep(0)
        done.send("done")

    watched = Watched(body)
    hubs.get_hub().schedule_call_global(0, watched.switch)
    assert done.wait() == "done"
    assert left == [1]
    assert "LookupError: in switch_out" in capfd.readouterr().err


# Its loop.


def test_it_shares_its_loop_with_asyncio(hub):
    order = []
    hub.loop.call_soon(order.append, "callback")
    hub.schedule_call_global(0, order.append, "timer")
    settle()
    assert order == ["callback", "timer"]


def test_its_loop_is_closed_by_nobody_else(hub):
    with pytest.raises(RuntimeError, match="belongs to the hub of its thread"):
        hub.loop.close()
    assert not hub.loop.is_closed()


def test_its_loop_is_closed_when_its_thread_ends(in_thread):
    def thread():
        eventlet_asyncio.use_hub()
        eventlet.sleep(0)
        return hubs.get_hub().loop

    loop = in_thread(thread)
    gc.collect()
    assert loop.is_closed()


def test_run_forever_on_its_loop_parks_until_stop(hub):
    log = []

    def runs():
        hub.loop.run_forever()
        log.append("stopped")

    green = eventlet.spawn(runs)
    settle()
    assert log == []
    hub.loop.stop()
    green.wait()
    assert log == ["stopped"]
    assert eventlet.spawn(lambda: "hub goes on").wait() == "hub goes on"


def test_run_until_complete_on_its_loop_parks_like_await(hub):
    async def gives():
        await asyncio.sleep(0.001)
        return "given"

    assert hub.loop.run_until_complete(gives()) == "given"
    greens = [eventlet.spawn(hub.loop.run_until_complete, gives()) for _ in range(3)]
    assert [green.wait() for green in greens] == ["given"] * 3


def test_run_forever_on_its_loop_is_refused_while_another_runs_it(hub):
    first = eventlet.spawn(hub.loop.run_forever)
    settle()
    with pytest.raises(RuntimeError, match="This event loop is already running"):
        hub.loop.run_forever()
    assert not first.dead
    hub.loop.stop()
    first.wait()
    # And it can be run again.
    again = eventlet.spawn(hub.loop.run_forever)
    settle()
    hub.loop.stop()
    again.wait()


def test_stop_before_run_forever_on_its_loop_makes_one_turn(hub):
    log = []
    hub.loop.stop()
    hub.loop.call_soon(log.append, 1)
    with eventlet.Timeout(5):
        hub.loop.run_forever()
    assert log == [1]
    green = eventlet.spawn(hub.loop.run_forever)
    settle()
    assert not green.dead, "one stop() ended two runs"
    hub.loop.stop()
    green.wait()
