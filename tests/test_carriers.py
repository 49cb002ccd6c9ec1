"""Callbacks of a loop may block greenly: the loop goes on, and each is called again only when it is over."""

import asyncio
import contextvars
import socket

import eventlet
import greenlet
import pytest
from eventlet import event, queue, semaphore

import eventlet_asyncio
from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("quiet")


def test_a_hundred_tasks_park_inside_their_steps():
    parked, most = [], []

    async def step(number):
        task = asyncio.current_task()
        total = 0
        for round_number in range(10):
            parked.append(number)
            most.append(len(parked))
            eventlet.sleep(0.001 * (number % 7))
            parked.remove(number)
            assert asyncio.current_task() is task
            total += round_number
            await asyncio.sleep(0)
        return number, total

    async def main():
        return await asyncio.gather(*(step(number) for number in range(100)))

    assert eventlet_asyncio.run(main()) == [(number, 45) for number in range(100)]
    assert max(most) > 50, "they did not park at the same time"


def test_the_loop_goes_on_while_a_step_is_parked():
    log = []

    async def ticker(ticked):
        for tick in range(10):
            await asyncio.sleep(0)
            log.append(tick)
        ticked.send()

    async def main():
        ticked, timed = event.Event(), event.Event()
        asyncio.create_task(ticker(ticked))
        asyncio.get_running_loop().call_later(0.001, timed.send)
        ticked.wait()
        assert log == list(range(10))
        timed.wait()

    eventlet_asyncio.run(main())


def test_green_threads_go_on_while_a_step_is_parked():
    async def main():
        log = []
        channel = queue.Queue(1)

        def producer():
            for number in range(100):
                channel.put(number)
            channel.put(None)

        eventlet.spawn(producer)
        # A green queue's get() inside async code, without a wrapper.
        while (item := channel.get()) is not None:
            log.append(item)
        assert log == list(range(100))

    eventlet_asyncio.run(main())


def test_tasks_and_green_threads_share_a_lock():
    lock = semaphore.Semaphore(1)
    inside = []

    def critical():
        with lock:
            inside.append(1)
            assert len(inside) == 1
            eventlet.sleep(0.0001)
            inside.pop()

    async def step():
        for _ in range(5):
            critical()
            await asyncio.sleep(0)

    def green():
        for _ in range(5):
            critical()

    async def main():
        greens = [eventlet.spawn(green) for _ in range(10)]
        await asyncio.gather(*(step() for _ in range(10)))
        for each in greens:
            await each

    eventlet_asyncio.run(main())


def test_a_parked_reader_is_not_called_again_until_it_returns(pair):
    left, right = pair
    log = []

    def reader(done):
        log.append("called")
        eventlet.sleep(0.01)
        log.append(left.recv(1))
        if log[-1] == b"c":
            done.set_result(None)

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.add_reader(left, reader, done)
        right.send(b"abc")
        await done
        loop.remove_reader(left)

    eventlet_asyncio.run(main())
    assert log == ["called", b"a", "called", b"b", "called", b"c"]


def test_a_reader_removed_while_it_is_parked_stays_removed(pair):
    left, right = pair
    calls = []

    def reader():
        calls.append(1)
        eventlet.sleep(0.01)

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(left, reader)
        right.send(b"x")
        await asyncio.sleep(0.005)
        assert calls == [1]
        assert loop.remove_reader(left) is True
        await asyncio.sleep(0.02)
        assert loop.remove_reader(left) is False

    eventlet_asyncio.run(main())
    assert calls == [1]


def test_a_reader_replaced_while_it_is_parked_gives_way_to_the_new_one(pair):
    left, right = pair
    log = []

    def old():
        log.append("old")
        eventlet.sleep(0.01)

    def new(done):
        log.append("new")
        left.recv(1)
        done.set_result(None)

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.add_reader(left, old)
        right.send(b"x")
        await asyncio.sleep(0.005)
        loop.add_reader(left, new, done)
        await done
        loop.remove_reader(left)

    eventlet_asyncio.run(main())
    assert log == ["old", "new"]


