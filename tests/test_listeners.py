"""Green code waits for descriptors: listeners, closed and reused numbers, and sockets."""

import asyncio
import errno
import os

import eventlet
import pytest
from eventlet import hubs
from eventlet.green import socket as green_socket


pytestmark = pytest.mark.usefixtures("hub")


def settle():
    """Lets everything run that has nothing to wait for."""
    for _ in range(5):
        eventlet.sleep(0)


def test_a_reader_is_woken_when_there_is_something_to_read(pair):
    left, right = pair
    green = eventlet.spawn(hubs.trampoline, left, read=True)
    settle()
    assert not green.dead
    right.send(b"x")
    green.wait()
    assert left.recv(1) == b"x"


def test_reader_and_writer_of_one_descriptor(pair):
    left, right = pair
    while True:
        try:
            left.send(bytes(65536))
        except BlockingIOError:
            break
    woken = []

    def waits(**direction):
        hubs.trampoline(left, **direction)
        woken.append(*direction)

    reader, writer = eventlet.spawn(waits, read=True), eventlet.spawn(waits, write=True)
    settle()
    assert woken == []
    right.send(b"x")
    reader.wait()
    assert woken == ["read"]
    try:
        while right.recv(65536):
            pass
    except BlockingIOError:
        pass
    writer.wait()
    assert woken == ["read", "write"]


def test_a_listener_that_nobody_removes_is_called_as_long_as_its_descriptor_is_ready(hub, pair):
    left, right = pair
    calls = []

    def ready(fileno):
        calls.append(fileno)
        if len(calls) == 3:
            left.recv(1)

    listener = hub.add(hub.READ, left.fileno(), ready, None, None)
    assert listener.evtype == "read" and listener.fileno == left.fileno()
    right.send(b"x")
    while len(calls) < 3:
        eventlet.sleep(0)
    assert calls == [left.fileno()] * 3
    hub.remove(listener)
    right.send(b"x")
    eventlet.sleep(0.01)
    assert len(calls) == 3


def test_a_wait_on_a_descriptor_times_out(pair):
    with pytest.raises(eventlet.Timeout):
        hubs.trampoline(pair[0], read=True, timeout=0.01)


def test_a_timed_out_wait_leaves_no_listener(hub, pair):
    with pytest.raises(eventlet.Timeout):
        hubs.trampoline(pair[0], read=True, timeout=0.01)
    assert list(hub.get_readers()) == []
    assert hub.listeners == {"read": {}, "write": {}}


def test_a_descriptor_that_was_opened_anew_ends_the_wait_for_the_old_one(pair):
    closed = []
    number = pair[0].fileno()
    green = eventlet.spawn(
        hubs.trampoline, number, read=True, mark_as_closed=lambda: closed.append(True)
    )
    settle()
    hubs.notify_opened(number)
    with pytest.raises(hubs.IOClosed) as raised:
        green.wait()
    assert raised.value.errno == errno.ENOTCONN
    assert closed == [True]


def test_a_descriptor_closed_and_reused_serves_its_new_owner():
    server = eventlet.listen(("127.0.0.1", 0))
    for round_number in range(5):
        client = green_socket.create_connection(server.getsockname())
        served, _ = server.accept()
        number = client.fileno()
        reader = eventlet.spawn(client.recv, 1)
        settle()
        # Behind the hub's back.
        os.close(number)
        again = green_socket.create_connection(server.getsockname())
        other, _ = server.accept()
        other.send(b"y")
        assert again.recv(1) == b"y", round_number
        reader.kill()
        for each in (served, again, other):
            each.close()
        client.fd.detach()
    server.close()


def test_bad_descriptors_are_refused_and_nobody_else_notices(hub):
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        hub.add(hub.READ, -1, print, None, None)
    # Made before, or the engine would be given the free number.
    assert hub.loop.is_running()
    free = os.dup(0)
    os.close(free)
    with pytest.raises(OSError) as raised:
        hubs.trampoline(free, read=True)
    assert raised.value.errno == errno.EBADF
    with pytest.raises(TypeError, match="hub.READ or hub.WRITE"):
        hub.add("neither", 0, print, None, None)
    assert eventlet.spawn(lambda: 1).wait() == 1


def test_remove_descriptor_calls_every_listener_once_and_forgets_them(hub, pair):
    called = []
    left = pair[0].fileno()
    hub.add(hub.READ, left, lambda fd: called.append("read"), None, None)
    hub.add(hub.WRITE, left, lambda fd: called.append("write"), None, None)
    hub.remove_descriptor(left)
    assert sorted(called) == ["read", "write"]
    assert hub.listeners == {"read": {}, "write": {}}


def test_green_sockets_talk():
    def echo(server):
        peer, _ = server.accept()
        while data := peer.recv(65536):
            peer.sendall(data)
        peer.close()

    server = eventlet.listen(("127.0.0.1", 0))
    green = eventlet.spawn(echo, server)
    client = green_socket.create_connection(server.getsockname())
    message = os.urandom(1 << 20)
    sender = eventlet.spawn(client.sendall, message)
    received = b""
    while len(received) < len(message):
        received += client.recv(65536)
    assert received == message
    sender.wait()
    client.close()
    green.wait()
    server.close()


def test_a_loop_may_get_the_number_on_which_somebody_still_listens(hub):
    async def nested():
        await asyncio.sleep(0.001)
        return "ran"

    # Made before, or it would get the number.
    assert hub.loop.is_running()
    left, right = os.pipe()
    listener = eventlet.spawn(hubs.trampoline, left, read=True)
    settle()
    # Behind the hub's back, and the next descriptor gets the lowest number that is free.
    os.close(left)
    assert eventlet.spawn(asyncio.run, nested()).wait() == "ran"
    os.close(right)
    with pytest.raises(hubs.IOClosed):
        listener.wait()
    assert hub.listeners == {"read": {}, "write": {}}
