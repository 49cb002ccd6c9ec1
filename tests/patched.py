"""Tests that run in a process of their own, most of them after monkey_patch()."""

import functools
import inspect
import os
import subprocess
import sys
import textwrap

PATCHED = """\
import eventlet
eventlet.monkey_patch()
import asyncio, concurrent.futures, os, signal, socket, sys, threading, time
import eventlet.hubs, eventlet.patcher
import eventlet_asyncio
from eventlet_asyncio import await_, async_to_sync, future_to_greenlet, greenlet_to_future, sync_to_async
"""


def run_program(text):
    environment = {**os.environ, "EVENTLET_HUB": "eventlet_asyncio.hub", "EVENTLET_TESTS": "1"}
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", text],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )
    assert (ended.stderr, ended.stdout, ended.returncode) == ("", "pass\n", 0), ended


def program(imports):
    """Makes of a test a program with those imports, which must end without a word on stderr."""

    def decorate(test):
        lines = textwrap.dedent(inspect.getsource(test)).splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("def "))
        text = "\n".join([imports, *lines[start:], "", f"{test.__name__}()", "print('pass')"])

        @functools.wraps(test)
        def run():
            run_program(text)

        return run

    return decorate


patched = program(PATCHED)