def test_callbacks_of_a_protocol_do_not_overlap(pair):
    left, right = pair
    log, lost = [], None

    class Slow(asyncio.Protocol):
        busy = False
        received = b""

        def data_received(self, data):
            assert not self.busy
            self.busy = True
            eventlet.sleep(0.005)
            self.received += data
            self.busy = False

        def eof_received(self):
            assert not self.busy
            log.append("eof")

        def connection_lost(self, exc):
            assert not self.busy
            log.append("lost")
            lost.set_result(None)

    async def main():
        nonlocal lost
        loop = asyncio.get_running_loop()
        lost = loop.create_future()
        transport, protocol = await loop.create_connection(Slow, sock=left)
        for letter in b"abcdef":
            right.send(bytes([letter]))
            await asyncio.sleep(0.002)
        right.shutdown(socket.SHUT_WR)
        await lost
        assert protocol.received == b"abcdef"

    eventlet_asyncio.run(main())
    assert log == ["eof", "lost"]


def test_done_callbacks_and_signal_like_callbacks_may_block():
    log = []

    def slow(name):
        log.append(("begins", name))
        eventlet.sleep(0.05)
        log.append(("ends", name))

    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.add_done_callback(lambda _: slow("done"))
        loop.call_soon(slow, "soon")
        loop.call_soon_threadsafe(slow, "threadsafe")
        loop.call_later(0.001, slow, "later")
        future.set_result(None)
        while len(log) < 8:
            await asyncio.sleep(0.001)

    eventlet_asyncio.run(main())
    assert sorted(log) == sorted(
        (verb, name) for verb in ("begins", "ends") for name in ("done", "soon", "threadsafe", "later")
    )
    assert [verb for verb, _ in log[:3]] == ["begins"] * 3


def test_what_a_parked_callback_raises_goes_to_the_exception_handler():
    seen = []

    def fails():
        eventlet.sleep(0.001)
        raise LookupError("parked")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(context["exception"]))
        loop.call_soon(fails)
        await asyncio.sleep(0.02)

    eventlet_asyncio.run(main())
    assert [type(each) for each in seen] == [LookupError]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_loop_ends_it_from_a_parked_callback_too(kind):
    def interrupted():
        eventlet.sleep(0.001)
        raise kind("parked")

    async def main():
        asyncio.get_running_loop().call_soon(interrupted)
        await asyncio.sleep(60)

    with pytest.raises(kind, match="parked"):
        eventlet_asyncio.run(main())
    assert asyncio._get_running_loop() is None


def test_child_greenlets_of_a_step_block_and_return_to_their_parent():
    """Some libraries run plain code in a greenlet below the task's own."""

    def below(number):
        mine = asyncio.current_task()
        eventlet.sleep(0.001 * (number % 5))
        assert await_(asyncio.sleep(0.001, result=number)) == number
        eventlet.spawn(eventlet.sleep, 0).wait()
        assert asyncio.current_task() is mine
        return greenlet.greenlet(bottom).switch(number)

    def bottom(number):
        eventlet.sleep(0.001)
        return 2 * number

    async def step(number):
        carrier = greenlet.getcurrent()
        result = greenlet.greenlet(below).switch(number)
        assert greenlet.getcurrent() is carrier
        await asyncio.sleep(0)
        return result

    async def main():
        return await asyncio.gather(*(step(number) for number in range(20)))

    assert eventlet_asyncio.run(main()) == [2 * number for number in range(20)]


def test_what_a_child_greenlet_of_a_step_raises_comes_out_in_its_parent():
    def below():
        eventlet.sleep(0.001)
        raise LookupError("below")

    async def main():
        with pytest.raises(LookupError, match="below"):
            greenlet.greenlet(below).switch()

    eventlet_asyncio.run(main())


