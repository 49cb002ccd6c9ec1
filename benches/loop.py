"""The event loop against asyncio's own, uvloop, rloop, and the same work in C on epoll.

    cargo xtask bench loop [--quick]

The program in C needs a compiler.
"""

import harness
import traffic
from harness import Row

# Peers that have no aim are measured all the same.
PEERS = ("asyncio", "uvloop", "rloop", "c")
SIZES = {"100 B": 100, "1 kB": 1_000, "16 kB": 16_000, "100 kB": 100_000}
ECHOES = {100: 20_000, 1_000: 20_000, 16_000: 10_000, 100_000: 3_000}


def echoes(name, about, work, aims, **arguments):
    for text, length in SIZES.items():
        yield Row(
            f"{name}-{text.replace(' ', '').lower()}",
            f"{about} of {text}, 50 connections, both ends in one process",
            work,
            ECHOES[length],
            aims,
            {"length": length, "connections": 50, **arguments},
        )


def rows():
    aims = {"uvloop": 1.10, "asyncio": 3, "c": 0.85}
    yield from echoes("protocol", "echo by protocols", traffic.protocol_echo, aims)
    yield from echoes(
        "buffered", "echo by buffered protocols", traffic.protocol_echo, {}, buffered=True
    )
    yield from echoes("streams", "echo by streams", traffic.streams_echo, {"uvloop": 1.15})


SUITE = harness.Suite(
    "loop",
    __file__,
    rows=list(rows()),
    peers=PEERS,
    load=traffic.load,
    environments={"asyncio": "eventlet", "c": "ours"},
)

if __name__ == "__main__":
    harness.main(SUITE)
