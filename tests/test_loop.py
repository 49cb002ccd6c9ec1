"""The event loop keeps asyncio's promises where it is not asyncio's own code."""

import asyncio
import concurrent.futures
import contextvars
import gc
import os
import signal
import socket
import sys
import threading
import time
import weakref

import eventlet.hubs
import pytest

import eventlet_asyncio


@pytest.fixture
def loop():
    loop = eventlet_asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    yield left, right
    left.close()
    right.close()


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


# Other threads.


def test_a_call_from_another_thread_wakes_the_loop(loop):
    log = []

    def other():
        loop.call_soon_threadsafe(log.append, threading.get_ident())
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=other)
    loop.call_soon(thread.start)
    # Without a wake-up the loop would wait for this.
    loop.call_later(30, log.append, "nobody woke the loop")
    loop.run_forever()
    thread.join()
    assert log == [thread.ident]


def test_no_call_from_another_thread_is_lost(loop):
    calls = []
    total = 4 * 2000

    def called(number):
        calls.append(number)
        if len(calls) == total:
            loop.stop()

    def other(base):
        for number in range(base, base + 2000):
            loop.call_soon_threadsafe(called, number)

    threads = [threading.Thread(target=other, args=(2000 * n,)) for n in range(4)]
    for thread in threads:
        loop.call_soon(thread.start)
    loop.call_later(30, loop.stop)
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert sorted(calls) == list(range(total))


def test_executors_run_in_real_threads():
    async def main():
        loop = asyncio.get_running_loop()
        ident = await loop.run_in_executor(None, threading.get_ident)
        assert ident != threading.get_ident()
        assert await asyncio.to_thread(lambda: 1) == 1
        with concurrent.futures.ThreadPoolExecutor() as pool:
            futures = [loop.run_in_executor(pool, pow, n, 2) for n in range(20)]
            assert await asyncio.gather(*futures) == [n * n for n in range(20)]

    eventlet_asyncio.run(main())


def test_run_coroutine_threadsafe():
    async def inner():
        await asyncio.sleep(0)
        return threading.get_ident()

    async def main():
        loop = asyncio.get_running_loop()

        def other():
            return asyncio.run_coroutine_threadsafe(inner(), loop).result(30)

        assert await asyncio.to_thread(other) == threading.get_ident()

    eventlet_asyncio.run(main())


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


# Descriptors.


def test_readers_and_writers(loop, pair):
    left, right = pair
    log = []

    def read():
        log.append(left.recv(10))
        loop.stop()

    loop.add_reader(left, read)
    loop.add_writer(right, lambda: (right.send(b"hello"), loop.remove_writer(right)))
    loop.run_forever()
    assert log == [b"hello"]
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False
    assert loop.remove_writer(right) is False


def test_a_reader_is_called_while_there_is_something_to_read(loop, pair):
    left, right = pair
    calls = []

    def read():
        calls.append(1)
        if len(calls) == 3:
            loop.stop()

    loop.add_reader(left, read)
    right.send(b"x")
    loop.run_forever()
    assert len(calls) == 3
    loop.remove_reader(left)


def test_a_new_reader_replaces_the_old_one(loop, pair):
    left, right = pair
    log = []
    loop.add_reader(left, log.append, "old")
    loop.add_reader(left, lambda: (log.append("new"), loop.stop()))
    right.send(b"x")
    loop.run_forever()
    assert log == ["new"]
    loop.remove_reader(left)


def test_ready_work_does_not_starve_descriptors_and_timers(loop, pair):
    left, right = pair
    log = []

    def again():
        loop.call_soon(again)

    def done(what):
        log.append(what)
        loop.remove_reader(left)
        if len(log) == 2:
            loop.stop()

    again()
    loop.add_reader(left, done, "reader")
    loop.call_later(0.001, done, "timer")
    right.send(b"x")
    loop.run_forever()
    assert sorted(log) == ["reader", "timer"]


def test_descriptors_of_no_use_are_refused(loop):
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(-1, print)
    with pytest.raises(ValueError, match="Invalid file object"):
        loop.add_reader(object(), print)
    number = os.dup(0)
    os.close(number)
    with pytest.raises(OSError):
        loop.add_reader(number, print)