def test_await_below_await_in_one_step():
    """Green in async in green in async, in one task."""

    async def bottom():
        await asyncio.sleep(0.001)
        eventlet.sleep(0.001)
        return asyncio.current_task()

    def middle():
        eventlet.sleep(0)
        return await_(bottom())

    async def upper():
        await asyncio.sleep(0)
        return middle()

    async def main():
        assert await_(upper()) is asyncio.current_task()

    eventlet_asyncio.run(main())


def test_contexts_of_parked_steps_do_not_mix():
    variable = contextvars.ContextVar("variable")

    async def step(number):
        variable.set(number)
        for _ in range(5):
            eventlet.sleep(0.0005 * (number % 3))
            assert variable.get() == number
            await asyncio.sleep(0)
            assert variable.get() == number

    async def main():
        await asyncio.gather(*(step(number) for number in range(50)))

    eventlet_asyncio.run(main())


def test_parked_time_is_not_slow_callback_time(caplog):
    async def slow():
        eventlet.sleep(0.15)

    async def main():
        await slow()

    eventlet_asyncio.run(main(), debug=True)
    assert "Executing" not in caplog.text


def test_run_returns_when_its_main_is_done_whatever_is_parked():
    ended = []

    async def background():
        try:
            eventlet.sleep(60)
        finally:
            ended.append("background")

    async def main():
        asyncio.create_task(background())
        await asyncio.sleep(0.001)
        return "done"

    assert eventlet_asyncio.run(main()) == "done"
    assert ended == ["background"]


def test_stop_is_heeded_at_once_while_a_step_is_parked():
    loop = eventlet_asyncio.new_event_loop()
    done = event.Event()
    log = []

    def parks():
        done.wait()
        log.append("went on")

    loop.call_soon(parks)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert log == []
    done.send()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert log == ["went on"]
    loop.close()


def test_callbacks_of_a_turn_come_before_its_green_threads_though_one_of_them_blocks(hub):
    log = []

    def blocks():
        log.append("blocks")
        eventlet.spawn(log.append, "green")
        eventlet.sleep(0)
        log.append("goes on")

    async def yields():
        hub.loop.call_soon(blocks)
        hub.loop.call_soon(log.append, "callback")
        await asyncio.sleep(0)
        log.append("task")

    def waits():
        await_(yields())
        log.append("waited")

    # Those that look at the descriptors first, and those that do not.
    for _ in range(40):
        eventlet.spawn(waits).wait()
        assert log[:3] == ["blocks", "callback", "task"]
        assert sorted(log[3:]) == ["goes on", "green", "waited"]
        assert log.index("green") < log.index("goes on")
        log.clear()
        eventlet.sleep(0)


def test_who_waits_for_a_task_that_yields_is_not_misled_by_a_stray_switch(hub):
    log = []

    async def yields(times):
        for _ in range(times):
            await asyncio.sleep(0)
        log.append("over")
        return times

    green = eventlet.spawn(await_, yields(5))
    for _ in range(3):
        hub.schedule_call_global(0, green.switch)
        eventlet.sleep(0)
    assert green.wait() == 5
    assert log == ["over"]


def test_those_who_wait_for_tasks_that_yield_are_struck_each_for_itself(hub):
    begun, ended, killed = [], [], []

    async def yields(number):
        begun.append(number)
        try:
            for _ in range(4):
                await asyncio.sleep(0)
            return number
        finally:
            ended.append(number)

    def waits(number):
        with eventlet.Timeout(0 if number % 3 == 1 else 60, False):
            return await_(yields(number))
        return "timed out"

    greens = [eventlet.spawn(waits, number) for number in range(30)]
    eventlet.sleep(0)
    for green in greens[2::3]:
        green.kill()
    for number, green in enumerate(greens):
        if number % 3 == 0:
            assert green.wait() == number
        elif number % 3 == 1:
            assert green.wait() == "timed out"
        else:
            # Those who were done before the kill came to them are.
            try:
                assert green.wait() == number
            except greenlet.GreenletExit:
                killed.append(number)
    # Before Python 3.12 some are cancelled before they begin.
    assert sorted(ended) == sorted(begun)
    assert killed
