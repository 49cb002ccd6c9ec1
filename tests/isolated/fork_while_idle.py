"""A fork in the main greenlet while nothing runs, and the child exits as programs do: by sys.exit()."""

import asyncio
import os
import sys
import warnings

import eventlet

import eventlet_asyncio
from eventlet_asyncio import await_

warnings.simplefilter("ignore", DeprecationWarning)
eventlet_asyncio.use_hub()
eventlet.sleep(0)


async def gives(value):
    await asyncio.sleep(0.001)
    return value


for round_number in range(5):
    assert await_(gives(round_number)) == round_number
    child = os.fork()
    if child == 0:
        assert await_(gives("child")) == "child"
        eventlet_asyncio.use_hub()
        assert await_(gives("child")) == "child"
        sys.exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert eventlet.spawn(asyncio.run, gives("parent")).wait() == "parent"
print("pass")
