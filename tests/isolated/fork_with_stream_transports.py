"""A process is forked inside a task that has connections: parent and child each go on with theirs."""

import os
import signal
import socket
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from ends import connect, run, until  # noqa: E402

from eventlet import hubs  # noqa: E402

import eventlet_asyncio  # noqa: E402


async def child(ends):
    ends.transport.write(b"child")
    assert await ends.receive(11) == b"parentchild"
    await ends.send(b"to the child")
    await until(lambda: ends.protocol.data == b"to the child")
    ends.transport.write(bytes(1 << 22))
    assert ends.transport.get_write_buffer_size() > 0
    assert len(await ends.receive(1 << 22)) == 1 << 22


async def main():
    ends = await connect()
    ends.transport.write(b"parent")
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        await child(ends)
        os._exit(0)
    ends.transport.pause_reading()
    # On purpose: nothing of the parent's runs meanwhile.
    assert os.waitpid(pid, 0)[1] == 0
    ends.transport.resume_reading()
    ends.transport.write(b"parent again")
    assert await ends.receive(12) == b"parent again"
    await ends.send(b"to the parent")
    await until(lambda: ends.protocol.data == b"to the parent")
    ends.sock.shutdown(socket.SHUT_WR)
    assert await ends.protocol.lost is None


warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
# The child of a program without a hub has no running loop, as asyncio has it.
hubs.get_hub()
assert run(main) == []
print("pass")
