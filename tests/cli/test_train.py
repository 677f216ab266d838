"""`fed train`: metrics, what it leaves behind, resuming, and being interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlang.cli.training import Training
from fedlang.data import load
from fedlang.data.characters import SIZE, character_sequences
from tests.cli.conftest import Fed, Outcome

ROOT = Path(__file__).parent.parent.parent
MNIST = str(ROOT / "examples" / "mnist.fed")


def train(fed: Fed, *words: str) -> Outcome:
    return fed("train", MNIST, "--data", "mnist", "--executor", "reference", "--clients", "4", *words)


def rounds(outcome: Outcome) -> list[dict[str, float]]:
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["rounds"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def test_metrics_of_each_round(fed: Fed) -> None:
    outcome = train(fed, "--rounds", "3", "--evaluate-every", "2", "--out", "deep/log.jsonl", "--plot", "m.png")
    assert outcome.code == 0, outcome.err
    head, *rows = outcome.out.splitlines()
    assert head.split() == ["round", "loss", "accuracy", "examples", "clients", "seconds"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    lines = [json.loads(line) for line in Path("deep/log.jsonl").read_text().splitlines()]
    assert lines[2]["loss"] < lines[0]["loss"]
    assert lines[2]["accuracy"] > lines[0]["accuracy"]
    assert Path("m.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_rounds(fed: Fed) -> None:
    first, same, other = (rounds(train(fed, "--rounds", "2", "--json", "--seed", seed)) for seed in ("3", "3", "4"))
    assert first == same
    assert first != other


def test_resuming_goes_on_as_if_it_had_not_stopped(fed: Fed) -> None:
    whole = rounds(train(fed, "--rounds", "4", "--json"))
    train(fed, "--rounds", "2", "--checkpoint", "kept", "--out", "log.jsonl")
    resumed = train(fed, "--rounds", "4", "--checkpoint", "kept", "--resume", "--out", "log.jsonl", "--json")
    assert rounds(resumed) == whole
    assert [json.loads(line)["round"] for line in Path("log.jsonl").read_text().splitlines()] == [1, 2, 3, 4]
    assert [path.name for path in Path("kept").iterdir()] == ["checkpoint.npz"]
    done = train(fed, "--rounds", "4", "--checkpoint", "kept", "--resume", "--out", "log.jsonl")
    assert "the checkpoint has 4 rounds already" in done.err


def test_a_checkpoint_of_other_training_is_refused(fed: Fed) -> None:
    train(fed, "--rounds", "1", "--checkpoint", "kept")
    outcome = train(fed, "--rounds", "2", "--checkpoint", "kept", "--resume", "--seed", "1")
    assert (outcome.code, "seed is 1 here and 0 there" in outcome.err) == (2, True)
    other = Path("other.fed")
    other.write_text(
        Path(MNIST).read_text().replace("= x @ w.kernel", "= 2.0 * x @ w.kernel").replace("{ x @", "{ 2.0 * x @")
    )
    outcome = fed(
        "train", "other.fed", "--data", "mnist", "--clients", "4", "--checkpoint", "kept", "--resume", "--rounds", "2"
    )
    assert (outcome.code, "it is of another program" in outcome.err) == (2, True)


def test_a_broken_checkpoint_is_told(fed: Fed) -> None:
    Path("kept").mkdir()
    Path("kept/checkpoint.npz").write_bytes(b"nothing")
    outcome = train(fed, "--checkpoint", "kept", "--resume")
    assert (outcome.code, "cannot be read: it is damaged" in outcome.err) == (2, True)
    assert train(fed, "--checkpoint", "none", "--resume").code == 2
    assert train(fed, "--resume").code == 2


def test_a_damaged_checkpoint_is_told(fed: Fed) -> None:
    train(fed, "--rounds", "1", "--checkpoint", "kept")
    path = Path("kept/checkpoint.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[:600] + bytes(byte ^ 255 for byte in whole[600:700]) + whole[700:])
    outcome = train(fed, "--rounds", "2", "--checkpoint", "kept", "--resume")
    assert (outcome.code, "error[FED0910]" in outcome.err) == (2, True)


def test_a_checkpoint_is_not_written_over(fed: Fed) -> None:
    train(fed, "--rounds", "2", "--checkpoint", "kept")
    kept = Path("kept/checkpoint.npz").read_bytes()
    outcome = train(fed, "--rounds", "1", "--checkpoint", "kept")
    assert (outcome.code, "error[FED0917]" in outcome.err, "--resume" in outcome.err) == (2, True, True)
    assert Path("kept/checkpoint.npz").read_bytes() == kept


def test_interrupted_training_writes_what_there_is(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    one_round = Training.run_round

    def interrupted(self: Training, state: object, number: int, data: Any, *, evaluate: bool) -> object:
        if number == 3:
            raise KeyboardInterrupt
        return one_round(self, state, number, data, evaluate=evaluate)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "run_round", interrupted)
        outcome = train(fed, "--rounds", "9", "--checkpoint", "kept", "--plot", "m.png", "--out", "log.jsonl")
    assert outcome.code == 130
    assert "interrupted after 2 of 9 rounds" in outcome.err
    assert len(Path("log.jsonl").read_text().splitlines()) == 2
    assert Path("m.png").exists()
    assert len(rounds(train(fed, "--rounds", "3", "--checkpoint", "kept", "--resume", "--json"))) == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([MNIST], "give `--data mnist`"),
        ([MNIST, "--data", "minst"], "did you mean `mnist`?"),
        ([MNIST, "--data", "mnist", "--set", "rte=1"], "did you mean `rate`?"),
        ([MNIST, "--data", "mnist", "--set", "rate"], "write `--set NAME=VALUE`"),
        ([MNIST, "--data", "mnist", "--set", "rate=true"], "`rate` does not fit its type"),
        ([MNIST, "--data", "mnist", "--evaluate", "loss"], "`loss` cannot evaluate this process"),
        ([MNIST, "--data", "mnist", "--rounds", "0"], "0 is not in the range x>=1"),
        ([f"{MNIST}:accuracy", "--data", "mnist"], "run it with `fed run"),
        ([str(ROOT / "examples" / "heavy_hitters.fed"), "--data", "mnist"], "no process that data trains"),
        ([str(ROOT / "examples" / "lstm.fed"), "--data", "mnist"], "but no tokens, next"),
    ],
)
def test_what_goes_wrong(fed: Fed, words: list[str], expected: str) -> None:
    outcome = fed("train", *words)
    assert outcome.code == 2, outcome.err
    assert expected in outcome.err


def test_data_comes_in_the_shape_of_the_program(fed: Fed) -> None:
    points = fed(
        "train", str(ROOT / "examples" / "kmeans.fed"), "--data", "mnist", "--rounds", "1", "--clients", "2", "--json"
    )
    assert json.loads(points.out)["rounds"][0]["points"] > 0


BIGRAMS = """
import learning.fedavg (fedavg)
import learning.model (count)
import learning.optimizers (sgd)

type Example = {tokens: int32[20], next: int32[20]}

fn loss(w: float32[90, 90], batch: Example[?], _: Key) -> float32 {
  reduce_mean(sparse_softmax_cross_entropy(gather(w, batch.tokens), batch.next))
}

process bigrams = fedavg({init: fn(_: Key) { zeros[float32[90, 90]]() }, loss, examples: count}, client = sgd(5))
"""


def test_the_command_line_trains_on_sequences_as_long_as_the_program_s(fed: Fed) -> None:
    Path("bigrams.fed").write_text(BIGRAMS)
    outcome = fed("train", "bigrams.fed", "--data", "shakespeare", "--rounds", "3", "--executor", "reference", "--json")
    assert outcome.code == 0, outcome.err
    rounds = json.loads(outcome.out)["rounds"]
    plays = load("shakespeare").train
    assert rounds[0]["examples"] == sum(map(character_sequences(plays, 20).count, plays))
    assert 2.0 < rounds[2]["loss"] < rounds[0]["loss"] < np.log(SIZE)
