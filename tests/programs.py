"""What the tests of real programs share: they run on a loop of ours, and nothing may be left of them."""

import asyncio
import collections
import contextlib
import gc
import os
import re
import ssl
import sys
import time
import warnings

import pytest

import eventlet
import eventlet_asyncio

from conftest import leave_hub


def descriptors():
    """How many open descriptors of each kind the process has."""
    kinds = collections.Counter()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # As that of the folder is closed by now.
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            kinds[re.match(r"[^[#]*", name).group()] += 1  # Without the number of its inode.
    return kinds


def left_since(before):
    """What descriptors there are more, when a library's own thread, as grpc's, has had time to close its."""
    end = time.monotonic() + 10
    while (left := descriptors() - before) and time.monotonic() < end:
        time.sleep(0.01)
    return left


async def _warm_up():
    eventlet.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, int)


COMPLAINTS = (ResourceWarning, RuntimeWarning)

# Before Python 3.11 asyncio says so of TLS that its peer closed, on its own loop, too.
OF_ASYNCIO = ("unclosed transport <asyncio.sslproto.",) if sys.version_info < (3, 11) else ()


@pytest.fixture
def program(caplog, capfd):
    """Runs a coroutine on a loop of ours; then no descriptor, warning or complaint may be left."""
    eventlet_asyncio.run(_warm_up())
    leave_hub()
    before = descriptors()

    def run(main):
        async def limited():
            return await asyncio.wait_for(main, 45)

        return eventlet_asyncio.run(limited())

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield run
        leave_hub()
        gc.collect()
    assert left_since(before) == collections.Counter()
    complaints = (str(one.message) for one in caught if issubclass(one.category, COMPLAINTS))
    assert [text for text in complaints if not text.startswith(OF_ASYNCIO)] == []
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture(scope="session")
def certificates():
    """A context for servers and one for clients that trust them."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client
