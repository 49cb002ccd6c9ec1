"""grpc.aio, both ends of it on the loop, beside code that blocks greenly.

Its calls are made without generated code: a message is bytes.
"""

import asyncio

import eventlet
import pytest

from programs import program  # noqa: F401

grpc = pytest.importorskip("grpc")
pytest.importorskip("grpc.aio")


class Service(grpc.GenericRpcHandler):
    def __init__(self):
        self.begun, self.ended = [], []

    async def reverse(self, request, context):
        eventlet.sleep(0.001)
        await asyncio.sleep(0)
        return request[::-1]

    async def count(self, request, context):
        try:
            for number in range(int(request)):
                eventlet.sleep(0)
                yield str(number).encode()
        finally:
            self.ended.append("count")

    async def join(self, requests, context):
        return b"".join([request async for request in requests])

    async def echo(self, requests, context):
        async for request in requests:
            eventlet.sleep(0.001)
            yield request

    async def fail(self, request, context):
        await context.abort(grpc.StatusCode.NOT_FOUND, "nothing there")

    async def hang(self, request, context):
        self.begun.append("hang")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.ended.append("hang")
            raise

    def service(self, details):
        name = details.method.rpartition("/")[2]
        kind = {
            "count": grpc.unary_stream_rpc_method_handler,
            "join": grpc.stream_unary_rpc_method_handler,
            "echo": grpc.stream_stream_rpc_method_handler,
        }.get(name, grpc.unary_unary_rpc_method_handler)
        return kind(getattr(self, name))


def test_calls_of_every_kind(program):
    service = Service()

    async def main():
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            reverse = channel.unary_unary("/test/reverse")
            requests = [b"request %d" % number for number in range(50)]
            answers = await asyncio.gather(*map(reverse, requests))
            assert answers == [request[::-1] for request in requests]

            numbers = [int(answer) async for answer in channel.unary_stream("/test/count")(b"100")]
            assert numbers == list(range(100))

            async def stream():
                for request in requests:
                    await asyncio.sleep(0)
                    yield request

            assert await channel.stream_unary("/test/join")(stream()) == b"".join(requests)
            echo = channel.stream_stream("/test/echo")(stream())
            assert [answer async for answer in echo] == requests

            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await channel.unary_unary("/test/fail")(b"")
            assert failed.value.code() is grpc.StatusCode.NOT_FOUND

            with pytest.raises(grpc.aio.AioRpcError) as late:
                await channel.unary_unary("/test/hang")(b"", timeout=0.5)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            service.begun.clear()
            hanging = asyncio.create_task(_call(channel.unary_unary("/test/hang")))
            while not service.begun:
                await asyncio.sleep(0.001)
            hanging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hanging
            while service.ended.count("hang") < 2:
                await asyncio.sleep(0.001)
        await server.stop(None)

    program(main())


async def _call(method):
    return await method(b"")
