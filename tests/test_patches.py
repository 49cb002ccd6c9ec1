"""What the first hub changes in other people's modules, each row made with that hub and taken back."""

import asyncio
import functools
import importlib
import os
import subprocess
import sys
import threading
from unittest.mock import Mock

import eventlet
import eventlet.asyncio
import pytest
from eventlet import debug, greenthread, hubs, patcher
from eventlet.hubs.hub import BaseHub

import eventlet_asyncio
from eventlet_asyncio import _anyio, _evio, _patches


def make_hub():
    eventlet_asyncio.use_hub()
    return hubs.get_hub()


def place(owner, name):
    """What stands at a place of the table."""
    module, _, inner = owner.partition(":")
    holder = importlib.import_module(module)
    return vars(getattr(holder, inner) if inner else holder)[name]


ATTRIBUTES = [
    (owner, name)
    for row in _patches.TABLE
    if isinstance(row, _patches.Attribute)
    for owner, name in row.places
    if name in vars(_patches.resolve(owner))
]


@pytest.mark.parametrize("owner, name", ATTRIBUTES, ids=lambda part: str(part))
def test_a_name_is_replaced_by_the_first_hub_and_put_back(owner, name):
    before = place(owner, name)
    eventlet_asyncio.use_hub()
    if (owner, name) not in _patches.RUN_OF_OTHERS.places:
        assert place(owner, name) is before, "choosing the hub is not making it"
    hubs.get_hub()
    during = place(owner, name)
    assert during is not before
    _patches.undo()
    assert place(owner, name) is before


@pytest.mark.parametrize(
    "row",
    [row for row in _patches.TABLE if isinstance(row, _patches.Code)],
    ids=lambda row: ".".join(row.places[0]),
)
def test_a_function_is_changed_for_those_who_hold_it_and_put_back(row):
    function = place(*row.places[0])
    before = function.__code__
    make_hub()
    assert function.__code__ is not before
    _patches.undo()
    assert function.__code__ is before


@pytest.mark.parametrize(
    "row",
    [row for row in _patches.TABLE if isinstance(row, _patches.Function)],
    ids=lambda row: ".".join(row.places[0]),
)
def test_a_function_becomes_native_under_each_name_and_for_those_who_hold_it(row):
    module, name = row.places[0]
    held = place(module, name)
    code = held.__code__
    make_hub()
    native = getattr(_evio, name)
    for module, name in row.places:
        assert place(module, name) is native
    assert native in held.__code__.co_consts
    if name == "get_ident":
        assert held() == native()
    if name == "sleep":
        held(0)
    original = _patches.original(module, name)
    assert (original.__code__, original.__defaults__) == (code, held.__defaults__)
    _patches.undo()
    assert held.__code__ is code
    for module, name in row.places:
        assert place(module, name) is held


@pytest.mark.parametrize("name", ["__init__", "start", "__exit__"])
def test_a_class_whose_method_the_program_has_replaced_stays(monkeypatch, name):
    original = vars(eventlet.Timeout)[name]
    called = []

    def mine(*args, **kwargs):
        called.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(eventlet.Timeout, name, mine)
    make_hub()
    with eventlet.Timeout(60):
        pass
    assert called == [name]


def test_what_the_program_has_put_over_a_change_stays(monkeypatch):
    make_hub()
    monkeypatch.setattr(eventlet, "spawn", mine := Mock())
    monkeypatch.setattr(greenthread.GreenThread, "__await__", method := Mock())
    _patches.undo()
    assert eventlet.spawn is mine
    assert greenthread.GreenThread.__await__ is method
    assert greenthread.spawn is not _evio.spawn


def test_a_function_that_the_program_has_wrapped_stays(monkeypatch):
    original = greenthread.sleep

    @functools.wraps(original)
    def wrapped(seconds=0):
        original(seconds)

    code = wrapped.__code__
    monkeypatch.setattr(greenthread, "sleep", wrapped)
    make_hub()
    assert greenthread.sleep is wrapped
    assert wrapped.__code__ is code
    greenthread.sleep(0)


