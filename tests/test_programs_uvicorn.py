"""uvicorn and starlette serve httpx, and anyio drives all of them, on the loop."""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys

import eventlet
import pytest

import eventlet_asyncio
from programs import program  # noqa: F401

anyio = pytest.importorskip("anyio")
httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

import uvicorn_app  # noqa: E402

OURS = "eventlet_asyncio.loop.EventLoop"


@contextlib.asynccontextmanager
async def serving(**options):
    """A server in this loop; its address."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    config = uvicorn.Config(uvicorn_app.app, log_level="warning", loop="none", **options)
    server = uvicorn.Server(config)
    # Signals are the business of the test.
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.001)
    scheme = "https" if config.is_ssl else "http"
    try:
        yield f"{scheme}://localhost:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_requests_go_on_beside_handlers_that_block_greenly(program, http):
    if http == "httptools":
        pytest.importorskip("httptools")

    async def main():
        async with serving(http=http) as url, httpx.AsyncClient(base_url=url) as client:
            slow = [asyncio.create_task(client.get("/waits")) for _ in range(10)]
            while (await client.get("/log")).json().count("waits") < 10:
                await asyncio.sleep(0.001)
            answers = await asyncio.gather(*(client.get("/about") for _ in range(20)))
            assert {answer.text for answer in answers} == {OURS}
            assert not any(task.done() for task in slow)
            await client.get("/go_on")
            answers = await asyncio.gather(*slow)
            assert {answer.text for answer in answers} == {"waited"}
            answers = await asyncio.gather(*(client.get("/itself") for _ in range(10)))
            assert {answer.text for answer in answers} == {OURS}
            assert (await client.get("/threads")).json() == [n * n for n in range(20)]

    program(main())


@pytest.fixture
def tls(tmp_path):
    """What uvicorn and httpx want for TLS."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    return str(tmp_path / "server.pem"), str(tmp_path / "authority.pem")


def test_bodies_are_streamed_over_tls(program, tls):
    certificate, authority = tls
    chunks = [bytes([number]) * 30_000 for number in range(30)]

    async def body():
        for chunk in chunks:
            await asyncio.sleep(0)
            yield chunk

    async def main():
        trust = ssl.create_default_context(cafile=authority)
        async with serving(ssl_certfile=certificate) as url:
            async with httpx.AsyncClient(base_url=url, verify=trust) as client:

                async def post():
                    async with client.stream("POST", "/echo", content=body()) as response:
                        return b"".join([data async for data in response.aiter_bytes()])

                assert await asyncio.gather(*(post() for _ in range(4))) == [b"".join(chunks)] * 4

    program(main())


def test_a_client_that_gives_up_ends_the_stream(program):
    uvicorn_app.log.clear()

    async def main():
        async with serving() as url, httpx.AsyncClient(base_url=url) as client:
            with anyio.CancelScope() as scope:
                async with client.stream("GET", "/endless") as response:
                    async for _ in response.aiter_bytes():
                        scope.cancel()
            assert scope.cancelled_caught
            while "endless was ended" not in uvicorn_app.log:
                await asyncio.sleep(0.001)
            assert (await client.get("/log?background=work")).status_code == 200
            while "work" not in uvicorn_app.log:
                await asyncio.sleep(0.001)
        assert uvicorn_app.log == ["started", "endless was ended", "work", "stopped"]

    program(main())


@pytest.mark.parametrize("library", ["websockets", "websockets-sansio"])
def test_websockets_of_uvicorn(program, library):
    websockets = pytest.importorskip("websockets")
    from websockets.asyncio.client import connect

    async def main():
        async with serving(ws=library) as url:

            async def client(number):
                async with connect(url.replace("http", "ws") + "/talk") as websocket:
                    for turn in range(5):
                        await websocket.send(f"{number}, {turn}")
                        assert await websocket.recv() == f"{number}, {turn}"[::-1]

            await asyncio.gather(*map(client, range(20)))
            assert websockets.__version__

    program(main())


