"""Whoever waits for a loop or a hub, the bridge works: the kernel, our hub, another hub, another loop."""

import asyncio
import gc
import socket
import weakref

import eventlet
import greenlet
import pytest
import uvloop
from eventlet import event, greenthread, hubs
from eventlet.asyncio import spawn_for_awaitable
from eventlet.green import socket as green_socket

import eventlet_asyncio
from eventlet_asyncio import await_, future_to_greenlet, greenlet_to_future, sync_to_async


async def slow(value, seconds=0.001):
    await asyncio.sleep(seconds)
    return value


def green_slow(value, seconds=0.001):
    eventlet.sleep(seconds)
    return value


def by_future(function, *args):
    return future_to_greenlet(sync_to_async(function)(*args))


# A hub, ours or not, hosts the loop.


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, None])
def test_what_ends_a_run_of_the_loop_comes_out_once_and_the_loop_runs_again(on_hub, kind):
    async def ends():
        if kind is None:
            asyncio.get_running_loop().stop()
            return None
        raise kind

    def body():
        for wait in (await_, lambda coroutine: future_to_greenlet(coroutine).wait()):
            try:
                seen = wait(ends())
            except (KeyboardInterrupt, SystemExit) as exception:
                seen = type(exception)
            assert seen is kind
            assert await_(slow(1)) == 1

    on_hub(body)


def test_green_code_calls_async_code_on_every_hub(on_any_hub):
    def body():
        greens = [eventlet.spawn(lambda n=n: await_(slow(n))) for n in range(20)]
        assert [green.wait() for green in greens] == list(range(20))
        greens = [future_to_greenlet(slow(n)) for n in range(20)]
        assert [green.wait() for green in greens] == list(range(20))
        return await_(slow("main"))

    assert on_any_hub(body) == "main"


def test_eventlets_own_name_for_that_works_on_every_hub_once_a_loop_ran_there(on_any_hub):
    def body():
        assert await_(slow(1)) == 1
        assert spawn_for_awaitable(slow(2)).wait() == 2

    on_any_hub(body)


def test_async_code_calls_green_code_on_every_hub(on_any_hub):
    async def main():
        futures = [greenlet_to_future(eventlet.spawn(green_slow, n)) for n in range(20)]
        assert await asyncio.gather(*futures) == list(range(20))
        return await sync_to_async(green_slow)("called")

    assert on_any_hub(lambda: await_(main())) == "called"


def test_a_loop_of_ours_runs_in_a_green_thread_of_every_hub(on_hub):
    async def main(number):
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, pow, number, 2) == number**2
        return await slow(number)

    def body():
        greens = [eventlet.spawn(eventlet_asyncio.run, main(n)) for n in range(5)]
        return [green.wait() for green in greens]

    assert on_hub(body) == list(range(5))


def test_a_loop_in_a_green_thread_leaves_the_other_green_threads_running(on_hub):
    ticks = []

    def ticker():
        for tick in range(5):
            eventlet.sleep(0.001)
            ticks.append(tick)

    async def until_ticked():
        while len(ticks) < 5:
            await asyncio.sleep(0.001)

    def body():
        eventlet.spawn(ticker)
        eventlet.spawn(eventlet_asyncio.run, until_ticked()).wait()

    on_hub(body)
    assert ticks == list(range(5))


def test_a_step_of_a_loop_in_a_green_thread_blocks_greenly_on_every_hub(on_hub):
    async def main():
        loop = asyncio.get_running_loop()
        ticks = []
        loop.call_later(0.005, ticks.append, 1)
        with eventlet.Timeout(10):
            while not ticks:
                eventlet.sleep(0.01)
        assert asyncio.get_running_loop() is loop
        return await slow("blocked")

    assert on_hub(lambda: eventlet.spawn(eventlet_asyncio.run, main()).wait()) == "blocked"


