"""The event loop keeps asyncio's promises where it is not asyncio's own code."""

import asyncio
import contextvars
import gc
import socket
import time
import weakref

import pytest

import eventlet_asyncio


def run_once(loop):
    """One turn: what is ready now, and nothing that this makes ready."""
    loop.call_soon(loop.stop)
    loop.run_forever()


# What it is.


def test_it_is_an_event_loop(loop):
    assert type(loop) is eventlet_asyncio.EventLoop
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.SelectorEventLoop)


def test_repr_says_what_drives_it(loop):
    assert repr(loop) == "<EventLoop running=False closed=False debug=False driven by nobody>"
    seen = []
    loop.call_soon(lambda: seen.append(repr(loop)))
    run_once(loop)
    assert seen == [
        "<EventLoop running=True closed=False debug=False driven by run_forever()>"
    ]


# Callbacks.


def test_callbacks_run_in_order_one_turn_at_a_time(loop):
    log = []

    def first():
        log.append("first")
        loop.call_soon(log.append, "of the next turn")

    loop.call_soon(first)
    loop.call_soon(log.append, "second")
    run_once(loop)
    assert log == ["first", "second"]
    run_once(loop)
    assert log == ["first", "second", "of the next turn"]


def test_a_cancelled_callback_does_not_run_and_frees_its_arguments(loop):
    class Argument:
        pass

    log, argument = [], Argument()
    gone = weakref.ref(argument)
    handle = loop.call_soon(log.append, argument)
    del argument
    handle.cancel()
    assert handle.cancelled() and gone() is None
    run_once(loop)
    assert log == []


def test_a_callback_may_cancel_another_of_its_turn(loop):
    log = []
    loop.call_soon(lambda: second.cancel())
    second = loop.call_soon(log.append, "second")
    run_once(loop)
    assert log == []


def test_handles_are_those_of_asyncio_to_whoever_asks(loop):
    soon, later = loop.call_soon(print), loop.call_later(5, print)
    assert isinstance(soon, asyncio.Handle) and isinstance(later, asyncio.TimerHandle)
    assert not isinstance(soon, asyncio.TimerHandle)
    assert repr(soon).startswith("<Handle ") and "print" in repr(soon)
    assert repr(later).startswith("<TimerHandle when=")
    later.cancel()
    assert "cancelled" in repr(later)
    soon.cancel()


def test_callbacks_run_in_the_context_they_were_made_in_or_given(loop):
    variable = contextvars.ContextVar("variable", default="outside")
    seen = []
    given = contextvars.Context()
    given.run(variable.set, "given")
    variable.set("made")
    handle = loop.call_soon(lambda: seen.append(variable.get()))
    loop.call_soon(lambda: seen.append(variable.get()), context=given)
    loop.call_later(0, lambda: seen.append(variable.get()), context=given)
    variable.set("outside")
    assert handle.get_context()[variable] == "made"
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert seen == ["made", "given", "given"]


