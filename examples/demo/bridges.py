"""How each hub lets one world wait for the other.

A bridge has `from_green`, which waits in green code for an awaitable, `from_async`, which waits in
async code for a green thread, and `launch`, which starts a coroutine and waits for nothing.
"""

import asyncio

import eventlet


class Ours:
    """The functions of this project."""

    def __init__(self):
        import eventlet_asyncio

        self.crossings = 0
        self._future_to_greenlet = eventlet_asyncio.future_to_greenlet
        self._greenlet_to_future = eventlet_asyncio.greenlet_to_future

    def from_green(self, awaitable):
        self.crossings += 1
        return self._future_to_greenlet(awaitable).wait()

    async def from_async(self, green_thread):
        self.crossings += 1
        return await self._greenlet_to_future(green_thread)

    def launch(self, coroutine):
        self._future_to_greenlet(coroutine)


class Theirs:
    """The functions that come with eventlet, for its hub on asyncio."""

    def __init__(self):
        from eventlet.asyncio import spawn_for_awaitable

        self.crossings = 0
        self._spawn_for_awaitable = spawn_for_awaitable

    def from_green(self, awaitable):
        try:
            green_thread = self._spawn_for_awaitable(awaitable)
        except RuntimeError:
            awaitable.close()
            raise
        self.crossings += 1
        return green_thread.wait()

    async def from_async(self, green_thread):
        try:
            result = await green_thread
        except RuntimeError:
            # Refused, it would otherwise fetch its page with nobody to take it.
            green_thread.cancel()
            raise
        self.crossings += 1
        return result

    def launch(self, coroutine):
        self._spawn_for_awaitable(coroutine)


class Apart(Theirs):
    """The same functions beside a loop that runs in a green thread of its own.

    A hub without asyncio refuses them, but does run such a loop, if nothing in it ever blocks.
    """

    def __init__(self):
        super().__init__()
        self._loop = asyncio.new_event_loop()
        eventlet.spawn(self._loop.run_forever)

    def launch(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)


def make(hub):
    return {"ours": Ours, "asyncio": Theirs, "epolls": Apart}[hub]()
