"""Child processes of both worlds end where they are waited for, whoever is told of SIGCHLD besides."""

import asyncio
import signal
import sys
import warnings

import eventlet
import pytest
from eventlet.green import subprocess

CODES = [0, 3, 7]


def command(code):
    return [sys.executable, "-S", "-c", f"import time; time.sleep(0.05); raise SystemExit({code})"]


async def awaited(code):
    child = await asyncio.create_subprocess_exec(*command(code))
    return await child.wait()


async def all_awaited():
    return await asyncio.gather(*map(awaited, CODES))


def waited(code):
    return subprocess.Popen(command(code)).wait()


def all_waited():
    return list(eventlet.GreenPool().imap(waited, CODES))


@pytest.fixture
def noticed():
    """How often the program's own handler of SIGCHLD was called."""
    calls = []
    signal.signal(signal.SIGCHLD, lambda *_: calls.append(1))
    yield calls
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def test_children_of_both_worlds_at_once_under_a_handler_of_the_program(hub, noticed):
    green = eventlet.spawn(all_waited)
    assert asyncio.run(all_awaited()) == CODES
    assert green.wait() == CODES
    # Signals that come at once may be one.
    assert noticed


WATCHERS = ["ThreadedChildWatcher", "PidfdChildWatcher", "SafeChildWatcher", "FastChildWatcher"]


@pytest.mark.parametrize("name", WATCHERS)
def test_asyncios_child_watchers(hub, name):
    # That one waits for all children of the process, as it says: green code has none meanwhile.
    beside = name != "FastChildWatcher"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        watcher = getattr(asyncio, name)()
        before = asyncio.get_child_watcher()
        asyncio.set_child_watcher(watcher)
        try:

            async def main():
                # Those that hear of SIGCHLD do so by a handler of the loop.
                watcher.attach_loop(asyncio.get_running_loop())
                with watcher:
                    return await all_awaited()

            green = eventlet.spawn(all_waited) if beside else None
            assert asyncio.run(main()) == CODES
            if green is not None:
                assert green.wait() == CODES
        finally:
            watcher.close()
            asyncio.set_child_watcher(before)


def test_a_green_wait_for_a_child_lets_tasks_go_on_and_the_other_way_round(hub):
    async def main():
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", "import sys; sys.stdin.read(); sys.exit(3)"], stdin=subprocess.PIPE
        )

        async def tick():
            for _ in range(3):
                await asyncio.sleep(0.005)
            child.stdin.close()

        ticking = asyncio.ensure_future(tick())
        assert child.wait() == 3
        await ticking

    asyncio.run(main())
