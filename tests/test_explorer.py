"""Random programs of green and async code, struck at random points: each node sees what it must, and nothing is left."""

import pathlib
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.explorer import explore, interpret, judge, shrink, trees

pytestmark = pytest.mark.usefixtures("quiet", "no_reports")


@pytest.fixture
def no_reports(hub, monkeypatch):
    """eventlet reports a green thread that a descriptor has woken and that ends by an exception."""
    monkeypatch.setattr(type(hub), "squelch_exception", lambda *_: None)


class Choices:
    """Chooses as Hypothesis draws, so that it can shrink what was chosen."""

    def __init__(self, draw):
        self._draw = draw

    def pick(self, choices):
        return self._draw(st.sampled_from(choices))

    def number(self, low, high):
        return self._draw(st.integers(low, high))

    def happens(self, percent):
        return self._draw(st.integers(0, 99)) >= 100 - percent


@st.composite
def cases(draw):
    return trees.generate(Choices(draw), nodes=7, depth=4)


def outcome_of(case):
    failure = shrink.fails(case)
    if failure is not None:
        pytest.fail(f"{failure}\n\n{interpret.script_of(case)}")


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_seeds(first):
    for seed in range(first, first + 50):
        outcome_of(explore.case_of(seed))


@pytest.mark.parametrize("ground", [name for name, ground in trees.GROUNDS.items() if name and not ground.alone])
def test_seeds_on_other_hubs_and_loops(ground):
    for seed in range(60):
        outcome_of(explore.case_of(seed, ground=ground))


@pytest.mark.parametrize("ground", [name for name, ground in trees.GROUNDS.items() if ground.alone])
def test_seeds_on_a_hub_that_must_be_the_first(ground):
    command = [sys.executable, "-m", "tests.explorer", "--ground", ground, "--seeds", "0:60"]
    root = pathlib.Path(__file__).parent.parent
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=root)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.timeout(300)  # Ten seconds, and far more on a busy machine.
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
@given(cases())
def test_trees_that_shrink(case):
    outcome_of(case)


def test_many_programs_leave_no_greenlet_behind():
    for seed in range(1000, 1010):
        outcome_of(explore.case_of(seed))
    before = explore.greenlets()
    for seed in range(1010, 1060):
        outcome_of(explore.case_of(seed))
    # Carriers and the hub's are kept.
    assert explore.greenlets() <= before + 8


def test_a_case_is_data_that_makes_it_again():
    case = explore.case_of(11)
    assert eval(repr(case), vars(trees)) == case


def test_a_script_needs_nothing_of_the_explorer(tmp_path):
    case = explore.case_of(11)
    script = tmp_path / "program.py"
    script.write_text(interpret.script_of(case))
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "the root ends with" in ran.stdout
    assert "still running: []" in ran.stdout


# The judge sees faults.


def node(number, *body, world="green", **options):
    return trees.Node(number, world, body, **options)


def call(kind, *children, **options):
    return trees.Call(kind, children, **options)


CASE = trees.Case("spawn", node(0, call("await_", node(1, trees.Pause("s"), world="async"))))

TRACE = [
    ("start", 0, 0, None),
    ("call", 0, "await_", (1,)),
    ("start", 1, 1, 7),
    ("pause", 1, "s"),
    ("resumed", 1, None),
    ("end", 1, ("value", "value 1")),
    ("saw", 0, (1,), ("value", "value 1"), 1),
    ("end", 0, ("value", "value 0")),
]


def changed(index, *instead):
    return [*TRACE[:index], *instead, *TRACE[index + 1 :]]


def test_the_judge_takes_what_is_right():
    judge.Judge(CASE).follow(TRACE)


@pytest.mark.parametrize(
    "trace",
    [
        changed(4, ("resumed", 1, "CancelledError")),
        changed(4, ("kill", 0, "Strike 1", 9), TRACE[4]),
        changed(5),
        changed(6, ("saw", 0, (1,), ("value", "value 2"), 1)),
        changed(6, ("saw", 0, (1,), ("value", "value 1"), 0)),
        changed(7),
        changed(7, ("fault", "another task")),
    ],
)
def test_the_judge_sees_what_is_wrong(trace):
    with pytest.raises(judge.Fault):
        judge.Judge(CASE).follow(trace)


def test_what_fails_is_made_smaller(monkeypatch):
    """Here it fails if a node is killed at all."""
    follow = judge.Judge.follow

    def fails_by_kills(self, trace):
        follow(self, trace)
        if any(each[0] == "kill" for each in trace):
            raise judge.Fault("a kill")

    monkeypatch.setattr(judge.Judge, "follow", fails_by_kills)
    for seed in range(100):
        case = explore.case_of(seed)
        failure = shrink.fails(case)
        if failure is not None:
            break
    smaller, failure = shrink.shrink(case, failure, tries=200)
    assert failure.text == "a kill"
    assert len(repr(smaller)) < len(repr(case))
