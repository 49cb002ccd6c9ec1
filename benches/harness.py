"""Compares contenders row by row: fresh processes, interleaved, checked, with ratios pair by pair.

A module of rows calls `main()`; `benches/hub.py` is one. A row's work runs in a process of its
own, pinned to one processor, as `work(load(contender), size, **arguments)`, and returns a `Sample`.
A round runs every contender of a row once, one after the other, so that a machine that is busy for
a while slows all of them; the first round only warms caches and is thrown away.

What is judged is the processor time that the process took for an operation, because the work never
waits and processor time depends less on the neighbours; time by the clock stands beside it. A ratio
is formed in each round, the other's cost by ours, and its median is compared with the aim.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SUBJECT = "ours"
# Between its quartiles a ratio may vary by this part of its median before nothing can be said.
WIDEST = 0.25


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
    # Whether its size says how much is done, so that the difference between two sizes is work.
    countable: bool = True
    # Contenders beside those with an aim, where these are not the peers of all rows.
    peers: tuple | None = None


@dataclasses.dataclass
class Sample:
    """What one process found: costs of one operation, in the unit of its row."""

    cost: float
    clock: float | None = None
    figures: dict = dataclasses.field(default_factory=dict)


class Meter:
    """Measures what stands in its block, in microseconds of processor and of clock."""

    def __enter__(self):
        self._clock = time.perf_counter()
        self._cpu = time.process_time()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """For work whose end is noticed inside of it."""
        self.cpu = (time.process_time() - self._cpu) * 1e6
        self.clock = (time.perf_counter() - self._clock) * 1e6

    def per(self, operations):
        return Sample(self.cpu / operations, self.clock / operations)


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
    def __init__(self, script, options):
        self._script = script
        self._options = options
        self._cpus = sorted(os.sched_getaffinity(0))

    def size(self, row):
        return row.quick or row.size // 10 if self._options.quick else row.size

    def run(self, row, contender, round_number, size=None, prefix=()):
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONHASHSEED": "0"}
        for name in ("EVENTLET_HUB", "EVENTLET_THREADPOOL_SIZE", "PYTHONASYNCIODEBUG"):
            environment.pop(name, None)
        cpu = self._cpus[round_number % len(self._cpus)]
        work = [row.name, contender, str(size or self.size(row)), str(cpu)]
        command = [*prefix, sys.executable, self._script, "--work", *work]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        last = done.stdout.strip().rpartition("\n")[2]
        try:
            return Sample(**json.loads(last))
        except ValueError:
            said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
            raise Failure(f"{contender}: {said or f'ended with {done.returncode}'}") from None

    def system_calls(self, row, contender):
        """System calls for one operation: what a larger run has more of than a smaller one."""
        size = max(self.size(row) // 20, 20)
        small, large = (self._calls(row, contender, each) for each in (size, 3 * size))
        per = {name: (large[name] - small.get(name, 0)) / (2 * size) for name in large}
        return {name: round(count, 3) for name, count in per.items() if count >= 0.01}

    def _calls(self, row, contender, size):
        with tempfile.NamedTemporaryFile("r", prefix="strace") as summary:
            self.run(row, contender, 0, size, ["strace", "-f", "-c", "-o", summary.name])
            return parse_strace(summary.read())

    def instructions(self, row, contender):
        """Instructions for one operation, by callgrind."""
        size = max(self.size(row) // 100, 20)
        small, large = (self._instructions(row, contender, each) for each in (size, 3 * size))
        return round((large - small) / (2 * size))

    def _instructions(self, row, contender, size):
        with tempfile.TemporaryDirectory(prefix="callgrind") as directory:
            log = os.path.join(directory, "log")
            options = [f"--log-file={log}", f"--callgrind-out-file={directory}/out"]
            self.run(row, contender, 0, size, ["valgrind", "--tool=callgrind", *options])
            with open(log) as text:
                return int(re.search(r"Collected : (\d+)", text.read())[1])


def parse_strace(summary):
    """Calls by name, of the table that `strace -c` prints."""
    counts = {}
    for line in summary.splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[0][0].isdigit() and fields[-1] != "total":
            counts[fields[-1]] = int(fields[3])
    return counts


def work(rows, load, name, contender, size, cpu):
    """The inside of a process that measures."""
    os.sched_setaffinity(0, {cpu})
    row = next(row for row in rows if row.name == name)
    arguments = {**row.arguments, **row.variants.get(contender, {})}
    sample = row.work(load(contender), size, **arguments)
    print(json.dumps(dataclasses.asdict(sample)), flush=True)
    # Whatever still sleeps or waits need not be put in order for the end.
    os._exit(0)


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def judge(ratios, aim):
    low, high = quartiles(ratios)
    middle = statistics.median(ratios)
    if (high - low) / middle > WIDEST:
        return "spread too wide"
    if low < aim <= high:
        return "close"
    return "met" if middle >= aim else "BELOW"


class Report:
    def __init__(self, runner, row):
        self.row = row
        self._runner = runner
        self.samples = {}
        self.failures = []
        self.calls = {}
        self.instructions = {}

    def measure(self, rounds, contenders, options):
        for round_number in range(rounds + 1):
            samples = {}
            for contender in contenders:
                try:
                    samples[contender] = self._runner.run(self.row, contender, round_number)
                except Failure as failure:
                    self.failures.append(str(failure))
            contenders = list(samples)
            for contender, sample in samples.items():
                # The first round is the warm-up.
                self.samples.setdefault(contender, []).extend([sample] * bool(round_number))
        if not self.row.countable:
            return
        for contender in contenders:
            if options.calls and shutil.which("strace"):
                self.calls[contender] = self._runner.system_calls(self.row, contender)
            if options.instructions:
                self.instructions[contender] = self._runner.instructions(self.row, contender)

    def ratios(self, contender, attribute="cost"):
        pairs = zip(self.samples.get(SUBJECT, ()), self.samples[contender])
        costs = [(getattr(ours, attribute), getattr(other, attribute)) for ours, other in pairs]
        return [other / ours for ours, other in costs if ours and other is not None]

    def show(self):
        row = self.row
        print(f"\n{row.name}: {row.about}")
        for failure in self.failures:
            print(f"  failed: {failure}")
        for contender, samples in self.samples.items():
            if samples:
                print(f"  {contender:14}{self._costs(samples)}{self._against(contender)}")
                self._show_figures(contender, samples)
        sys.stdout.flush()

    def _costs(self, samples):
        costs = [sample.cost for sample in samples]
        text = f"{statistics.median(costs):11.3f} {self.row.unit}"
        text += f" ({min(costs):.3f}-{max(costs):.3f})"
        if samples[0].clock is not None:
            text += f", clock {statistics.median(sample.clock for sample in samples):.3f}"
        return f"{text:52}"

    def _against(self, contender):
        if contender == SUBJECT:
            if self.row.limit is None:
                return ""
            middle = statistics.median(sample.cost for sample in self.samples[contender])
            verdict = "met" if middle <= self.row.limit else "ABOVE"
            return f" limit {self.row.limit:g} {self.row.unit}: {verdict}"
        ratios = self.ratios(contender)
        if not ratios:
            return ""
        text = f" {statistics.median(ratios):6.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"
        clock = self.ratios(contender, "clock")
        if clock:
            text += f", clock {statistics.median(clock):.2f}x"
        if contender in self.row.aims:
            aim = self.row.aims[contender]
            text += f", aim {aim:.3g}x: {judge(ratios, aim)}"
        return text

    def _show_figures(self, contender, samples):
        for name in samples[0].figures:
            middle = statistics.median(sample.figures[name] for sample in samples)
            print(f"{'':16}{middle:11.3f} {name}")
        calls = self.calls.get(contender)
        if calls is not None:
            each = sorted(calls.items(), key=lambda item: -item[1])
            names = ", ".join(f"{name} {count:g}" for name, count in each)
            print(f"{'':16}{sum(calls.values()):11.2f} system calls: {names or 'none'}")
        if contender in self.instructions:
            print(f"{'':16}{self.instructions[contender]:11} instructions")

    def as_json(self):
        return {
            "row": self.row.name,
            "about": self.row.about,
            "unit": self.row.unit,
            "aims": self.row.aims,
            "limit": self.row.limit,
            "failures": self.failures,
            "samples": {
                contender: [dataclasses.asdict(sample) for sample in samples]
                for contender, samples in self.samples.items()
            },
            "system calls": self.calls,
            "instructions": self.instructions,
        }


def surroundings(packages):
    """The machine and the versions, without which figures mean nothing."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed, or not as a wheel"
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "packages": versions,
    }


