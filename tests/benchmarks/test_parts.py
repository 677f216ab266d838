"""The command, the table, the JSON file, and what is measured besides rounds."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import grid, memory, padding
from benchmarks.__main__ import NAMES, main, select
from benchmarks.child import run_alone
from benchmarks.contenders import OURS
from benchmarks.rounds import Effort
from benchmarks.rows import Row, Target, as_json, judged, table, verdict, with_ratios
from benchmarks.workloads import WORKLOADS


def row(contender: str, cpu: float | None, note: str = "") -> Row:
    return Row("w", contender, wall=cpu, cpu=cpu, turns=() if cpu is None else ((cpu, cpu),), note=note)


def test_targets() -> None:
    rows = judged(
        with_ratios([row("centralised", 2.0), row("batched", 1.0), row("peer", 9.0), row("absent", None, "left out")]),
        [
            Target("batched", over="centralised", at_most=0.45),
            Target("batched", at_most=1.0),
            Target("peer", over="batched", at_least=9.0),
            Target("absent", over="batched", at_least=2.0),
            Target("batched", over="absent", at_most=2.0),
        ],
    )
    found = {each.contender: [(v.target, v.value, v.met) for v in each.verdicts] for each in rows}
    assert found == {
        "centralised": [],
        "batched": [("<= 0.45 x centralised", 0.5, False), ("<= 1 s", 1.0, True)],
        "peer": [(">= 9 x batched", 9.0, True)],
        "absent": [],
    }
    assert [each.over_cpu for each in rows] == [1.0, 0.5, 4.5, None]


def test_every_target_names_contenders_that_there_are() -> None:
    from benchmarks.peers import PEERS

    names = {each.name for each in (*OURS, *PEERS)}
    for workload in WORKLOADS:
        assert {target.contender for target in workload.targets} <= names
        assert {target.over for target in workload.targets} - {None} <= names


def test_the_table() -> None:
    rows = [row("a", 0.5), Row("w", "b", note="left out"), Row("v", "c", verdicts=verdict("x <= 1", 2.0, met=False))]
    console = Console(width=150, record=True, file=StringIO())
    console.print(table(rows))
    text = console.export_text()
    for part in ("500.0", "left out", "x <= 1: 2", "NO"):
        assert part in text


def test_the_json_file() -> None:
    found = json.loads(as_json([Row("w", "a", cpu=1.0, verdicts=verdict("t", 1.0, met=True), figures={"peak": 3.0})]))
    assert found["format"] == 1
    assert set(found["versions"]) == {"python", "numpy"}
    (only,) = found["rows"]
    assert set(only) == set(Row.__dataclass_fields__)
    assert only["verdicts"] == [{"target": "t", "value": 1.0, "met": True}]
    assert only["figures"] == {"peak": 3.0}


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JAX", "FEDJAX", "PFL", "FLOWER", "TFF"):
        monkeypatch.delenv(f"FEDLANG_BENCH_{name}", raising=False)
    file = tmp_path / "found.json"
    named = [part for name in ("batched", "threaded", "tff") for part in ("--contender", name)]
    asked = ["--quick", "--rounds", "1", *named, "--only", "softmax1000"]
    done = CliRunner().invoke(main, [*asked, "padding", "--json", str(file)])
    assert done.exit_code == 0, done.output
    rows = json.loads(file.read_text())["rows"]
    assert [(each["workload"], each["contender"]) for each in rows] == [
        *(("softmax1000", name) for name in ("centralised", "batched", "threaded", "tff")),
        ("padding", "batched"),
        ("padding", "batched, vectorised"),
    ]
    assert [bool(each["rounds"]) for each in rows] == [True, True, True, False, False, False]
    assert rows[3]["note"] == "left out: --tff names no environment"
    for each in rows[:3]:
        assert each["over_cpu"] == pytest.approx(each["cpu"] / rows[0]["cpu"])
    assert CliRunner().invoke(main, ["--only", "nothing"]).exit_code == 2
    wrong = CliRunner().invoke(main, ["--contender", "batch", "padding"])
    assert wrong.exit_code == 2
    assert "there is no 'batch'; there are: centralised; batched;" in wrong.output


def test_names() -> None:
    assert NAMES == ("softmax50", "softmax1000", "cnn", "lstm", "cold", "memory", "padding", "grid")
    assert [each.name for each in select(OURS, ["batched, vectorised", "reference"])] == [
        "centralised",
        "batched, vectorised",
        "reference",
    ]
    assert select(OURS, []) == list(OURS)


def test_a_process_of_its_own() -> None:
    found = run_alone("memory", "clients", 20)
    assert set(found) == {"wall", "cpu", "peak"}
    assert found["peak"] > 20 * memory.MB
    assert set(run_alone("memory", "rounds", 5)) == {"wall", "cpu", "peak", "growth"}


def test_useful_steps() -> None:
    found = padding.measure(40)
    assert [row.contender for row in found] == ["batched", "batched, vectorised"]
    assert all(0 < row.figures["useful"] <= 1 for row in found)
    assert found[1].note.startswith("ran as vectorised, ")


def test_the_grid_has_thirty_programs_and_one_runs() -> None:
    found = list(grid.cases())
    assert len(found) == len({case.name for case in found}) == 30
    rows = grid.measure(Effort(1, 0.0, 1e9), most=5)
    assert rows == [Row("grid", "all", figures={"good": 0, "programs": 0}, verdicts=rows[0].verdicts)]
    case = grid._case(found[0], Effort(1, 0.0, 1e9))
    assert set(case.figures) == set(grid.STRATEGIES)
    assert case.note.startswith("chose ")
