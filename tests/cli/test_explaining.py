"""`--explain` and `-v`: on standard error, or in the JSON document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Fed

PROGRAM = """\
fn total(rows: float32[3]*) -> float32 { fold x in rows from 0.0 as so_far { so_far + reduce_sum(x * x) } }

fed average(x: <float32[3]*>@CLIENTS) -> float32@SERVER { federated_mean(total(x)) }

fed said(x: <string>@CLIENTS) -> int32@SERVER {
  print("x", x)
  federated_sum(1)
}
"""
ROWS = "[[[1, 2, 3], [1, 1, 1]], [[2, 2, 2]]]"


@pytest.fixture(autouse=True)
def program(fed: Fed) -> None:
    Path("p.fed").write_text(PROGRAM)


def test_a_run_is_explained_beside_its_result(fed: Fed) -> None:
    outcome = fed("run", "p.fed:average", ROWS, "--executor", "batched", "--explain")
    assert (outcome.code, outcome.out) == (0, "14.5\n"), outcome.err
    assert "client work 1: blocks, because in blocks a usual cohort takes" in outcome.err
    assert "1 block of 2 clients; 38% of steps useful" in outcome.err
    assert "estimated, ms" in outcome.err
    assert "devices: CPU:0" in outcome.err


def test_as_json_the_explanation_is_in_the_document(fed: Fed) -> None:
    outcome = fed("run", "p.fed:average", ROWS, "--strategy", "sequential", "--explain", "--json")
    found = json.loads(outcome.out)
    assert found["result"] == 14.5
    (work,) = found["explanation"]["works"]
    assert (work["strategy"], work["reason"], sum(work["chunks"])) == ("sequential", "asked for", 2)
    assert {row["operation"] for row in work["operations"]} >= {"reduce_sum", "multiply"}
    assert set(work["strategies"]) == {"sequential", "blocks"}
    assert found["explanation"]["figures"]["call"] > 0
    assert "client work" not in outcome.err


def test_an_executor_without_a_choice_says_so(fed: Fed) -> None:
    outcome = fed("run", "p.fed:average", ROWS, "--explain")
    assert outcome.out == "14.5\n"
    assert "the executor `reference` runs clients in one way: there is nothing to explain" in outcome.err
    assert "`--executor batched` chooses between several" in outcome.err


def test_notes_tell_what_runs_outside(fed: Fed) -> None:
    words = ("run", "p.fed:said", '["a", "b"]', "--executor", "batched")
    assert "note:" not in fed(*words).err
    told = fed(*words, "-v").err
    assert "note: client work 1: client by client on the reference, in NumPy: it works with strings" in told
    assert "estimated" not in told


@pytest.mark.parametrize("rounds", ["1", "2"])
def test_training_explains_a_round(fed: Fed, rounds: str) -> None:
    example = Path(__file__).parents[2] / "examples" / "mnist.fed"
    words = ("train", str(example), "--data", "mnist", "--rounds", rounds, "--clients", "3", "--explain", "--json")
    found = json.loads(fed(*words, "--strategy", "blocks").out)
    assert len(found["rounds"]) == int(rounds)
    assert found["explanation"]["works"][0]["chunks"] == [3]
    assert any(
        row["operation"] == "matmul" and row["measured"] for row in found["explanation"]["works"][0]["operations"]
    )
