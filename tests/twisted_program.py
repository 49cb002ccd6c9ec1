"""Twisted, asyncio and eventlet in one thread; test_programs_twisted.py runs it."""

import asyncio
import threading

import eventlet
from eventlet.green import socket as green_socket
from twisted.internet import asyncioreactor

import eventlet_asyncio
from eventlet_asyncio import await_

loop = eventlet_asyncio.new_event_loop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)

from twisted.internet import defer, endpoints, protocol, reactor, task, threads  # noqa: E402
from twisted.protocols import basic  # noqa: E402
from twisted.web import client, resource, server  # noqa: E402

seen = set()
# Lines being answered, and how many there were at most.
blocked, most = 0, 0


class Echo(basic.LineReceiver):
    def lineReceived(self, line):
        global blocked, most
        seen.add(threading.get_ident())
        blocked += 1
        most = max(most, blocked)
        # This connection waits meanwhile, and no other does: the first lines of all are there at once.
        eventlet.sleep(0.01)
        while most < 40:
            eventlet.sleep(0.001)
        blocked -= 1
        self.sendLine(line[::-1])


class Page(resource.Resource):
    isLeaf = True

    def render_GET(self, request):
        async def answer():
            seen.add(threading.get_ident())
            await asyncio.sleep(0.001)
            eventlet.sleep(0.001)
            request.write(b"a page")
            request.finish()

        defer.Deferred.fromFuture(loop.create_task(answer()))
        return server.NOT_DONE_YET


def green_client(port, number):
    seen.add(threading.get_ident())
    connection = green_socket.create_connection(("127.0.0.1", port))
    for turn in range(3):
        line = b"%d, %d" % (number, turn)
        connection.sendall(line + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += connection.recv(100)
        assert answer == line[::-1] + b"\r\n"
    connection.close()
    return number


async def asyncio_client(port, number):
    seen.add(threading.get_ident())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for turn in range(3):
        line = b"%d, %d" % (number, turn)
        writer.write(line + b"\r\n")
        assert await reader.readline() == line[::-1] + b"\r\n"
    writer.close()
    await writer.wait_closed()
    return number


async def main():
    echo = protocol.Factory.forProtocol(Echo)
    listener = await endpoints.serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(echo)
    port = listener.getHost().port
    site = server.Site(Page())
    pages = await endpoints.serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)

    greens = [eventlet.spawn(green_client, port, number) for number in range(20)]
    tasks = [loop.create_task(asyncio_client(port, number)) for number in range(20)]
    for number, (green, other) in enumerate(zip(greens, tasks)):
        assert await defer.Deferred.fromFuture(asyncio.ensure_future(green, loop=loop)) == number
        assert await defer.Deferred.fromFuture(other) == number
    assert most == 40

    agent = client.Agent(reactor)
    url = b"http://127.0.0.1:%d/" % pages.getHost().port
    answers = [agent.request(b"GET", url).addCallback(client.readBody) for _ in range(10)]
    assert await defer.gatherResults(answers) == [b"a page"] * 10

    # A green thread waits for a Deferred, and one waits for a green thread.
    green = eventlet.spawn(lambda: await_(task.deferLater(reactor, 0.01, int, "7").asFuture(loop)))
    assert await defer.Deferred.fromFuture(asyncio.ensure_future(green, loop=loop)) == 7
    ticks = task.LoopingCall(lambda: eventlet.sleep(0.001))
    finished = ticks.start(0.001)
    await task.deferLater(reactor, 0.02)
    ticks.stop()
    await finished
    elsewhere = await threads.deferToThread(threading.get_ident)
    assert seen == {threading.get_ident()} and elsewhere not in seen

    await listener.stopListening()
    await pages.stopListening()


def end(result):
    if result is not None:
        result.printTraceback()
    else:
        print("pass", flush=True)
    reactor.stop()


reactor.callWhenRunning(lambda: defer.Deferred.fromCoroutine(main()).addBoth(end))
reactor.run()
loop.close()
