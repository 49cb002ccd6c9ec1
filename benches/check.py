"""Compares the instructions of a few hot rows with those that are committed.

    python benches/check.py [--reason | --write]

Where both runs count the same code, counts are equal to a part in a thousand. What they depend on
stands in `surroundings()`, beside the pinned releases of eventlet and greenlet: with another
interpreter, another compiler or another libc they mean nothing, so then nothing is compared.
Processors matter little, since valgrind's is the same everywhere but for the vector instructions
that libc chooses among.
"""

import argparse
import concurrent.futures
import json
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile

import counts
import harness

HOT = (
    "hub.yield-50",
    "hub.spawn",
    "hub.timeout",
    "hub.echo",
    "bridge.await",
    "bridge.await-thread",
    "loop.protocol-1kb",
    "loop.call-soon-run",
)
COMMITTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
# The part by which a count may rise.
MOST = 0.05


def surroundings():
    rust = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout
    variables = [sysconfig.get_config_var(name) or "" for name in ("OPT", "CFLAGS", "PY_LDFLAGS")]
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
    flags = " ".join(flag for flag in " ".join(variables).split() if flag.startswith("-O"))
    return {
        "python": platform.python_version(),
        "compiled by": platform.python_compiler(),
        "compiled with": f"{flags}{' PGO' * optimised}{' shared' * shared}",
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "rust": " ".join(rust.split()[1:2]),
    }


def minor():
    return "{}.{}".format(*sys.version_info)


def read():
    try:
        with open(COMMITTED) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def write(committed):
    ordered = {each: committed[each] for each in sorted(committed, key=lambda v: int(v[2:]))}
    with open(COMMITTED, "w") as file:
        json.dump(ordered, file, indent=1)
        file.write("\n")


def reason(committed, here):
    """Why there is nothing to compare with; an empty text if there is."""
    if why := counts.unusable():
        return why
    entry = committed.get(minor())
    if not entry:
        return f"no counts of CPython {minor()} are committed"
    other = [name for name in here if entry["surroundings"].get(name) != here[name]]
    if other:
        there = ", ".join(f"{name} {entry['surroundings'].get(name)}" for name in other)
        return f"the committed counts of CPython {minor()} are of {there}"
    return ""


def compare(committed, counted):
    """A line for each row, and whether none has risen too far."""
    lines, good = [], True
    for name, count in counted.items():
        before = committed.get(name)
        if before is None:
            lines.append(f"{name:24} {count:>9,}  is not committed")
            continue
        change = count / before - 1
        verdict = ""
        if change > MOST:
            verdict, good = f"RISEN by more than {MOST:.0%}", False
        elif change < -MOST:
            verdict = "fallen: commit the new count"
        lines.append(f"{name:24} {count:>9,}  {before:>9,}  {change:+7.2%}  {verdict}".rstrip())
    return lines, good


def count(names):
    """Instructions of one operation of ours, by row, where our wheel is installed."""
    from suites import SUITES

    rows = {f"{suite.name}.{row.name}": (suite, row) for suite in SUITES for row in suite.rows}
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        counter = counts.Counter(harness.Runner(), directory)
        if counter.reason:
            raise SystemExit(counter.reason)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            work = [(*rows[name], harness.SUBJECT, turn) for turn, name in enumerate(names)]
            return dict(zip(names, pool.map(lambda each: counter.instructions(*each), work)))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="check", description=__doc__.splitlines()[0])
    parser.add_argument("--reason", action="store_true", help="print why not, if so, and end")
    parser.add_argument("--write", action="store_true", help="commit these counts instead")
    options = parser.parse_args(arguments)
    committed, here = read(), surroundings()
    why = counts.unusable() if options.write else reason(committed, here)
    if options.reason or why:
        print(why)
        return bool(why) and not options.reason
    counted = count(HOT)
    if options.write:
        committed[minor()] = {"surroundings": here, "instructions": counted}
        write(committed)
        print("\n".join(f"{name:24} {number:>9,}" for name, number in counted.items()))
        return False
    lines, good = compare(committed[minor()]["instructions"], counted)
    print(f"{'row':24} {'now':>9}  {'committed':>9}   change")
    print("\n".join(lines))
    return not good


if __name__ == "__main__":
    sys.exit(main())
