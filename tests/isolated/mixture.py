"""A program in both worlds after monkey_patch(): green sockets, threads and sleeps with aiohttp and asyncio."""

import asyncio
import http.server
import queue
import socket
import socketserver
import threading
import time
import urllib.request

import aiohttp
import eventlet
import eventlet.hubs
import eventlet.patcher
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
    address = await asyncio.get_running_loop().getaddrinfo("localhost", 80, family=socket.AF_INET)
    assert address[0][4] == ("127.0.0.1", 80)


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
    await_(real_threads())
    asyncio.run(real_threads())
    green_threads()
    server.shutdown()
    serving.wait()
    server.server_close()
