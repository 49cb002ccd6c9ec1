"""The application that test_programs_uvicorn.py has uvicorn serve, in its own process and in others."""

import asyncio
import contextlib

import eventlet
from eventlet import event
from eventlet.green import socket as green_socket
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

log = []
goes_on = event.Event()


async def about(request):
    loop = asyncio.get_running_loop()
    return PlainTextResponse(f"{type(loop).__module__}.{type(loop).__name__}")


async def slow(request):
    log.append("slow")
    eventlet.sleep(float(request.query_params["seconds"]))
    return PlainTextResponse("slow")


async def waits(request):
    log.append("waits")
    goes_on.wait()
    return PlainTextResponse("waited")


async def go_on(request):
    goes_on.send()
    goes_on.reset()
    return PlainTextResponse("goes on")


def green_recv(port):
    with contextlib.closing(green_socket.create_connection(("127.0.0.1", port))) as client:
        client.sendall(b"GET /about HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(1000), b""))


async def itself(request):
    """By a green socket, in the very loop that has to answer."""
    return PlainTextResponse(green_recv(request.url.port).rpartition(b"\r\n\r\n")[2])


async def echo(request):
    chunks = []
    async for data in request.stream():
        eventlet.sleep(0)
        chunks.append(data)

    async def body():
        for data in chunks:
            eventlet.sleep(0)
            yield data

    return StreamingResponse(body())


async def endless(request):
    async def body():
        try:
            while True:
                yield b"x" * 1000
                eventlet.sleep(0.001)
        finally:
            log.append("endless was ended")

    return StreamingResponse(body())


async def show_log(request):
    background = request.query_params.get("background")
    task = None if background is None else BackgroundTask(log.append, background)
    return JSONResponse(log, background=task)


async def threads(request):
    def work(number):
        return number * number

    squares = await asyncio.gather(*(run_in_threadpool(work, number) for number in range(20)))
    return JSONResponse(squares)


async def talk(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        eventlet.sleep(0.001)
        await websocket.send_text(text[::-1])


@contextlib.asynccontextmanager
async def lifespan(app):
    log.append("started")
    yield
    log.append("stopped")
    print("the application stopped", flush=True)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/about", about),
        Route("/slow", slow),
        Route("/waits", waits),
        Route("/go_on", go_on),
        Route("/itself", itself),
        Route("/echo", echo, methods=["POST"]),
        Route("/endless", endless),
        Route("/log", show_log),
        Route("/threads", threads),
        WebSocketRoute("/talk", talk),
    ],
)