def test_a_loop_in_a_green_thread_serves_sockets_on_every_hub(on_hub):
    async def main():
        async def echo(reader, writer):
            writer.write(await reader.readexactly(5))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address.send(server.sockets[0].getsockname())
        await greenlet_to_future(client)
        server.close()

    def green_client():
        connection = green_socket.create_connection(address.wait())
        connection.sendall(b"hello")
        received = b""
        while len(received) < 5:
            received += connection.recv(5)
        connection.close()
        return received

    def body():
        nonlocal address, client
        address = event.Event()
        client = eventlet.spawn(green_client)
        eventlet.spawn(eventlet_asyncio.run, main()).wait()
        return client.wait()

    address = client = None
    assert on_hub(body) == b"hello"


def test_kills_and_timeouts_cross_on_every_hub(on_any_hub):
    log = []

    async def job():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            log.append("clean")

    def body():
        with eventlet.Timeout(0.3, False):
            await_(job())
        green = future_to_greenlet(job())
        eventlet.sleep(0.3)
        green.kill()
        with pytest.raises(greenlet.GreenletExit):
            green.wait()

    on_any_hub(body)
    assert log == ["clean", "clean"]


def test_the_end_of_a_step_that_was_struck_leaves_no_running_loop_to_green_code(on_hub):
    async def parks():
        eventlet.sleep(60)

    def looks():
        seen = [asyncio._get_running_loop()]
        for _ in range(5):
            eventlet.sleep(0)
            seen.append(asyncio._get_running_loop())
        return seen

    def body():
        for _ in range(3):
            green = future_to_greenlet(parks())
            eventlet.sleep(0.001)
            green.future.cancel()
            looking = [eventlet.spawn(looks) for _ in range(3)]
            assert [each.wait() for each in looking] == [[None] * 6] * 3
            with pytest.raises((greenlet.GreenletExit, asyncio.CancelledError)):
                green.wait()

    on_hub(body)


def test_a_kill_by_async_code_keeps_who_is_who(host):
    """It switches to the green thread at once, in the middle of a step."""

    def identity():
        loop = asyncio._get_running_loop()
        return loop, None if loop is None else asyncio.current_task()

    async def main():
        loop, seen, begun = asyncio.get_running_loop(), [], []

        def green():
            mine = identity()
            begun.append(mine)
            try:
                eventlet.sleep(60)
            except greenlet.GreenletExit:
                # Which a loop of eventlet's asyncio hub shows to all that it runs.
                seen.append(identity()[0] is mine[0])
                eventlet.sleep(0)
                seen.append(identity() == mine)

        greens = [eventlet.spawn(green) for _ in range(3)]
        while len(begun) < 3:
            await asyncio.sleep(0.001)
        mine = identity()
        greens[0].kill()
        assert identity() == mine
        loop.call_soon(greens[1].kill)
        await asyncio.create_task(kills(greens[2]))
        assert identity() == mine
        while len(seen) < 6:
            await asyncio.sleep(0.001)
        return seen

    async def kills(green):
        mine = identity()
        green.kill()
        assert identity() == mine
        await asyncio.sleep(0)
        assert identity() == mine

    assert host(main) == [True] * 6


def killed_before_it_begins(green):
    greenthread.kill(green)


def killed_while_it_waits(green):
    eventlet.sleep(0)
    greenthread.kill(green)


def thrown_at(green):
    eventlet.hubs.get_hub().schedule_call_global(0, greenlet.getcurrent().switch)
    green.throw(LookupError())


def switched_to(green):
    eventlet.hubs.get_hub().schedule_call_global(0, greenlet.getcurrent().switch)
    green.switch(eventlet.sleep, (0,), {})


STRIKES = [
    (strike, spawn)
    for strike in (killed_before_it_begins, killed_while_it_waits)
    for spawn in (eventlet.spawn, eventlet.spawn_n, by_future)
]


