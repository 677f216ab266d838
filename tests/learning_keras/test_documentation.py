"""The examples of docs/keras.md run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from fedlang.cli import main
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


def test_the_commands_print_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(PAGE.parent.parent / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = re.findall(r"^```sh\n(.*?)\n```\n\n```(text|json)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert [kind for _, kind, _ in found] == ["text", "json"]
    for line, kind, expected in found:
        program, *words = shlex.split(line)
        assert (program, main(words)) == ("fed", 0)
        shown = capsys.readouterr()
        if kind == "text":
            assert shown.err == expected
        else:
            assert json.loads(shown.out)["models"] == json.loads(expected)["models"]


@pytest.mark.parametrize(
    ("row", "known"), [("layers", KNOWN_LAYERS), ("activations", ACTIVATIONS), ("losses", KNOWN_LOSSES)]
)
def test_the_table_is_complete(row: str, known: Any) -> None:
    (line,) = re.findall(rf"^\| {row} \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", line)) == sorted(known)
