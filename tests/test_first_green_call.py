"""The green call that makes its thread's hub works as any later one does."""

import asyncio
import threading

import eventlet
import pytest
from eventlet import queue

import eventlet_asyncio


def our_hub():
    eventlet_asyncio.use_hub()


def no_hub():
    pass


@pytest.fixture(params=[our_hub, no_hub])
def choose(request):
    return request.param


def test_an_item_put_by_a_callback(in_thread, choose):
    async def main():
        items = queue.Queue()
        asyncio.get_running_loop().call_later(0.01, items.put, "item")
        return items.get(timeout=5)

    def program():
        choose()
        return eventlet_asyncio.run(main())

    assert in_thread(program) == "item"


def test_an_item_put_by_another_thread(in_thread):
    def program():
        our_hub()
        items = queue.Queue()
        thread = threading.Timer(0.05, items.put, ["item"])
        thread.start()
        got = items.get(timeout=5)
        thread.join()
        return got

    assert in_thread(program) == "item"


def test_a_method_that_was_looked_up_before(in_thread):
    def program():
        our_hub()
        items = queue.Queue()
        get, put = items.get, items.put
        eventlet.spawn_after(0.01, put, "item")
        return get(timeout=5)

    assert in_thread(program) == "item"
