"""A program that is asyncio alone never imports eventlet."""

import asyncio
import sys

import eventlet_asyncio


async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    server.close()
    await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(10)))
    return await asyncio.to_thread(lambda: 1)


assert eventlet_asyncio.run(main()) == 1
eventlet_asyncio.install()
assert asyncio.run(main()) == 1
loop = eventlet_asyncio.new_event_loop()
asyncio.set_event_loop(loop)
assert asyncio.get_event_loop() is loop
assert loop.run_until_complete(main()) == 1
loop.close()
assert not [name for name in sys.modules if name.split(".")[0] == "eventlet"]
print("pass")
