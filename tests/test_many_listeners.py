"""Several green threads wait on one descriptor where that is allowed, and asyncio beside them."""

import asyncio
import os

import eventlet
import eventlet.hubs.asyncio
import pytest
from eventlet import debug, hubs
from eventlet.green import socket as green_socket

from eventlet_asyncio import await_, new_event_loop

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def several(hub):
    debug.hub_prevent_multiple_readers(False)
    yield
    debug.hub_prevent_multiple_readers(True)


def settle():
    """Lets everything run that has nothing to wait for."""
    for _ in range(5):
        eventlet.sleep(0)


def nobody_listens(hub, number):
    return (
        hub.listeners == {"read": {}, "write": {}}
        and hub.secondaries == {"read": {}, "write": {}}
        and hub.loop._watchers(number) == (None, None)
    )


def fill(sender):
    """Sends until the other side has room for nothing more."""
    while True:
        try:
            sender.send(bytes(65536))
        except BlockingIOError:
            return


def drain(receiver):
    """Receives what is there."""
    while True:
        try:
            assert receiver.recv(65536)
        except BlockingIOError:
            return


@pytest.mark.parametrize("direction", ["read", "write"])
def test_a_second_one_is_refused_unless_that_is_allowed(pair, direction):
    left, right = pair
    fill(left)
    first = eventlet.spawn(hubs.trampoline, left, **{direction: True})
    settle()
    with pytest.raises(RuntimeError, match=f"Second simultaneous {direction} on fileno"):
        hubs.trampoline(left, **{direction: True})
    assert not first.dead
    drain(right)
    right.send(b"x")
    first.wait()


def test_the_hub_of_eventlet_that_cannot_have_several_still_refuses(several):
    hubs.use_hub("asyncio")
    try:
        assert type(hubs.get_hub()) is eventlet.hubs.asyncio.Hub
        with pytest.raises(RuntimeError, match="not yet supported by asyncio hub"):
            debug.hub_prevent_multiple_readers(False)
    finally:
        hubs.get_hub().loop.close()


@pytest.mark.parametrize("direction", ["read", "write"])
def test_all_of_them_are_woken(hub, several, pair, direction):
    left, right = pair
    fill(left)
    greens = [eventlet.spawn(hubs.trampoline, left, **{direction: True}) for _ in range(3)]
    settle()
    assert len(hub.listeners[direction]) == 1
    assert len(hub.secondaries[direction][left.fileno()]) == 2
    assert not any(green.dead for green in greens)
    drain(right)
    right.send(b"x")
    for green in greens:
        green.wait()
    assert nobody_listens(hub, left.fileno())


def test_readers_and_writers_wait_side_by_side(hub, several, pair):
    left, right = pair
    fill(left)
    readers = [eventlet.spawn(hubs.trampoline, left, read=True) for _ in range(3)]
    writers = [eventlet.spawn(hubs.trampoline, left, write=True) for _ in range(3)]
    settle()
    right.send(b"x")
    for reader in readers:
        reader.wait()
    settle()
    assert not any(writer.dead for writer in writers)
    drain(right)
    for writer in writers:
        writer.wait()
    assert nobody_listens(hub, left.fileno())


@pytest.mark.parametrize("leaver", range(3))
@pytest.mark.parametrize("by", ["kill", "timeout", "throw"])
def test_one_may_leave_and_the_others_stay(hub, several, pair, leaver, by):
    left, right = pair
    limits = [0.01 if by == "timeout" and number == leaver else None for number in range(3)]
    greens = [eventlet.spawn(hubs.trampoline, left, read=True, timeout=limit) for limit in limits]
    settle()
    if by == "kill":
        greens[leaver].kill()
    elif by == "throw":
        hub.schedule_call_global(0, greens[leaver].throw, eventlet.Timeout(None))
    with pytest.raises(eventlet.greenlet.GreenletExit if by == "kill" else eventlet.Timeout):
        outcome = greens[leaver].wait()
        if isinstance(outcome, BaseException):
            raise outcome
    assert len(hub.secondaries["read"][left.fileno()]) == 1
    right.send(b"x")
    del greens[leaver]
    for green in greens:
        green.wait()
    assert nobody_listens(hub, left.fileno())


def test_the_first_may_leave_while_the_second_is_being_ended(hub, several):
    left, right = os.pipe()
    os.set_blocking(left, False)

    def read():
        while True:
            try:
                return os.read(left, 1)
            except BlockingIOError:
                hubs.trampoline(left, read=True)

    first, second, third = (eventlet.spawn(read) for _ in range(3))
    settle()
    os.write(right, b"x")
    # In the turn in which the descriptor is found to be ready.
    hub.schedule_call_global(0, second.throw, ZeroDivisionError)
    assert first.wait() == b"x"
    with pytest.raises(ZeroDivisionError):
        second.wait()
    os.write(right, b"y")
    assert third.wait() == b"y"
    assert nobody_listens(hub, left)
    os.close(left)
    os.close(right)


