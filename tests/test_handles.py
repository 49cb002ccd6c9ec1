"""Handles of callbacks are asyncio's to whoever looks at them, and leave nothing behind however they end."""

import asyncio
import contextvars
import gc
import inspect
import sys
import weakref

import eventlet
import pytest

import eventlet_asyncio

MANY = 100_000


class Thing:
    """Something of which it can be seen that it is gone."""


def run_once(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


# What comes with a call.


def arguments(count):
    return tuple(object() for _ in range(count))


@pytest.mark.parametrize("count", range(5))
def test_a_callback_gets_its_arguments(loop, count):
    seen, given = [], arguments(count)
    handle = loop.call_soon(lambda *args: seen.append(args), *given)
    assert handle._args == given
    run_once(loop)
    assert seen == [given] and handle._args == given


def test_a_callback_may_be_named(loop):
    seen = []
    loop.call_soon(callback=lambda: seen.append(1))
    loop.call_soon(context=contextvars.Context(), callback=lambda: seen.append(2))
    run_once(loop)
    assert seen == [1, 2]


def test_a_name_that_is_equal_is_as_good_as_the_same(loop):
    context, name = contextvars.Context(), "".join(["con", "text"])
    assert loop.call_soon(print, **{name: context}).get_context() is context
    assert loop.call_soon(print, context=None).get_context() is not None


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing 1 required positional argument: 'callback'"),
        ((), {"context": None}, "missing 1 required positional argument: 'callback'"),
        ((print,), {"other": 1}, "unexpected keyword argument 'other'"),
        ((print,), {"callback": print}, "multiple values for argument 'callback'"),
        ((print,), {"context": {}}, "context must be a contextvars.Context, not dict"),
    ],
)
def test_wrong_arguments_are_refused(loop, args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        loop.call_soon(*args, **kwargs)


def test_it_is_a_method_of_loops(loop):
    assert str(inspect.signature(loop.call_soon)) == "(callback, *args, context=None)"
    assert loop.call_soon.__name__ == "call_soon" and loop.call_soon.__self__ is loop
    with pytest.raises(TypeError):
        eventlet_asyncio.EventLoop.call_soon(object(), print)
    seen = []
    eventlet_asyncio.EventLoop.call_soon(loop, seen.append, 1)
    run_once(loop)
    assert seen == [1]


def test_a_class_based_on_the_loops_may_have_its_own():
    class Counting(eventlet_asyncio.EventLoop):
        calls = 0

        def call_soon(self, callback, *args, context=None):
            self.calls += 1
            return super().call_soon(callback, *args, context=context)

    loop = Counting()
    try:
        loop.run_until_complete(asyncio.sleep(0))
        assert loop.calls >= 3
    finally:
        loop.close()


def test_a_closed_loop_takes_none(loop):
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)


# What a handle shows, and for how long.


def test_one_that_is_kept_stays_what_it_was(loop):
    variable, log = contextvars.ContextVar("variable", default=0), []
    callback = log.append
    kept = [loop.call_soon(callback, 1), loop.call_soon(variable.set, 2), loop.call_soon(callback, 3)]
    kept[2].cancel()
    context = kept[1].get_context()
    run_once(loop)
    for _ in range(3_000):
        loop.call_soon(callback, 4)
    run_once(loop)
    assert log == [1] + [4] * 3_000
    assert kept[0]._callback is callback and kept[0]._args == (1,) and kept[0]._loop is loop
    assert kept[1].get_context() is context and context[variable] == 2
    assert kept[2].cancelled() and kept[2]._callback is None and kept[2]._args is None


def test_none_is_cancelled_because_another_was(loop):
    log = []
    for _ in range(3):
        for _ in range(2_000):
            loop.call_soon(log.append, "cancelled").cancel()
        run_once(loop)
        assert not any(loop.call_soon(log.append, number).cancelled() for number in range(2_000))
        run_once(loop)
    assert log == [*range(2_000)] * 3


def test_a_weak_reference_is_to_one_handle(loop):
    ends = []
    reference = weakref.ref(loop.call_soon(print), ends.append)
    assert reference() is not None
    reference().cancel()
    run_once(loop)
    assert ends == [reference] and reference() is None
    others = [loop.call_soon(print) for _ in range(3_000)]
    assert reference() is None and not any(map(weakref.getweakrefcount, others))
    for other in others:
        other.cancel()


