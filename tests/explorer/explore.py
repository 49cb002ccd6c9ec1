"""Runs programs of the explorer, and looks at what each leaves behind."""

import asyncio
import functools
import gc
import itertools
import logging
import os
import pickle
import re
import signal
import sys
import traceback

import eventlet
import greenlet
from eventlet import hubs

from eventlet_asyncio import debug
from tests.explorer import interpret, judge, model, strikes, trees
from tests.explorer.schedule import Hub, Run, outcome, running_loop, stand_on

#: How long a program may take, in seconds.
LIMIT = 10
#: For how many turns the last must have ended.
QUIET = 30
#: What in a trace is a strike.
STRUCK = ("cancel", "cancel below", "kill", "limit", "asyncio limit")


_serials = itertools.count()
_abandoned = set()


class Hang(BaseException):
    """A program did not end."""


class Complaints(logging.Handler):
    """What asyncio complains of."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())

    def ignored(self, unraisable):
        """What Python can raise nowhere."""
        text = "".join(traceback.format_exception(unraisable.exc_value))
        code = getattr(unraisable.object, "cr_code", None)
        where = "" if code is None else code.co_filename
        self.texts.append(f"ignored in {unraisable.object!r} of {where}: {text}")


class Failure(Exception):
    """A program did not do what it had to."""

    def __init__(self, case, text, trace):
        super().__init__(text)
        self.case, self.text, self.trace = case, text, trace

    def __str__(self):
        trace = "\n".join(" ".join(map(str, each)) for each in self.trace)
        return f"{self.text}\n{self.case}\n{interpret.source_of(self.case.root)}\n{trace}"


def explore(case):
    """Runs a case and raises Failure, unless everybody has seen what they had to; its trace."""
    return _explore_alone(case) if trees.GROUNDS[case.ground].alone else _explore(case)


def _explore_alone(case):
    """Does so in a child, as nothing else can stand on that ground in the same process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(6 * LIMIT)
            with os.fdopen(writing, "wb") as pipe:
                try:
                    told = None, _explore(case)
                except Failure as failure:
                    told = failure.text, failure.trace
                pickle.dump(told, pipe)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    text, trace = pickle.loads(told) if told else ("its process has ended", [])
    if text is not None:
        raise Failure(case, text, trace)
    return trace


def _explore(case):
    hub, loop = stand_on(trees.GROUNDS[case.ground].hub)
    _warm_up(case.ground)
    hub.set_timer_exceptions(False)
    before = _resources(hub, loop)
    complaints = Complaints()
    logger = logging.getLogger("asyncio")
    logger.addHandler(complaints)
    propagates, logger.propagate = logger.propagate, False
    hook, sys.unraisablehook = sys.unraisablehook, complaints.ignored
    name = f"program {next(_serials)}"
    run = Run(interpret.strikes_of(case))
    run.lasting_loop = None if case.host == "run" else loop
    try:
        with strikes.noted_kills(), interpret.mode_of(case, loop):
            end = _run(case, name)
            hang = _drain(run)
        judged = _look(case, run, end)
        if judged.abandons:
            # What is left is nobody's, and found by some later collection.
            _abandoned.add(name)
            Run.now = None
            vars(hubs._threadlocal).clear()
            return run.trace
        if hang is not None:
            raise hang
        run.units.clear()
        run.made.clear()
        gc.collect()
        after = _resources(hub, loop)
        if any(after[kind] > before[kind] for kind in after):
            raise judge.Fault(f"left behind: {before} before, {after} after")
        _listen(complaints.texts, run.trace, judged)
    except (judge.Fault, Hang) as fault:
        raise Failure(case, str(fault), run.trace) from None
    finally:
        logger.removeHandler(complaints)
        logger.propagate = propagates
        sys.unraisablehook = hook
    return run.trace


@functools.cache
def _warm_up(ground):
    """What the first loop of a kind makes for the whole process is no leak."""
    for host in trees.GROUNDS[ground].hosts["async"].values():
        interpret.run_nothing(host)


def _run(case, name):
    program = interpret.program_of(case, name)
    limit = eventlet.Timeout(LIMIT, hang := Hang())
    try:
        return outcome(program(), None)
    except Hang:
        raise Hang(f"it hangs\n{debug.format_stacks()}") from None
    except BaseException as exception:
        if isinstance(exception, KeyboardInterrupt):
            raise
        return outcome(None, exception)
    finally:
        limit.cancel()
        del hang


def _drain(run):
    """Waits until all have ended whom nobody waited for; tells if they do not."""
    quiet = turns = 0
    while quiet < QUIET:
        eventlet.sleep(0)
        turns += 1
        quiet = 0 if run.alive else quiet + 1
        if turns > 5000:
            return Hang(f"nodes {sorted(run.alive)} do not end\n{debug.format_stacks()}")
    return None


def _look(case, run, end):
    judge_ = judge.Judge(case)
    judge_.follow(run.trace)
    if judge_.abandons:
        return judge_
    root = judge_.ends[case.root.number]
    if end != root and not (end == ("raised", judge.CANCEL) and root == ("raised", judge.EXIT)):
        raise judge.Fault(f"the root has ended with {root}, which is seen as {end}")
    groups = any(each[0] == "call" and each[2] == "group" for each in run.trace)
    if not any(each[0] in STRUCK for each in run.trace) and not (groups and case.mode == "eager tasks"):
        for number, expected in model.expected_ends(case.root).items():
            if expected is not None and judge_.ends.get(number) != expected:
                raise judge.Fault(f"node {number} must end with {expected}, not {judge_.ends.get(number)}")
    if running_loop() is not None or greenlet.getcurrent().parent is not None:
        raise judge.Fault("the main greenlet is not what it was")
    return judge_


def _listen(complaints, trace, judged):
    """Nothing is complained of but errors of tasks that nobody waited for to the end."""
    seen = {child for each in trace if each[0] == "saw" for child in each[2]}
    struck = any(each[0] in STRUCK for each in trace)
    for text in complaints:
        if any(f"<{name}>" in text for name in _abandoned):
            continue
        number = re.search(r"coro=<node(\d+)\(\)", text)
        if number is not None and judged.is_ending(int(number[1])):
            continue
        if number is None and judged.mode == "eager tasks" and "coro=" not in text:
            # It has ended at once; of others it is known which.
            continue
        if number is None or (int(number[1]) in seen and not struck):
            raise judge.Fault(f"asyncio complains: {text}")


def _resources(hub, loop):
    return {
        "tasks": len(asyncio.all_tasks(loop)),
        # Those of eventlet's own stay in their list for a while after they were cancelled.
        "timers": len(hub.timers) if isinstance(hub, Hub) else 0,
        "listeners": len(hub.get_readers()) + len(hub.get_writers()),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def greenlets():
    """How many greenlets there are, after a collection."""
    gc.collect()
    return sum(issubclass(type(each), greenlet.greenlet) and not each.dead for each in gc.get_objects())


def case_of(seed, **sizes):
    return trees.generate(trees.Chooser(seed), **sizes)