# Of plain greenlets the methods are greenlet's own, and know nothing of this.
@pytest.mark.parametrize(("strike", "spawn"), [*STRIKES, (thrown_at, eventlet.spawn), (switched_to, eventlet.spawn)])
def test_what_a_callback_strikes_leaves_no_running_loop_to_who_runs_then(on_hub, spawn, strike):
    seen, after = [], []

    def looks(*_):
        seen.append(asyncio._get_running_loop())

    async def main():
        loop = asyncio.get_running_loop()
        struck = spawn(eventlet.sleep, 60)

        def callback():
            eventlet.spawn(looks)
            eventlet.spawn_n(looks)
            eventlet.hubs.get_hub().schedule_call_global(0, looks)
            strike(struck)
            after.append((asyncio.get_running_loop() is loop, asyncio.current_task()))

        loop.call_soon(callback)
        while not after or len(seen) < 3:
            await asyncio.sleep(0.001)

    on_hub(lambda: eventlet.spawn(eventlet_asyncio.run, main()).wait())
    assert seen == [None] * 3
    assert after == [(True, None)]


# A loop of ours hosts the hub, which may be made while the loop runs.


def test_a_hub_made_while_our_loop_runs_shares_its_engine():
    async def main():
        assert "hub" not in vars(hubs._threadlocal)
        eventlet.sleep(0.001)
        hub = hubs.get_hub()
        assert type(hub).__module__ == "eventlet_asyncio.hub"
        assert hub.loop is asyncio.get_running_loop()
        return await eventlet.spawn(green_slow, "green")

    assert eventlet_asyncio.run(main()) == "green"
    assert eventlet.spawn(green_slow, "after").wait() == "after"


def test_a_hub_made_while_many_steps_are_under_way():
    async def step(number):
        await asyncio.sleep(0)
        eventlet.sleep(0.001 * (number % 3))
        await asyncio.sleep(0)
        return await eventlet.spawn(green_slow, number)

    async def main():
        return await asyncio.gather(*(step(n) for n in range(50)))

    assert eventlet_asyncio.run(main()) == list(range(50))


def test_a_hub_made_by_a_plain_callback():
    log = []

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def callback():
            eventlet.sleep(0.001)
            log.append("callback")
            done.set_result(None)

        loop.call_soon(callback)
        await done

    eventlet_asyncio.run(main())
    assert log == ["callback"]


def test_loops_one_after_the_other_with_one_hub():
    async def main(number):
        eventlet.sleep(0)
        assert hubs.get_hub().loop is asyncio.get_running_loop()
        return await eventlet.spawn(green_slow, number)

    hub = None
    for number in range(20):
        assert eventlet_asyncio.run(main(number)) == number
        assert hub in (None, hubs.get_hub())
        hub = hubs.get_hub()
        assert eventlet.spawn(green_slow, number).wait() == number


# Green work goes on across the beginnings and ends of loops.


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    yield left, right
    left.close()
    right.close()


def test_green_timers_and_listeners_go_on_under_a_loop_run_in_main(hub, pair):
    left, right = pair
    log = []

    def reader():
        hubs.trampoline(left, read=True)
        log.append(left.recv(1))

    def sleeper():
        for number in range(3):
            eventlet.sleep(0.005)
            log.append(number)

    reading, sleeping = eventlet.spawn(reader), eventlet.spawn(sleeper)
    eventlet.sleep(0)

    async def main():
        while not sleeping.dead:
            await asyncio.sleep(0.001)
        right.send(b"x")
        while not reading.dead:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert log == [0, 1, 2, b"x"]


def test_green_timers_and_listeners_go_on_after_the_loop_has_ended(pair):
    left, right = pair
    log = []

    def reader():
        hubs.trampoline(left, read=True)
        log.append(left.recv(1))

    def sleeper():
        eventlet.sleep(1)
        log.append("slept")

    async def main():
        greens.append(eventlet.spawn(reader))
        greens.append(eventlet.spawn(sleeper))
        await asyncio.sleep(0.001)

    greens = []
    eventlet_asyncio.run(main())
    assert log == []
    right.send(b"x")
    for green in greens:
        green.wait()
    assert log == [b"x", "slept"]