def test_each_callback_has_a_context_of_its_own(loop):
    variable, seen = contextvars.ContextVar("variable", default="unset"), []

    def callback(value):
        seen.append(variable.get())
        variable.set(value)

    for number in range(3):
        loop.call_soon(callback, number)
    run_once(loop)
    loop.call_soon(callback, 3)
    variable.set("set")
    loop.call_soon(callback, 4)
    run_once(loop)
    assert seen == ["unset"] * 4 + ["set"]


def test_values_of_context_variables_go_with_the_handle(loop):
    variable = contextvars.ContextVar("variable")

    def callback():
        variable.set(Thing())
        return weakref.ref(variable.get())

    gone = []
    loop.call_soon(lambda: gone.append(callback()))
    run_once(loop)
    assert gone[0]() is None
    context = contextvars.copy_context()
    gone.append(context.run(callback))
    handle = context.run(loop.call_soon, print)
    del context
    assert gone[1]() is not None
    handle.cancel()
    run_once(loop)
    assert gone[1]() is not None
    del handle
    assert gone[1]() is None


def test_a_context_that_is_kept_is_nobody_elses(loop):
    variable, kept = contextvars.ContextVar("variable", default=None), []

    def callback(number):
        variable.set(number)
        kept.append(handles[number].get_context())

    handles = {number: loop.call_soon(callback, number) for number in range(5)}
    run_once(loop)
    handles.clear()
    for number in range(5, 10):
        loop.call_soon(variable.set, number)
    run_once(loop)
    assert [context[variable] for context in kept] == [*range(5)]
    assert len(set(map(id, kept))) == 5


def test_one_runs_in_the_context_that_it_shows(loop):
    variable, seen = contextvars.ContextVar("variable"), []

    def callback():
        variable.set(1)
        seen.append(handle.get_context().get(variable))

    handle = loop.call_soon(callback)
    run_once(loop)
    assert seen == [1] and handle.get_context()[variable] == 1


def test_contexts_are_made_when_somebody_needs_them(loop):
    def count():
        return sum(type(thing) is contextvars.Context for thing in gc.get_objects())

    before = count()
    handles = [loop.call_soon(int) for _ in range(1_000)]
    assert count() == before
    shown = {id(handle.get_context()) for handle in handles[:100]}
    assert len(shown) == 100 and count() >= before + 99
    run_once(loop)
    del handles
    # One is kept for the next callback.
    assert count() <= before + 1


# Cancels.


def test_a_cancel_while_it_runs_frees_the_arguments_when_it_is_over(loop):
    alive = []

    def callback(thing):
        gone = weakref.ref(thing)
        del thing
        handle.cancel()
        # As asyncio's, which hands its own on.
        alive.append(gone() is not None)
        return gone

    def check():
        gone = []
        other = loop.call_soon(lambda thing: gone.append(callback(thing)), Thing())
        nonlocal handle
        handle = other
        return gone

    handle = None
    gone = check()
    run_once(loop)
    assert alive == [True] and gone[0]() is None
    assert handle.cancelled() and handle._callback is None


@pytest.mark.parametrize("count", (1, 2))
def test_a_cancel_frees_callback_and_arguments_at_once(loop, count):
    things = [Thing() for _ in range(count)]
    callback = Thing().__init__
    gone = [weakref.ref(thing) for thing in [*things, callback.__self__]]
    handle = loop.call_soon(callback, *things)
    del things, callback
    handle.cancel()
    assert [reference() for reference in gone] == [None] * (count + 1)
    handle.cancel()


def test_a_cancel_in_debug_mode_keeps_what_the_repr_says(loop):
    loop.set_debug(True)
    handle = loop.call_soon(print, 12)
    source = handle._source_traceback
    assert source[-1].name == "test_a_cancel_in_debug_mode_keeps_what_the_repr_says"
    before = repr(handle)
    handle.cancel()
    assert "print(" in before
    assert repr(handle) == before.replace("<Handle ", "<Handle cancelled ")
    assert handle._source_traceback is source
    loop.set_debug(False)
    assert loop.call_soon(print)._source_traceback is None


# Ends.


