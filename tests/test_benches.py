"""The benchmarks judge what they measured, and say so when nothing can be said."""

import json
import pathlib
import sys

import pytest

BENCHES = str(pathlib.Path(__file__).parent.parent / "benches")
sys.path.insert(0, BENCHES)
try:
    import check
    import command
    import counts
    import crates
    import harness
    import judge
    import table
finally:
    sys.path.remove(BENCHES)

ROWS = """
import sys
sys.path.insert(0, {benches!r})
import harness
from harness import Meter, Row

def doubles(factor, size):
    with Meter() as meter:
        total = sum(factor * number for number in range(size))
    harness.check(total, size * (size - 1))
    return meter.per(size)

def load(contender):
    return 2 if contender != "wrong" else 3

SUITE = harness.Suite("test", __file__, [
    Row("double", "doubles numbers", doubles, 1000, {{"peer": 0.001}}),
    Row("wrong", "a peer computes something else", doubles, 1000, {{"wrong": 1}}),
], (), load)

if __name__ == "__main__":
    harness.main(SUITE)
"""


@pytest.fixture
def suite(tmp_path):
    script = tmp_path / "rows.py"
    script.write_text(ROWS.format(benches=BENCHES))
    names = {"__file__": str(script), "__name__": "rows"}
    exec(compile(script.read_text(), str(script), "exec"), names)
    sys.path.remove(BENCHES)
    return names["SUITE"]


def record(ours, peer, aim=2, **more):
    def samples(costs):
        return [{"cost": cost, "clock": None, "figures": {}} for cost in costs]

    made = harness.record(
        harness.Suite("test", "", [], (), None),
        harness.Row("row", "about", None, 1, {"peer": aim}, **more),
    )
    made["samples"] = {"ours": samples(ours), "peer": samples(peer)}
    return made


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([2.1, 2.2, 2.2, 2.3, 2.3], judge.MET),
        ([1.7, 1.8, 1.8, 1.9, 1.9], judge.BELOW),
        ([1.9, 1.95, 2.0, 2.05, 2.1], judge.CLOSE),
        ([1.2, 1.4, 2.2, 3.0, 3.4], judge.WIDE),
        ([9.0, 2.2, 2.2, 2.2, 2.3], judge.MET),
    ],
)
def test_an_aim_is_judged_by_the_median_and_the_quartiles(ratios, verdict):
    assert judge.judge(ratios, 2) == verdict
    made = record([1.0] * len(ratios), ratios)
    assert judge.verdict(made, "peer") == verdict
    assert verdict in table.summary([made])


def test_ratios_are_formed_pair_by_pair():
    # The machine was twice as slow in the second round, for both.
    made = record([1, 2, 1], [3, 6, 3])
    assert judge.ratios(made, "peer") == [3, 3, 3]


def test_a_limit_is_judged_by_our_median():
    assert judge.verdict(record([1, 2, 9], [1, 1, 1], limit=2), "ours") == judge.MET
    assert judge.verdict(record([1, 3, 9], [1, 1, 1], limit=2), "ours") == judge.BELOW


def test_nothing_is_said_of_what_was_not_measured():
    made = record([1], [1])
    made["samples"].pop("peer")
    assert judge.verdict(made, "peer") == judge.UNKNOWN
    assert "not measured" in table.summary([made])


def test_a_row_is_measured_in_pairs_after_a_warm_up(suite):
    made = harness.measure(harness.Runner(), suite, suite.rows[0], 2)
    assert made["failures"] == {}
    assert {name: len(samples) for name, samples in made["samples"].items()} == {
        "ours": 2,
        "peer": 2,
    }
    assert not judge.failed([made])
    assert judge.verdict(made, "peer") in (judge.MET, judge.WIDE)


def test_a_wrong_result_fails_the_row(suite):
    made = harness.measure(harness.Runner(), suite, suite.rows[1], 2)
    assert "wrong result" in made["failures"]["wrong"]
    assert judge.verdict(made, "wrong") == judge.FAILED
    assert judge.failed([made])
    assert "FAILED: wrong result" in table.row(made)


def test_the_command_fails_with_a_row_and_writes_all_samples(suite, tmp_path, capsys):
    file = tmp_path / "samples.json"
    arguments = ["--quick", "--rounds", "1", "--no-counts", "--json", str(file)]
    assert command.main([suite], [*arguments, "test.wrong"]) is True
    assert command.main([suite], [*arguments, "double"]) is False
    written = json.loads(file.read_text())
    assert [row["row"] for row in written["rows"]] == ["double"]
    assert "eventlet" in written["around"]["packages"]
    assert "1 aims" in capsys.readouterr().out


def test_an_unknown_row_is_an_error(suite):
    with pytest.raises(SystemExit, match="no such row: nothing"):
        command.main([suite], ["nothing"])


def test_a_contender_that_is_not_installed_is_left_out(suite):
    runner = harness.Runner({"ours": sys.executable})
    made = harness.measure(runner, suite, suite.rows[0], 1)
    assert made["missing"] == ["peer"]
    assert "left out" in table.row(made)
    assert not judge.failed([made])


def test_a_program_of_a_crate_that_fails_fails_its_rows(tmp_path):
    program = tmp_path / "wheel"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "print('insert-1000\\tours\\t2.0\\ninsert-1000\\tBinaryHeap\\t4.0')\n"
        "sys.exit('they disagree' if '--quick' in sys.argv else 0)\n"
    )
    program.chmod(0o755)
    (made,) = crates.measure("wheel", str(program), ["insert"], quick=False)
    assert judge.ratios(made, "BinaryHeap") == [2]
    (made,) = crates.measure("wheel", str(program), ["insert"], quick=True)
    assert made["failures"] == {"ours": "they disagree"}


def test_a_count_that_has_risen_by_more_than_five_percent_fails():
    lines, good = check.compare({"a": 1000, "b": 1000}, {"a": 1060, "b": 1000})
    assert not good
    assert "RISEN" in lines[0] and "RISEN" not in lines[1]
    assert check.compare({"a": 1000}, {"a": 1040})[1]
    lines, good = check.compare({"a": 1000}, {"a": 900})
    assert good and "fallen" in lines[0]
    lines, good = check.compare({}, {"a": 900})
    assert good and "not committed" in lines[0]


def test_counts_of_another_interpreter_are_not_compared(monkeypatch):
    monkeypatch.setattr(counts, "unusable", lambda: "")
    here = {"python": "3.12.1", "libc": "glibc 2.36"}
    committed = {check.minor(): {"surroundings": here, "instructions": {}}}
    assert check.reason(committed, here) == ""
    assert "of libc glibc 2.36" in check.reason(committed, {**here, "libc": "glibc 2.40"})
    assert "no counts of CPython" in check.reason({}, here)
    monkeypatch.setattr(counts, "unusable", lambda: "valgrind is not installed")
    assert check.reason(committed, here) == "valgrind is not installed"


def test_every_hot_row_has_committed_counts():
    for entry in check.read().values():
        assert set(entry["instructions"]) == set(check.HOT)
