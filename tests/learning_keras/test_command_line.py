"""Keras models in Python files: trained, resumed and evaluated by commands, which tell how each came in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Fed, fed

__all__ = ["fed"]

HEAD = """\
import keras
import fedlang as fl

def network(activation):
    layers = [keras.layers.Input((784,)), keras.layers.Dense(4, activation=activation, name="hidden"),
              keras.layers.Dense(10, activation="softmax", name="scores")]
    return keras.Sequential(layers, name="digits")

def model(activation):
    return fl.learning.from_keras_model(network(activation), loss="sparse_categorical_crossentropy")
"""
TRANSLATED = HEAD + "translated = model('relu')\nprocess = fl.learning.build_federated_averaging(translated)\n"
CALLED = HEAD + (
    "called = model('celu')\n"
    "process = fl.learning.build_federated_averaging(called)\n"
    "accuracy = fl.learning.build_federated_evaluation(called)\n"
)
LIKE_TFF = HEAD + (
    "process = fl.learning.build_federated_averaging_process(lambda: model('celu'))\n"
    "evaluation = fl.learning.build_federated_evaluation(lambda: model('celu'))\n"
)
OF_BOTH = HEAD + (
    "first, second = model('relu'), model('celu')\n"
    "process = fl.learning.build_federated_averaging(first)\n"
    "evaluation = fl.learning.build_federated_evaluation(second)\n"
)
NOTE = "note: the model `digits` is "
TRAIN = ("train", "m.py", "--data", "mnist", "--clients", "2", "--rounds", "1")


@pytest.fixture(autouse=True)
def same_path(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TRANSLATED, "translated to the language's own operations"),
        (CALLED, "called: `hidden` is a Dense with activation = 'celu'"),
        (LIKE_TFF, "called: `hidden` is a Dense with activation = 'celu'"),
    ],
    ids=["translated", "called", "like TFF"],
)
def test_a_run_tells_how_a_model_came_in(fed: Fed, text: str, told: str) -> None:
    Path("m.py").write_text(text)
    quiet, verbose = fed(*TRAIN), fed(*TRAIN, "-v")
    assert (quiet.code, verbose.code) == (0, 0), quiet.err + verbose.err
    assert NOTE not in quiet.err
    assert f"{NOTE}{told}\n" in verbose.err
    assert f"the model `digits` is {told}\n" in fed(*TRAIN, "--explain").err
    (model,) = json.loads(fed(*TRAIN, "--json").out)["models"]
    assert (model["model"], model["calls"], bool(model["reason"])) == ("digits", "called" in told, "called" in told)


def test_every_model_is_told_of_once(fed: Fed) -> None:
    Path("m.py").write_text(OF_BOTH)
    outcome = fed(*TRAIN, "-v", "--executor", "batched")
    assert outcome.err.count(NOTE) == 2, outcome.err


def test_held_out_metrics(fed: Fed) -> None:
    Path("m.py").write_text(CALLED)
    (row,) = json.loads(fed(*TRAIN, "--json").out)["rounds"]
    assert {"loss", "accuracy.loss", "accuracy.accuracy", "examples"} <= set(row)


@pytest.mark.parametrize("text", [TRANSLATED, CALLED, LIKE_TFF], ids=["translated", "called", "like TFF"])
def test_training_is_resumed_whatever_the_first_weights(fed: Fed, text: str) -> None:
    Path("m.py").write_text(text)
    kept = (*TRAIN[:-1], "--checkpoint", "kept", "--json")
    first = json.loads(fed(*kept[:-3], "1", *kept[-3:]).out)["rounds"]
    outcome = fed(*kept[:-3], "2", *kept[-3:], "--resume")
    assert outcome.code == 0, outcome.err
    resumed = json.loads(outcome.out)
    assert resumed["rounds"][0] == first[0]
    assert len(resumed["rounds"]) == 2
    assert "of sha256" in json.dumps(resumed["settings"])
    other = fed(*kept[:-3], "3", *kept[-3:], "--resume", "--seed", "1")
    assert (other.code, "seed is 1 here and 0 there" in other.err) == (2, True)


def test_functions_of_a_model(fed: Fed) -> None:
    Path("m.py").write_text(TRANSLATED)
    words = ("run", "m.py:translated.predict", "zeros[Weights]()", "zeros[float32[1, 784]]()")
    assert fed(*words).out == f"[[{', '.join(['0.1'] * 10)}]]\n"
    assert json.loads(fed(*words, "-v", "--json").out)["models"] == [{"model": "digits", "calls": False, "reason": ""}]
    assert fed("ir", "m.py").out == fed("ir", "m.py:process.next").out
    assert fed("check", "m.py").err == "no mistakes in 1 file\n"


@pytest.mark.parametrize(
    ("more", "words", "expected"),
    [
        ("found = model('relu')", ["train", "m.py"], "build_federated_averaging(found)`"),
        ("found = network('relu')", ["run", "m.py:found"], "it is a Keras model"),
        ("found = model('relu')", ["run", "m.py:found"], "say which of "),
        ("found = model('relu')", ["run", "m.py:found.predct"], "did you mean `predict`?"),
        (
            "found = fl.learning.from_keras_model(network('celu'), 'mse', translate=True)",
            ["check", "m.py"],
            "m.py:12:9",
        ),
    ],
)
def test_what_goes_wrong(fed: Fed, more: str, words: list[str], expected: str) -> None:
    Path("m.py").write_text(f"{HEAD}\n{more}\n")
    outcome = fed(*words)
    assert outcome.code in (1, 2)
    assert expected in outcome.err, outcome.err