def ran(loop, callback, *args, context):
    for _ in range(MANY // 100):
        for _ in range(100):
            loop.call_soon(callback, *args, context=context)
        run_once(loop)


def all_at_once(loop, callback, *args, context):
    for _ in range(MANY):
        loop.call_soon(callback, *args, context=context)
    run_once(loop)


def cancelled(loop, callback, *args, context):
    for _ in range(MANY // 100):
        for _ in range(100):
            loop.call_soon(callback, *args, context=context).cancel()
        run_once(loop)


def cancelled_while_they_run(loop, callback, *args, context):
    handles = []
    for _ in range(MANY // 100):
        for _ in range(100):
            handles.append(loop.call_soon(lambda *_: handles.pop(0).cancel(), callback, *args, context=context))
        run_once(loop)


def raised(loop, callback, *args, context):
    def fail(*args):
        raise LookupError

    failed = 0

    def count(loop, report):
        nonlocal failed
        failed += 1

    loop.set_exception_handler(count)
    for _ in range(MANY // 100):
        for _ in range(100):
            loop.call_soon(fail, callback, *args, context=context)
        run_once(loop)
    loop.set_exception_handler(None)
    assert failed == MANY // 100 * 100


def kept(loop, callback, *args, context):
    handles = [loop.call_soon(callback, *args, context=context) for _ in range(MANY)]
    run_once(loop)
    assert len({*map(id, handles)}) == MANY


def refused(loop, callback, *args, context):
    for _ in range(MANY):
        try:
            loop.call_soon(callback, *args, context={})
        except TypeError:
            pass


def closed_before(loop, callback, *args, context):
    other = eventlet_asyncio.new_event_loop()
    for _ in range(MANY):
        other.call_soon(callback, *args, context=context)
    other.close()


def in_circles(loop, callback, *args, context):
    for _ in range(MANY):
        thing = Thing()
        thing.handle = loop.call_soon(callback, *args, thing, context=context)
    run_once(loop)
    del thing
    gc.collect()


def timers(loop, callback, *args, context):
    for _ in range(MANY // 100):
        for _ in range(100):
            loop.call_later(0, callback, *args, context=context)
            loop.call_later(60, callback, *args, context=context).cancel()
        run_once(loop)
        run_once(loop)


ENDS = [
    ran, all_at_once, cancelled, cancelled_while_they_run, raised, kept, refused, closed_before, in_circles, timers
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_nothing_is_left_of_a_hundred_thousand(loop, end):
    def callback(*args):
        pass

    things = [callback, contextvars.Context(), Thing(), loop]
    end(loop, callback, things[2], context=things[1])
    end(loop, callback, context=None)
    gc.collect()
    references, blocks = [*map(sys.getrefcount, things)], sys.getallocatedblocks()
    end(loop, callback, things[2], context=things[1])
    end(loop, callback, things[2], things[2], context=None)
    end(loop, callback, context=None)
    gc.collect()
    assert [*map(sys.getrefcount, things)] == references
    assert sys.getallocatedblocks() - blocks < 1_000


def test_handles_are_known_to_the_garbage_collector(loop):
    for _ in range(3):
        things = [Thing() for _ in range(2_000)]
        gone = [*map(weakref.ref, things)]
        for thing in things:
            thing.handle = loop.call_soon(id, thing)
            assert gc.is_tracked(thing.handle)
        run_once(loop)
        del things, thing
        gc.collect()
        assert not any(reference() for reference in gone)


def test_a_loop_that_is_forgotten_takes_its_handles_along():
    class Loop(eventlet_asyncio.EventLoop):
        pass

    loop, thing = Loop(), Thing()
    gone = [weakref.ref(loop), weakref.ref(thing)]
    thing.loop = loop
    loop.call_soon(print, thing)
    # It says that it was not closed when it goes.
    loop._closed = True
    del loop, thing
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


@pytest.mark.parametrize("runs", [False, True], ids=["before it ran", "while it runs"])
def test_a_loop_that_is_forgotten_takes_its_tasks_along(runs):
    # Nobody but the queue has the handles of their steps, and the collector does not know these.
    loop, thing = eventlet_asyncio.EventLoop(), Thing()
    gone = [weakref.ref(loop), weakref.ref(thing)]
    thing.loop = loop

    async def wait(thing):
        while True:
            await asyncio.sleep(0)

    thing.tasks = [loop.create_task(wait(thing)) for _ in range(20)]
    for task in thing.tasks:
        task._log_destroy_pending = False
    if runs:
        run_once(loop)
    gc.collect()
    assert all(gone[0]() is task.get_loop() for task in thing.tasks)
    if runs:
        run_once(loop)
    loop._closed = True
    del loop, thing, task
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_who_calls_call_soon_for_a_task_may_keep_the_handle():
    kept = []

    class Loop(eventlet_asyncio.EventLoop):
        def call_soon(self, callback, *args, context=None):
            target = plain if to_plain else super()
            kept.append((target.call_soon(callback, *args, context=context), callback, args))
            return kept[-1][0]

    plain, loop, ran = eventlet_asyncio.EventLoop(), Loop(), []
    for to_plain in (False, True):

        async def work():
            ran.append(to_plain)

        task = loop.create_task(work())
        handle, callback, args = kept.pop()
        assert gc.is_tracked(handle) is not to_plain
        gc.collect()
        assert handle._callback == callback and handle._args == args and not handle.cancelled()
        run_once(plain if to_plain else loop)
        assert gc.is_tracked(handle)
        # Of a loop that does not run in this moment.
        assert ran.pop() is to_plain and task.done()
        kept.clear()
    plain.close()
    loop.close()


def test_many_handles_of_steps_are_cancelled_collected_and_closed_with(loop):
    async def nothing():
        await asyncio.sleep(0)

    for end in ("run", "cancel", "collect", "close"):
        mine = eventlet_asyncio.EventLoop()
        things = [Thing() for _ in range(10_000)]
        gone = [*map(weakref.ref, things)]
        tasks = [mine.create_task(nothing()) for _ in things]
        for task, thing in zip(tasks, things):
            thing.task = task
            task.add_done_callback(lambda _, thing=thing: thing)
        if end == "cancel":
            for task in tasks:
                task.cancel()
        if end == "collect":
            gc.collect()
        if end != "close":
            mine.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            assert all(task.done() for task in tasks)
        mine.close()
        for task in tasks:
            task._log_destroy_pending = False
        del mine, things, tasks, task, thing
        gc.collect()
        assert not any(reference() for reference in gone), end


def test_what_is_freed_with_a_handle_may_schedule(loop):
    log = []

    class Scheduling:
        def __del__(self):
            loop.call_soon(log.append, "of the end")

    for _ in range(10):
        loop.call_soon(id, Scheduling())
        loop.call_soon(id, Scheduling()).cancel()
    run_once(loop)
    run_once(loop)
    assert log == ["of the end"] * 20


def test_what_is_freed_with_a_handle_may_block_greenly():
    import eventlet

    log = []

    class Blocking:
        def __del__(self):
            eventlet.sleep(0)
            log.append("blocked")

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(10):
            loop.call_soon(id, Blocking())
        for number in range(10):
            loop.call_soon(log.append, number)
        for _ in range(10):
            await asyncio.sleep(0)
        while len(log) < 20:
            await asyncio.sleep(0.001)

    eventlet_asyncio.run(main())
    assert sorted(map(str, log)) == [*map(str, range(10)), *["blocked"] * 10]


def test_a_handle_shows_its_arguments_as_asyncios_does(loop):
    other = asyncio.SelectorEventLoop()
    for is_debug in (False, True):
        shown = []
        for each in (loop, other):
            each.set_debug(is_debug)
            handle = each.call_soon(print, "argument")
            shown.append(repr(handle).split(" created at ")[0])
            handle.cancel()
        assert shown[0] == shown[1]
    other.close()


@pytest.mark.parametrize("as_callback", [False, True])
def test_a_long_chain_of_handles_is_freed(loop, as_callback):
    chain = [None]

    def tick(previous, left):
        if left:
            # A callable that is a method of the handle before, or that as the only argument.
            handle = loop.call_soon(chain[0].cancel) if as_callback else loop.call_soon(bool, chain[0])
            chain[0] = handle

    chain[0] = loop.call_soon(bool, None)
    for left in range(200_000):
        tick(chain, left + 1)
    if not as_callback:
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
    del chain[0]


def takes_anything(*_arguments):
    pass


class BlocksAsItEnds:
    def __init__(self, event):
        self.event = event

    def __del__(self):
        self.event.wait()


def test_arguments_are_freed_while_the_ends_of_many_others_block(hub):
    event, many = eventlet.Event(), 100
    for _ in range(many):
        hub.loop.call_soon(takes_anything, BlocksAsItEnds(event))
    eventlet.sleep(0)
    things = [Thing() for _ in range(many)]
    gone = [weakref.ref(thing) for thing in things]
    while things:
        hub.loop.call_soon(takes_anything, things.pop())
    eventlet.sleep(0)
    assert [each() for each in gone] == [None] * many
    event.send()
    eventlet.sleep(0)
