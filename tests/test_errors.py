"""Wrong use is refused with a sentence that says what to do instead."""

import asyncio
import subprocess
import sys
import sysconfig

import eventlet
import greenlet
import pytest

import eventlet_asyncio
from eventlet_asyncio import (
    async_to_sync,
    await_,
    future_to_greenlet,
    greenlet_to_future,
    sync_to_async,
)

pytestmark = pytest.mark.usefixtures("quiet")


async def nothing():
    pass


@pytest.mark.parametrize("function", [await_, future_to_greenlet])
def test_what_is_not_awaitable(function):
    name = function.__name__
    with pytest.raises(TypeError, match=rf"{name}\(\) takes an awaitable, .*, not int$"):
        function(1)
    with pytest.raises(TypeError, match="not function: call it first$"):
        function(nothing)


def test_an_await_without_an_iterator(hub):
    class Wrong:
        def __await__(self):
            return 1

    async def main():
        with pytest.raises(TypeError, match=r"__await__\(\) returned non-iterator of type 'int'"):
            await_(Wrong())

    eventlet_asyncio.run(main())


def test_what_is_no_green_thread():
    coroutine = nothing()
    with pytest.raises(TypeError, match=r"takes a green thread, as eventlet.spawn\(\) returns"):
        greenlet_to_future(coroutine)
    coroutine.close()


@pytest.mark.parametrize("decorator", [async_to_sync, sync_to_async])
def test_what_is_no_function(decorator):
    with pytest.raises(TypeError, match=rf"{decorator.__name__}\(\) takes an? .*function, not int"):
        decorator(1)


def test_what_is_async_already():
    with pytest.raises(TypeError, match="it is async already: await it"):
        sync_to_async(nothing)
    with pytest.raises(TypeError, match="it is async already: await it"):
        sync_to_async(autokill_greenlet=False)(nothing)


@pytest.mark.parametrize("call", [future_to_greenlet, lambda it, loop: await_on(it, loop)])
def test_a_closed_loop_is_refused_by_name(call):
    loop = eventlet_asyncio.new_event_loop()
    loop.close()
    coroutine = nothing()
    with pytest.raises(RuntimeError, match="is closed: name another loop"):
        call(coroutine, loop=loop)
    coroutine.close()


def await_on(coroutine, loop):
    green = eventlet.spawn(lambda: None)
    return greenlet_to_future(green, loop=loop)


def test_a_green_thread_of_another_thread(in_thread):
    green = eventlet.spawn(eventlet.sleep, 0)

    def other():
        eventlet_asyncio.use_hub()
        with pytest.raises(RuntimeError, match="belongs to the hub of another thread"):
            greenlet_to_future(green)

    in_thread(other)
    green.wait()


def test_a_plain_greenlet_that_has_started():
    def body():
        eventlet.sleep(0)

    started = greenlet.greenlet(body)
    eventlet.hubs.get_hub().schedule_call_global(0, started.switch)
    eventlet.sleep(0)
    with pytest.raises(RuntimeError, match=r"use eventlet.spawn\(\)"):
        greenlet_to_future(started)


def test_await_on_the_hubs_own_greenlet(hub):
    errors = []

    def called_by_the_hub():
        coroutine = nothing()
        try:
            await_(coroutine)
        except RuntimeError as error:
            errors.append(str(error))
        coroutine.close()

    hub.schedule_call_global(0, called_by_the_hub)
    eventlet.sleep(0)
    assert errors == ["do not call blocking functions from the mainloop"]


def test_a_green_block_in_a_task_of_a_loop_that_is_not_ours():
    loop = asyncio.SelectorEventLoop()

    async def main():
        with pytest.raises(RuntimeError) as raised:
            await_(nothing())
        return str(raised.value)

    message = loop.run_until_complete(main())
    loop.close()
    assert "is not an eventlet_asyncio loop" in message
    for way_out in ("eventlet_asyncio.new_event_loop", "sync_to_async", "uvicorn --loop"):
        assert way_out in message


def test_an_await_of_something_that_belongs_to_another_loop():
    other = eventlet_asyncio.new_event_loop()
    future = other.create_future()

    async def main():
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await_(future)

    eventlet_asyncio.run(main())
    other.close()


def test_the_hubs_loop_is_not_closed_by_hand(hub):
    with pytest.raises(RuntimeError, match="close only loops that you made"):
        hub.loop.close()


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'eventlet_asyncio' has no attribute 'nonsense'"):
        eventlet_asyncio.nonsense  # noqa: B018


def test_a_missing_extension_module_says_which_wheel_is_missing(tmp_path):
    package = tmp_path / "eventlet_asyncio"
    package.mkdir()
    source = eventlet_asyncio.__path__[0]
    for name in ("__init__.py", "_extension.py"):
        with open(f"{source}/{name}") as original:
            (package / name).write_text(original.read())
    ended = subprocess.run(
        [sys.executable, "-c", "import eventlet_asyncio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ImportError: eventlet_asyncio has no extension module for cpython")
    version = "{}{}".format(*sys.version_info[:2])
    assert f"built for cp{version} on this platform" in last
    assert sysconfig.get_platform() in last
    assert "--python {}.{}".format(*sys.version_info[:2]) in last
