"""Ctrl-C while the hub has nothing to do ends the wait of the main greenlet at once."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import eventlet
import eventlet.hubs

import eventlet_asyncio
from eventlet_asyncio import await_

if len(sys.argv) == 1:
    for way in ("sleep", "green", "await", "run", "signal"):
        child = subprocess.Popen(
            [sys.executable, __file__, way], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "idle\n"
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
        assert (out, err, child.returncode) == ("interrupted\n", "", 0), (way, out, err)
    print("pass")
    sys.exit()


async def waits():
    await asyncio.sleep(60)


def handled(signum, frame):
    raise KeyboardInterrupt("from a handler")


eventlet_asyncio.use_hub()
way = sys.argv[1]
if way == "signal":
    signal.signal(signal.SIGINT, handled)
print("idle", flush=True)
try:
    if way in ("sleep", "signal"):
        eventlet.sleep(60)
    elif way == "green":
        eventlet.spawn(eventlet.sleep, 60).wait()
    elif way == "await":
        await_(waits())
    else:
        asyncio.run(waits())
except KeyboardInterrupt:
    # The hub is as good as before.
    eventlet.sleep(0.001)
    print("interrupted", flush=True)
else:
    os._exit(99)