def test_green_work_goes_along_through_many_loops(hub, pair):
    left, right = pair
    received = []

    def reader():
        while True:
            hubs.trampoline(left, read=True)
            received.append(left.recv(1))

    async def sends(letter):
        right.send(letter)
        await asyncio.sleep(0.005)

    reading = eventlet.spawn(reader)
    for number in range(10):
        asyncio.run(sends(b"%d" % number))
        right.send(b".")
        eventlet.sleep(0.005)
    while len(received) < 20:
        eventlet.sleep(0.001)
    reading.kill()
    assert b"".join(received) == b"0.1.2.3.4.5.6.7.8.9."


def test_a_timer_cancelled_after_it_moved_to_another_loop_does_not_fire(hub):
    log = []
    timer = hub.schedule_call_global(0.01, log.append, 1)

    async def main():
        timer.cancel()
        await asyncio.sleep(0.02)

    asyncio.run(main())
    eventlet.sleep(0.02)
    assert log == []


def test_a_loop_runs_below_the_first_step_that_a_hub_runs_at_all(hub):
    async def main():
        return asyncio.run(slow("value"))

    assert await_(main()) == "value"


def test_eventlet_first_then_asyncio(hub):
    assert eventlet.spawn(green_slow, 1).wait() == 1

    async def main():
        assert type(asyncio.get_running_loop()) is eventlet_asyncio.EventLoop
        eventlet.sleep(0.001)
        return await eventlet.spawn(green_slow, 2)

    assert asyncio.run(main()) == 2
    assert await_(slow(3)) == 3


def test_asyncio_first_then_eventlet():
    assert eventlet_asyncio.run(slow(1)) == 1
    eventlet_asyncio.use_hub()
    assert eventlet.spawn(green_slow, 2).wait() == 2
    assert await_(slow(3)) == 3
    assert asyncio.run(slow(4)) == 4


def test_a_parked_step_survives_the_end_of_its_loops_run(hub):
    log = []
    loop = eventlet_asyncio.new_event_loop()

    released = event.Event()

    def parks():
        released.wait()
        log.append("went on")

    loop.call_soon(parks)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert log == []
    released.send()
    eventlet.sleep(0.001)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert log == ["went on"]


# A loop that is not ours hosts the hub.


@pytest.fixture
def foreign():
    loop = asyncio.SelectorEventLoop()
    yield loop
    loop.close()


def test_crossings_under_a_loop_that_is_not_ours(foreign, hub):
    async def main():
        futures = [greenlet_to_future(eventlet.spawn(green_slow, n)) for n in range(10)]
        assert await asyncio.gather(*futures) == list(range(10))
        return await sync_to_async(green_slow)("called")

    assert foreign.run_until_complete(main()) == "called"
    assert eventlet.spawn(green_slow, "after").wait() == "after"


def test_a_green_block_in_a_task_of_a_loop_that_is_not_ours_is_refused(foreign, hub):
    async def main():
        with pytest.raises(RuntimeError, match="sync_to_async"):
            eventlet.sleep(0.01)
        return await slow("goes on")

    assert foreign.run_until_complete(main()) == "goes on"


def test_a_green_thread_that_yields_lets_a_loop_that_is_not_ours_run(foreign, hub):
    yields, most = [], 200_000
    enough = []

    def yields_on():
        while not enough and len(yields) < most:
            yields.append(None)
            eventlet.sleep(0)

    async def main():
        green = eventlet.spawn(yields_on)
        # What is due at once, what has a time, and what another thread sends.
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        await foreign.run_in_executor(None, pow, 2, 2)
        enough.append(True)
        await greenlet_to_future(green)

    foreign.run_until_complete(main())
    assert 0 < len(yields) < most, "the loop waited for the last yield"


@pytest.mark.parametrize("make", [asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["stdlib", "uvloop"])
def test_a_loop_that_hosted_the_hub_is_free_when_it_is_closed(make, hub):
    async def main():
        # With a deadline that is still to come when the loop stops.
        eventlet.spawn_after(60, green_slow, "later")
        return await greenlet_to_future(eventlet.spawn(green_slow, "done"))

    loop = make()
    assert loop.run_until_complete(main()) == "done"
    loop.close()
    freed = weakref.ref(loop)
    del loop
    gc.collect()
    assert freed() is None