def test_each_of_several_readers_of_a_connection_gets_its_share(several):
    server = eventlet.listen(("127.0.0.1", 0))
    client = green_socket.create_connection(server.getsockname())
    served, _ = server.accept()
    shares = [0, 0, 0]

    def read(number):
        while data := served.recv(4096):
            shares[number] += len(data)
            eventlet.sleep(0)

    readers = [eventlet.spawn(read, number) for number in range(3)]
    settle()
    client.sendall(bytes(1 << 20))
    client.close()
    for reader in readers:
        reader.wait()
    assert sum(shares) == 1 << 20
    assert min(shares) > 0
    served.close()
    server.close()


def test_what_several_writers_send_arrives(several):
    server = eventlet.listen(("127.0.0.1", 0))
    client = green_socket.create_connection(server.getsockname())
    served, _ = server.accept()
    writers = [eventlet.spawn(client.sendall, bytes([number]) * (1 << 18)) for number in range(4)]
    received = b""
    while len(received) < 4 << 18:
        received += served.recv(65536)
    for writer in writers:
        writer.wait()
    assert [received.count(bytes([number])) for number in range(4)] == [1 << 18] * 4
    for each in (client, served, server):
        each.close()


def test_all_are_told_that_their_descriptor_was_opened_anew(hub, several, pair):
    number = pair[0].fileno()
    greens = [eventlet.spawn(hubs.trampoline, number, read=True) for _ in range(3)]
    settle()
    hubs.notify_opened(number)
    for green in greens:
        with pytest.raises(hubs.IOClosed):
            green.wait()
    assert nobody_listens(hub, number)


def test_all_are_called_when_their_descriptor_is_removed(hub, several, pair):
    number = pair[0].fileno()
    called = []
    for name in "abc":
        hub.add(hub.READ, number, lambda _, name=name: called.append(name), None, None)
    hub.remove_descriptor(number)
    assert called == ["a", "b", "c"]
    assert nobody_listens(hub, number)


def test_they_are_refused_again_when_that_is_taken_back(hub, several, pair):
    left, right = pair
    greens = [eventlet.spawn(hubs.trampoline, left, read=True) for _ in range(2)]
    settle()
    debug.hub_prevent_multiple_readers()
    with pytest.raises(RuntimeError, match="Second simultaneous read"):
        hubs.trampoline(left, read=True)
    right.send(b"x")
    for green in greens:
        green.wait()
    assert nobody_listens(hub, left.fileno())


@pytest.fixture(params=["the hub's loop", "a loop in a green thread"])
def in_a_task(request, hub):
    """Starts a coroutine function with its loop, and gives its green thread."""

    def on_the_hubs(coroutine_function):
        return eventlet.spawn(lambda: await_(coroutine_function(hub.loop)))

    def on_its_own(coroutine_function):
        loop = new_event_loop()

        def run():
            try:
                return loop.run_until_complete(coroutine_function(loop))
            finally:
                loop.close()

        return eventlet.spawn(run)

    return on_its_own if "green" in request.param else on_the_hubs


def test_a_green_reader_and_one_of_asyncio_are_both_woken(several, pair, in_a_task):
    left, right = pair

    async def read(loop):
        ready = loop.create_future()
        loop.add_reader(left, lambda: ready.done() or ready.set_result("woken"))
        try:
            return await ready
        finally:
            assert loop.remove_reader(left)

    task = in_a_task(read)
    greens = [eventlet.spawn(hubs.trampoline, left, read=True) for _ in range(2)]
    eventlet.sleep(0.01)
    assert not task.dead and not any(green.dead for green in greens)
    right.send(b"x")
    assert task.wait() == "woken"
    for green in greens:
        green.wait()


@pytest.mark.parametrize("first", ["green", "asyncio"])
def test_either_may_leave_and_the_other_stays(several, pair, in_a_task, first):
    left, right = pair

    async def read(loop):
        ready = loop.create_future()
        loop.add_reader(left, lambda: ready.done() or ready.set_result("woken"))
        try:
            await asyncio.wait([ready], timeout=0.02 if first == "asyncio" else None)
            return ready.done()
        finally:
            loop.remove_reader(left)

    task = in_a_task(read)
    green = eventlet.spawn(hubs.trampoline, left, read=True)
    eventlet.sleep(0.01)
    if first == "green":
        green.kill()
        right.send(b"x")
        assert task.wait() is True
    else:
        assert task.wait() is False
        assert not green.dead
        right.send(b"x")
        green.wait()


def test_a_green_writer_and_an_asyncio_reader_of_one_descriptor(pair, in_a_task):
    left, right = pair
    fill(left)

    async def read(loop):
        return await loop.sock_recv(left, 100)

    task = in_a_task(read)
    writer = eventlet.spawn(hubs.trampoline, left, write=True)
    eventlet.sleep(0.01)
    right.send(b"x")
    assert task.wait() == b"x"
    assert not writer.dead
    drain(right)
    writer.wait()


def test_the_switch_is_one_for_green_threads_only(pair, in_a_task):
    left, right = pair
    called = []

    async def read(loop):
        loop.add_reader(left, called.append, "first")
        # asyncio has one reader a descriptor, and the second takes its place.
        loop.add_reader(left, called.append, "second")
        while not called:
            await asyncio.sleep(0.001)
        loop.remove_reader(left)

    task = in_a_task(read)
    green = eventlet.spawn(hubs.trampoline, left, read=True)
    eventlet.sleep(0.01)
    right.send(b"x")
    green.wait()
    task.wait()
    assert set(called) == {"second"}
