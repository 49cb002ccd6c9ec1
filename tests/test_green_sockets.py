"""What a green socket receives is the same by eventlet's own loop and by the native one."""

import errno
import socket as stdlib_socket
import struct

import eventlet
import pytest
from eventlet import hubs
from eventlet.green import socket
from eventlet.greenio import GreenSocket

from eventlet_asyncio import _patches

PLACE = ("eventlet.greenio.base:GreenSocket", "_recv_loop")


@pytest.fixture(params=["native", "eventlets"], autouse=True)
def receiving(request, hub):
    # Not monkeypatch: it might put the native one back after the hub has taken it away.
    native = vars(GreenSocket)["_recv_loop"]
    if request.param == "eventlets":
        GreenSocket._recv_loop = _patches.original(*PLACE)
    yield
    GreenSocket._recv_loop = native


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    yield a, b
    a.close()
    b.close()


@pytest.fixture
def tcp():
    with stdlib_socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer = server.accept()[0]
    yield client, peer
    client.close()
    peer.close()


def later(call, *args):
    """Calls when the others block."""
    eventlet.spawn_after(0.001, call, *args)


def test_what_is_there_comes_at_once(pair):
    a, b = pair
    b.send(b"12")
    assert (a.recv(1), a.recv(10)) == (b"1", b"2")


def test_what_comes_later_is_waited_for(pair):
    a, b = pair
    for _ in range(3):
        later(b.send, b"1")
        assert a.recv(10) == b"1"
        b.send(b"2")
        assert a.recv(10) == b"2"


def test_every_way_of_receiving(pair):
    a, b = pair
    buffer = bytearray(3)
    for receive, got in [
        (lambda: a.recv(3), b"123"),
        (lambda: a.recvfrom(3), (b"123", None)),
        (lambda: a.recv_into(buffer), 3),
        (lambda: a.recv_into(buffer, 3), 3),
        (lambda: a.recvfrom_into(buffer, 3), (3, None)),
    ]:
        later(b.send, b"123")
        result = receive()
        assert result == got or result == (got[0], b"") or result == (got[0], "")
    assert buffer == b"123"


def test_the_end(pair):
    a, b = pair
    later(b.close)
    assert a.recv(10) == b""
    assert a.recv(10) == b""


def test_an_empty_datagram_is_no_end():
    a, b = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    a.bind(("127.0.0.1", 0))
    later(b.sendto, b"", a.getsockname())
    later(b.sendto, b"1", a.getsockname())
    assert a.recvfrom(10)[0] == b""
    assert a.recvfrom(10)[0] == b"1"


@pytest.mark.parametrize("waits", [True, False])
def test_a_reset_is_an_end(tcp, waits):
    client, peer = tcp

    def reset():
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    if waits:
        later(reset)
    else:
        reset()
    assert client.recv(10) == b""


@pytest.mark.parametrize("waits", [True, False])
def test_an_error_of_a_datagram_socket_is_raised_once(waits):
    with stdlib_socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a.connect(address)
    if waits:
        later(a.send, b"1")
    else:
        a.send(b"1")
        eventlet.sleep(0.01)
    with pytest.raises(ConnectionRefusedError) as caught:
        a.recv(10)
    assert caught.value.errno == errno.ECONNREFUSED
    assert str(caught.value) == "[Errno 111] Connection refused"
    a.settimeout(0.01)
    with pytest.raises(TimeoutError):
        a.recv(10)


def test_a_timeout(pair):
    a, _ = pair
    a.settimeout(0.001)
    with pytest.raises(TimeoutError, match="^timed out$"):
        a.recv(10)
    assert list(hubs.get_hub().get_readers()) == []


def test_a_socket_that_acts_non_blocking(pair):
    a, _ = pair
    a.setblocking(False)
    with pytest.raises(BlockingIOError):
        a.recv(10)


def test_no_bytes_are_waited_for_too(pair):
    a, b = pair
    a.settimeout(0.001)
    with pytest.raises(TimeoutError):
        a.recv(0)
    b.send(b"1")
    assert a.recv(0) == b""
    assert a.recv(1) == b"1"


def test_flags_mean_what_they_mean(pair):
    a, b = pair
    later(b.send, b"1")
    assert a.recv(10, socket.MSG_PEEK) == b"1"
    assert a.recv(10) == b"1"


def test_a_closed_socket(pair):
    a, b = pair
    a.close()
    with pytest.raises(OSError) as caught:
        a.recv(10)
    assert caught.value.errno == errno.EBADF


def test_a_descriptor_that_became_another_ends_the_wait(pair, hub):
    a, _ = pair
    later(hub.mark_as_reopened, a.fileno())
    with pytest.raises(EOFError):
        a.recv(10)
    with pytest.raises(EOFError):
        a.recv(10)


def test_a_reader_who_comes_too_late_waits_on(pair):
    a, b = pair
    eventlet.debug.hub_prevent_multiple_readers(False)
    try:
        readers = [eventlet.spawn(a.recv, 10) for _ in range(3)]
        eventlet.sleep(0)
        for n in range(3):
            b.send(b"%d" % n)
            eventlet.sleep(0.001)
        assert sorted(reader.wait() for reader in readers) == [b"0", b"1", b"2"]
    finally:
        eventlet.debug.hub_prevent_multiple_readers(True)


def test_a_timeout_of_eventlet_around_it(pair):
    a, _ = pair
    with pytest.raises(eventlet.Timeout), eventlet.Timeout(0.001):
        a.recv(10)
    assert list(hubs.get_hub().get_readers()) == []


def test_a_subclass_has_its_own_say(pair):
    a, b = pair

    class Mine(GreenSocket):
        def _read_trampoline(self):
            log.append("waits")
            super()._read_trampoline()

    log = []
    mine = Mine(a.fd)
    later(b.send, b"1")
    assert mine.recv(10) == b"1"
    assert log == ["waits"]


@pytest.mark.parametrize(
    "receive",
    [
        lambda a: a.recv(-1),
        lambda a: a.recv("x"),
        lambda a: a.recv(1.5),
        lambda a: a.recv(1 << 62),
        lambda a: a.recv(1, 0.0),
        lambda a: a.recv_into(b"read-only"),
        lambda a: a.recv_into(bytearray(4), 10),
        lambda a: a.recvfrom_into(bytearray(4), 10),
        lambda a: a.recv_into(memoryview(bytearray(4))[::2]),
    ],
)
def test_wrong_arguments_are_told_before_any_wait(pair, receive):
    a, _ = pair
    with pytest.raises((TypeError, ValueError, MemoryError, BufferError, OverflowError)):
        receive(a)
