"""In async code of a monkey-patched program `select.select()` only asks where it is not to wait: nobody else runs."""

import eventlet

eventlet.monkey_patch()

import asyncio  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import socket  # noqa: E402

import httpx  # noqa: E402

import eventlet_asyncio  # noqa: E402

assert not hasattr(select, "poll")


async def counts(turns):
    while True:
        turns.append(None)
        await asyncio.sleep(0)


async def asks_at_once():
    ours, theirs = socket.socketpair()
    turns = []
    other = asyncio.create_task(counts(turns))
    await asyncio.sleep(0)
    turns.clear()
    assert select.select([ours], [], [], 0) == ([], [], [])
    assert select.select([ours], [ours, theirs], [theirs], 0.0) == ([], [ours, theirs], [])
    theirs.send(b"x")
    assert select.select([ours, ours.fileno(), theirs], [], [], 0) == ([ours, ours.fileno()], [], [])
    assert turns == []
    # With a time it waits, and others run.
    assert select.select([ours], [], [], 10) == ([ours], [], [])
    assert turns != []
    other.cancel()
    ours.close()
    theirs.close()


async def refuses_what_is_closed():
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    try:
        select.select([reader], [], [], 0)
    except OSError as error:
        assert error.errno == 9
    else:
        raise AssertionError("the descriptor is closed")


async def asks_for_what_another_waits_for():
    ours, theirs = socket.socketpair()
    green = eventlet.spawn(ours.recv, 1)
    await asyncio.sleep(0.01)
    assert select.select([ours], [], [], 0) == ([], [], [])
    theirs.send(b"x")
    assert await green == b"x"
    ours.close()
    theirs.close()


async def many_share_a_client():
    class Answers(asyncio.Protocol):
        def connection_made(self, transport):
            self._transport = transport

        def data_received(self, data):
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            loop.call_later(0.001, self._transport.write, answer)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = httpx.Limits(max_connections=5)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:

        async def gets():
            for _ in range(10):
                answer = await client.get(f"http://127.0.0.1:{port}/")
                assert answer.text == "ok"

        await asyncio.gather(*(gets() for _ in range(10)))
    server.close()


def in_a_green_thread_others_run():
    ours, theirs = socket.socketpair()
    turns = []
    eventlet.spawn(turns.append, None)
    assert select.select([ours], [], [], 0) == ([], [], [])
    assert turns == [None]
    ours.close()
    theirs.close()


eventlet_asyncio.use_hub()
for scenario in (asks_at_once, refuses_what_is_closed, asks_for_what_another_waits_for, many_share_a_client):
    eventlet_asyncio.run(scenario())
in_a_green_thread_others_run()
print("pass")
