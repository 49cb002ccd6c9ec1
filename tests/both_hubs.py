"""What the tests share that run a scenario on eventlet's own hub and on ours, to see the same on both."""

import socket
import threading

import eventlet
from eventlet import hubs


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


def check_same(function):
    """A scenario takes a hub and returns what it has seen."""
    expected = on("epolls", function)
    assert on("eventlet_asyncio.hub", function) == expected
