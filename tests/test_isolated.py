"""What needs a process of its own: monkey patching, forks, signals, and the end of the interpreter.

Each program in tests/isolated says "pass" on its last line and nothing on stderr.
"""

import os
import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent / "isolated"
PROGRAMS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "mixture")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_isolated(program):
    environment = {key: value for key, value in os.environ.items() if key != "EVENTLET_HUB"}
    # Without which eventlet says at every import that it is deprecated.
    environment["EVENTLET_TESTS"] = "1"
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(program)],
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
    )
    shown = f"{ended.stdout}\n{ended.stderr}"
    assert ended.stderr == "", shown
    assert ended.stdout.splitlines()[-1:] == ["pass"], shown
    assert ended.returncode == 0, shown


def test_the_programs_are_found():
    assert {"fork_from_task", "patch_before_everything"} <= {program.stem for program in PROGRAMS}
