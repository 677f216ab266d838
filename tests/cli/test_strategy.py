"""`--strategy`: how the executor `batched` runs clients, chosen on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Fed

PROGRAM = "fed average(x: <float32>@CLIENTS) -> float32@SERVER { federated_mean(2.0 * x) }\n"


@pytest.fixture(autouse=True)
def program(fed: Fed) -> None:
    Path("p.fed").write_text(PROGRAM)


@pytest.mark.parametrize("words", [["auto"], ["vectorised"], ["sequential", "--executor", "batched"]])
def test_each_gives_the_result(fed: Fed, words: list[str]) -> None:
    outcome = fed("run", "p.fed:average", "[1, 2, 4.5]", "--strategy", *words)
    assert (outcome.code, outcome.out) == (0, "5.0\n"), outcome.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["vectorized"], "did you mean `vectorised`"),
        (["vectorised", "--executor", "reference"], "FED0625"),
    ],
)
def test_what_there_is_not_is_said(fed: Fed, words: list[str], expected: str) -> None:
    outcome = fed("run", "p.fed:average", "[1, 2]", "--strategy", *words)
    assert outcome.code == 2
    assert expected in outcome.err
