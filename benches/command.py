"""The command line: which rows, how long, and where the results go."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time

import counts
import crates
import harness
import judge
import table

VERSIONS = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions()}))"
)
# Packages of an environment that say nothing of what is measured.
TOOLS = {"pip", "setuptools", "wheel"}


def surroundings(pythons, quick):
    """The machine and the versions, without which figures mean nothing."""
    versions = {}
    for python in set(pythons.values()) or {sys.executable}:
        versions.update(json.loads(subprocess.check_output([python, "-c", VERSIONS])))
    return {
        "date": time.strftime("%Y-%m-%d"),
        "quick": quick,
        "python": platform.python_version(),
        "compiler": platform.python_compiler(),
        "system": platform.platform(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "load before": [round(load, 2) for load in os.getloadavg()],
        "packages": {name: versions[name] for name in sorted(versions) if name not in TOOLS},
    }


def processor():
    with open("/proc/cpuinfo") as text:
        names = [line.partition(":")[2].strip() for line in text if line.startswith("model name")]
    return names[0] if names else platform.machine()


def chosen(suites, names):
    """The rows that the command line names: `hub`, `hub.echo`, or `echo` of every suite."""
    rows = [(suite, row) for suite in suites for row in suite.rows]
    known = {name for suite, row in rows for name in names_of(suite, row)}
    known.update(*(crates.names_of(suite, row) for suite, row, _ in crates.names()))
    if unknown := set(names) - known:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}; --list names them all")
    fits = set(names)
    return [each for each in rows if names_of(*each) & fits or not names]


def names_of(suite, row):
    """What names a row: its suite, its curve, and itself with and without its suite."""
    names = [row.name, *(row.point or ())[:1]]
    return {suite.name, *names, *(f"{suite.name}.{name}" for name in names)}


def pair(text):
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, value


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="benches")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="a suite or a row; all if none")
    parser.add_argument("--list", action="store_true", help="name all rows and end")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--rounds", type=int, help="7, and one to warm up")
    parser.add_argument(
        "--counts",
        action=argparse.BooleanOptionalAction,
        help="count instructions and system calls [default: unless --quick]",
    )
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    parser.add_argument(
        "--environment",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="where a contender is installed [default: where this runs]",
    )
    parser.add_argument(
        "--program",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a benchmark of a crate",
    )
    return parser.parse_args(arguments)


def main(suites, arguments=None):
    """Measures, shows and writes; whether anything failed."""
    options = options_of(arguments)
    work = chosen(suites, options.rows)
    if options.list:
        for suite, row in work:
            print(f"{suite.name}.{row.name}: {row.about}")
        for suite, row, about in crates.names():
            if not options.rows or crates.names_of(suite, row) & set(options.rows):
                print(f"{suite}.{row}: {about}")
        return False
    around = surroundings(dict(options.environment), options.quick)
    print("\n".join(f"{name}: {value}" for name, value in around.items()), flush=True)
    runner = harness.Runner(dict(options.environment), options.quick)
    start = time.monotonic()
    records, countable = [], []
    for suite, row in work:
        if row.needs and not shutil.which(row.needs):
            print(f"\n{suite.name}.{row.name}: left out, {row.needs} is not installed")
            continue
        rounds = options.rounds or min(row.rounds or 99, suite.rounds[options.quick])
        record = harness.measure(runner, suite, row, rounds)
        print(table.row(record), flush=True)
        records.append(record)
        save(options.json, around, records)
        if row.countable:
            countable.append((suite, row, record))
    for program, rows in crates.wanted(options.rows).items():
        if path := dict(options.program).get(program):
            for record in crates.measure(program, path, rows, options.quick):
                print(table.row(record), flush=True)
                records.append(record)
    if options.counts or options.counts is None and not options.quick:
        around["instructions"] = count(runner, countable)
        print(table.counted(records))
    around["load after"] = [round(load, 2) for load in os.getloadavg()]
    around["minutes"] = round((time.monotonic() - start) / 60, 1)
    print(table.summary(records))
    print(f"{around['minutes']} minutes, load {around['load before']} to {around['load after']}")
    save(options.json, around, records)
    return judge.failed(records)


def save(path, around, records):
    """After each row, so that a run that is interrupted has not been for nothing."""
    if path:
        with open(path, "w") as file:
            json.dump({"around": around, "rows": records}, file, indent=1)


def count(runner, countable):
    """Counts, and how they were counted."""
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        counter = counts.Counter(runner, directory)
        if counter.reason:
            print(f"\ninstructions are left out: {counter.reason}")
        counter.fill_all(countable)
        return counter.reason or "callgrind"
