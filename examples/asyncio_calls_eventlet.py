"""async code fetches a page with urlopen: python asyncio_calls_eventlet.py URL"""

import eventlet
import eventlet_asyncio

eventlet_asyncio.use_hub()
eventlet.monkey_patch()

import sys
from urllib.request import urlopen  # monkey-patched

from eventlet_asyncio import greenlet_to_future


def get_url_body(url):
    return urlopen(url).read()  # looks blocking, but is not


async def asyncio_code(url):
    greenlet = eventlet.spawn(get_url_body, url)
    return await greenlet_to_future(greenlet)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(eventlet_asyncio.run(asyncio_code(sys.argv[1])).decode())
