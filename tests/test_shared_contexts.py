"""Tasks that share a context take turns where they block greenly, as they do where they await."""

import asyncio
import contextvars
import sys

import eventlet
import pytest
from eventlet import event

from eventlet_asyncio import async_context, await_, sync_to_async

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="tasks take no context before Python 3.11"),
]

variable = contextvars.ContextVar("variable", default="default")


def in_context(context, coroutine):
    return asyncio.get_running_loop().create_task(coroutine, context=context)


def test_one_wakes_the_other_and_each_sees_what_the_other_has_set(blocking_host):
    async def main():
        context, woken = contextvars.copy_context(), event.Event()

        async def blocks():
            variable.set("of the first")
            assert woken.wait() == "value"
            assert variable.get() == "of the second"
            await asyncio.sleep(0)
            return variable.get()

        async def wakes():
            await asyncio.sleep(0)
            assert variable.get() == "of the first"
            variable.set("of the second")
            woken.send("value")
            eventlet.sleep(0)
            variable.set("at last")

        tasks = in_context(context, blocks()), in_context(context, wakes())
        first, _ = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert variable.get() == "default"
        return first, context[variable]

    assert blocking_host(main) == ("at last", "at last")


def test_many_of_one_context_block_in_turns(blocking_host):
    async def main():
        context, log = contextvars.copy_context(), []

        async def count(name):
            for number in range(3):
                log.append((number, name))
                eventlet.sleep(0)
                assert asyncio.current_task().get_name() == name
                await asyncio.sleep(0)
            return contextvars.copy_context()[variable]

        context.run(variable.set, "shared")
        tasks = [in_context(context, count(str(index))) for index in range(5)]
        for index, task in enumerate(tasks):
            task.set_name(str(index))
        assert await asyncio.gather(*tasks) == ["shared"] * 5
        return sorted(log) == log

    assert blocking_host(main)


def test_a_task_goes_on_that_has_left_its_green_callee_to_itself(blocking_host):
    async def main():
        let_go, ended = event.Event(), event.Event()

        async def blocks():
            return let_go.wait()

        @sync_to_async(autokill_greenlet=False)
        def callee():
            ended.send(await_(blocks()))

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(callee(), 0.01)
        let_go.send("gone on")
        return ended.wait()

    assert blocking_host(main) == "gone on"


def test_a_limit_around_a_block_strikes_where_async_code_in_it_awaits(on_any_hub):
    check_limits(on_any_hub, lambda: asyncio.sleep(5))


def test_a_limit_around_a_block_strikes_where_async_code_in_it_blocks_greenly(on_hub):
    async def blocks():
        eventlet.sleep(5)

    check_limits(on_hub, blocks)


def check_limits(run, blocks):
    async def limit():
        return asyncio.timeout(0.01)

    async def fails():
        raise ValueError("of the group")

    async def start(group):
        group.create_task(fails())

    def by_timeout():
        with async_context(await_(limit())):
            await_(blocks())

    def by_group():
        with async_context(asyncio.TaskGroup()) as group:
            await_(start(group))
            await_(blocks())

    def raised(function):
        try:
            function()
        except Exception as exception:
            return exception

    def main():
        assert type(eventlet.spawn(raised, by_timeout).wait()) is TimeoutError
        return [str(each) for each in eventlet.spawn(raised, by_group).wait().exceptions]

    assert run(main) == ["of the group"]


def test_a_context_that_a_kill_has_left_entered_serves_another_task(blocking_host):
    async def main():
        context, woken, log = contextvars.copy_context(), event.Event(), []

        async def other():
            woken.wait()
            log.append(("other", variable.get()))
            variable.set("of the other")
            # Goes on while the killer does, and ends before it.
            await asyncio.sleep(0)

        async def killer():
            green = eventlet.spawn(eventlet.sleep, 5)
            task = in_context(context, other())
            await asyncio.sleep(0)
            variable.set("of the killer")
            # Its turn is before the one in which a kill comes back to the killer.
            woken.send()
            green.kill()
            log.append(("killer", variable.get()))
            await task
            eventlet.sleep(0)
            return contextvars.copy_context()[variable]

        last = await asyncio.wait_for(in_context(context, killer()), 5)
        assert variable.get() == "default"
        return log, last

    log = [("other", "of the killer"), ("killer", "of the other")]
    assert blocking_host(main) == (log, "of the other")