def test_a_green_thread_asks_by_httpx_and_is_killed(program):
    async def main():
        async with serving() as url, httpx.AsyncClient(base_url=url) as client:
            def ask(path):
                return eventlet_asyncio.await_(client.get(path)).text

            greens = [eventlet.spawn(ask, "/about") for _ in range(10)]
            assert [await green for green in greens] == [OURS] * 10
            patient = eventlet.spawn(ask, "/slow?seconds=0.3")
            await asyncio.sleep(0.02)
            patient.kill()
            with pytest.raises(asyncio.CancelledError):
                await patient
            assert (await client.get("/about")).text == OURS

    program(main())


def test_anyio_on_the_loop(program, tmp_path):
    async def main():
        results = []

        async def child(number, *, task_status=anyio.TASK_STATUS_IGNORED):
            task_status.started(number)
            eventlet.sleep(0.001 * number)
            await anyio.sleep(0)
            results.append(number)

        async with anyio.create_task_group() as group:
            assert [await group.start(child, number) for number in (3, 1, 2)] == [3, 1, 2]
        assert sorted(results) == [1, 2, 3]

        with anyio.move_on_after(0.02) as scope:
            with anyio.CancelScope(shield=True):
                eventlet.sleep(0.04)
                results.append("shielded")
            await anyio.sleep(10)
        assert scope.cancelled_caught and results[-1] == "shielded"

        begin = anyio.current_time()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.02):
                eventlet.sleep(10)
        assert anyio.current_time() - begin < 5

        assert await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(_in_the_loop)) is (
            asyncio.get_running_loop()
        )
        sender, receiver = anyio.create_memory_object_stream(2)
        async with anyio.create_task_group() as group, sender, receiver:
            group.start_soon(_send_all, sender.clone())
            assert [item async for item in _take(receiver, 20)] == list(range(20))

        listener = await anyio.create_unix_listener(tmp_path / "socket")
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, _echo)
            async with await anyio.connect_unix(tmp_path / "socket") as stream:
                await stream.send(b"x" * 300_000)
                await stream.send_eof()
                assert b"".join([data async for data in stream]) == b"x" * 300_000
            group.cancel_scope.cancel()

        ended = await anyio.run_process([sys.executable, "-c", "print(input())"], input=b"word\n")
        assert ended.stdout == b"word\n"
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as udp:
            await udp.sendto(b"datagram", *udp.extra(anyio.abc.SocketAttribute.local_address))
            assert (await udp.receive())[0] == b"datagram"

    program(main())


async def _in_the_loop():
    return asyncio.get_running_loop()


async def _send_all(sender):
    async with sender:
        for number in range(20):
            eventlet.sleep(0)
            await sender.send(number)


async def _take(receiver, number):
    for _ in range(number):
        yield await receiver.receive()


async def _echo(stream):
    async with stream:
        async for data in stream:
            await stream.send(data)


@contextlib.contextmanager
def process(*arguments):
    """uvicorn as its users start it; what it answers at, and the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "uvicorn", *arguments]
        command += ["--fd", str(listener.fileno())]
        server = subprocess.Popen(
            command,
            cwd=pathlib.Path(__file__).parent,
            env={**os.environ, "EVENTLET_TESTS": "1"},
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield "http://127.0.0.1:{}".format(listener.getsockname()[1]), server
        finally:
            server.kill()
            server.communicate()


@pytest.mark.parametrize("patched", [False, True], ids=["", "patched"])
def test_uvicorn_takes_the_loop_by_name_and_stops_gracefully(patched):
    app = "uvicorn_patched_app:app" if patched else "uvicorn_app:app"
    with process(app, "--loop", "eventlet_asyncio:new_event_loop") as (url, server):
        with httpx.Client(base_url=url, timeout=20) as client:
            assert client.get("/about").text == OURS
            assert client.get("/itself").text == OURS
            if patched:
                assert client.get("/requests").text == OURS

        async def stop_meanwhile():
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                slow = asyncio.create_task(client.get("/slow", params={"seconds": 0.5}))
                while (await client.get("/log")).json()[-1] != "slow":
                    await asyncio.sleep(0.01)
                server.send_signal(signal.SIGTERM)
                return (await slow).text

        assert asyncio.run(stop_meanwhile()) == "slow"
        output, errors = server.communicate(timeout=20)
    assert "the application stopped" in output
    assert "Finished server process" in errors and "Traceback" not in errors
    assert server.returncode in (0, -signal.SIGTERM)
