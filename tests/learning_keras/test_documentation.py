"""The examples of docs/keras.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fedlang.learning.layers import ACTIVATIONS, KNOWN_LAYERS
from fedlang.learning.losses import KNOWN_LOSSES

PAGE = Path(__file__).parent.parent.parent / "docs" / "keras.md"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, called = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(first, str(PAGE), "exec"), names)
    assert names["evaluate"](names["state"].weights, names["clients"].batches(100)).accuracy > 0.5
    assert (tmp_path / "digits.keras").is_file()
    exec(compile(called, str(PAGE), "exec"), names)
    assert names["branching"].calls


@pytest.mark.parametrize(
    ("row", "known"), [("layers", KNOWN_LAYERS), ("activations", ACTIVATIONS), ("losses", KNOWN_LOSSES)]
)
def test_the_table_is_complete(row: str, known: Any) -> None:
    (line,) = re.findall(rf"^\| {row} \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", line)) == sorted(known)