def test_what_a_callback_raises_goes_to_the_exception_handler(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    error = LookupError("callback")

    def fails():
        raise error

    handle = loop.call_soon(fails)
    loop.call_soon(seen.append, "next")
    run_once(loop)
    assert seen[0]["exception"] is error and seen[0]["handle"] is handle
    assert seen[0]["message"].startswith("Exception in callback")
    assert seen[1] == "next"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_loop_comes_out_of_run_forever(loop, kind):
    def ends():
        raise kind("callback")

    log = []
    loop.call_soon(ends)
    loop.call_soon(log.append, "left")
    with pytest.raises(kind, match="callback"):
        loop.run_forever()
    assert not loop.is_running()
    run_once(loop)
    assert log == ["left"]


# Timers.


def test_timers_are_never_early_and_run_in_the_order_of_their_times(loop):
    ran = []
    start = loop.time()
    for number in (5, 1, 3, 2, 4, 0):
        due = start + number / 500
        loop.call_at(due, lambda due=due, number=number: ran.append((number, loop.time() - due)))
    loop.call_at(start + 0.02, loop.stop)
    loop.run_forever()
    assert [number for number, _ in ran] == list(range(6))
    assert min(late for _, late in ran) >= 0


def test_equal_times_run_in_the_order_they_were_made(loop):
    ran = []
    due = loop.time() + 0.001
    for number in range(50):
        loop.call_at(due, ran.append, number)
    loop.call_at(due + 0.001, loop.stop)
    loop.run_forever()
    assert ran == list(range(50))


def test_timers_of_long_ago_and_of_never(loop):
    ran = []
    never = loop.call_later(float("inf"), ran.append, "never")
    loop.call_later(-10, ran.append, "long ago")
    loop.call_at(0, ran.append, "at the beginning of time")
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    assert sorted(ran) == ["at the beginning of time", "long ago"]
    assert never.when() == float("inf")


def test_times_of_long_ago_come_in_their_order(loop):
    ran = []

    def make(base):
        ran.clear()
        for ago in (1, 2, 3, 2, 1):
            loop.call_at(base - ago, ran.append, (ago, len(ran)))
            ran.append(ago)
        loop.call_later(-2.5, ran.append, "cancelled").cancel()
        loop.call_later(-4, ran.append, "first")
        loop.call_at(base - 3, ran.append, "after 3")
        ran.clear()

    expected = ["first", (3, 2), "after 3", (2, 1), (2, 3), (1, 0), (1, 4)]
    make(loop.time())
    run_once(loop)
    assert ran == expected
    loop.call_soon(lambda: make(loop.time()))
    run_once(loop)
    run_once(loop)
    assert ran == expected


def test_call_later_goes_through_a_call_at_of_the_class():
    class Simulated(eventlet_asyncio.EventLoop):
        now = 100.0
        made = []
        gone = []

        def time(self):
            return self.now

        def call_at(self, when, callback, *args, context=None):
            self.made.append((when, callback, args, context))
            return super().call_at(super().time(), callback, *args, context=context)

        def _timer_handle_cancelled(self, handle):
            assert not handle.cancelled()
            self.gone.append(handle)

    loop = Simulated()
    ran = []
    context = contextvars.copy_context()
    loop.call_later(1, ran.append, "one")
    loop.call_later(2.5, lambda *args: ran.append(args), 1, 2, context=context)
    handle = loop.call_later(60, print)
    handle.cancel()
    handle.cancel()
    loop.call_later(3600, loop.stop)
    loop.run_forever()
    assert ran == ["one", (1, 2)]
    assert [(when, args, given) for when, _, args, given in loop.made] == [
        (101.0, ("one",), None),
        (102.5, (1, 2), context),
        (160.0, (), None),
        (3700.0, (), None),
    ]
    assert loop.gone == [handle]
    loop.close()


def test_the_loops_clock_is_that_of_the_program(loop):
    before = time.monotonic()
    now = loop.time()
    assert before <= now <= time.monotonic()


def test_a_cancelled_timer_is_forgotten_at_once(loop):
    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    timer = loop.call_later(60, print, argument)
    del argument
    timer.cancel()
    assert gone() is None and timer.cancelled()


@pytest.mark.parametrize("call", ["call_later", "call_at"])
def test_a_timer_without_a_time_is_refused(loop, call):
    with pytest.raises(TypeError, match="None"):
        getattr(loop, call)(None, print)


# Tasks.


def test_tasks_take_the_options_that_asyncios_do(loop):
    def outcome(loop, **options):
        async def nothing():
            pass

        coroutine = nothing()
        try:
            task = loop.create_task(coroutine, **options)
        except TypeError:
            coroutine.close()
            return "refused"
        loop.run_until_complete(task)
        return task.get_name() == options.get("name")

    asyncios = asyncio.SelectorEventLoop()
    for options in (
        {"name": "name"},
        {"context": contextvars.copy_context()},
        {"name": "name", "context": None},
        {"eager_start": True},
        {"name": "name", "unknown": 1},
    ):
        assert outcome(loop, **options) == outcome(asyncios, **options)
    asyncios.close()


# Running and stopping.


def test_stop_ends_the_turn_first(loop):
    log = []
    loop.call_soon(loop.stop)
    loop.call_soon(log.append, "of the same turn")
    loop.run_forever()
    assert log == ["of the same turn"]


def test_stop_before_run_makes_one_turn(loop):
    log = []
    loop.stop()
    loop.call_soon(log.append, 1)
    loop.run_forever()
    assert log == [1]
    assert not loop.is_running()


def test_run_until_complete_gives_the_result_or_raises(loop):
    async def gives(value):
        await asyncio.sleep(0)
        if isinstance(value, Exception):
            raise value
        return value

    assert loop.run_until_complete(gives(1)) == 1
    with pytest.raises(LookupError):
        loop.run_until_complete(gives(LookupError()))
    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        loop.call_soon(loop.stop)
        loop.run_until_complete(loop.create_future())


def test_a_loop_is_running_only_inside_run(loop):
    seen = []
    loop.call_soon(lambda: seen.append((loop.is_running(), asyncio.get_running_loop() is loop)))
    run_once(loop)
    assert seen == [(True, True)]
    assert not loop.is_running()
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


def test_a_loop_does_not_run_inside_itself_or_another(loop):
    other = eventlet_asyncio.new_event_loop()
    errors = []

    def nested(which):
        try:
            which.run_forever()
        except RuntimeError as error:
            errors.append(str(error))

    loop.call_soon(nested, loop)
    loop.call_soon(nested, other)
    run_once(loop)
    other.close()
    assert errors == [
        "This event loop is already running",
        "Cannot run the event loop while another loop is running",
    ]


def test_asyncio_run_inside_a_task_is_refused_where_no_hub_is():
    async def main():
        inner = asyncio.sleep(0)
        try:
            with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
                asyncio.run(inner)
        finally:
            inner.close()

    eventlet_asyncio.run(main())


def test_a_closed_loop_refuses_work(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.add_reader(0, print),
        loop.run_forever,
    ):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            call()


def test_a_running_loop_is_not_closed(loop):
    errors = []

    def closes():
        try:
            loop.close()
        except RuntimeError as error:
            errors.append(str(error))

    loop.call_soon(closes)
    run_once(loop)
    assert errors == ["Cannot close a running event loop"]
    assert not loop.is_closed()


def test_closing_frees_what_was_scheduled(loop):
    class Argument:
        pass

    arguments = [Argument() for _ in range(3)]
    gone = [weakref.ref(argument) for argument in arguments]
    loop.call_soon(print, arguments[0])
    loop.call_later(60, print, arguments[1])
    left, right = socket.socketpair()
    loop.add_reader(left, print, arguments[2])
    arguments.clear()
    loop.close()
    gc.collect()
    left.close()
    right.close()
    assert [ref() for ref in gone] == [None] * 3


def test_an_unclosed_loop_says_so():
    loop = eventlet_asyncio.new_event_loop()
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()


def test_what_is_watched_is_known_by_descriptor_and_by_file(loop, pair):
    left, right = pair
    loop.add_reader(left, print)
    for file in (left, left.fileno()):
        key = loop._selector.get_key(file)
        assert (key.fileobj, key.fd) == (file, left.fileno())
    for file in (right, right.fileno()):
        with pytest.raises(KeyError, match="is not registered"):
            loop._selector.get_key(file)
    loop.remove_reader(left)


# Debug mode.


def test_debug_mode_names_slow_callbacks(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.01
    loop.call_soon(time.sleep, 0.02)
    run_once(loop)
    assert "Executing <Handle" in caplog.text and "sleep" in caplog.text


def test_debug_mode_refuses_calls_from_another_thread(loop):
    loop.set_debug(True)

    async def main():
        with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
            await asyncio.to_thread(loop.call_soon, print)

    loop.run_until_complete(main())


def test_debug_mode_refuses_coroutines_as_callbacks(loop):
    async def coroutine():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match="coroutines cannot be used with call_soon"):
        loop.call_soon(coroutine)


def test_debug_mode_remembers_where_a_handle_was_made(loop):
    loop.set_debug(True)
    handle = loop.call_soon(print)
    assert f"created at {__file__}" in repr(handle)
    handle.cancel()
