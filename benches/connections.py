"""The work of the rows of connections that do more, or less, than echo: TLS, bulk and idleness.

`run` is what `traffic.load()` gives.
"""

import asyncio
import functools
import os
import resource
import socket
import ssl
import subprocess
import tempfile

import traffic
from harness import Meter, Sample, check, resident

CHUNK = 64 * 1024


def contexts():
    """For a server and its clients."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        key, certificate = (os.path.join(directory, name) for name in ("key", "certificate"))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=localhost"]
        subprocess.run(command, check=True, capture_output=True)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
        client = ssl.create_default_context(cafile=certificate)
    return server, client


def tls_echo(run, size, length, connections):
    """Echoes of protocols over TLS, after the handshakes."""
    each = max(size // connections, 1)
    message = os.urandom(length)

    async def main():
        loop = asyncio.get_running_loop()
        server_side, client_side = contexts()
        server = await loop.create_server(traffic.Echo, "127.0.0.1", 0, ssl=server_side)
        address = server.sockets[0].getsockname()
        clients, ends = [], []
        for _ in range(connections):
            ends.append(loop.create_future())
            make = functools.partial(traffic.Client, message, each, ends[-1])
            options = {"ssl": client_side, "server_hostname": "localhost"}
            clients.append((await loop.create_connection(make, *address, **options))[1])
        with Meter() as meter:
            for client in clients:
                client.start()
            for end in ends:
                check(await end == message, True)
        return meter

    return run(main()).per(each * connections)


class Sender(asyncio.Protocol):
    """Sends chunks as fast as they are taken."""

    def __init__(self, chunks):
        self._left = chunks
        self._chunk = bytes(CHUNK)
        self._paused = False

    def connection_made(self, transport):
        self._transport = transport

    def pause_writing(self):
        self._paused = True

    def resume_writing(self):
        self._paused = False
        self.send()

    def send(self):
        while self._left and not self._paused:
            self._left -= 1
            self._transport.write(self._chunk)


class Receiver(asyncio.Protocol):
    """Counts what comes."""

    def __init__(self, missing, done):
        self._missing = missing
        self._done = done

    def data_received(self, data):
        self._missing -= len(data)
        if self._missing <= 0:
            self._done.set_result(self._missing)


def bulk(run, size):
    """One connection over which chunks of 64 KiB are sent in one direction."""

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        server = await loop.create_server(
            lambda: Receiver(size * CHUNK, done), "127.0.0.1", 0
        )
        address = server.sockets[0].getsockname()
        _, sender = await loop.create_connection(lambda: Sender(size), *address)
        with Meter() as meter:
            sender.send()
            check(await done, 0)
        return meter

    return run(main()).per(size)


def idle(run, size):
    """Memory of a connection that a server has accepted, in kB, beside what the client's socket takes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    protocols = []

    class Silent(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            protocols.append(self)

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Silent, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [socket.socket() for _ in range(size)]
        before = resident()
        for number, client in enumerate(clients, 1):
            client.connect(address)
            while len(protocols) < number:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        return (resident() - before) / size / 1000

    cost = run(main())
    check(len(protocols), size)
    return Sample(cost)
