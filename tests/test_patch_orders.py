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
    run(program, EVENTLET_HUB="eventlet_asyncio.hub")


def run(program, **environment):
    environment = {**os.environ, "EVENTLET_TESTS": "1", **environment}
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


@pytest.mark.parametrize("first", ["eventlet_asyncio.await_(main())", "eventlet_asyncio.run(main())"])
def test_the_bridge_comes_to_a_program_that_was_patched_on_another_hub(first):
    run(
        [
            "import eventlet; eventlet.monkey_patch()",
            "import asyncio, eventlet_asyncio",
            "async def main(): return await asyncio.sleep(0.001, 1)",
            f"assert {first} == 1",
            "loop = asyncio.SelectorEventLoop()",
            "assert loop.run_until_complete(main()) == 1",
            "assert type(loop._selector).__name__ == 'EpollSelector'",
            "print('pass')",
        ]
    )


@pytest.mark.parametrize("wrapper", ["mock.Mock(wraps=kill)", "functools.wraps(kill)(lambda *given: kill(*given))"])
@pytest.mark.parametrize("name", ["kill", "cancel"])
def test_what_the_program_wrapped_before_stays(name, wrapper):
    run(
        [
            "import functools",
            "from unittest import mock",
            "import eventlet",
            "from eventlet import greenthread",
            f"kill = greenthread.{name}",
            f"wrapper = greenthread.{name} = {wrapper}",
            "import eventlet_asyncio",
            "eventlet_asyncio.use_hub()",
            "ends = []",
            "victim = eventlet.spawn(lambda: ends.append(None))",
            f"greenthread.{name}(victim)",
            "eventlet.sleep(0)",
            f"assert ends == [] and greenthread.{name} is wrapper",
            "print('pass')",
        ]
    )


def test_the_orders_are_all():
    assert ("patch", "aiohttp") in ORDERS
    assert ("asyncio", "package", "hub", "patch", "aiohttp") in ORDERS
    assert {order[-1] for order in ORDERS} == {"aiohttp", "patch"}
