"""To green code a task is a green thread: locals, idents and locks are its own over all its awaits."""

import asyncio
import gc
import threading
import weakref

import eventlet
import pytest
from eventlet import corolocal
from eventlet.green import thread
from eventlet.green import threading as green_threading

import eventlet_asyncio
from eventlet_asyncio import await_

pytestmark = pytest.mark.usefixtures("hub")


def blocks():
    eventlet.sleep(0.001)


def test_an_ident_stays_over_awaits_and_green_blocks():
    async def main():
        idents = {thread.get_ident()}
        for _ in range(3):
            await asyncio.sleep(0)
            idents.add(thread.get_ident())
            blocks()
            idents.add(thread.get_ident())
            idents.add(corolocal.get_ident())
        return idents

    async def many():
        return await asyncio.gather(*[main() for _ in range(5)])

    found = eventlet_asyncio.run(many())
    assert [len(idents) for idents in found] == [1] * 5
    assert len(set.union(*found)) == 5


def test_who_took_the_function_before_gets_the_same():
    held = thread.get_ident
    assert held() == thread.get_ident() == green_threading.get_ident()

    async def main():
        return held() == thread.get_ident() == id(asyncio.current_task())

    assert eventlet_asyncio.run(main())


def test_an_ident_of_a_greenlet_that_is_given():
    green = eventlet.spawn(int)
    assert thread.get_ident(green) == id(green)
    green.wait()


def test_green_threads_keep_theirs():
    def green():
        mine = thread.get_ident()
        assert mine == id(eventlet.getcurrent())
        blocks()
        assert mine == thread.get_ident()
        return mine

    greens = [eventlet.spawn(green) for _ in range(3)]
    assert len({green.wait() for green in greens}) == 3


def test_a_local_is_the_tasks_own():
    local = corolocal.local()
    local.value = "main"

    async def main(value):
        assert not hasattr(local, "value")
        local.value = value
        await asyncio.sleep(0)
        blocks()
        await asyncio.sleep(0)
        assert local.value == value

        def green():
            return getattr(local, "value", None)

        assert eventlet.spawn(green).wait() is None

    async def many():
        await asyncio.gather(*[main(value) for value in range(5)])

    eventlet_asyncio.run(many())
    assert local.value == "main"


def test_a_local_of_a_class_is_made_anew_for_each_task():
    class Local(corolocal.local):
        def __init__(self, value):
            self.value = value

    local = Local("first")

    async def main():
        assert local.value == "first"
        local.value = "other"
        await asyncio.sleep(0)
        return local.value

    assert eventlet_asyncio.run(main()) == "other"
    assert local.value == "first"


def test_what_a_task_kept_is_freed_with_it():
    class Thing:
        pass

    local = corolocal.local()
    kept = []

    async def main():
        local.thing = Thing()
        kept.append(weakref.ref(local.thing))
        blocks()

    async def outer():
        await asyncio.create_task(main())
        await asyncio.sleep(0)
        # The object itself holds the dictionary of who used it last.
        assert not hasattr(local, "thing")
        gc.collect()
        assert kept[0]() is None

    eventlet_asyncio.run(outer())


def test_a_lock_is_the_tasks_own():
    lock = green_threading.RLock()
    log = []

    async def main(name):
        with lock:
            with lock:
                log.append(name)
                blocks()
                await asyncio.sleep(0)
                log.append(name)

    async def many():
        await asyncio.gather(*[main(name) for name in "abc"])

    eventlet_asyncio.run(many())
    assert log == ["a", "a", "b", "b", "c", "c"]


def test_a_callback_has_an_ident_of_its_own_for_its_run():
    found = []

    def callback():
        found.append((corolocal.get_ident(), local_of(corolocal_local)))
        corolocal_local.value = 1
        blocks()
        found.append((corolocal.get_ident(), local_of(corolocal_local)))

    corolocal_local = corolocal.local()

    def local_of(local):
        return getattr(local, "value", None)

    async def main():
        loop = asyncio.get_running_loop()
        mine = thread.get_ident()
        loop.call_soon(callback)
        await asyncio.sleep(0.01)
        loop.call_soon(callback)
        await asyncio.sleep(0.01)
        return mine

    mine = eventlet_asyncio.run(main())
    (first, value), (again, kept), (second, fresh), _ = found
    assert first == again != mine
    assert second != mine
    assert (value, kept, fresh) == (None, 1, None)


def test_the_thread_stays_the_loops():
    async def main():
        blocks()
        return threading.current_thread(), green_threading.current_thread()

    outside = threading.current_thread(), green_threading.current_thread()
    assert outside[0] is threading.main_thread()
    assert eventlet_asyncio.run(main()) == outside


def test_a_coroutine_that_green_code_awaits_is_a_task_of_its_own():
    async def inner():
        mine = thread.get_ident()
        await asyncio.sleep(0)
        assert mine == thread.get_ident()
        return mine

    def green():
        return thread.get_ident(), await_(inner()), thread.get_ident()

    before, inside, after = eventlet.spawn(green).wait()
    assert before == after != inside


def test_a_green_thread_killed_from_a_task_is_itself():
    found = []

    def victim():
        try:
            eventlet.sleep(60)
        finally:
            found.append(thread.get_ident())

    async def main():
        green = eventlet.spawn(victim)
        eventlet.sleep(0)
        green.kill()
        assert found == [id(green)]

    eventlet_asyncio.run(main())
