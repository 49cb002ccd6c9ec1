"""A pytest plugin that notes how each test ends, and leaves out tests of which that is noted.

A test that ends its process is so found out, and the next run goes on behind it.
"""

import json
import pathlib


def pytest_addoption(parser):
    parser.addoption("--notes", type=pathlib.Path, required=True, help="a JSON object a line")


def pytest_configure(config):
    config.pluginmanager.register(Recorder(config.getoption("--notes")))


class Recorder:
    def __init__(self, path):
        self._notes = path.open("a+")
        self._notes.seek(0)
        self._known = {json.loads(line)["test"] for line in self._notes}
        self._ended = {}

    def _note(self, test, outcome, why=""):
        print(json.dumps({"test": test, "outcome": outcome, "why": why}), file=self._notes, flush=True)

    def pytest_collectreport(self, report):
        if not report.passed:
            self._note(report.nodeid, report.outcome, _last_line(report))

    def pytest_collection_modifyitems(self, config, items):
        known = [item for item in items if item.nodeid in self._known]
        items[:] = [item for item in items if item.nodeid not in self._known]
        config.hook.pytest_deselected(items=known)

    def pytest_runtest_logstart(self, nodeid):
        self._ended = {"test": nodeid, "outcome": "passed"}
        self._note(nodeid, "begun", "it ended its process, or took too long")

    def pytest_runtest_logreport(self, report):
        if not report.passed and self._ended["outcome"] != "failed":
            self._ended.update(outcome=report.outcome, why=_last_line(report))

    def pytest_runtest_logfinish(self):
        self._note(**self._ended)

    def pytest_sessionfinish(self):
        self._note("", "complete")


def _last_line(report):
    if isinstance(report.longrepr, tuple):
        return report.longrepr[-1]
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else report.longreprtext).strip().partition("\n")[0]