def test_a_function_stays_in_whose_place_the_program_has_a_wrapper_when_its_code_would_be_exchanged(monkeypatch):
    from eventlet.green import select

    original = select.select

    @functools.wraps(original)
    def wrapped(*args):
        return original(*args)

    code = wrapped.__code__
    monkeypatch.setattr(select, "select", wrapped)
    make_hub()
    assert select.select is wrapped
    assert wrapped.__code__ is code
    assert select.select([], [], [], 0) == ([], [], [])


def test_a_function_of_the_programs_own_stays(monkeypatch):
    mock = Mock()
    monkeypatch.setattr(eventlet, "sleep", mock)
    make_hub()
    assert eventlet.sleep is mock
    assert greenthread.sleep is _evio.sleep


def test_the_stack_cache_is_turned_off_by_the_environment():
    program = """
import eventlet, eventlet_asyncio
from eventlet_asyncio import _anyio, _evio, _patches
asked = []
_evio.cache_stack_chunks = asked.append
eventlet_asyncio.use_hub()
eventlet.sleep(0)
_patches.undo()
print(asked)
"""
    for value, asked in (("0", "[False]\n"), ("1", "[True, False]\n")):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"EVENTLET_ASYNCIO_STACK_CACHE": value},
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert ended.stdout == asked, ended.stderr


def test_anyios_worker_threads_are_changed_and_put_back():
    from anyio._backends import _asyncio as backend

    def standing():
        return [*backend.WorkerThread.__bases__, backend.threading, backend.Thread, backend.Queue]

    before = standing()
    make_hub()
    threading = patcher.original("threading")
    queue = patcher.original("queue").Queue
    assert standing() == [threading.Thread, threading, threading.Thread, queue]
    _patches.undo()
    assert standing() == before


def test_what_anyio_asks_before_a_run_is_changed_and_put_back():
    from anyio._backends import _asyncio as backend
    from anyio._core import _eventloop as runs

    def standing():
        return runs.current_async_library, getattr(backend, "events", None)

    before = standing()
    make_hub()
    after = standing()
    assert after[0] is not before[0]
    assert (after[1] is not before[1]) == (sys.version_info < (3, 11))
    _patches.undo()
    assert standing() == before


def test_every_kind_of_row_is_tested_here():
    tested = (
        _anyio.Runs,
        _anyio.WorkerThreads,
        _patches.Attribute,
        _patches.Methods,
        _patches.Function,
        _patches.StackChunks,
        _patches.Code,
        _patches.CodeAround,
        _patches.CodeThatMayRun,
        _patches.Policy,
        _patches.OriginalModules,
        _patches.Primitives,
    )
    assert {type(row) for row in _patches.TABLE} <= set(tested)


def test_the_primitives_are_replaced_by_the_first_hub_and_put_back():
    row = next(row for row in _patches.TABLE if isinstance(row, _patches.Primitives))
    missing = object()

    def standing():
        return [
            vars(_patches.resolve(owner)).get(name, missing) for owner, name in row.places
        ]

    # A thread of an earlier test may have been the last to make a hub.
    _patches.undo()
    kill, cancel = eventlet.kill, greenthread.cancel
    before = [*standing(), kill.__code__, cancel.__code__]
    make_hub()
    during = [*standing(), kill.__code__, cancel.__code__]
    assert not any(old is new for old, new in zip(before, during))
    _patches.undo()
    assert [*standing(), kill.__code__, cancel.__code__] == before


def test_the_policy_is_set_by_the_first_hub_and_put_back():
    before = asyncio.get_event_loop_policy()
    make_hub()
    assert type(asyncio.get_event_loop_policy()) is eventlet_asyncio.EventLoopPolicy
    _patches.undo()
    assert asyncio.get_event_loop_policy() is before


def test_a_policy_of_the_programs_stays():
    class Mine(asyncio.DefaultEventLoopPolicy):
        pass

    mine = Mine()
    asyncio.set_event_loop_policy(mine)
    make_hub()
    assert asyncio.get_event_loop_policy() is mine
    _patches.undo()
    assert asyncio.get_event_loop_policy() is mine


