"""What the rows of the hub need of each contender, under names that they share."""

import os
import types

# Contenders that are hubs of eventlet, by what EVENTLET_HUB calls them.
HUBS = {"ours": "eventlet_asyncio.hub", "epolls": "epolls", "asyncio": "asyncio"}


def load(contender):
    """The functions of a contender, its hub running in this thread.

    A name may say more than the contender, behind a comma.
    """
    library = contender.partition(",")[0]
    if library == "gevent":
        return _gevent()
    os.environ["EVENTLET_HUB"] = HUBS[library]
    return _eventlet()


def _eventlet():
    from eventlet import hubs

    # Ours replaces some of eventlet's functions when its hub is made.
    hubs.get_hub()
    import eventlet
    import eventlet.event
    import eventlet.queue
    import eventlet.semaphore
    import eventlet.wsgi
    from eventlet.green import socket

    def serve(application):
        listener = eventlet.listen(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        eventlet.wsgi.server(listener, application, log_output=False)

    def wait_readable(fd):
        hubs.trampoline(fd, read=True)

    return types.SimpleNamespace(
        sleep=eventlet.sleep,
        spawn=eventlet.spawn,
        wait=eventlet.greenthread.GreenThread.wait,
        Timeout=eventlet.Timeout,
        Event=eventlet.event.Event,
        send=eventlet.event.Event.send,
        receive=eventlet.event.Event.wait,
        Queue=eventlet.queue.Queue,
        Semaphore=eventlet.semaphore.Semaphore,
        socket=socket,
        wait_readable=wait_readable,
        serve=serve,
    )


def _gevent():
    import gevent
    import gevent.event
    import gevent.lock
    import gevent.pywsgi
    import gevent.queue
    import gevent.socket

    gevent.get_hub()

    def serve(application):
        server = gevent.pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None)
        server.start()
        print(server.server_port, flush=True)
        server.serve_forever()

    return types.SimpleNamespace(
        sleep=gevent.sleep,
        spawn=gevent.spawn,
        wait=gevent.Greenlet.get,
        Timeout=gevent.Timeout,
        Event=gevent.event.AsyncResult,
        send=gevent.event.AsyncResult.set,
        receive=gevent.event.AsyncResult.get,
        Queue=gevent.queue.Queue,
        Semaphore=gevent.lock.Semaphore,
        socket=gevent.socket,
        wait_readable=gevent.socket.wait_read,
        serve=serve,
    )
