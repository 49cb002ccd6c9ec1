"""`eventlet.sleep(0)` per second on our hub against eventlet's epolls hub, in one run.

    python benches/yields.py [--rounds N] [--quick]

Each round runs each hub once in a fresh process, in turn, with 1 and with 50 green threads that
yield; the table gives medians, their spread, and the median of the ratios round by round. Every
process checks how often each green thread ran.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

HUBS = {"ours": "eventlet_asyncio.hub", "epolls": "epolls"}
THREADS = (1, 50)


def measure(threads, yields):
    """Yields per second of some green threads that do nothing else."""
    import eventlet
    import eventlet.hubs

    eventlet.hubs.get_hub()
    from eventlet import sleep

    counts = [0] * threads

    def run(index, times):
        for _ in range(times):
            sleep(0)
            counts[index] += 1

    each = yields // threads
    for green in [eventlet.spawn(run, index, each // 10) for index in range(threads)]:
        green.wait()
    counts[:] = [0] * threads
    start = time.perf_counter()
    for green in [eventlet.spawn(run, index, each) for index in range(threads)]:
        green.wait()
    seconds = time.perf_counter() - start
    assert counts == [each] * threads, counts
    return threads * each / seconds


def in_process(hub, threads, yields):
    environment = {**os.environ, "EVENTLET_HUB": HUBS[hub], "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, "--measure", str(threads), str(yields)]
    return float(subprocess.check_output(command, env=environment, text=True))


def spread(values):
    return f"{statistics.median(values) / 1e3:8.0f} k/s ({min(values) / 1e3:.0f}-{max(values) / 1e3:.0f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="fewer yields and 3 rounds")
    parser.add_argument("--measure", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measure(*options.measure))
        return
    rounds, yields = (3, 20_000) if options.quick else (options.rounds, 200_000)
    for threads in THREADS:
        speeds = {hub: [] for hub in HUBS}
        for _ in range(rounds):
            for hub in HUBS:
                speeds[hub].append(in_process(hub, threads, yields))
        ratios = [a / b for a, b in zip(speeds["ours"], speeds["epolls"])]
        print(f"{threads} green thread(s), {rounds} rounds")
        for hub, values in speeds.items():
            print(f"  {hub:8}{spread(values)}")
        print(f"  ratio {statistics.median(ratios):10.1f} ({min(ratios):.1f}-{max(ratios):.1f})")


if __name__ == "__main__":
    main()
