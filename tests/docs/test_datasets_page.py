"""docs/datasets.md: its Python runs from top to bottom and prints what is said, its counts and codes are right."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import fedlang as fl
from fedlang.cli.train import command
from fedlang.data import load

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```)?", PAGE, re.MULTILINE | re.DOTALL)
ROWS = [re.split(r" *\| *", line.strip("| ")) for line in PAGE.splitlines() if line.startswith("| `")]


def test_python_prints_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code, expected in PYTHON:
        exec(compile(code, "docs/datasets.md", "exec"), names)
        assert capsys.readouterr().out == expected


def test_commands_are_well_formed() -> None:
    (line,) = re.findall(r"^```sh\n(.*)\n```", PAGE, re.MULTILINE)
    words = shlex.split(line)
    assert words[:2] == ["fed", "train"]
    options = command.make_context("train", words[2:]).params
    assert (ROOT / options["target"]).is_file()
    assert options["data"] == "shakespeare"


def test_what_comes_along_has_the_counts_of_the_table() -> None:
    along = {row[0].split("`")[1]: row for row in ROWS if row[-1] == "comes along"}
    assert set(along) == {"mnist", "shakespeare"}
    for name, row in along.items():
        data = load(name)
        counts = [sum(map(part.count, part)) for part in (data.train, data.test)]
        assert [row[1].split(",")[0].split()[0], *row[2:4]] == [str(len(data.train)), *(f"{n:,}" for n in counts)]


def test_every_data_set_has_a_module_with_load_data() -> None:
    names = {row[0].split("`")[1] for row in ROWS}
    assert names == set(fl.simulation.datasets.__all__)
    assert all(callable(import_module(f"fedlang.simulation.datasets.{name}").load_data) for name in names)


def test_every_code_has_a_page() -> None:
    pages = (ROOT / "fedlang" / "cli" / "pages.md").read_text(encoding="utf-8")
    codes = set(re.findall(r"FED\d{4}", PAGE))
    assert len(codes) == 5
    assert all(f"## {code} " in pages for code in codes)