def test_asyncio_gets_the_original_modules_and_gives_them_back(monkeypatch):
    """As after monkey_patch(), which puts eventlet's names into modules that are there already."""
    import asyncio.base_events
    import asyncio.unix_events

    green = importlib.import_module("eventlet.green.threading")
    monkeypatch.setattr(asyncio.base_events, "threading", green)
    monkeypatch.setitem(sys.modules, "threading", green)
    make_hub()
    assert asyncio.base_events.threading is patcher.original("threading")
    _patches.undo()
    assert asyncio.base_events.threading is green


def test_threads_that_make_their_first_hubs_at_once_find_all_of_it(in_thread):
    """The changes take a while; nobody goes on with half of them."""
    found = []

    def look():
        make_hub()
        found.append([place(owner, name) for owner, name in ATTRIBUTES])

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 4
    make_hub()
    assert found[0] == [place(owner, name) for owner, name in ATTRIBUTES]


def test_a_second_hub_changes_nothing_more(in_thread):
    make_hub()
    during = [place(owner, name) for owner, name in ATTRIBUTES]
    in_thread(make_hub)
    assert [place(owner, name) for owner, name in ATTRIBUTES] == during
    _patches.undo()
    assert eventlet.sleep is not _evio.sleep


def test_what_use_hub_changes_at_once_is_put_back_where_no_hub_was_made(in_thread):
    before = BaseHub.run
    in_thread(eventlet_asyncio.use_hub)
    assert BaseHub.run is not before
    _patches.undo()
    assert BaseHub.run is before


def test_undo_twice_is_undo_once():
    make_hub()
    _patches.undo()
    before = [place(owner, name) for owner, name in ATTRIBUTES]
    _patches.undo()
    assert [place(owner, name) for owner, name in ATTRIBUTES] == before


def test_the_hub_works_without_its_patches(hub):
    _patches.undo()
    log = []

    def sleeper():
        eventlet.sleep(0.001)
        log.append("slept")
        return 1

    assert eventlet.spawn(sleeper).wait() == 1
    assert log == ["slept"]


def test_what_stood_at_a_patched_place_can_be_asked_for():
    before = greenthread.GreenThread.__init__
    make_hub()
    assert greenthread.GreenThread.__init__ is not before
    assert _patches.original("eventlet.greenthread:GreenThread", "__init__") is before
    with pytest.raises(LookupError, match="not in the table"):
        _patches.original("eventlet.greenthread", "spawn_after_local")


# What the changes are good for.


def test_asyncio_run_takes_a_loop_of_ours():
    async def which():
        return type(asyncio.get_running_loop())

    assert asyncio.run(which()) is not eventlet_asyncio.EventLoop
    make_hub()
    assert asyncio.run(which()) is eventlet_asyncio.EventLoop


def test_eventlets_own_names_cross():
    async def gives():
        await asyncio.sleep(0)
        return 1

    make_hub()
    green = eventlet.asyncio.spawn_for_awaitable(gives())
    assert type(green).__module__ == "eventlet_asyncio.bridge"
    assert green.wait() == 1

    async def awaits():
        return await eventlet.spawn(lambda: 2)

    assert eventlet.asyncio.spawn_for_awaitable(awaits()).wait() == 2


def test_the_native_sleep_leaves_threads_with_other_hubs_as_they_were(in_thread):
    make_hub()

    def other():
        hubs.use_hub("poll")
        eventlet.sleep(0.001)
        assert eventlet.spawn(lambda: eventlet.sleep(0.001) or 1).wait() == 1
        return type(hubs.get_hub()).__module__

    assert in_thread(other) == "eventlet.hubs.poll"


def test_importing_the_package_imports_and_changes_nothing():
    program = """
import asyncio, sys
before = {name: dict(vars(sys.modules[name])) for name in list(sys.modules) if "asyncio" in name}
import eventlet_asyncio
assert not [name for name in sys.modules if name.split(".")[0] in ("eventlet",)], sys.modules
for name, names in before.items():
    now = {key: value for key, value in vars(sys.modules[name]).items() if key in names}
    assert now == names, name
assert type(asyncio.get_event_loop_policy()) is asyncio.DefaultEventLoopPolicy
import eventlet.greenthread
sleep = eventlet.sleep
from eventlet_asyncio import await_, use_hub
use_hub()
assert eventlet.sleep is sleep
print("pass")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert (ended.stdout, ended.stderr) == ("pass\n", "")
