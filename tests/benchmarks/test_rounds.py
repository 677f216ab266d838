"""The machinery of the benchmarks: all contenders do the same work, take turns, and say why they do not take part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.adapters.serve import load
from benchmarks.contenders import OURS, Runner, Turn
from benchmarks.models import SOFTMAX
from benchmarks.rounds import Effort, interleaved, mean_of, measure
from benchmarks.rows import Row, Target, judged, ratio, with_ratios, with_strays
from benchmarks.workloads import WORKLOADS, Workload, unequal

TINY = Workload("tiny", "two clients", SOFTMAX, (5, 3), 2, 0.1, (Target("batched", over="centralised", at_most=1e9),))
ONCE = Effort(rounds=1, least=0.0, most=1e9)


@dataclass
class Counted:
    """A runner that writes down its turns and takes as long as it is told."""

    name: str
    seconds: float
    order: list[str]
    version: str = "1"
    closed: bool = False

    def run_round(self) -> Turn:
        self.order.append(self.name)
        return Turn(self.seconds, self.seconds / 2, 1.0)

    def close(self) -> None:
        self.closed = True


@dataclass
class Made:
    """A contender whose runner is given, or fails to be."""

    name: str
    make: Callable[[], Runner]
    reason: str | None = None
    made: list[Runner] = field(default_factory=list)

    def missing(self, workload: Workload) -> str | None:
        return self.reason

    def prepare(self, workload: Workload) -> Runner:
        self.made.append(self.make())
        return self.made[-1]


def test_contenders_take_turns() -> None:
    order: list[str] = []
    runners: dict[str, Runner] = {name: Counted(name, 1.0, order) for name in "abc"}
    turns = interleaved(runners, Effort(rounds=2, least=0.0, most=100.0))
    assert "".join(order) == "abcabc"
    assert [len(taken) for taken in turns.values()] == [2, 2, 2]


def test_a_turn_is_as_long_as_asked_and_gives_the_mean() -> None:
    order: list[str] = []
    turns = interleaved({"a": Counted("a", 0.3, order)}, Effort(rounds=1, least=1.0, most=100.0))
    assert len(order) == 1 + 4, "the first is not counted: it is short, and others ran before it"
    assert turns["a"] == [Turn(pytest.approx(0.3), pytest.approx(0.15), 1.0)]
    assert mean_of([Turn(1, 2, 5), Turn(3, 4, 6)]) == Turn(2, 3, 6)


def test_what_others_left_behind_is_not_counted_of_short_rounds() -> None:
    class Cold(Counted):
        def run_round(self) -> Turn:
            found = super().run_round()
            return found if len(self.order) % 2 == 0 else Turn(3 * found.wall, 3 * found.cpu, found.norm)

    for seconds, expected in ((0.1, [0.1, 0.1]), (1.0, [3.0, 1.0])):
        turns = interleaved({"a": Cold("a", seconds, [])}, Effort(rounds=2, least=0.0, most=100.0))
        assert [turn.wall for turn in turns["a"]] == pytest.approx(expected)


def test_who_has_used_up_its_time_has_had_one_turn() -> None:
    order: list[str] = []
    runners: dict[str, Runner] = {"slow": Counted("slow", 90.0, order), "fast": Counted("fast", 1.0, order)}
    turns = interleaved(runners, Effort(rounds=3, least=0.0, most=100.0))
    assert [len(turns[name]) for name in ("slow", "fast")] == [1, 3]


def test_medians_ratios_and_the_least() -> None:
    order: list[str] = []
    times = iter([9.0, 9.0, 1.0, 5.0, 2.0])

    class Varying(Counted):
        def run_round(self) -> Turn:
            self.seconds = next(times)
            return super().run_round()

    central = Made("centralised", lambda: Counted("centralised", 4.0, order))
    rows = measure(TINY, [central, Made("batched", lambda: Varying("batched", 0, order))], Effort(3, 0.0, 1e9))
    row = rows[1]
    assert (row.first, row.wall, row.cpu, row.cpu_least, row.rounds) == (9.0, 2.0, 1.0, 0.5, 3)
    assert row.turns == ((0.5, 1.0), (2.5, 5.0), (1.0, 2.0))
    assert (row.over_wall, row.over_cpu) == (0.5, 0.5)
    assert [(each.value, each.met) for each in row.verdicts] == [(0.5, True)]


def test_ratios_are_of_turns_that_were_beside_each_other() -> None:
    slowed = (1.0, 3.0, 3.0, 1.0)  # what the machine does to a turn of both
    central = Row("w", "centralised", turns=tuple((2.0 * by, 4.0 * by) for by in slowed))
    other = Row("w", "other", cpu=1.5, turns=tuple((by, by) for by in slowed[:3]))
    (_, row) = with_ratios([central, other])
    assert (row.over_cpu, row.over_wall) == (0.5, 0.25)
    once = Row("w", "once", turns=((6.0, 4.0),))
    assert (ratio(once, central), ratio(once, central, of=1)) == (1.5, 0.5)  # of medians: 4 and 8
    (row, _) = judged([other, central], [Target("other", "centralised", at_most=0.5)])
    assert [(each.value, each.met) for each in row.verdicts] == [(0.5, True)]


def test_who_fails_or_is_missing_says_why_and_stops_no_other() -> None:
    def fail() -> Runner:
        raise ValueError("no such thing\nand more")

    good = Made("good", lambda: Counted("good", 1.0, []))
    rows = measure(TINY, [Made("absent", fail, "left out: not there"), Made("broken", fail), good], ONCE)
    assert [(row.contender, row.note, row.rounds) for row in rows] == [
        ("absent", "left out: not there", 0),
        ("broken", "failed: no such thing", 0),
        ("good", "", 1),
    ]
    (runner,) = good.made
    assert isinstance(runner, Counted)
    assert runner.closed


def test_who_ends_with_other_weights_is_said_to() -> None:
    norms = {"centralised": 9.0, "a": 2.0, "b": 2.0 + 1e-6, "c": 2.1, "batched, shuffled": 3.0, "d": None, "e": 2.0}
    rows = with_strays([Row("w", name, norm=norm) for name, norm in norms.items()])
    assert {row.contender: row.note for row in rows if row.note} == {
        "c": "its weights are others: their norm is 2.1, and 2 is usual"
    }
    assert with_strays([]) == []


def test_all_of_ours_give_the_same_weights() -> None:
    rows = {row.contender: row for row in measure(TINY, OURS, ONCE)}
    assert not [row.note for row in rows.values() if row.note]
    found = {name: row.norm for name, row in rows.items() if name not in ("centralised", "batched, shuffled")}
    reference = found["reference"]
    assert reference is not None
    assert found == pytest.approx(dict.fromkeys(found, reference), rel=1e-6)
    assert rows["centralised"].version.startswith("tensorflow ")
    central = rows["centralised"].norm
    assert central is not None
    assert central > reference  # all steps one after the other, and no mean


def test_workloads_are_what_they_say() -> None:
    found = {workload.name: workload for workload in WORKLOADS}
    assert found["softmax50"].steps == 300
    assert sum(each.size for each in found["cnn"].weights) == 1_626_442
    assert sum(found["softmax1000"].sizes) == pytest.approx(97_000, rel=0.01)
    assert len(set(found["softmax1000"].sizes)) > 50
    assert found["cnn"].smaller(2).targets == ()


def test_unequal_sizes() -> None:
    sizes = np.array(unequal(2000, 60, 1.5))
    assert sizes.min() == 1
    assert sizes.mean() == pytest.approx(60, rel=0.15)
    assert np.log(sizes).std() == pytest.approx(1.5, rel=0.15)


def test_saved_workloads_read_back(tmp_path: Path) -> None:
    TINY.save(tmp_path / "tiny.npz")
    task = load(str(tmp_path / "tiny.npz"))
    assert (task.model, task.batch, task.rate) == ("softmax", 2, 0.1)
    assert [len(y) for _, y in task.clients] == [5, 3]
    for a, b in zip(task.clients, TINY.clients, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    assert [each.shape for each in task.weights] == [(784, 10), (10,)]
    assert replace(TINY, batch=5).steps == 2
