"""The crates' own benchmarks, programs in Rust that measure all contenders in turn by themselves.

    cargo bench -p evio-timers
    cargo bench -p evio-reactor

With `--samples` they print a line a round: the row, who did the work, and nanoseconds. A program
checks what it computed, and ends with an error where that is wrong.
"""

import os
import subprocess

import harness

# By program: the suite, and its rows. Those of timers have the number of timers in their names.
PROGRAMS = {
    "wheel": (
        "timers",
        {
            "insert": "from none to all pending",
            "cancel": "all, in random order",
            "cancel-ask": "the same, and what is next at the end",
            "fire": "all, in a thousand turns",
            "next": "cancel the first and ask what is next, all in one coarse slot",
            "now": "one that is due at once comes and fires, beside all others",
            "timeout": "a timeout comes and goes, beside all others",
        },
    ),
    "reactor": (
        "reactor",
        {
            "wait": "a wait that finds a descriptor ready",
            "wait-zero": "the same without leave to block",
            "add-remove": "a watcher comes and goes",
            "modify": "a second watcher of a descriptor comes and goes",
            "oneshot": "a one-shot watcher is armed, waited for, and fires",
            "wake": "a wake, and the wait that it ends",
        },
    ),
}
# Rows of timers of which there is a curve.
CURVES = {"insert", "fire", "timeout"}


def suites():
    """By suite, its program and rows."""
    return {suite: (program, rows) for program, (suite, rows) in PROGRAMS.items()}


def wanted(names):
    """Of the names on the command line those that are ours, by program; all if there are none."""
    found = {}
    for suite, (program, rows) in suites().items():
        for row in rows:
            if not names or names_of(suite, row) & set(names):
                found.setdefault(program, []).append(row)
    return found


def names_of(suite, row):
    return {suite, row, f"{suite}.{row}"}


def names():
    for suite, (_, rows) in suites().items():
        for row, about in rows.items():
            yield suite, row, about


def measure(program, path, rows, quick):
    """The records of some rows of a program."""
    suite, abouts = PROGRAMS[program]
    command = [path, "--samples", *(["--quick"] if quick else [])]
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        limit = 5 * harness.LONGEST
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    finally:
        os.sched_setaffinity(0, mine)
    records = {}
    for line in done.stdout.splitlines():
        name, contender, nanoseconds = line.split("\t")
        row, _, size = name.rpartition("-") if suite == "timers" else (name, "", "")
        if row in rows:
            if name not in records:
                records[name] = new(suite, row, size, abouts[row])
            samples = records[name]["samples"].setdefault(contender, [])
            samples.append({"cost": float(nanoseconds), "clock": None, "figures": {}})
    if done.returncode or not records:
        failed = new(suite, program, "", "the benchmark of the crate")
        said = done.stderr.strip().rpartition("\n")[2]
        failed["failures"][harness.SUBJECT] = said or f"ended with {done.returncode}"
        return [failed]
    return list(records.values())


def new(suite, row, size, about):
    name = f"{row}-{size}" if size else row
    about = f"{about}; {int(size):,} timers" if size else about
    made = harness.Row(name, about, None, 0, unit="ns")
    if size and row in CURVES:
        made = harness.dataclasses.replace(made, point=(f"timers-{row}", int(size)))
    return harness.record(harness.Suite(suite, "", [], (), None), made)
