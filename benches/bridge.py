"""The bridge against eventlet's asyncio hub, greenletio and greenback.

    cargo xtask bench bridge [--quick]
"""

import crossings
import harness
from harness import Row
from sides import load

PEERS = ("greenletio", "greenback", "asyncio")
GREEN_THREAD = "ours, in a green thread"


def from_green():
    # greenletio and greenback have green code below tasks only, and eventlet's hub in green threads.
    returns, yields = "that returns at once", "that yields once"
    below = {"where": "below_task"}
    thread = {"where": "in_green"}
    yield Row(
        "await",
        f"plain code below a task awaits a coroutine {returns}",
        crossings.awaits,
        40_000,
        {"greenletio": 1},
        {**below, "yields": 0},
        peers=("greenback",),
    )
    yield Row(
        "await-yield",
        f"plain code below a task awaits a coroutine {yields}",
        crossings.awaits,
        20_000,
        {"greenletio": 1.5},
        {**below, "yields": 1},
        peers=("greenback", "asgiref"),
    )
    yield Row(
        "await-thread",
        f"a green thread awaits a coroutine {returns}",
        crossings.awaits,
        20_000,
        {"greenletio": 1, "asyncio": 30},
        {**thread, "yields": 0},
    )
    yield Row(
        "await-thread-yield",
        f"a green thread awaits a coroutine {yields}",
        crossings.awaits,
        20_000,
        {"greenletio": 1.5, "asyncio": 12},
        {**thread, "yields": 1},
    )
    yield Row(
        "future",
        "future_to_greenlet() of a coroutine that returns at once, and wait()",
        crossings.futures,
        20_000,
        {"asyncio": 6},
        peers=(),
    )


def from_async():
    yield Row(
        "await-green",
        "a coroutine awaits a green thread that it spawns",
        crossings.awaits_green,
        10_000,
        {"greenletio": 1.5, "asyncio": 4},
        peers=("asgiref", "asyncio-gevent"),
    )
    yield Row(
        "block",
        "two tasks, or two green threads, hand a byte to and fro through green sockets",
        crossings.blocks,
        20_000,
        {GREEN_THREAD: 1 / 1.3},
        peers=(),
    )
    yield Row(
        "block-yield",
        "sleep(0) of eventlet in 50 tasks, or in 50 green threads",
        crossings.yields,
        100_000,
        {GREEN_THREAD: 1 / 1.3},
        peers=(),
    )


def whole():
    yield Row(
        "run",
        "asyncio.run() in a green thread, against the same where there is none",
        crossings.runs,
        1_000,
        {"ours, bare": 1 / 1.2},
        peers=(),
    )
    yield Row(
        "memory",
        "memory of a crossing in flight, against that of a green thread",
        crossings.memory,
        10_000,
        {GREEN_THREAD: 1 / 1.2, "asyncio": 1 / 0.8},
        variants={GREEN_THREAD: {"crossing": False}},
        unit="bytes",
        quick=10_000,
        countable=False,
        rounds=3,
        peers=(),
    )
    yield Row(
        "echo",
        "asyncio echo of 1 kB, 50 connections, beside a hub without work",
        crossings.echo,
        30_000,
        {"ours, no hub": 1 / 1.03},
        peers=(),
    )


SUITE = harness.Suite(
    "bridge",
    __file__,
    rows=[*from_green(), *from_async(), *whole()],
    peers=PEERS,
    load=load,
    # What is meant by it is eventlet's hub of that name.
    environments={"asyncio": "eventlet"},
)

if __name__ == "__main__":
    harness.main(SUITE)
