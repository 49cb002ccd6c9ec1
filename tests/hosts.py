"""Who may wait for a loop and a hub: the kinds of host, on each of which a scenario can run.

A scenario is an async function that takes nothing; on each host it runs in a thread of its own. The fixtures `host`,
`blocking_host`, `on_hub` and `on_any_hub` of conftest.py run one on the hosts that are listed here.
"""

import asyncio
import os

import eventlet
import uvloop
from eventlet import hubs

import eventlet_asyncio
from eventlet_asyncio import await_

#: Hubs under which a loop of ours can run, and all.
HUBS = ("eventlet_asyncio.hub", "epolls", "poll", "selects")
ALL_HUBS = (*HUBS, "asyncio")


def use_hub(name):
    """As eventlet's, without what its asyncio hub changes for forks, in all later tests."""
    if name != "asyncio":
        hubs.use_hub(name)
        return
    register, os.register_at_fork = os.register_at_fork, lambda **_: None
    on_fork = getattr(asyncio.events, "on_fork", None)
    code = getattr(on_fork, "__code__", None)
    try:
        hubs.use_hub(name)
        hubs.get_hub()
    finally:
        os.register_at_fork = register
        if on_fork is not None:
            on_fork.__code__ = code


def loop_first(main):
    return eventlet_asyncio.run(main())


def hub_first(main):
    eventlet_asyncio.use_hub()
    return await_(main())


def loop_in_green_thread(main):
    eventlet_asyncio.use_hub()
    return eventlet.spawn(eventlet_asyncio.run, main()).wait()


def foreign(make_loop):
    def run(main):
        eventlet_asyncio.use_hub()
        loop = make_loop()
        try:
            return loop.run_until_complete(main())
        finally:
            loop.close()

    return run


def other_hub(name):
    def run(main):
        use_hub(name)
        return await_(main())

    return run


#: Where a task may block greenly, since a loop of ours runs it.
BLOCKING = {
    "our loop": loop_first,
    "our hub": hub_first,
    "our loop in a green thread": loop_in_green_thread,
    "epolls": other_hub("epolls"),
    "poll": other_hub("poll"),
}
#: Where it may not, and calls green code by sync_to_async() or by a green thread that it awaits.
FOREIGN = {
    "stdlib": foreign(asyncio.SelectorEventLoop),
    "uvloop": foreign(uvloop.Loop),
    "eventlet's asyncio hub": other_hub("asyncio"),
}
EVERY = {**BLOCKING, **FOREIGN}