def options_of(rows, description):
    parser = argparse.ArgumentParser(
        description=description,
        epilog="rows: " + ", ".join(row.name for row in rows),
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all, if none is named")
    parser.add_argument("--quick", action="store_true", help="3 rounds of a tenth of the work")
    parser.add_argument("--rounds", type=int, help="7, or 3 with --quick, and one to warm up")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders")
    parser.add_argument("--no-calls", dest="calls", action="store_false", help="without strace")
    parser.add_argument("--instructions", action="store_true", help="count them, by valgrind")
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.rows) - {row.name for row in rows}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return options


def main(script, rows, peers, load, packages, description):
    """The command line of a module of rows, in which the subject meets all peers."""
    options = options_of(rows, description)
    if options.work:
        name, contender, size, cpu = options.work
        work(rows, load, name, contender, int(size), int(cpu))
    around = surroundings(packages)
    print(", ".join(f"{name} {value}" for name, value in around.items()))
    runner = Runner(script, options)
    rounds = options.rounds or (3 if options.quick else 7)
    reports = []
    for row in rows:
        if options.rows and row.name not in options.rows:
            continue
        if row.needs and not shutil.which(row.needs):
            print(f"\n{row.name}: left out, {row.needs} is not installed")
            continue
        report = Report(runner, row)
        others = peers if row.peers is None else row.peers
        contenders = options.only or dict.fromkeys((SUBJECT, *row.aims, *others))
        report.measure(rounds, contenders, options)
        report.show()
        reports.append(report)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({**around, "rows": [report.as_json() for report in reports]}, file, indent=1)
    sys.exit(any(report.failures for report in reports))
