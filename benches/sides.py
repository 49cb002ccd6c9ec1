"""What the rows of the bridge need of each contender, under names that they share.

A name may say more than the contender, behind a comma: where the work is done.
"""

import asyncio
import os
import types


def load(contender):
    library, _, where = contender.partition(", ")
    return LIBRARIES[library](where)


def _ours(where):
    if where in ("bare", "no hub"):
        import eventlet_asyncio

        # By the policy, as where green threads call it.
        eventlet_asyncio.install()
        return types.SimpleNamespace(
            in_async=eventlet_asyncio.run, in_green=_call, run=asyncio.run
        )
    side = _eventlet("eventlet_asyncio.hub")
    side.in_tasks = where != "in a green thread"
    import eventlet_asyncio

    def below_task(body):
        async def main():
            return body()

        return asyncio.run(main())

    side.await_ = eventlet_asyncio.await_
    side.future = eventlet_asyncio.future_to_greenlet
    side.in_async = eventlet_asyncio.await_
    side.run = asyncio.run
    side.below_task = below_task
    return side


def _asyncio_hub(where):
    side = _eventlet("asyncio")
    side.in_tasks = False
    from eventlet.asyncio import spawn_for_awaitable

    def await_(awaitable):
        return spawn_for_awaitable(awaitable).wait()

    side.await_ = side.in_async = await_
    side.future = spawn_for_awaitable
    return side


def _eventlet(hub):
    os.environ["EVENTLET_HUB"] = hub
    from eventlet import hubs

    # Ours replaces some of eventlet's functions when its hub is made.
    hubs.get_hub()
    import eventlet
    from eventlet.green import socket

    def in_green(body):
        return eventlet.spawn(body).wait()

    def all_at_once(body, count):
        for thread in [eventlet.spawn(body) for _ in range(count)]:
            thread.wait()

    return types.SimpleNamespace(
        in_green=in_green,
        all_at_once=all_at_once,
        spawn=eventlet.spawn,
        sleep=eventlet.sleep,
        socketpair=lambda: [socket.socket(fileno=end.detach()) for end in _pair()],
    )


def _pair():
    from eventlet import patcher

    return patcher.original("socket").socketpair()


def _greenletio(where):
    import greenletio

    def in_green(body):
        return asyncio.run(greenletio.async_(body)())

    def spawn(function, *args):
        return greenletio.async_(function)(*args)

    def all_at_once(body, count):
        async def main():
            await asyncio.gather(*(spawn(body) for _ in range(count)))

        asyncio.run(main())

    return types.SimpleNamespace(
        in_green=in_green,
        all_at_once=all_at_once,
        below_task=in_green,
        in_async=asyncio.run,
        await_=greenletio.await_,
        spawn=spawn,
    )


def _greenback(where):
    import greenback

    def in_green(body):
        async def main():
            await greenback.ensure_portal()
            return body()

        return asyncio.run(main())

    return types.SimpleNamespace(in_green=in_green, below_task=in_green, await_=greenback.await_)


def _asgiref(where):
    """Code that blocks has a thread of its own there, and awaits in the thread of the loop."""
    from asgiref.sync import async_to_sync, sync_to_async

    async def same(awaitable):
        return await awaitable

    def in_green(body):
        return asyncio.run(sync_to_async(body)())

    def spawn(function, *args):
        return sync_to_async(function)(*args)

    return types.SimpleNamespace(
        in_green=in_green,
        below_task=in_green,
        in_async=asyncio.run,
        await_=async_to_sync(same),
        spawn=spawn,
    )


def _asyncio_gevent(where):
    """Its loop runs in gevent's hub, and its green threads are gevent's."""
    import asyncio_gevent
    import gevent

    asyncio.set_event_loop_policy(asyncio_gevent.EventLoopPolicy())

    def spawn(function, *args):
        return asyncio_gevent.greenlet_to_future(gevent.spawn(function, *args))

    return types.SimpleNamespace(in_async=asyncio.run, spawn=spawn)


def _call(body):
    return body()


LIBRARIES = {
    "ours": _ours,
    "asyncio": _asyncio_hub,
    "greenletio": _greenletio,
    "greenback": _greenback,
    "asgiref": _asgiref,
    "asyncio-gevent": _asyncio_gevent,
}
