"""Trees of green and async calls, and the strikes that go with them.

A case is plain data, whose `repr()` makes it again. `generate()` takes whatever chooses: a seeded generator of random
numbers, or Hypothesis, which then shrinks what has been chosen.
"""

import random
import sys
from dataclasses import dataclass, field

#: How green code calls a child, by the child's world.
GREEN_CALLS = {
    "green": ("call", "spawn", "pool"),
    "async": ("await_", "async_to_sync", "future_to_greenlet", "run"),
}

#: How async code does.
ASYNC_CALLS = {
    "green": ("call", "await green", "sync_to_async", "greenlet_to_future", "await greens"),
    "async": ("await", "task", "gather", "tasks", "shield")
    + (("group",) if sys.version_info >= (3, 11) else ())
    # Before, it drops what its awaitable makes of a cancel.
    + (("wait_for",) if sys.version_info >= (3, 12) else ()),
}

#: Calls of several children at once.
SEVERAL = ("pool", "await greens", "gather", "tasks", "group")

#: In what way a node gives its turn away: s by sleep(0) of its own world, g by eventlet's in async code, c by waiting
#: for a call_soon() of the loop, t by waiting for a timer of the hub.
GREEN_PAUSES = "sct"
ASYNC_PAUSES = "scgt"

#: What a call may be limited by; nobody reaches the limit but who strikes it.
GREEN_LIMITS = ("timeout", "timeout with error", "silent timeout")
ASYNC_LIMITS = GREEN_LIMITS + (("asyncio",) if sys.version_info >= (3, 11) else ())

ENDINGS = ("return", "raise", "raise base")
REACTIONS = ("pass", "swallow", "replace")
#: What strikes: an exception at the node itself, the same as GreenletExit or a cancel, the limit of one of its calls,
#: and something at what the node waits for.
STRIKES = ("strike", "exit", "limit", "below")
#: Who delivers a strike: a timer of the hub, a callback of the loop, or the node that comes to the point.
WAYS = ("timer", "soon", "inline")
#: How the hub's loop is set up: each has the bridge take other ways.
MODES = {
    "": "",
    "debug": "loop.set_debug(True); loop.slow_callback_duration = 60",
    "python tasks": "loop.set_task_factory(lambda loop, coro, **options: asyncio.tasks._PyTask(coro, loop=loop, **options))",
    # Its warnings are ignored, so that nothing is changed but the way.
    "checked": 'green_in_async("warn"); warnings.simplefilter("ignore", RuntimeWarning)',
}
if sys.version_info >= (3, 12):
    MODES["eager tasks"] = "loop.set_task_factory(asyncio.eager_task_factory)"

#: How a program is run, by the world of its root.
HOSTS = {
    "green": {"spawn": "eventlet.spawn({0}).wait()"},
    "async": {
        "await_": "await_({0}())",
        "run": "run({0}())",
        "spawn run": "eventlet.spawn(asyncio.run, {0}()).wait()",
    },
}


@dataclass(frozen=True)
class Ground:
    """On what a program stands: a hub, and perhaps a loop that is not ours, whose guest the hub is."""

    hub: str = "eventlet_asyncio.hub"
    hosts: dict = field(default_factory=lambda: HOSTS)
    modes: tuple = tuple(MODES)
    #: Calls that are not for it, by the world of the caller.
    without: dict = field(default_factory=lambda: {"green": (), "async": ()})
    #: Whether tasks may block greenly.
    blocks: bool = True
    #: Whether each program needs a process of its own.
    alone: bool = False


def _foreign(loop):
    hosts = {"async": {"foreign": f"run_foreign({loop}, {{0}}())"}}
    return Ground(hosts=hosts, modes=("",), without={"green": (), "async": ("call",)}, blocks=False)


GROUNDS = {
    "": Ground(),
    "stdlib": _foreign("asyncio.SelectorEventLoop"),
    "uvloop": _foreign("__import__('uvloop').Loop"),
    # asyncio.run() below a task steps aside for another loop under our hub alone.
    "epolls": Ground(hub="epolls", without={"green": ("run",), "async": ()}),
    "poll": Ground(hub="poll", without={"green": ("run",), "async": ()}),
    # A loop of asyncio's runs in its greenlet for ever: no other can run in that thread.
    "asyncio-hub": Ground(
        hub="asyncio",
        hosts={"green": HOSTS["green"], "async": {"await_": HOSTS["async"]["await_"]}},
        modes=("",),
        without={"green": ("run",), "async": ("call",)},
        blocks=False,
        alone=True,
    ),
}


