"""What the tests share: each begins without a hub, without patches and with asyncio as it comes."""

import asyncio
import gc
import os
import threading

import pytest

os.environ["EVENTLET_TESTS"] = "1"

from eventlet import hubs  # noqa: E402

from eventlet_asyncio import _patches, use_hub  # noqa: E402


def leave_hub():
    """End the hub of this thread, as the end of the thread would."""
    vars(hubs._threadlocal).clear()
    gc.collect()


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
