"""Resumed training says where it runs in another way than the rounds before, whose last bits may differ."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Fed, Outcome

EXAMPLE = Path(__file__).parents[2] / "examples" / "mnist.fed"


def train(fed: Fed, *words: str) -> Outcome:
    given = ("train", str(EXAMPLE), "--data", "mnist", "--clients", "3", "--checkpoint", "kept", *words)
    outcome: Outcome = fed(*given)
    assert outcome.code == 0, outcome.err
    return outcome


def test_another_strategy_is_told_of_once(fed: Fed) -> None:
    assert "note" not in train(fed, "--rounds", "1", "--strategy", "blocks").err
    assert "note" not in train(fed, "--rounds", "2", "--strategy", "blocks", "--resume").err
    told = train(fed, "--rounds", "4", "--strategy", "sequential", "--resume").err
    assert told.count("the rounds before ran on `batched` (blocks), this one on `batched` (sequential)") == 1


def test_another_executor_is_told_of(fed: Fed) -> None:
    train(fed, "--rounds", "1", "--executor", "reference")
    told = train(fed, "--rounds", "2", "--strategy", "blocks", "--resume").err
    assert "ran on `reference`, this one on `batched` (blocks): the last bits may differ" in told
