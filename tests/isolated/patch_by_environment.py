"""EVENTLET_HUB=eventlet_asyncio.hub and an unchanged program."""

import os
import subprocess
import sys

if "EVENTLET_HUB" not in os.environ:
    environment = {**os.environ, "EVENTLET_HUB": "eventlet_asyncio.hub"}
    sys.exit(subprocess.run([sys.executable, __file__], env=environment).returncode)

import eventlet  # noqa: E402

eventlet.monkey_patch()

import mixture  # noqa: E402

mixture.check()
print("pass")
