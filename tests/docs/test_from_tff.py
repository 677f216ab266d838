"""docs/from_tff.md: its examples run, its table of types is right, and every name of ours in it is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import fedlang as fl
from fedlang.cli import main

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "from_tff.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").replace("\\|", "¦").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]
OURS = sorted(set(re.findall(r"\b(?:fl|fedlang)\.[A-Za-z_][A-Za-z0-9_.]*[A-Za-z0-9_]", PAGE)))
DECLARED = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (ROOT / "stdlib").rglob("*.fed")
}


def test_the_examples_run_in_order() -> None:
    scope: dict[str, Any] = {"__name__": "notebook"}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    for number, text in enumerate(blocks):
        exec(compile(text, f"<block {number}>", "exec"), scope)


def code(cell: str) -> str:
    (found, *_) = re.findall(r"`([^`]*)`", cell)
    return found


def types() -> list[list[str]]:
    """The rows about types that have a notation of ours; functions have no text that is a type of data."""
    section = PAGE.split("## Types")[1].split("## Computations")[0]
    rows = [row for row in ROWS if len(row) == 3 and "`" in row[0] and row[0] in section]
    return [row for row in rows if row[2] and "->" not in row[0]]


@pytest.mark.parametrize(("theirs", "ours", "printed"), types(), ids=[row[0] for row in types()])
def test_the_table_of_types(theirs: str, ours: str, printed: str) -> None:
    written = code(theirs) if ours == "the same" else code(ours)
    type = fl.to_type(written)
    assert str(type) == written
    assert type.to_tff() == (code(theirs) if printed == "the same" else code(printed))
    if "zipped" in printed:
        assert type.to_tff(zipped=False) == code(theirs)


def test_the_table_of_types_is_found() -> None:
    assert [code(row[0]) for row in types()][-1] == "<a=float32@SERVER,b=float32@SERVER>"
    assert len(types()) == 9


@pytest.mark.parametrize("name", OURS)
def test_names_of_ours_are_there(name: str) -> None:
    first, *parts = name.split(".")
    here: Any = fl if first == "fl" else importlib.import_module("fedlang")
    for part in parts:
        here = getattr(here, part) if hasattr(here, part) else importlib.import_module(f"{here.__name__}.{part}")
    assert here is not None


@pytest.mark.parametrize("row", [row for row in ROWS if "` of `stdlib/" in row[-1]], ids=lambda row: row[0][:40])
def test_what_the_library_is_said_to_have_it_has(row: list[str]) -> None:
    (path, *_) = re.findall(r"stdlib/[a-z/]+\.fed", row[-1])
    words = re.findall(r"`(?!fl\.)([A-Za-z_]+)", row[-1].split(" of `stdlib")[0])
    assert words
    for word in words:
        assert re.search(rf"^(process|fed|fn|type) {word}\b", DECLARED[path], re.MULTILINE), word


def test_files_are_there() -> None:
    files = set(re.findall(r"`((?:examples|stdlib)/[a-z_/]+\.[a-z]+)`", PAGE))
    assert len(files) > 8
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_options_of_the_command_line_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in set(re.findall(r"--(?:clients|seed|checkpoint|resume|out|plot)\b", PAGE)):
        assert option in shown


@pytest.mark.parametrize("name", ["templates", "backends", "aggregators", "program", "Value"])
def test_former_names_are_told_what_they_are(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute `{name}`; of TensorFlow Federated, it is .*from_tff.md"):
        getattr(fl, name)


def test_other_names_are_just_not_there() -> None:
    with pytest.raises(AttributeError, match=r"^module `fedlang` has no attribute `other`$"):
        _ = fl.other
