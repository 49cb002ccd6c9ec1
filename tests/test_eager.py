"""A green block in the first step of an eager task: as any first step, it blocks its creator."""

import asyncio
import sys

import eventlet
import pytest

import eventlet_asyncio

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12"),
]


def test_a_green_block_in_the_first_step_of_an_eager_task_blocks_its_creator():
    log = []

    async def child():
        log.append("child blocks")
        eventlet.sleep(0.01)
        log.append("child goes on")

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        task = asyncio.create_task(child())
        log.append("creator goes on")
        await task

    eventlet_asyncio.run(main())
    assert log == ["child blocks", "child goes on", "creator goes on"]


def test_a_cancel_of_the_creator_does_not_strike_its_eager_child():
    log = []

    async def child():
        eventlet.sleep(0.05)
        log.append("child")

    async def creator():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        asyncio.create_task(child())
        asyncio.get_running_loop().set_task_factory(None)
        log.append("creator")
        await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(creator())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    eventlet_asyncio.run(main())
    assert log == ["child", "creator"]
