"""The work of the rows of sockets without streams: each function measures one thing and checks what it did.

`run` is what `traffic.load()` gives.
"""

import asyncio
import functools
import os
import socket

from harness import Meter, check


async def received(loop, sock, length):
    """So many bytes."""
    data = await loop.sock_recv(sock, 2**18)
    while len(data) < length:
        data += await loop.sock_recv(sock, 2**18)
    return data


def sock_echo(run, size, length, connections):
    """Sockets of the program's: `sock_sendall()` and `sock_recv()` at both ends."""
    each = max(size // connections, 1)
    message = os.urandom(length)

    async def serve(loop, sock):
        for _ in range(each):
            await loop.sock_sendall(sock, await received(loop, sock, length))

    async def talk(loop, sock):
        whole = 0
        for _ in range(each):
            await loop.sock_sendall(sock, message)
            whole += await received(loop, sock, length) == message
        return whole

    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0), backlog=connections) as server:
            server.setblocking(False)
            ends = []
            for _ in range(connections):
                client = socket.socket()
                client.setblocking(False)
                await loop.sock_connect(client, server.getsockname())
                ends.append((client, (await loop.sock_accept(server))[0]))
        for pair in ends:
            for sock in pair:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with Meter() as meter:
            servers = [asyncio.ensure_future(serve(loop, sock)) for _, sock in ends]
            done = await asyncio.gather(*(talk(loop, sock) for sock, _ in ends))
        await asyncio.gather(*servers)
        for pair in ends:
            for sock in pair:
                sock.close()
        check(done, [each] * connections)
        return meter

    return run(main()).per(each * connections)


class DatagramEcho(asyncio.DatagramProtocol):
    """The server's end."""

    def connection_made(self, transport):
        self._transport = transport

    def datagram_received(self, data, address):
        self._transport.sendto(data, address)


class DatagramClient(asyncio.DatagramProtocol):
    """Sends a datagram, waits for its echo, and does it again."""

    def __init__(self, message, rounds, done):
        self._message = message
        self._rounds = rounds
        self._done = done
        self._whole = 0

    def connection_made(self, transport):
        self._transport = transport

    def start(self):
        self._transport.sendto(self._message)

    def datagram_received(self, data, address):
        self._whole += data == self._message
        self._rounds -= 1
        if self._rounds:
            self._transport.sendto(self._message)
        else:
            self._done.set_result(self._whole)


def datagram_echo(run, size, length, connections):
    """One socket of the server's, which answers to addresses, and connected ones of the clients'."""
    each = max(size // connections, 1)
    message = os.urandom(length)

    async def main():
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(
            DatagramEcho, local_addr=("127.0.0.1", 0)
        )
        address = server.get_extra_info("sockname")
        clients, ends = [], []
        for _ in range(connections):
            ends.append(loop.create_future())
            make = functools.partial(DatagramClient, message, each, ends[-1])
            end = await loop.create_datagram_endpoint(make, remote_addr=address)
            clients.append(end)
        with Meter() as meter:
            for _, client in clients:
                client.start()
            for end in ends:
                check(await end, each)
        for transport, _ in clients:
            transport.close()
        server.close()
        return meter

    return run(main()).per(each * connections)


class Closing(asyncio.Protocol):
    """The server's end: closed by whoever has connected."""

    made = 0

    def connection_made(self, transport):
        Closing.made += 1


def connect_and_close(run, size):
    """Connections that a server accepts and its peer, a plain socket, closes again: 20 at a time."""
    together = 20

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Closing, "127.0.0.1", 0, backlog=128)
        address = server.sockets[0].getsockname()
        Closing.made = 0
        with Meter() as meter:
            for done in range(0, size, together):
                ends = [socket.socket() for _ in range(together)]
                for end in ends:
                    end.connect(address)
                while Closing.made < done + together:
                    await asyncio.sleep(0)
                for end in ends:
                    end.close()
        server.close()
        check(Closing.made, -(-size // together) * together)
        return meter

    return run(main()).per(size)
