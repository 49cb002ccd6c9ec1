"""sys.exit() in a green thread and in a task ends the program with its code."""

import os
import subprocess
import sys

if len(sys.argv) == 1:
    for way in ("green", "task", "step"):
        ended = subprocess.run([sys.executable, __file__, way], capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (7, ""), (way, ended)
    print("pass")
    sys.exit()

import eventlet  # noqa: E402

import eventlet_asyncio  # noqa: E402


def exits():
    eventlet.sleep(0.001)
    sys.exit(7)


async def main():
    exits()


eventlet_asyncio.use_hub()
if sys.argv[1] == "green":
    eventlet.spawn_n(exits)
    eventlet.sleep(60)
elif sys.argv[1] == "task":
    eventlet.hubs.get_hub().loop.call_soon(sys.exit, 7)
    eventlet.sleep(60)
else:
    eventlet_asyncio.run(main())
os._exit(99)
