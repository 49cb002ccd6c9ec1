"""Clients of PostgreSQL and Redis on the loop, against servers of this machine, where it has them."""

import asyncio
import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

import eventlet
import pytest

from eventlet_asyncio import await_
from programs import program  # noqa: F401


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def find(name, folders):
    """A program of a server, or a skipped test."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    return found or pytest.skip(f"this machine has no {name}")


@contextlib.contextmanager
def folder_of_nobody():
    """A folder for a server that refuses to run as root, and as whom it runs then."""
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        as_whom = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        yield folder, {**as_whom, "cwd": folder}


@contextlib.contextmanager
def running(command, is_ready, **options):
    """A server, from when it answers."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet, **options) as server:
        try:
            end = time.monotonic() + 20
            while not is_ready():
                assert server.poll() is None and time.monotonic() < end, command
                time.sleep(0.02)
            yield
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


@pytest.fixture(scope="module")
def postgres():
    """Where a new PostgreSQL is."""
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    initdb, server = find("initdb", binaries), find("postgres", binaries)
    port = free_port()
    with folder_of_nobody() as (folder, options):
        data = f"{folder}/data"
        command = [initdb, "-A", "trust", "-U", "test", "--no-sync", "-E", "UTF8", "--locale=C", "-D", data]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)
        command = [server, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        # The server makes its socket when it is ready, and a file beside it a little before.
        with running(command, lambda: os.path.exists(f"{folder}/.s.PGSQL.{port}"), **options):
            yield {"host": "127.0.0.1", "port": port, "user": "test"}


@pytest.fixture(scope="module")
def redis_server():
    """The port of a new Redis."""
    server = find("redis-server", ["/usr/sbin"])
    port = free_port()

    def answers():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"PING\r\n")
            return client.recv(100) == b"+PONG\r\n"

    with folder_of_nobody() as (_, options):
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]
        with running(command, answers, **options):
            yield port


def test_asyncpg(program, postgres):
    asyncpg = pytest.importorskip("asyncpg")

    async def main():
        async with asyncpg.create_pool(**postgres, database="postgres", min_size=2, max_size=5) as pool:

            async def square(number):
                async with pool.acquire() as connection:
                    eventlet.sleep(0.001)
                    return await connection.fetchval("SELECT $1::int * $1::int, pg_sleep(0.01)", number)

            assert await asyncio.gather(*map(square, range(30))) == [n * n for n in range(30)]
            greens = [eventlet.spawn(lambda n=n: await_(square(n))) for n in range(10)]
            assert [await green for green in greens] == [n * n for n in range(10)]

            async with pool.acquire() as connection:
                await connection.execute("CREATE TABLE items (number int PRIMARY KEY, content text)")
                rows = [(number, "x" * number) for number in range(2000)]
                await connection.copy_records_to_table("items", records=rows)
                async with connection.transaction():
                    cursor = connection.cursor("SELECT * FROM items ORDER BY number", prefetch=100)
                    assert [tuple(row) async for row in cursor] == rows
                with pytest.raises(asyncpg.UniqueViolationError):
                    async with connection.transaction():
                        await connection.execute("DELETE FROM items WHERE number > 5")
                        eventlet.sleep(0.001)
                        await connection.execute("INSERT INTO items VALUES (1)")
                assert await connection.fetchval("SELECT count(*) FROM items") == 2000
                with pytest.raises(asyncio.TimeoutError):
                    await connection.execute("SELECT pg_sleep(30)", timeout=0.05)
                sleeping = asyncio.create_task(connection.fetchval("SELECT pg_sleep(30)"))
                await asyncio.sleep(0.05)
                sleeping.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sleeping
                assert await connection.fetchval("SELECT 'usable'") == "usable"

                heard = asyncio.Queue()
                await connection.add_listener("news", lambda *arguments: heard.put_nowait(arguments[-1]))
                await pool.execute("SELECT pg_notify('news', 'now')")
                assert await asyncio.wait_for(heard.get(), 10) == "now"

    program(main())


def test_psycopg(program, postgres):
    psycopg = pytest.importorskip("psycopg")
    where = {**postgres, "dbname": "postgres", "autocommit": True}

    async def main():
        async def work(number):
            async with await psycopg.AsyncConnection.connect(**where) as connection:
                cursor = await connection.execute("SELECT %s::int, pg_sleep(0.02)", [number])
                eventlet.sleep(0.001)
                return (await cursor.fetchone())[0]

        assert await asyncio.gather(*map(work, range(10))) == list(range(10))
        async with await psycopg.AsyncConnection.connect(**where) as connection:
            await connection.execute("CREATE TABLE copied (content text)")
            async with connection.cursor() as cursor, cursor.copy("COPY copied FROM STDIN") as copy:
                for number in range(1000):
                    await copy.write_row(["x" * number])
            async with connection.pipeline():
                cursors = [
                    await connection.execute("SELECT count(*), %s::int FROM copied", [number])
                    for number in range(20)
                ]
                rows = [await cursor.fetchone() for cursor in cursors]
            assert rows == [(1000, number) for number in range(20)]
            sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(30)"))
            await asyncio.sleep(0.05)
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            cursor = await connection.execute("SELECT 'usable'")
            assert await cursor.fetchone() == ("usable",)

    program(main())


def test_redis(program, redis_server):
    pytest.importorskip("redis")
    from redis import asyncio as redis

    async def main():
        async with redis.Redis(port=redis_server, decode_responses=True) as client:

            async def count(number):
                eventlet.sleep(0.001)
                await client.incrby("sum", number)
                return number

            assert await asyncio.gather(*map(count, range(50))) == list(range(50))
            assert int(await client.get("sum")) == sum(range(50))
            async with client.pipeline(transaction=True) as pipeline:
                for number in range(500):
                    pipeline.set(f"key {number}", "x" * number)
                await pipeline.execute()
            assert len(await client.mget([f"key {number}" for number in range(500)])) == 500
            assert len({key async for key in client.scan_iter("key *")}) == 500

            waiting = asyncio.create_task(client.blpop(["list"], timeout=20))
            await asyncio.sleep(0.02)
            await client.rpush("list", "pushed")
            assert tuple(await waiting) == ("list", "pushed")
            waiting = asyncio.create_task(client.blpop(["list"], timeout=20))
            await asyncio.sleep(0.02)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await client.ping()

            async with client.pubsub() as pubsub:
                await pubsub.subscribe("news")

                def publish():
                    while not await_(client.publish("news", "now")):
                        eventlet.sleep(0.001)

                green = eventlet.spawn(publish)
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        break
                assert message["data"] == "now"
                await green

    program(main())
