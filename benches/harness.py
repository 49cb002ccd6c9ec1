"""Measures contenders row by row: fresh processes, interleaved, checked.

A module of rows makes a `Suite`; `benches/hub.py` is one. A row's work runs in a process of its
own, pinned to one processor, as `work(load(contender), size, **arguments)`, and returns a `Sample`.
A round runs every contender of a row once, one after the other, so that a machine that is busy for
a while slows all of them; the first round only warms caches and is thrown away.

What is judged is the processor time that the process took for an operation, because the work never
waits and processor time depends less on the neighbours; time by the clock stands beside it.
`judge.py` forms the ratios and compares them with the aims.
"""

import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import resource
import subprocess
import sys
import time

from judge import SUBJECT

# A process that takes longer than that, in seconds, hangs.
LONGEST = 120


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    about: str
    work: object
    size: int
    # By contender, how many times its cost is to be ours.
    aims: dict = dataclasses.field(default_factory=dict)
    arguments: dict = dataclasses.field(default_factory=dict)
    # Arguments of the work that only one contender gets; so a row can compare ours with ours.
    variants: dict = dataclasses.field(default_factory=dict)
    unit: str = "us"
    # The most that one operation may cost us, in `unit`, whatever it costs others.
    limit: float | None = None
    quick: int | None = None
    # A program without which there is no row.
    needs: str | None = None
    # Whether its size says how much is done, so that instructions and system calls can be counted.
    countable: bool = True
    # Contenders beside those with an aim, where these are not the peers of all rows.
    peers: tuple | None = None
    # Fewer than those of the suite will do for what hardly varies.
    rounds: int | None = None
    # The name of a curve and the place on its axis, if the row is a point of one.
    point: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Suite:
    """Rows that share their contenders and their script, which runs a row's work by `main()`."""

    name: str
    script: str
    rows: list
    # Peers that have no aim are measured all the same.
    peers: tuple
    load: object
    # Contenders that live in an environment that is not called as they are.
    environments: dict = dataclasses.field(default_factory=dict)
    # Rounds of the full run, and of the quick one.
    rounds: tuple = (7, 7)

    def contenders(self, row):
        others = self.peers if row.peers is None else row.peers
        return list(dict.fromkeys((SUBJECT, *row.aims, *others)))

    def environment(self, contender):
        library = contender.partition(",")[0]
        return self.environments.get(library, library)


@dataclasses.dataclass
class Sample:
    """What one process found: costs of one operation, in the unit of its row."""

    cost: float
    clock: float | None = None
    figures: dict = dataclasses.field(default_factory=dict)


class Meter:
    """Measures what stands in its block, in microseconds of processor and of clock."""

    # Told when a block begins and ends, where instructions are counted.
    counter = None

    def __enter__(self):
        if self.counter:
            self.counter.start()
        self._clock = time.perf_counter()
        self._cpu = time.process_time()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """For work whose end is noticed inside of it."""
        self.cpu = (time.process_time() - self._cpu) * 1e6
        self.clock = (time.perf_counter() - self._clock) * 1e6
        if self.counter:
            self.counter.stop()

    def per(self, operations):
        sample = Sample(self.cpu / operations, self.clock / operations)
        if self.counter:
            sample.figures["operations"] = operations
        return sample


def check(found, expected):
    if found != expected:
        raise SystemExit(f"wrong result: {found!r:.100} and not {expected!r:.100}")


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


class Failure(Exception):
    """A contender that could not run, or ran wrongly, and what it said."""


class Runner:
    """Runs one contender's work in a process."""

    def __init__(self, pythons=None, quick=False):
        # By environment; without any, all is installed where we run.
        self._pythons = pythons or {}
        self.quick = quick
        self._cpus = sorted(os.sched_getaffinity(0))

    def has(self, suite, contender):
        return not self._pythons or suite.environment(contender) in self._pythons

    def python(self, suite, contender):
        return self._pythons.get(suite.environment(contender), sys.executable)

    def size(self, row):
        return row.quick or max(row.size // 10, 1) if self.quick else row.size

    def run(self, suite, row, contender, turn, size=None, prefix=(), extra=None):
        """With a prefix, such as valgrind, it may take longer."""
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONHASHSEED": "0"}
        environment.update(extra or {})
        for name in ("EVENTLET_HUB", "EVENTLET_THREADPOOL_SIZE", "PYTHONASYNCIODEBUG"):
            environment.pop(name, None)
        cpu = self._cpus[turn % len(self._cpus)]
        work = [row.name, contender, str(size or self.size(row)), str(cpu)]
        python = self.python(suite, contender)
        command = [*prefix, python, suite.script, *work]
        return sample_of(command, environment, 5 * LONGEST if prefix else LONGEST)


def sample_of(command, environment, limit):
    """Runs a process whose last line is a sample."""
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {limit} s") from None
    last = done.stdout.strip().rpartition("\n")[2]
    try:
        if done.returncode:
            raise ValueError
        return Sample(**json.loads(last))
    except (ValueError, TypeError):
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise Failure(said or f"ended with {done.returncode}") from None


def parse_strace(summary):
    """Calls by name, of the table that `strace -c` prints."""
    counts = {}
    for line in summary.splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[0][0].isdigit() and fields[-1] != "total":
            counts[fields[-1]] = int(fields[3])
    return counts


def record(suite, row):
    """What is known of a row before it has run."""
    return {
        "suite": suite.name,
        "row": row.name,
        "about": row.about,
        "unit": row.unit,
        "aims": row.aims,
        "limit": row.limit,
        "point": row.point,
        "missing": [],
        "failures": {},
        "samples": {},
        "calls": {},
        "instructions": {},
    }


def measure(runner, suite, row, rounds):
    """Runs all contenders of a row in turn and gives the row's record."""
    start = time.monotonic()
    made = record(suite, row)
    contenders = suite.contenders(row)
    made["missing"] = [each for each in contenders if not runner.has(suite, each)]
    contenders = [each for each in contenders if each not in made["missing"]]
    for turn in range(rounds + 1):
        for contender in list(contenders):
            try:
                sample = runner.run(suite, row, contender, turn)
            except Failure as failure:
                made["failures"][contender] = str(failure)
                contenders.remove(contender)
                continue
            # The first round is the warm-up.
            if turn:
                made["samples"].setdefault(contender, []).append(dataclasses.asdict(sample))
    made["seconds"] = round(time.monotonic() - start, 1)
    return made


def main(suite):
    """The inside of a process that measures; a person gets all rows of the suite."""
    if len(sys.argv) != 5 or not sys.argv[3].isdigit():
        import command

        sys.exit(command.main([suite]))
    name, contender, size, cpu = sys.argv[1:]
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {int(cpu)})
    row = next(row for row in suite.rows if row.name == name)
    arguments = {**row.arguments, **row.variants.get(contender, {})}
    side = suite.load(contender)
    if counter := os.environ.get("BENCH_COUNTER"):
        # What the interpreter learns in the first run is no part of the second, which counts.
        row.work(side, int(size), **arguments)
        gc.collect()
        Meter.counter = ctypes.CDLL(counter)
    sample = row.work(side, int(size), **arguments)
    print(json.dumps(dataclasses.asdict(sample)), flush=True)
    # Whatever still sleeps or waits need not be put in order for the end.
    os._exit(0)