@dataclass(frozen=True)
class Pause:
    """Gives its turn away, once for each letter."""

    kinds: str


@dataclass(frozen=True)
class Call:
    """Calls children; what they raise is caught, or goes on."""

    kind: str
    children: tuple
    limit: str = ""
    caught: bool = False


@dataclass(frozen=True)
class Node:
    """A function: what it does, how it ends, how it takes exceptions, and how it cleans up."""

    number: int
    world: str
    body: tuple
    ending: str = "return"
    reaction: str = "pass"
    cleanup: str = ""


@dataclass(frozen=True)
class Strike:
    """What is done to a node when that many turns have been given away."""

    point: int
    kind: str
    node: int
    way: str


@dataclass(frozen=True)
class Case:
    """A program and what strikes it."""

    host: str
    root: Node
    strikes: tuple = ()
    mode: str = ""
    ground: str = ""


def nodes_of(root):
    """All nodes, the root first."""
    yield root
    for part in root.body:
        if isinstance(part, Call):
            for child in part.children:
                yield from nodes_of(child)


class Chooser:
    """Chooses by a seed."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def pick(self, choices):
        return self._random.choice(choices)

    def number(self, low, high):
        return self._random.randint(low, high)

    def happens(self, percent):
        return self._random.randrange(100) < percent


def generate(chooser, *, nodes=9, depth=5, strikes=3, ground=""):
    """A case of at most so many nodes, so many below one another, and so many strikes."""
    kind = GROUNDS[ground]
    maker = _Maker(chooser, nodes, kind)
    world = chooser.pick(tuple(kind.hosts))
    root = maker.node(world, depth)
    host = chooser.pick(tuple(kind.hosts[world]))
    struck = () if not chooser.happens(75) else maker.strikes(chooser.number(1, strikes))
    mode = chooser.pick(kind.modes) if chooser.happens(30) else ""
    return Case(host, root, struck, mode, ground)


class _Maker:
    def __init__(self, chooser, nodes, ground):
        self._ground = ground
        self._chooser = chooser
        self._nodes = nodes
        self._made = 0

    def node(self, world, depth):
        chooser = self._chooser
        number, self._made = self._made, self._made + 1
        body = [self._part(world, depth) for _ in range(chooser.number(1, 3))]
        ending = chooser.pick(ENDINGS) if chooser.happens(30) else "return"
        reaction = chooser.pick(REACTIONS) if chooser.happens(40) else "pass"
        cleanup = self._pauses(world) if chooser.happens(50) else ""
        return Node(number, world, tuple(body), ending, reaction, cleanup)

    def _part(self, world, depth):
        if depth == 0 or self._made >= self._nodes or self._chooser.happens(30):
            return Pause(self._pauses(world))
        return self._call(world, depth)

    def _pauses(self, world):
        letters = GREEN_PAUSES if world == "green" else ASYNC_PAUSES
        if not self._ground.blocks:
            letters = letters.replace("g", "")
        return "".join(self._chooser.pick(letters) for _ in range(self._chooser.number(1, 3)))

    def _call(self, world, depth):
        chooser = self._chooser
        callee = chooser.pick(("green", "async"))
        calls = GREEN_CALLS if world == "green" else ASYNC_CALLS
        kind = chooser.pick([kind for kind in calls[callee] if kind not in self._ground.without[world]])
        count = chooser.number(1, 3) if kind in SEVERAL else 1
        children = tuple(self.node(callee, depth - 1) for _ in range(count))
        limits = GREEN_LIMITS if world == "green" else ASYNC_LIMITS
        if world == "async" and not self._ground.blocks:
            limits = tuple(limit for limit in limits if limit not in GREEN_LIMITS) or ("",)
        limit = chooser.pick(limits) if chooser.happens(35) else ""
        return Call(kind, children, limit, caught=chooser.happens(30))

    def strikes(self, count):
        chooser = self._chooser
        return tuple(
            Strike(
                chooser.number(1, 5 * self._made),
                chooser.pick(STRIKES),
                chooser.number(0, self._made - 1),
                chooser.pick(WAYS),
            )
            for _ in range(count)
        )
