"""Counts what does not depend on the neighbours: instructions, by callgrind, and system calls.

callgrind counts between the ends of a `Meter` only, in the second run of a row's work in a process.
So start-up, and what the interpreter learns of code that it runs for the first time, do not count.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import tempfile

import harness

# A larger run has this many times the operations of a smaller one.
LARGER = 3


class Counter:
    """Whatever of the tools is installed."""

    def __init__(self, runner, directory):
        self._runner = runner
        self._strace = shutil.which("strace") is not None
        self._library = os.path.join(directory, "counter.so")
        self.reason = unusable() or compile_counter(self._library)

    def fill(self, suite, row, record):
        """System calls of all; instructions of us and of those with an aim, but for C's."""
        judged = {harness.SUBJECT, *row.aims} - {"c"}
        for turn, contender in enumerate(record["samples"]):
            try:
                if self._strace:
                    calls = self.system_calls(suite, row, contender, turn)
                    record["calls"][contender] = calls
                if not self.reason and contender in judged:
                    count = self.instructions(suite, row, contender, turn)
                    record["instructions"][contender] = count
            except harness.Failure as failure:
                record["failures"][contender] = str(failure)

    def fill_all(self, work):
        """Several at a time, since counts do not depend on the neighbours."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda each: self.fill(*each), work):
                pass

    def system_calls(self, suite, row, contender, turn=0):
        """System calls for one operation: what a larger run has more of than a smaller one."""
        size = max(row.size // 200, 100)
        counts = []
        for each in (size, LARGER * size):
            with tempfile.NamedTemporaryFile("r", prefix="strace") as summary:
                strace = ["strace", "-f", "-c", "-o", summary.name]
                self._runner.run(suite, row, contender, turn, each, strace)
                counts.append(harness.parse_strace(summary.read()))
        small, large = counts
        more = (LARGER - 1) * size
        per = {name: (large[name] - small.get(name, 0)) / more for name in large}
        return {name: round(count, 3) for name, count in per.items() if count >= 0.01}

    def instructions(self, suite, row, contender, turn=0):
        """Instructions for one operation."""
        size = max(row.size // 20, 100)
        with tempfile.TemporaryDirectory(prefix="callgrind") as directory:
            log = os.path.join(directory, "log")
            valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
            valgrind += [f"--log-file={log}", f"--callgrind-out-file={directory}/out"]
            extra = {"BENCH_COUNTER": self._library}
            sample = self._runner.run(suite, row, contender, turn, size, valgrind, extra)
            with open(log) as text:
                collected = int(re.search(r"Collected : (\d+)", text.read())[1])
        return round(collected / sample.figures["operations"])


def unusable():
    """Why instructions cannot be counted here; an empty text if they can."""
    if not shutil.which("valgrind"):
        return "valgrind is not installed"
    return ""


def compile_counter(library):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "counter.c")
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", library, source]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return "counter.c, which needs valgrind's headers, was not compiled"
    return ""
