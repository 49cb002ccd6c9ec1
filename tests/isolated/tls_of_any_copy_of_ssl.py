"""asyncio knows TLS contexts and sockets, whether they were made before or after monkey_patch(), and without it."""

import asyncio
import socket
import ssl

import eventlet
import eventlet_asyncio

Context, real_ssl_socket = ssl.SSLContext, ssl.SSLSocket
before = ssl.create_default_context()


async def is_known(context):
    """Whether start_tls() gets as far as to look at the transport."""
    try:
        await asyncio.get_running_loop().start_tls(None, None, context)
    except TypeError as error:
        return "is not supported by start_tls()" in str(error)


async def is_refused(sock):
    """Whether it is seen to be a socket with TLS of its own."""
    try:
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=sock)
    except TypeError as error:
        return str(error) == "Socket cannot be of type SSLSocket"


async def main():
    eventlet.sleep(0)
    context = ssl.create_default_context()
    assert await is_known(context) and await is_known(before)
    assert not await is_known(object())
    with socket.socket() as plain:
        plain.setblocking(False)
        with context.wrap_socket(plain, server_hostname="x") as wrapped:
            assert await is_refused(wrapped)


eventlet_asyncio.run(main())
assert ssl.SSLContext is Context
eventlet_asyncio.use_hub()
eventlet.monkey_patch()
assert ssl.SSLContext is not Context
eventlet_asyncio.run(main())
print("pass")
