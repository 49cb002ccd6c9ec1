"""What the tests share: each begins without a hub, without patches and with asyncio as it comes."""

import asyncio
import gc
import os
import pathlib
import signal
import socket
import threading

import pytest

os.environ["EVENTLET_TESTS"] = "1"

import eventlet  # noqa: E402
from eventlet import hubs  # noqa: E402

import eventlet_asyncio  # noqa: E402
from eventlet_asyncio import _patches, use_hub  # noqa: E402
from tests import hosts  # noqa: E402

pytest.register_assert_rewrite("programs")

# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--failures", type=pathlib.Path, metavar="FILE", help="what failed, and how it ended")


def pytest_terminal_summary(terminalreporter, config):
    """A run over several Pythons shows at its end what failed on each."""
    path = config.getoption("--failures")
    reports = [report for kind in ("failed", "error") for report in terminalreporter.getreports(kind)]
    if path is not None and reports:
        ends = ("\n".join([report.nodeid, *report.longreprtext.splitlines()[-30:], ""]) for report in reports)
        path.write_text("\n".join(ends))


def leave_hub():
    """End the hub of this thread, as the end of the thread would."""
    vars(hubs._threadlocal).clear()
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def settled():
    """What is there before the first test of a file is no garbage, and need not be looked at after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_slate(monkeypatch):
    """Nothing of one test is there in the next."""
    monkeypatch.delenv("EVENTLET_HUB", raising=False)
    yield
    leave_hub()
    _patches.undo()
    asyncio.set_event_loop_policy(None)


@pytest.fixture
def hub():
    """A hub of ours in this thread."""
    use_hub()
    return hubs.get_hub()


@pytest.fixture
def quiet(hub, capfd, caplog, recwarn):
    """Fails a test in which asyncio or Python complained; eventlet's own printing is off."""
    hub.set_timer_exceptions(False)
    yield
    gc.collect()
    assert capfd.readouterr().err == ""
    assert caplog.text == ""
    assert [str(warning.message) for warning in recwarn] == []


@pytest.fixture
def loop():
    """A loop of ours that does not run yet."""
    loop = eventlet_asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def pair():
    """Two connected sockets that do not block."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    yield left, right
    left.close()
    right.close()


@pytest.fixture(params=["in a green thread", "in a task"])
def await_somewhere(request):
    """Runs a function that calls await_, where the parameter says, and gives its result."""
    if request.param == "in a green thread":
        return lambda function: eventlet.spawn(function).wait()

    def below_a_task(function):
        async def step():
            return function()

        return eventlet_asyncio.run(step())

    return below_a_task


@pytest.fixture
def in_thread():
    """Calls a function in a thread of its own, which has no hub, and gives its result."""

    def call(function, *arguments):
        outcome = []

        def body():
            try:
                outcome.append((function(*arguments), None))
            except BaseException as exception:
                outcome.append((None, exception))

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        ((result, exception),) = outcome
        if exception is not None:
            raise exception
        return result

    return call


@pytest.fixture(params=hosts.EVERY.values(), ids=hosts.EVERY)
def host(request, in_thread):
    """Runs an async function on each kind of host."""
    return lambda main: in_thread(request.param, main)


@pytest.fixture(params=hosts.BLOCKING.values(), ids=hosts.BLOCKING)
def blocking_host(request, in_thread):
    """Runs an async function, whose tasks may block greenly, on each kind of host where they may."""
    return lambda main: in_thread(request.param, main)


def run_on_hub(name, in_thread):
    def body(function):
        hosts.use_hub(name)
        return function()

    return lambda function: in_thread(body, function)


@pytest.fixture(params=hosts.HUBS)
def on_hub(request, in_thread):
    """Runs green code on each kind of hub that can host a loop of ours."""
    return run_on_hub(request.param, in_thread)


@pytest.fixture(params=hosts.ALL_HUBS)
def on_any_hub(request, in_thread):
    """The same, and with eventlet's asyncio hub, under which no other loop can run."""
    return run_on_hub(request.param, in_thread)
