"""The Keras example trains on the digits that come along, with the same figures each time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fedlang.cli import main

pytest.importorskip("tensorflow")

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "keras_mnist.py"


def test_fed_train_learns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["train", str(SCRIPT), "--data", "mnist", "--rounds", "5", "--clients", "20", "-v", "--json"]
    documents = []
    for _ in range(2):
        assert main(words) == 0
        shown = capsys.readouterr()
        assert "note: the model `digits` is translated to the language's own operations" in shown.err
        documents.append(json.loads(shown.out))
    first, same = ([{**row, "seconds": 0} for row in each["rounds"]] for each in documents)
    assert first == same
    assert first[0]["evaluation.accuracy"] < 0.6 < first[4]["evaluation.accuracy"]
    assert documents[0]["models"] == [{"model": "digits", "calls": False, "reason": ""}]
    assert "fed train examples/keras_mnist.py" in SCRIPT.read_text()
