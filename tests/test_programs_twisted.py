"""Twisted's asyncio reactor runs on the loop; a process of its own, since it can have one reactor only."""

import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).parent / "twisted_program.py"


@pytest.mark.parametrize("hub", [None, "eventlet_asyncio.hub"], ids=["no hub chosen", "our hub"])
def test_twisted_asyncio_and_eventlet_share_a_thread(hub):
    pytest.importorskip("twisted")
    environment = {**os.environ, "EVENTLET_TESTS": "1"}
    if hub is not None:
        environment["EVENTLET_HUB"] = hub
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
    )
    assert ended.stderr == "" and ended.stdout == "pass\n", ended.stdout + ended.stderr
    assert ended.returncode == 0
