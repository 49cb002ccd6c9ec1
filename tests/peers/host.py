"""Runs pytest for tests of asyncio programs, which know of no loop but asyncio's, on what they are to run on.

    python host.py stdlib|loop|hub|green ARGUMENTS-OF-PYTEST

`hub` and `green` have our hub in the thread, and `green` has all tests in one of its green threads.
"""

import asyncio
import os
import sys


def prepare(host):
    """Makes the host and gives the kind of its loops."""
    if host == "stdlib":
        return asyncio.SelectorEventLoop
    import eventlet_asyncio

    if host == "loop":
        eventlet_asyncio.install()
    else:
        os.environ["EVENTLET_HUB"] = "eventlet_asyncio.hub"
        import eventlet.hubs

        # From here on asyncio.run() makes our loops.
        eventlet.hubs.get_hub()
    if hasattr(asyncio, "EventLoop"):
        # Tests that make one themselves would otherwise be about asyncio's.
        asyncio.EventLoop = eventlet_asyncio.EventLoop
    return eventlet_asyncio.EventLoop


def count(kind, recorder):
    """Has the recorder know of each loop of a kind that is made."""
    make = asyncio.BaseEventLoop.__init__

    def __init__(loop):
        make(loop)
        recorder.loops += isinstance(loop, kind)

    asyncio.BaseEventLoop.__init__ = __init__


def main():
    host, *arguments = sys.argv[1:]
    kind = prepare(host)
    import pytest
    import record

    count(kind, record)
    run, plugins = pytest.main, [record]
    if host == "green":
        import eventlet

        sys.exit(eventlet.spawn(run, arguments, plugins).wait())
    sys.exit(run(arguments, plugins))


# Processes that the tests start may import this file, as the main module of the one that starts them.
if __name__ == "__main__":
    main()
