"""How costs grow with the work: connections, timers, crossings in flight, lengths of messages.

    cargo xtask bench growth [--quick]

A row is a point of a curve; `CURVES` says what a curve is about.
"""

import dataclasses

import growing
import harness
from harness import Row

LOOPS = ("asyncio", "uvloop", "rloop")
HUBS = ("epolls", "gevent")
BRIDGES = ("eventlet", "greenletio")


@dataclasses.dataclass(frozen=True)
class Curve:
    title: str
    axis: str
    # The figure of memory that the samples have.
    memory: str | None = None
    # Below that, memory is that of the process itself.
    memory_from: int = 0


CURVES = {
    "loop-connections": Curve(
        "Protocol server, 1 kB echoes", "connections", "bytes a connection", 1_000
    ),
    "hub-connections": Curve(
        "Green server, 1 kB echoes", "connections", "bytes a connection", 1_000
    ),
    "loop-timers": Curve(
        "call_later() and cancel() beside pending timers", "timers", "bytes a timer", 1_000
    ),
    "hub-timers": Curve(
        "Timeout beside pending Timeouts", "timeouts pending", "bytes a timeout", 1_000
    ),
    "crossings": Curve(
        "Green code awaits a coroutine that yields once",
        "crossings in flight",
        "bytes a crossing",
        1_000,
    ),
    "sizes": Curve(
        "Protocol echo, 50 connections", "bytes a message", "bytes at peak"
    ),
    "timers-insert": Curve("The wheel alone: from none to all pending", "timers"),
    "timers-fire": Curve("The wheel alone: all fire, in a thousand turns", "timers"),
    "timers-timeout": Curve("The wheel alone: a timeout comes and goes", "timers pending"),
}


def points(curve, work, sizes, peers, **arguments):
    """A row for each place on the axis, with the number of operations that its runs make."""
    for at, size in sizes.items():
        yield Row(
            f"{curve}-{at}",
            f"{CURVES[curve].title}: {at:,} {CURVES[curve].axis}",
            work,
            size,
            arguments={"at": at, **arguments},
            peers=peers,
            point=(curve, at),
            countable=False,
            # Fewer would not keep all of them busy.
            quick=max(size // 4, min(size, 2 * at)),
        )


def rows():
    connections = {10: 40_000, 100: 40_000, 1_000: 40_000, 5_000: 40_000, 20_000: 40_000}
    yield from points("loop-connections", growing.served_by_protocols, connections, LOOPS)
    yield from points("hub-connections", growing.served_by_green_threads, connections, HUBS)
    timers = {1_000: 100_000, 10_000: 100_000, 100_000: 100_000, 1_000_000: 100_000}
    timers = dict.fromkeys(timers, 100_000)
    yield from points("loop-timers", growing.timers, timers, LOOPS)
    yield from points("hub-timers", growing.timeouts, timers, HUBS)
    crossings = {1: 10_000, 10: 10_000, 100: 10_000, 1_000: 10_000, 10_000: 20_000}
    yield from points("crossings", growing.crossings, crossings, BRIDGES)
    sizes = {100: 40_000, 1_000: 40_000, 10_000: 20_000, 100_000: 4_000, 1_000_000: 500}
    yield from points("sizes", growing.echoes, sizes, (*LOOPS, "c"))


SUITE = harness.Suite(
    "growth",
    __file__,
    rows=list(rows()),
    peers=(),
    # What a contender needs depends on the curve.
    load=str,
    environments={"asyncio": "eventlet", "epolls": "eventlet", "c": "ours"},
    rounds=(3, 1),
)

if __name__ == "__main__":
    harness.main(SUITE)
