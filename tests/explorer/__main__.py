"""`python -m tests.explorer`: explores many seeds, or shows one."""

import argparse
import gc
import os
import sys
import time

os.environ.setdefault("EVENTLET_TESTS", "1")

from eventlet import hubs  # noqa: E402

from tests.explorer import explore, interpret, shrink, trees  # noqa: E402


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.explorer", description=__doc__)
    parser.add_argument("--seeds", help="explore these, as in 0:10000 [default: 0:1000]")
    parser.add_argument("--seed", type=int, help="explore this one; show its program and its trace")
    parser.add_argument("--script", type=int, help="print the program of this seed, which needs nothing of the explorer")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many")
    parser.add_argument("--shrink", type=int, help="make the failing case of this seed smaller; show what is left")
    for size, usual in (("nodes", 9), ("depth", 5), ("strikes", 3)):
        parser.add_argument(f"--{size}", type=int, default=usual, help=f"at most so many {size}")
    parser.add_argument(
        "--ground", choices=trees.GROUNDS, default="", help="whose hub or loop they stand on [default: ours]"
    )
    options = parser.parse_args()
    sizes = {"nodes": options.nodes, "depth": options.depth, "strikes": options.strikes, "ground": options.ground}
    if options.script is not None:
        print(interpret.script_of(explore.case_of(options.script, **sizes)))
        return 0
    if options.seed is not None:
        return show(explore.case_of(options.seed, **sizes))
    if options.shrink is not None:
        case = explore.case_of(options.shrink, **sizes)
        failure = shrink.fails(case)
        if failure is None:
            print("it does not fail:")
        return show(case if failure is None else shrink.shrink(case, failure)[0])
    low, colon, high = (options.seeds or "0:1000").partition(":")
    if not (low.isdecimal() and colon and high.isdecimal()):
        parser.error("--seeds takes a first seed and one behind the last, as in 0:10000")
    return many(range(int(low), int(high)), options.failures, sizes)


def show(case):
    print(case, interpret.source_of(case.root), sep="\n")
    try:
        trace = explore.explore(case)
    except explore.Failure as failure:
        trace = "\n".join(" ".join(map(str, each)) for each in failure.trace)
        print(trace, failure.text, sep="\n")
        return 1
    for each in trace:
        print(*each)
    return 0


def many(seeds, limit, sizes):
    # So that a collection after each looks at little.
    gc.freeze()
    began, failed = time.monotonic(), 0
    for seed in seeds:
        try:
            explore.explore(explore.case_of(seed, **sizes))
        except explore.Failure as failure:
            failed += 1
            vars(hubs._threadlocal).clear()
            print(f"# seed {seed} fails: {failure.text.strip()[-1000:]!r}", flush=True)
            if failed == limit:
                print(interpret.script_of(failure.case))
                break
    print(f"{seed - seeds.start + 1} seeds, {failed} failed, in {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
