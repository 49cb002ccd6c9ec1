"""A program in both worlds after monkey_patch(): sockets, threads, sleeps, names and subprocesses of either."""

import asyncio
import http.server
import queue
import socket
import socketserver
import subprocess
import threading
import time
import urllib.request

import aiohttp
import eventlet
import eventlet.hubs
import eventlet.patcher
from eventlet.support import greendns
from eventlet_asyncio import await_, future_to_greenlet, greenlet_to_future

BODY = b"a page"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.001)
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.read()


async def fetch_all(url, number):
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(fetch(session, url) for _ in range(number)))


def urlopen(url):
    with urllib.request.urlopen(url) as response:
        return response.read()


async def urlopen_in_tasks(url):
    async def step():
        mine = asyncio.current_task()
        body = urlopen(url)
        assert asyncio.current_task() is mine
        return body

    return await asyncio.gather(*(step() for _ in range(10)))


async def urlopen_in_green_threads(url):
    greens = [eventlet.spawn(urlopen, url) for _ in range(10)]
    return await asyncio.gather(*map(greenlet_to_future, greens))


async def real_threads():
    """Of asyncio's executors, in spite of the patches."""
    here = eventlet.patcher.original("threading").get_ident()
    there = await asyncio.get_running_loop().run_in_executor(
        None, eventlet.patcher.original("threading").get_ident
    )
    assert here != there


class NotThisWay(Exception):
    pass


class NoResolver:
    def __getattr__(self, name):
        raise NotThisWay(name)


async def names():
    """Are resolved for asyncio by the system, in a real thread, and never by eventlet."""
    loop = asyncio.get_running_loop()
    resolver, greendns.resolver = greendns.resolver, NoResolver()
    try:
        address = await loop.getaddrinfo("localhost", 80, family=socket.AF_INET)
        assert address[0][4] == ("127.0.0.1", 80)
        host, _ = await loop.getnameinfo(("127.0.0.1", 80))
        assert host
        server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port)
        assert await reader.read() == b""
        writer.close()
        server.close()
        # Which it would have been, had it been asked.
        try:
            socket.getaddrinfo("localhost", port)
        except NotThisWay:
            return
        raise AssertionError("green code has its names resolved by the system")
    finally:
        greendns.resolver = resolver


PROGRAM = ("sh", "-c", "sleep 0.01; echo out; exit 3")


def green_subprocess():
    process = subprocess.Popen(PROGRAM, stdout=subprocess.PIPE)
    output, _ = process.communicate()
    return output, process.returncode


async def asyncio_subprocess():
    process = await asyncio.create_subprocess_exec(*PROGRAM, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output, process.returncode


async def green_subprocess_in_a_task():
    return green_subprocess()


async def subprocesses():
    """Of both worlds at once, and all of them are waited for."""
    greens = [eventlet.spawn(green_subprocess) for _ in range(3)]
    tasks = [asyncio_subprocess() for _ in range(3)]
    mixed = [green_subprocess_in_a_task() for _ in range(3)]
    ended = await asyncio.gather(*map(greenlet_to_future, greens), *tasks, *mixed)
    assert ended == [(b"out\n", 3)] * 9, ended


def green_threads():
    """Of the patched modules."""
    channel = queue.Queue()
    threads = [threading.Thread(target=channel.put, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(channel.get() for _ in threads) == list(range(5))


def check():
    hub = eventlet.hubs.get_hub()
    assert type(hub).__module__ == "eventlet_asyncio.hub", hub
    assert socket.socket is eventlet.green.socket.socket
    server = Server(("127.0.0.1", 0), Page)
    url = "http://127.0.0.1:{}/".format(server.server_address[1])
    serving = eventlet.spawn(server.serve_forever, 0.01)
    assert future_to_greenlet(fetch_all(url, 10)).wait() == [BODY] * 10
    assert await_(urlopen_in_tasks(url)) == [BODY] * 10
    assert await_(urlopen_in_green_threads(url)) == [BODY] * 10
    assert eventlet.spawn(asyncio.run, fetch_all(url, 10)).wait() == [BODY] * 10
    assert asyncio.run(urlopen_in_tasks(url)) == [BODY] * 10
    for program in (real_threads, names, subprocesses):
        await_(program())
        asyncio.run(program())
        eventlet.spawn(asyncio.run, program()).wait()
    green_threads()
    server.shutdown()
    serving.wait()
    server.server_close()
