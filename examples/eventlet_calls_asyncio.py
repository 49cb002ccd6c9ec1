"""Green code fetches a page with aiohttp: python eventlet_calls_asyncio.py URL"""

import sys

import aiohttp
import eventlet_asyncio
from eventlet_asyncio import future_to_greenlet


async def get_url_body(url):
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as response:
            return await response.text()


def eventlet_code(url):
    green_thread = future_to_greenlet(get_url_body(url))
    return green_thread.wait()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    eventlet_asyncio.use_hub()
    print(eventlet_code(sys.argv[1]))
