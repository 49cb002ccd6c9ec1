"""monkey_patch() may come anywhere among the imports and the making of the hub: both worlds work."""

import itertools
import os
import pathlib
import subprocess
import sys

import pytest

STEPS = {
    "asyncio": "import asyncio",
    "aiohttp": "import aiohttp",
    "package": "import eventlet_asyncio",
    "hub": "import eventlet.hubs; eventlet.hubs.get_hub()",
    "patch": "import eventlet; eventlet.monkey_patch()",
}

# What a step does besides, so that it changes nothing afterwards.
BESIDES = {
    "asyncio": (),
    "aiohttp": ("asyncio",),
    "package": ("asyncio",),
    "hub": ("package", "asyncio"),
    "patch": ("hub", "package", "asyncio"),
}

DONE = {
    "asyncio": "import sys; assert 'asyncio' in sys.modules",
    "aiohttp": "import sys; assert 'aiohttp' in sys.modules",
    "package": "import sys; assert 'eventlet_asyncio' in sys.modules",
    "hub": "import eventlet.hubs; assert 'eventlet_asyncio' in str(type(eventlet.hubs._threadlocal.hub))",
    "patch": "import eventlet.patcher; assert eventlet.patcher.is_monkey_patched('socket')",
}


def effective(steps):
    """The steps that change something."""
    done = set()
    for step in steps:
        if step not in done:
            yield step
            done.update((step, *BESIDES[step]))


ORDERS = sorted({tuple(effective(steps)) for steps in itertools.permutations(STEPS)})


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_order(order):
    program = []
    for step in order:
        program.append(STEPS[step])
        program.extend(DONE[each] for each in (step, *BESIDES[step]))
    program += ["import mixture", "mixture.check()", "print('pass')"]
    environment = {**os.environ, "EVENTLET_HUB": "eventlet_asyncio.hub", "EVENTLET_TESTS": "1"}
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", "\n".join(program)],
        cwd=pathlib.Path(__file__).parent / "isolated",
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
    )
    shown = f"{ended.stdout}\n{ended.stderr}"
    assert (ended.stdout, ended.stderr, ended.returncode) == ("pass\n", "", 0), shown


def test_the_orders_are_all():
    assert ("patch", "aiohttp") in ORDERS
    assert ("asyncio", "package", "hub", "patch", "aiohttp") in ORDERS
    assert {order[-1] for order in ORDERS} == {"aiohttp", "patch"}
