"""The work of the rows of web servers, each in a process of its own.

`run` is what `traffic.load()` gives.
"""

import asyncio

import traffic
import work


def aiohttp_hello(run, size, contender):
    return work.under_wrk(f"import web; web.serve({contender!r})", size)


def serve(contender):
    """A server of aiohttp's, which says where it is and then serves for ever."""
    from aiohttp import web

    async def hello(request):
        return web.Response(text="Hello, world")

    async def main():
        application = web.Application()
        application.router.add_get("/", hello)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    traffic.load(contender)(main())