def test_streams_servers_and_subprocesses_work():
    async def main():
        async def echo(reader, writer):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        message = os.urandom(1 << 20)
        writer.write(message)
        writer.write_eof()
        assert await reader.read() == message
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(input())", stdin=-1, stdout=-1
        )
        out, _ = await process.communicate(b"through a pipe\n")
        assert (out, process.returncode) == (b"through a pipe\n", 0)

    eventlet_asyncio.run(main())


# Signals.


def test_a_signal_handler_is_called_promptly(loop):
    log = []

    def handler():
        log.append("handled")
        loop.stop()

    loop.add_signal_handler(signal.SIGUSR1, handler)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.call_later(30, log.append, "nobody woke the loop")
    loop.run_forever()
    assert log == ["handled"]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_a_signal_from_outside_wakes_a_waiting_loop(loop):
    log = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: (log.append("handled"), loop.stop()))
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    loop.call_later(30, loop.stop)
    loop.run_forever()
    timer.join()
    assert log == ["handled"]


def test_closing_the_loop_gives_signals_back():
    loop = eventlet_asyncio.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_a_keyboard_interrupt_ends_run():
    async def main():
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(30)

    with pytest.raises(KeyboardInterrupt):
        eventlet_asyncio.run(main())


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


# Ways to have one.


def test_run_runs_on_a_loop_of_ours_and_closes_it():
    async def main():
        return asyncio.get_running_loop()

    loop = eventlet_asyncio.run(main())
    assert type(loop) is eventlet_asyncio.EventLoop and loop.is_closed()


def test_run_takes_debug():
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert eventlet_asyncio.run(main(), debug=True) is True
    assert eventlet_asyncio.run(main(), debug=False) is False


def test_run_cancels_what_is_left_and_shuts_generators_down():
    log = []

    async def left():
        try:
            await asyncio.sleep(60)
        finally:
            log.append("cancelled")

    async def numbers():
        try:
            yield 1
        finally:
            log.append("closed")

    generator = numbers()

    async def main():
        asyncio.create_task(left())
        await generator.__anext__()

    eventlet_asyncio.run(main())
    assert log == ["cancelled", "closed"]


def test_run_leaves_the_policy_alone():
    async def main():
        pass

    before = asyncio.get_event_loop_policy()
    eventlet_asyncio.run(main())
    assert asyncio.get_event_loop_policy() is before


def test_the_policy_makes_loops_of_ours():
    asyncio.set_event_loop_policy(eventlet_asyncio.EventLoopPolicy())

    async def main():
        return asyncio.get_running_loop()

    assert type(asyncio.run(main())) is eventlet_asyncio.EventLoop
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    assert asyncio.get_event_loop() is loop
    asyncio.set_event_loop(None)
    loop.close()


def test_install_sets_the_policy():
    eventlet_asyncio.install()
    assert type(asyncio.get_event_loop_policy()) is eventlet_asyncio.EventLoopPolicy
    loop = asyncio.new_event_loop()
    assert type(loop) is eventlet_asyncio.EventLoop
    loop.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="runners came with Python 3.11")
def test_a_runner_takes_our_factory():
    async def which():
        return asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=eventlet_asyncio.new_event_loop) as runner:
        first = runner.run(which())
        assert runner.run(which()) is first is runner.get_loop()
    assert type(first) is eventlet_asyncio.EventLoop and first.is_closed()


def test_a_loop_may_run_again_and_in_another_thread(loop, in_thread):
    async def ident():
        await asyncio.sleep(0)
        return threading.get_ident()

    here = loop.run_until_complete(ident())
    there = in_thread(loop.run_until_complete, ident())
    assert here == threading.get_ident() != there
    assert loop.run_until_complete(ident()) == here


def test_asyncio_alone_makes_no_hub():
    async def main():
        await asyncio.sleep(0)

    eventlet_asyncio.run(main())
    assert "hub" not in vars(eventlet.hubs._threadlocal)
