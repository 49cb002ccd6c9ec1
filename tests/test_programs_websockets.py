"""websockets, both ends of it on the loop, beside code that blocks greenly."""

import asyncio

import eventlet
import pytest

from eventlet_asyncio import await_
from programs import certificates, program  # noqa: F401

pytest.importorskip("websockets")
from websockets.asyncio.client import connect  # noqa: E402
from websockets.asyncio.server import broadcast, serve  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402


def address(server, scheme="ws"):
    port = next(iter(server.sockets)).getsockname()[1]
    return f"{scheme}://localhost:{port}"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_messages_of_any_size_while_handlers_block_greenly(program, certificates, tls):
    server_side, client_side = certificates if tls else (None, None)

    async def handler(websocket):
        async for message in websocket:
            eventlet.sleep(0.001)
            await websocket.send(message)

    async def main():
        options = {"ssl": client_side} if tls else {}
        async with serve(handler, "127.0.0.1", 0, ssl=server_side, max_size=None) as server:
            url = address(server, "wss" if tls else "ws")

            async def client(number):
                async with connect(url, max_size=None, **options) as websocket:
                    for size in (0, 1, 126, 70_000, 300_000):
                        message = bytes([number]) * size
                        await websocket.send(message)
                        assert await websocket.recv() == message
                    assert await (await websocket.ping()) >= 0

            await asyncio.gather(*map(client, range(10)))

    program(main())


def test_a_reader_that_sleeps_greenly_holds_its_writer_back(program):
    async def handler(websocket):
        for _ in range(40):
            await websocket.send(b"x" * 100_000)
        await websocket.close(code=4000, reason="enough")

    async def main():
        async with serve(handler, "127.0.0.1", 0, compression=None) as server:
            async with connect(address(server), max_queue=2, compression=None) as websocket:
                sizes = []
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        sizes.append(len(await websocket.recv()))
                        eventlet.sleep(0.002)
                assert sizes == [100_000] * 40
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "enough")

    program(main())


def test_green_threads_talk_by_await(program):
    async def handler(websocket):
        async for message in websocket:
            await websocket.send(message[::-1])

    async def main():
        async with serve(handler, "127.0.0.1", 0) as server:

            def client(number):
                websocket = await_(connect(address(server)))
                for turn in range(3):
                    await_(websocket.send(f"{number}, {turn}"))
                    assert await_(websocket.recv()) == f"{number}, {turn}"[::-1]
                await_(websocket.close())
                return number

            greens = [eventlet.spawn(client, number) for number in range(10)]
            assert [await green for green in greens] == list(range(10))

    program(main())


def test_who_does_not_listen_is_told_when_the_server_stops(program):
    connections = set()

    async def handler(websocket):
        connections.add(websocket)
        await websocket.wait_closed()
        connections.remove(websocket)

    async def main():
        async with serve(handler, "127.0.0.1", 0) as server:
            clients = [await connect(address(server)) for _ in range(10)]
            while len(connections) < 10:
                await asyncio.sleep(0)
            broadcast(connections, "to all")
            assert [await client.recv() for client in clients] == ["to all"] * 10
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(clients[0].recv(), 0.01)
            server.close()
            for client in clients:
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                assert closed.value.rcvd.code == 1001
                await client.close()
        assert not connections

    program(main())
