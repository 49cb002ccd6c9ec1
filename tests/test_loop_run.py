"""Ways to have a loop of ours, and what run() leaves behind."""

import asyncio
import sys
import threading

import eventlet.hubs
import pytest

import eventlet_asyncio


def test_run_runs_on_a_loop_of_ours_and_closes_it():
    async def main():
        return asyncio.get_running_loop()

    loop = eventlet_asyncio.run(main())
    assert type(loop) is eventlet_asyncio.EventLoop and loop.is_closed()


def test_run_takes_debug():
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert eventlet_asyncio.run(main(), debug=True) is True
    assert eventlet_asyncio.run(main(), debug=False) is False


def test_run_cancels_what_is_left_and_shuts_generators_down():
    log = []

    async def left():
        try:
            await asyncio.sleep(60)
        finally:
            log.append("cancelled")

    async def numbers():
        try:
            yield 1
        finally:
            log.append("closed")

    generator = numbers()

    async def main():
        asyncio.create_task(left())
        await generator.__anext__()

    eventlet_asyncio.run(main())
    assert log == ["cancelled", "closed"]


def test_run_leaves_the_policy_alone():
    async def main():
        pass

    before = asyncio.get_event_loop_policy()
    eventlet_asyncio.run(main())
    assert asyncio.get_event_loop_policy() is before


def test_the_policy_makes_loops_of_ours():
    asyncio.set_event_loop_policy(eventlet_asyncio.EventLoopPolicy())

    async def main():
        return asyncio.get_running_loop()

    assert type(asyncio.run(main())) is eventlet_asyncio.EventLoop
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    assert asyncio.get_event_loop() is loop
    asyncio.set_event_loop(None)
    loop.close()


def test_install_sets_the_policy():
    eventlet_asyncio.install()
    assert type(asyncio.get_event_loop_policy()) is eventlet_asyncio.EventLoopPolicy
    loop = asyncio.new_event_loop()
    assert type(loop) is eventlet_asyncio.EventLoop
    loop.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="runners came with Python 3.11")
def test_a_runner_takes_our_factory():
    async def which():
        return asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=eventlet_asyncio.new_event_loop) as runner:
        first = runner.run(which())
        assert runner.run(which()) is first is runner.get_loop()
    assert type(first) is eventlet_asyncio.EventLoop and first.is_closed()


def test_a_loop_may_run_again_and_in_another_thread(loop, in_thread):
    async def ident():
        await asyncio.sleep(0)
        return threading.get_ident()

    here = loop.run_until_complete(ident())
    there = in_thread(loop.run_until_complete, ident())
    assert here == threading.get_ident() != there
    assert loop.run_until_complete(ident()) == here


def test_asyncio_alone_makes_no_hub():
    async def main():
        await asyncio.sleep(0)

    eventlet_asyncio.run(main())
    assert "hub" not in vars(eventlet.hubs._threadlocal)
