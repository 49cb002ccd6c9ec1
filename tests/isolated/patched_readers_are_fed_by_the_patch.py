"""Who has replaced a method of asyncio's stream readers, before any transport was made, has it called."""

import asyncio
import functools
import socket

import eventlet_asyncio

fed = []
original = asyncio.StreamReader.feed_data


@functools.wraps(original)
def feed_data(self, data):
    fed.append(data)
    original(self, data)


async def main():
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    far.send(b"data")
    assert await reader.read(10) == b"data"
    writer.close()
    far.close()


asyncio.StreamReader.feed_data = feed_data
eventlet_asyncio.run(main())
assert fed == [b"data"], fed
print("pass")
