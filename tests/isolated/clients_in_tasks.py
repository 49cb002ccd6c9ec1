"""requests, urllib and PyMySQL block greenly inside tasks and callbacks, and their servers run on the same loop."""

import asyncio
import contextvars
import logging
import urllib.request

import eventlet

eventlet.monkey_patch()

import pymysql  # noqa: E402
import requests  # noqa: E402

import eventlet_asyncio  # noqa: E402
from eventlet_asyncio import await_, sync_to_async  # noqa: E402

variable = contextvars.ContextVar("variable")


async def serve_page(reader, writer):
    request = await reader.readuntil(b"\r\n\r\n")
    path = request.split(b" ")[1]
    await asyncio.sleep(0.005)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(path), path))
    await writer.drain()
    writer.close()


def packet(number, body):
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def field(text):
    return bytes([len(text)]) + text


HELLO = (
    b"\x0a8.0.0\0" + bytes(4) + b"12345678\0" + b"\xff\xf7\x21\x02\0\xff\x81\x15" + bytes(10)
    + b"123456789012\0mysql_native_password\0"
)
OK = b"\0\0\0\x02\0\0\0"
END = b"\xfe\0\0\x02\0"
COLUMN = b"".join(map(field, [b"def", b"", b"", b"", b"answer", b""])) + b"\x0c\x21\0\xff\0\0\0\xfd\0\0\0\0\0"


async def serve_queries(reader, writer):
    """As much of MySQL's protocol as a client needs to log in and to get a row, the text of its query."""

    async def receive():
        head = await reader.readexactly(4)
        return await reader.readexactly(int.from_bytes(head[:3], "little"))

    writer.write(packet(0, HELLO))
    await receive()
    writer.write(packet(2, OK))
    while True:
        command = await receive()
        if command[:1] == b"\x01":
            break
        if not command[1:].startswith(b"select"):
            writer.write(packet(1, OK))
            continue
        await asyncio.sleep(0.005)
        rows = [b"\x01", COLUMN, END, field(command[1:]), END]
        writer.write(b"".join(packet(number + 1, row) for number, row in enumerate(rows)))
    writer.close()


def get(port, path):
    return requests.get(f"http://127.0.0.1:{port}/{path}", timeout=20).text


def urlopen(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as response:
        return response.read().decode()


def query(port, text):
    connection = pymysql.connect(host="127.0.0.1", port=port, user="u", password="p", database="d")
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"select {text}")
            return cursor.fetchone()[0]
    finally:
        connection.close()


async def step(call, port, text):
    """Calls what blocks; afterwards all is as it was."""
    mine, loop = asyncio.current_task(), asyncio.get_running_loop()
    variable.set(text)
    before = mine.get_name()
    found = call(port, text)
    assert asyncio.current_task() is mine and asyncio.get_running_loop() is loop
    assert mine.get_name() == before and variable.get() == text
    return found


async def main():
    pages = await asyncio.start_server(serve_page, "127.0.0.1", 0)
    queries = await asyncio.start_server(serve_queries, "127.0.0.1", 0)
    page_port, query_port = (each.sockets[0].getsockname()[1] for each in (pages, queries))
    ticks = []

    async def ticks_on():
        while True:
            await asyncio.sleep(0.001)
            ticks.append(None)

    ticking = asyncio.create_task(ticks_on())
    calls = [(get, page_port, "a"), (urlopen, page_port, "b"), (query, query_port, "c")] * 3
    expected = ["/a", "/b", "select c"] * 3
    assert await asyncio.gather(*(step(*call) for call in calls)) == expected
    assert ticks
    # In callbacks that belong to no task, and in green threads that a task awaits.
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_soon(lambda: done.set_result([call(port, text) for call, port, text in calls[:3]]))
    assert await done == expected[:3]
    assert await asyncio.gather(*(sync_to_async(call)(*rest) for call, *rest in calls)) == expected
    ticking.cancel()
    pages.close()
    queries.close()


eventlet_asyncio.run(main())
asyncio.run(main())
await_(main())
eventlet.spawn(asyncio.run, main()).wait()
# At the end of the interpreter old greenlets tell the locks of logging's weak references another owner each time.
logging._handlerList.clear()
print("pass")
