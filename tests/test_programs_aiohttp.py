"""aiohttp's servers, clients and websockets, on the loop, beside code that blocks greenly."""

import asyncio
import contextlib

import eventlet
import pytest
from eventlet import event
from eventlet.green import socket as green_socket

from programs import certificates, program  # noqa: F401

aiohttp = pytest.importorskip("aiohttp")
web = pytest.importorskip("aiohttp.web")


@contextlib.asynccontextmanager
async def serving(routes, ssl=None, **options):
    """A server with these routes, and the address at which it is."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, **options)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield "{}://localhost:{}".format("http" if ssl is None else "https", port)
    finally:
        await runner.cleanup()


def test_requests_go_on_beside_handlers_that_block_greenly(program):
    begun, goes_on = [], event.Event()

    async def sleeps(request):
        begun.append(request)
        goes_on.wait()
        return web.Response(text=asyncio.current_task().get_name())

    async def quick(request):
        return web.Response(text="quick")

    async def main():
        routes = [web.get("/sleeps", sleeps), web.get("/quick", quick)]
        async with serving(routes) as url, aiohttp.ClientSession() as session:

            async def get(path):
                async with session.get(url + path) as response:
                    return await response.text()

            sleeping = [asyncio.create_task(get("/sleeps")) for _ in range(20)]
            while len(begun) < 20:
                await asyncio.sleep(0.001)
            assert [await get("/quick") for _ in range(20)] == ["quick"] * 20
            assert not any(task.done() for task in sleeping)
            goes_on.send()
            names = await asyncio.gather(*sleeping)
            assert len(set(names)) == 20

    program(main())


def test_a_handler_asks_a_server_of_its_own_loop_by_a_green_socket(program):
    async def page(request):
        return web.Response(text="a page")

    async def proxy(request):
        client = green_socket.create_connection(("127.0.0.1", request.url.port))
        with contextlib.closing(client):
            client.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := client.recv(1000):
                answer += data
        return web.Response(body=answer.rpartition(b"\r\n\r\n")[2])

    async def main():
        routes = [web.get("/page", page), web.get("/proxy", proxy)]
        async with serving(routes) as url, aiohttp.ClientSession() as session:

            async def get():
                async with session.get(url + "/proxy") as response:
                    assert response.status == 200
                    return await response.text()

            assert await asyncio.gather(*(get() for _ in range(30))) == ["a page"] * 30

    program(main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_bodies_are_streamed_both_ways(program, certificates, tls):
    server_side, client_side = certificates if tls else (None, None)
    chunks = [bytes([number]) * 50_000 for number in range(40)]

    async def double(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for data in request.content.iter_any():
            await response.write(data)
        eventlet.sleep(0.01)
        await response.write(b"end")
        return response

    async def body():
        for chunk in chunks:
            await asyncio.sleep(0)
            yield chunk

    async def main():
        async with serving([web.post("/", double)], server_side) as url:
            async with aiohttp.ClientSession() as session:

                async def post():
                    async with session.post(url, data=body(), ssl=client_side or True) as response:
                        return b"".join([data async for data in response.content.iter_any()])

                answers = await asyncio.gather(*(post() for _ in range(4)))
                assert answers == [b"".join(chunks) + b"end"] * 4

    program(main())


def test_a_client_that_gives_up_ends_the_handler_where_it_blocks(program):
    ends = []

    async def patient(request):
        try:
            if request.query["how"] == "green":
                # A cancel comes to the task of the connection, whose own step this is until then:
                # where tasks can start at once, aiohttp has this one do so.
                await asyncio.sleep(0)
                eventlet.sleep(30)
            else:
                await asyncio.sleep(30)
        except asyncio.CancelledError:
            ends.append(request.query["how"])
            raise

    async def main():
        limit = aiohttp.ClientTimeout(total=0.05)
        async with serving([web.get("/", patient)], handler_cancellation=True) as url:
            async with aiohttp.ClientSession(timeout=limit) as session:
                for how in ("async", "green"):
                    with pytest.raises(asyncio.TimeoutError):
                        await session.get(url, params={"how": how})
            while len(ends) < 2:
                await asyncio.sleep(0.001)
        assert ends == ["async", "green"]

    program(main())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_websockets_talk_while_green_threads_answer(program, certificates, tls):
    server_side, client_side = certificates if tls else (None, None)

    def answer(data):
        eventlet.sleep(0.001)
        return data[::-1]

    async def talk(request):
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            if message.type == aiohttp.WSMsgType.BINARY:
                await websocket.send_bytes(await eventlet.spawn(answer, message.data))
            else:
                await websocket.send_str(answer(message.data))
        return websocket

    async def main():
        async with serving([web.get("/", talk)], server_side) as url:
            async with aiohttp.ClientSession() as session:

                async def client(number):
                    async with session.ws_connect(
                        url, ssl=client_side or True, compress=15 if number % 2 else 0
                    ) as websocket:
                        for turn in range(5):
                            text = f"client {number}, turn {turn}"
                            await websocket.send_str(text)
                            assert await websocket.receive_str() == text[::-1]
                            data = bytes([number, turn]) * 20_000
                            await websocket.send_bytes(data)
                            assert await websocket.receive_bytes() == data[::-1]
                        await websocket.close()
                        assert websocket.close_code == 1000

                await asyncio.gather(*(client(number) for number in range(10)))

    program(main())


def test_a_shutdown_waits_for_requests_that_are_under_way(program):
    started = asyncio.Event()

    async def slow(request):
        started.set()
        eventlet.sleep(0.05)
        await asyncio.sleep(0.05)
        return web.Response(text="done")

    async def main():
        async with aiohttp.ClientSession() as session:
            async with serving([web.get("/", slow)]) as url:

                async def get():
                    async with session.get(url) as response:
                        return await response.text()

                request = asyncio.create_task(get())
                await started.wait()
            assert await request == "done"
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(url)

    program(main())
