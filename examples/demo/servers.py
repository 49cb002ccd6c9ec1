"""The two servers, each on a port of its own on the loopback address."""

import eventlet
import eventlet.wsgi
from aiohttp import web

BODY = b"A page of a kilobyte. ".ljust(1024, b".")


def serve_green():
    """Starts eventlet's WSGI server and gives its address."""

    def application(environ, start_response):
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]
        start_response("200 OK", headers)
        return [BODY]

    listener = eventlet.listen(("127.0.0.1", 0), backlog=1024)
    eventlet.spawn(eventlet.wsgi.server, listener, application, log_output=False)
    return address(listener)


def serve_async(bridge):
    """Starts aiohttp's server and gives its address."""

    async def page(request):
        return web.Response(body=BODY, content_type="text/plain")

    async def start():
        application = web.Application()
        application.router.add_get("/", page)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        started.send("http://127.0.0.1:{}/".format(runner.addresses[0][1]))

    started = eventlet.Event()
    bridge.launch(start())
    with eventlet.Timeout(30):
        return started.wait()


def address(listener):
    return "http://127.0.0.1:{}/".format(listener.getsockname()[1])
