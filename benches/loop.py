"""The event loop against asyncio's own, uvloop, rloop, and the same work in C on epoll.

    cargo xtask bench loop [--quick]

The program in C needs a compiler.
"""

import connections
import dispatch
import harness
import sockets
import traffic
import web
from harness import Row
from judge import SUBJECT

# Peers that have no aim are measured all the same.
PEERS = ("asyncio", "uvloop", "rloop", "c")
FRESH = "asyncio, fresh"
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
    # Where asyncio asks for much memory at each receive, it is measured in both states of malloc.
    aims = {"uvloop": 1.10, "asyncio": 3, FRESH: 3, "c": 0.85}
    yield from echoes("protocol", "echo by protocols", traffic.protocol_echo, aims)
    yield from echoes(
        "buffered", "echo by buffered protocols", traffic.protocol_echo, {}, buffered=True
    )
    aims = {"uvloop": 1.15, "asyncio": 2.5, FRESH: 2.5}
    yield from echoes("streams", "echo by streams", traffic.streams_echo, aims)
    yield Row(
        "sock-1kb",
        "echo by sock_recv and sock_sendall of 1 kB, 50 connections, both ends in one process",
        sockets.sock_echo,
        60_000,
        {"uvloop": 1.5, "asyncio": 2},
        {"length": 1_000, "connections": 50},
        peers=("rloop",),
    )
    yield Row(
        "datagram-1kb",
        "echo by datagram protocols of 1 kB, 50 connected ends and one that is not, in one process",
        sockets.datagram_echo,
        60_000,
        {"uvloop": 1.1, "asyncio": 2, FRESH: 2},
        {"length": 1_000, "connections": 50},
        peers=("rloop",),
    )
    yield Row(
        "accept",
        "connections that plain sockets make and a server accepts, closed by their makers",
        sockets.connect_and_close,
        20_000,
        {"uvloop": 1.1, "asyncio": 1.5},
        peers=("rloop",),
    )
    aims = {"uvloop": 1.5, "asyncio": 4}
    for measured in ("schedule", "run"):
        yield Row(
            f"call-soon-{measured}",
            f"call_soon(), what it takes to {measured} a callback",
            dispatch.call_soon,
            500_000,
            aims,
            {"measured": measured},
            peers=("rloop",),
        )
    others = {"peers": ("rloop",)}
    yield Row(
        "call-soon-chain",
        "a callback that schedules itself",
        dispatch.chain,
        300_000,
        aims,
        **others,
    )
    yield Row(
        "call-later",
        "call_later() and cancel()",
        dispatch.call_later,
        300_000,
        {"uvloop": 2, "asyncio": 4},
        **others,
    )
    yield Row(
        "gather",
        "gather() of 10,000 sleep(0)",
        dispatch.gather,
        200_000,
        {"uvloop": 1.05, "asyncio": 1.3},
        **others,
    )
    yield Row(
        "start-close",
        "a loop is made, runs a coroutine and is closed",
        dispatch.start_and_close,
        2_000,
        {"uvloop": 1, "asyncio": 1},
        peers=("rloop",),
    )
    yield Row(
        "tls-1kb",
        "echo by protocols over TLS of 1 kB, 50 connections, both ends in one process",
        connections.tls_echo,
        20_000,
        {"uvloop": 1.5, "asyncio": 1.05},
        {"length": 1_000, "connections": 50},
        needs="openssl",
        peers=(),
    )
    yield Row(
        "bulk",
        "64 KiB in one direction, both ends in one process",
        connections.bulk,
        20_000,
        {"uvloop": 1, "asyncio": 1.2, FRESH: 1.2},
        peers=("rloop",),
    )
    yield Row(
        "idle",
        "memory of a connection that a server has accepted",
        connections.idle,
        2_000,
        {"uvloop": 1, "asyncio": 1},
        unit="kB",
        quick=2_000,
        countable=False,
        peers=("rloop",),
    )
    yield Row(
        "aiohttp",
        "a server of aiohttp's, hello, under wrk with 50 connections",
        web.aiohttp_hello,
        2,
        {"uvloop": 1.05, "asyncio": 1.2, FRESH: 1.2},
        variants={name: {"contender": name} for name in (SUBJECT, "uvloop", "asyncio", FRESH)},
        quick=1,
        needs="wrk",
        countable=False,
        peers=(),
    )


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
