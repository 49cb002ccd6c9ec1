"""Runs the interpreter's own tests of asyncio on an event loop, and notes how each ends.

The notes are those of record.py: a test that ends its process is found out, and the next run goes on behind it.
Whether a test made a loop at all is noted, too: the others say nothing about it.
"""

import argparse
import asyncio
import faulthandler
import importlib
import json
import os
import pathlib
import re
import signal
import sys
import traceback
import unittest
import warnings

PACKAGE = "test.test_asyncio"

# These repeat the tests of another class on a selector of asyncio's own.
REPETITIONS = {"PollEventLoopTests", "SelectEventLoopTests"}

# Of a loop that notices by itself how its processes end these ask nothing new.
OF_CHILD_WATCHERS = re.compile("(Safe|Fast|Pidfd|MultiLoop)(Child)?Watcher")

# A test that takes longer ends its process, after the stack of each thread.
LIMIT = 60


class Loops:
    """Has the tests make loops of one kind, and counts them."""

    def __init__(self, kind):
        if kind == "stdlib":
            self._make = asyncio.SelectorEventLoop
        else:
            self._make = importlib.import_module({"ours": "eventlet_asyncio"}.get(kind, kind)).new_event_loop
        self.made = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            policy = type(asyncio.get_event_loop_policy())
        policy._loop_factory = staticmethod(self.new)
        probe = self._make()
        probe.close()
        self.has_child_watchers = isinstance(probe, asyncio.SelectorEventLoop)
        stand_in = StandIn("EventLoop", (), {"loops": self, "kind": type(probe)})
        asyncio.SelectorEventLoop = stand_in
        if hasattr(asyncio, "EventLoop"):
            asyncio.EventLoop = stand_in
        if not self.has_child_watchers and hasattr(asyncio, "SafeChildWatcher"):
            # Tests attach one to whatever loop they have. This one leaves it alone.
            asyncio.SafeChildWatcher = asyncio.ThreadedChildWatcher
            asyncio.unix_events.SafeChildWatcher = asyncio.ThreadedChildWatcher

    def new(self, selector=None):
        self.made += 1
        if selector is not None:
            selector.close()
        return self._make()

    def new_for_runner(self):
        """What the tests of runners want: a loop that notes that its generators were shut down."""
        loop = self.new()

        async def shutdown_asyncgens():
            loop.shutdown_ag_run = True

        loop.shutdown_ag_run = False
        loop.shutdown_asyncgens = shutdown_asyncgens
        return loop

    def adapt(self, module):
        """Where a module makes loops in a way of its own, it gets those of this kind."""
        if module.__name__.endswith(".test_runners"):
            module.BaseTest.new_loop = lambda test: self.new_for_runner()
        utils = importlib.import_module(f"{PACKAGE}.utils")
        close_loop = utils.TestCase.close_loop

        def close(loop):
            # It looks at a private field of asyncio's loops first.
            if hasattr(loop, "_default_executor"):
                return close_loop(loop)
            if not loop.is_closed():
                loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

        utils.TestCase.close_loop = staticmethod(close)


class StandIn(type):
    """Stands in for the classes of asyncio's loops: tests call them, also with a selector, and ask for them."""

    def __call__(cls, selector=None):
        return cls.loops.new(selector)

    def __instancecheck__(cls, loop):
        return isinstance(loop, cls.kind)


class Recorder(unittest.TestResult):
    """Notes how each test ends."""

    def __init__(self, path, loops):
        super().__init__()
        self._notes = path.open("a")
        self._loops = loops
        self._ended = None

    def note(self, test, outcome, why="", loop=False):
        note = {"test": test, "outcome": outcome, "why": why, "loop": loop}
        print(json.dumps(note), file=self._notes, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self._ended = ["passed", ""]
        self._loops.made = 0
        importlib.import_module("test.support").environment_altered = False
        # It has not ended its loop yet, so it counts as one that made it.
        self.note(name(test), "begun", "it ended its process, or took too long", True)
        faulthandler.dump_traceback_later(LIMIT, exit=True)

    def stopTest(self, test):
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        if self._ended is None:
            return
        if importlib.import_module("test.support").environment_altered:
            self._end(test, "failed", "it left threads or processes behind")
        self.note(name(test), *self._ended, self._loops.made > 0)
        self._ended = None

    def _end(self, test, outcome, why):
        if self._ended is None:
            # A class or a module that could not be prepared, or a test that was left out unbegun.
            self.note(name(test), outcome, why)
        elif self._ended[0] != "failed":
            self._ended = [outcome, why]

    def _fail(self, test, error):
        traceback.print_exception(*error)
        last = traceback.format_exception_only(*error[:2])[-1]
        self._end(test, "failed", " ".join(last.split())[:300])

    def addError(self, test, err):
        self._fail(test, err)

    def addFailure(self, test, err):
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._fail(test, err)

    def addSkip(self, test, reason):
        self._end(test, "skipped", str(reason))

    def addUnexpectedSuccess(self, test):
        self._end(test, "failed", "it was expected to fail")


def name(test):
    return test.id().replace(f"{PACKAGE}.", "")


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def wanted(test, loops):
    group = type(test).__name__
    if not loops.has_child_watchers and OF_CHILD_WATCHERS.search(group):
        return False
    return group not in REPETITIONS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", required=True, choices=["ours", "stdlib", "uvloop", "rloop"])
    parser.add_argument("--notes", required=True, type=pathlib.Path, help="a JSON object a line")
    parser.add_argument("--match", default="", type=re.compile, metavar="REGEX", help="only tests whose names match")
    parser.add_argument("--only", type=pathlib.Path, metavar="FILE", help="only tests that it names, one a line")
    parser.add_argument("modules", nargs="+")
    arguments = parser.parse_args()
    faulthandler.enable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    only = None
    if arguments.only is not None:
        only = set(arguments.only.read_text().splitlines())
    arguments.notes.touch()
    known = {json.loads(line)["test"] for line in arguments.notes.open()}
    loops = Loops(arguments.loop)
    recorder = Recorder(arguments.notes, loops)
    for module in arguments.modules:
        try:
            module = importlib.import_module(f"{PACKAGE}.{module}")
        except unittest.SkipTest as reason:
            if arguments.match.search(module):
                recorder.note(module, "skipped", str(reason))
            continue
        loops.adapt(module)
        tests = flat(unittest.defaultTestLoader.loadTestsFromModule(module))
        unittest.TestSuite(
            test
            for test in tests
            if wanted(test, loops)
            and name(test) not in known
            and arguments.match.search(name(test))
            and (only is None or name(test) in only)
        ).run(recorder)
    recorder.note("", "complete")
    sys.stdout.flush()
    sys.stderr.flush()
    # Nor does a thread that a test left keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
