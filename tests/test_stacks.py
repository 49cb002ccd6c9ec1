"""format_stacks() tells of every green thread and task where it stands and what it waits for."""

import asyncio
import gc
import re
import threading

import eventlet
import greenlet
import pytest
from eventlet.green import socket

import eventlet_asyncio
from eventlet_asyncio import _evio, await_, future_to_greenlet
from eventlet_asyncio.debug import format_stacks

pytestmark = pytest.mark.usefixtures("hub")


def sections():
    """The text of each section by the name of the innermost function of this file, or the first line."""
    found = {}
    for part in format_stacks().split("\n\n"):
        frames = re.findall(rf"{re.escape(__file__)}\", line \d+, in (\w+)", part)
        found[frames[-1] if frames else part.splitlines()[0]] = part.splitlines()[0]
    return found


@pytest.fixture(autouse=True)
def clean():
    # Greenlets are found by the garbage collector, which does not show what is frozen.
    gc.unfreeze()
    gc.collect()
    yield
    gc.collect()
    gc.freeze()


def sleeps():
    eventlet.sleep(60)


def reads(a):
    a.recv(1)


def waits(event):
    event.wait()


async def awaits_more():
    await asyncio.sleep(60)


async def awaits():
    await awaits_more()


async def blocks():
    eventlet.sleep(60)


def test_green_threads():
    a, b = socket.socketpair()
    event = eventlet.Event()
    greens = [eventlet.spawn(sleeps), eventlet.spawn(reads, a), eventlet.spawn_n(waits, event)]
    eventlet.sleep(0)
    greens.append(eventlet.spawn(sleeps))
    found = sections()
    assert re.search(r"GreenThread.*: sleeps for \d+\.\d+ s more$", found["sleeps"])
    assert found["reads"].endswith(f": waits to read descriptor {a.fileno()}")
    assert found["waits"].endswith(f"waits in wait() of {event!r}")
    assert len([line for line in found.values() if "has not started" in line]) == 1
    assert sum(line.endswith(": runs") for line in found.values()) == 1
    for green in greens:
        eventlet.kill(green)
    a.close()
    b.close()


def test_tasks():
    async def main():
        tasks = [
            asyncio.create_task(awaits(), name="Awaiting"),
            asyncio.create_task(blocks(), name="Blocking"),
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(awaits(), name="New"))
        found = sections()
        assert re.search("name='Awaiting'.*: awaits <Future pending", found["awaits_more"])
        assert re.search("name='Blocking'.*: blocks greenly, sleeps for", found["blocks"])
        assert re.search("name='New'.*: is about to run$", found["awaits"])
        assert found["sections"].endswith(": runs")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    eventlet_asyncio.run(main())


def test_the_hub(hub):
    green = eventlet.spawn(sleeps)
    eventlet.sleep(0)
    assert f"{hub!r}: 0 listeners, 1 timers" in format_stacks()
    green.kill()


def test_what_has_ended_is_not_there():
    green = eventlet.spawn(int)
    green.wait()
    assert repr(green) not in format_stacks()


def test_green_code_that_waits_for_async_code():
    async def slow():
        await asyncio.sleep(60)

    def green_await():
        await_(slow())

    async def main():
        greens = [eventlet.spawn(green_await), future_to_greenlet(slow())]
        await asyncio.sleep(0.001)
        assert "waits for <Task pending" in sections()["green_await"]
        # The brackets keep this very line, which is among the stacks, out.
        waits = re.findall(r"GreenThread object.*waits for <Task pend[i]ng", format_stacks())
        assert len(waits) == 2
        for green in greens:
            green.kill()
        await asyncio.sleep(0.001)

    eventlet_asyncio.run(main())


def test_a_greenlet_that_waits_with_its_task():
    def asks():
        greenlet.getcurrent().parent.switch("question")

    async def main():
        async def keeps_a_greenlet():
            kept = greenlet.greenlet(asks)
            assert kept.switch() == "question"
            await asyncio.sleep(60)

        task = asyncio.create_task(keeps_a_greenlet())
        await asyncio.sleep(0.001)
        assert sections()["asks"].endswith(": waits for its task")
        assert not re.search("Task[P]arent", format_stacks())
        task.cancel()
        await asyncio.wait([task])

    eventlet_asyncio.run(main())


def test_every_reader_of_a_descriptor():
    a, b = socket.socketpair()
    eventlet.debug.hub_prevent_multiple_readers(False)
    try:
        greens = [eventlet.spawn(reads, a) for _ in range(2)]
        eventlet.sleep(0)
        assert format_stacks().count(f": waits to read descriptor {a.fileno()}\n") == 2
        for green in greens:
            green.kill()
    finally:
        eventlet.debug.hub_prevent_multiple_readers(True)
        a.close()
        b.close()


def test_what_cannot_be_shown_spoils_nothing_else():
    class Odd(eventlet.Event):
        def __repr__(self):
            raise LookupError

    odd = Odd()
    green = eventlet.spawn(waits, odd)
    eventlet.sleep(0)
    found = sections()
    assert re.search(r"<Odd at 0x\w+, whose repr\(\) raises LookupError>", found["waits"])
    green.kill()


def test_tasks_that_are_being_made_are_left_alone():
    """In debug mode Python code runs while a task is made."""

    async def main():
        asyncio.get_running_loop().set_debug(True)
        for _ in range(300):
            await asyncio.create_task(asyncio.sleep(0))
        over.set()

    def looks():
        while not over.is_set():
            format_stacks()
            looked.append(1)

    over = threading.Event()
    looked = []
    thread = threading.Thread(target=looks)
    thread.start()
    try:
        eventlet_asyncio.run(main())
    finally:
        over.set()
        thread.join()
    assert looked


def test_hubs_that_are_no_more_or_not_yet_are_left_alone(in_thread):
    def makes_hub():
        eventlet_asyncio.use_hub()
        hub = eventlet.hubs.get_hub()
        hub._end()
        return hub

    half_made = _evio.HubCore()
    torn_down = in_thread(makes_hub)
    with pytest.raises(RuntimeError, match="torn down"):
        torn_down.greenlet
    shown = format_stacks()
    assert f"at {id(half_made):#x}" not in shown
    assert f"at {id(torn_down):#x}" not in shown
