"""A pytest plugin that notes how each test ends, and leaves out tests of which that is noted.

A test that ends its process is so found out, and the next run goes on behind it.
"""

import json
import pathlib

import pytest

#: How many event loops were made; who can tell counts here, and tests that make some are noted.
loops = 0


def pytest_addoption(parser):
    parser.addoption("--notes", type=pathlib.Path, metavar="FILE", help="a JSON object a line")
    parser.addoption("--only", type=pathlib.Path, metavar="FILE", help="only tests that it names, one a line")


def pytest_configure(config):
    if config.getoption("--notes") is None:
        # pytest reads the options that a project has in its settings by themselves, without this one.
        raise pytest.UsageError("it takes --notes FILE")
    config.pluginmanager.register(Recorder(config.getoption("--notes"), config.getoption("--only")))


class Recorder:
    def __init__(self, path, only):
        self._notes = path.open("a+")
        self._notes.seek(0)
        self._known = {json.loads(line)["test"] for line in self._notes}
        self._only = None if only is None else set(only.read_text().splitlines())
        self._ended = {}
        self._loops = 0

    def _note(self, test, outcome, why="", loop=False):
        note = {"test": test, "outcome": outcome, "why": why, "loop": loop}
        print(json.dumps(note), file=self._notes, flush=True)

    def _is_wanted(self, test):
        return test not in self._known and (self._only is None or test in self._only)

    def pytest_collectreport(self, report):
        if not report.passed:
            self._note(report.nodeid, report.outcome, _last_line(report))

    def pytest_collection_modifyitems(self, config, items):
        others = [item for item in items if not self._is_wanted(item.nodeid)]
        items[:] = [item for item in items if self._is_wanted(item.nodeid)]
        config.hook.pytest_deselected(items=others)

    def pytest_runtest_logstart(self, nodeid):
        self._ended = {"test": nodeid, "outcome": "passed"}
        self._loops = loops
        self._note(nodeid, "begun", "it ended its process, or took too long")

    def pytest_runtest_logreport(self, report):
        if not report.passed and self._ended["outcome"] != "failed":
            self._ended.update(outcome=report.outcome, why=_last_line(report))

    def pytest_runtest_logfinish(self):
        self._note(**self._ended, loop=loops > self._loops)

    def pytest_sessionfinish(self):
        self._note("", "complete")


def _last_line(report):
    if isinstance(report.longrepr, tuple):
        return report.longrepr[-1]
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else report.longreprtext).strip().partition("\n")[0]
