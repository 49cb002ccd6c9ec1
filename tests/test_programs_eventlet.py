"""Programs that are built on eventlet run on the hub, and their code may call async code."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def passes(program):
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "error::RuntimeWarning", HERE / program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "EVENTLET_TESTS": "1"},
    )
    said = ended.stdout + ended.stderr
    assert ended.stdout == "pass\n" and "Traceback" not in said and ended.returncode == 0, said


def test_flask_socketio_with_asyncio_clients_in_its_thread():
    pytest.importorskip("flask_socketio")
    passes("socketio_program.py")


def test_celery_pool_of_green_threads():
    pytest.importorskip("celery")
    passes("celery_program.py")
