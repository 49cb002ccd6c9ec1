"""The hub against eventlet's epolls hub and against gevent.

    cargo xtask bench hub [--quick]
"""

import harness
import work
from green import load
from harness import Row
from judge import SUBJECT

# Peers that have no aim are measured all the same.
PEERS = ("epolls", "gevent")
YIELD = {"epolls": 5, "gevent": 2.5}


def switching():
    yield Row("yield", "sleep(0), 1 green thread", work.yields, 100_000, YIELD, {"threads": 1})
    yield Row("yield-50", "the same, 50 of them", work.yields, 100_000, YIELD, {"threads": 50})
    yield Row("spawn", "spawn and wait", work.spawns, 20_000, {"epolls": 2.5})
    yield Row("timeout", "enter and leave a Timeout", work.timeouts, 100_000, {"epolls": 2.5})
    yield Row(
        "wake",
        "wake 100,000 sleepers, each until it goes back to the hub",
        work.wakes,
        100_000,
        {"epolls": 3},
        {"ends": False},
        countable=False,
    )
    yield Row(
        "wake-end",
        "the same, each until it has ended",
        work.wakes,
        100_000,
        arguments={"ends": True},
        countable=False,
        peers=("epolls",),
    )


def handing_over():
    yield Row("event", "send an Event, wake who waits", work.events, 50_000)
    yield Row("queue", "put into a Queue, wake who gets", work.queues, 50_000)
    yield Row("semaphore", "release a Semaphore, wake who acquires", work.semaphores, 50_000)


def descriptors():
    yield Row("trampoline", "wait for a descriptor, read, write", work.waits, 30_000)
    yield Row(
        "echo-1",
        "green echo of 1 kB, 1 connection",
        work.echo,
        10_000,
        arguments={"connections": 1},
    )
    yield Row(
        "echo",
        "green echo of 1 kB, 50 connections, both ends in one process",
        work.echo,
        20_000,
        {"epolls": 1.5, "gevent": 1.2},
        {"connections": 50},
    )
    yield Row("accept", "connect, accept, close", work.accepts, 4_000)
    yield Row(
        "idle-connections",
        "the echo beside 20,000 idle connections, or as many as descriptors allow",
        work.echo_beside_idle,
        20_000,
        {"ours, 100 idle": 1 / 1.2},
        {"idle": 20_000},
        variants={"ours, 100 idle": {"idle": 100}},
        quick=10_000,
        countable=False,
    )
    yield Row(
        "wsgi",
        "eventlet.wsgi and gevent.pywsgi, hello, under wrk with 50 connections",
        work.wsgi,
        2,
        {"epolls": 1.15},
        variants={name: {"contender": name} for name in (SUBJECT, *PEERS)},
        quick=1,
        needs="wrk",
        countable=False,
    )


def waiting():
    yield Row(
        "idle",
        "processor time of 10,000 sleeping green threads, a second",
        work.idle,
        10_000,
        limit=500,
        quick=10_000,
        countable=False,
        rounds=3,
    )
    yield Row(
        "memory-asleep",
        "memory of a sleeping green thread",
        work.memory_asleep,
        20_000,
        {"epolls": 1},
        unit="bytes",
        quick=20_000,
        countable=False,
        rounds=3,
    )
    yield Row(
        "memory-reading",
        "memory of a green thread that waits to receive",
        work.memory_reading,
        8_000,
        {"epolls": 1},
        unit="bytes",
        quick=8_000,
        countable=False,
        rounds=3,
    )


SUITE = harness.Suite(
    "hub",
    __file__,
    rows=[*switching(), *handing_over(), *descriptors(), *waiting()],
    peers=PEERS,
    load=load,
    environments={"epolls": "eventlet"},
)

if __name__ == "__main__":
    harness.main(SUITE)
