"""The program ends quietly while daemon threads sleep on hubs of eventlet's own."""

import subprocess
import sys
import threading
import time

import eventlet

import eventlet_asyncio

if len(sys.argv) == 1:
    for hub in ("epolls", "poll", "selects"):
        for way in ("greenly", "otherwise"):
            ended = subprocess.run(
                [sys.executable, "-X", "faulthandler", __file__, hub, way], capture_output=True, text=True
            )
            assert (ended.returncode, ended.stderr) == (0, ""), (hub, way, ended)
    print("pass")
    sys.exit()


def sleeps():
    eventlet.hubs.use_hub(sys.argv[1])
    while True:
        eventlet.sleep(0.001)


eventlet_asyncio.use_hub()
eventlet.sleep(0)
for _ in range(2):
    threading.Thread(target=sleeps, daemon=True).start()
sleep = eventlet.sleep if sys.argv[2] == "greenly" else time.sleep
sleep(0.1)
