"""The three kinds of client; each runs a number of its kind at once, and counts into a part."""

import asyncio
from urllib.request import urlopen

import aiohttp
import eventlet

from servers import BODY


async def get_with_aiohttp(url):
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            return await response.read()


def get_with_urlopen(url):
    with urlopen(url) as response:
        return response.read()


def check(body):
    if body != BODY:
        raise AssertionError(f"the page has {len(body)} bytes instead of {len(BODY)}")


def green_code(bridge, part, url, clients):
    """Green threads that wait for a coroutine."""

    def client():
        while part.begin():
            with part.one():
                check(bridge.from_green(get_with_aiohttp(url)))
            # A hub that refuses at once would otherwise get no turn.
            eventlet.sleep(0)

    for _ in range(clients):
        eventlet.spawn(client)


def async_code(bridge, part, url, clients):
    """Tasks that wait for a green thread."""

    async def client():
        while part.begin():
            with part.one():
                check(await bridge.from_async(eventlet.spawn(get_with_urlopen, url)))
            await asyncio.sleep(0)

    launch(bridge, client, clients)


def direct_calls(bridge, part, url, clients):
    """Tasks that call a function which looks as if it blocked."""

    async def client():
        while part.begin():
            with part.one():
                check(get_with_urlopen(url))
                bridge.crossings += 1
            await asyncio.sleep(0)

    launch(bridge, client, clients)


def launch(bridge, client, clients):
    for _ in range(clients):
        bridge.launch(client())
