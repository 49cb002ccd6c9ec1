"""`python -m tests.leaks --crossings 100000`: what as many crossings of each kind of test_leaks.py leave behind.

Objects and descriptors are counted after collections; of memory there is what Python has traced, and what the process has.
"""

import argparse
import os
import sys
import time
import tracemalloc

os.environ.setdefault("EVENTLET_TESTS", "1")

from eventlet import hubs  # noqa: E402

from eventlet_asyncio import use_hub  # noqa: E402
from tests import test_leaks  # noqa: E402

#: What the caches of the interpreter, of asyncio, of eventlet and of ours may hold more, in objects and in bytes.
SLACK = test_leaks.SLACK
TRACED_SLACK = 200_000
#: Crossings before the first count, which fill those caches.
WARM_UP = 5_000


def resident():
    """The memory of this process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(cross, run, times):
    """What has grown, by its kind."""
    run(cross, WARM_UP)
    census, traced, memory = test_leaks.census(), tracemalloc.get_traced_memory()[0], resident()
    run(cross, times)
    after = test_leaks.census()
    kinds = {*census, *after}
    grown = {kind: after[kind] - census[kind] for kind in sorted(kinds) if after[kind] != census[kind]}
    return grown, tracemalloc.get_traced_memory()[0] - traced, resident() - memory


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.leaks", description=__doc__)
    parser.add_argument("--crossings", type=int, default=100_000, help="of each kind [default: 100000]")
    options = parser.parse_args()
    use_hub()
    hubs.get_hub().set_timer_exceptions(False)
    tracemalloc.start(1)
    failed = 0
    for run, kinds in (
        (test_leaks.cross_from_green, test_leaks.FROM_GREEN),
        (test_leaks.cross_from_async, test_leaks.FROM_ASYNC),
    ):
        for cross in kinds:
            began = time.monotonic()
            grown, traced, memory = measure(cross, run, options.crossings)
            leaks = any(number > SLACK for number in grown.values()) or grown.get("descriptors", 0) > 0
            failed += leaks or traced > TRACED_SLACK
            print(
                f"{cross.__name__:26} {options.crossings} in {time.monotonic() - began:5.1f} s: "
                f"traced {traced / 1000:+.1f} kB, resident {memory / 1000:+.0f} kB, objects {grown}",
                flush=True,
            )
    print("some grow" if failed else "none grows")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
