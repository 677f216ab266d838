"""What README.md shows works: programs check, Python runs, commands run and print what is said."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

import fedlang as fl
from fedlang.cli import main
from fedlang.diagnostics import render

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^```(sh|python|fed error|fed)\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A block, and the block of text that follows it."""

    kind: str
    text: str
    expected: str | None


EXAMPLES = [Example(*found.groups()) for found in BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))]


def of(kind: str) -> list[Example]:
    found = [example for example in EXAMPLES if example.kind == kind]
    assert found, f"the page has examples of {kind}"
    return found


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder like the checkout, where commands may write."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("example", of("fed"), ids=str)
def test_programs_check(example: Example) -> None:
    assert fl.loads(example.text).names


@pytest.mark.parametrize("example", of("fed error"), ids=str)
def test_mistakes_are_as_shown(example: Example) -> None:
    with pytest.raises(fl.DiagnosticError) as caught:
        fl.loads(example.text)
    assert example.expected is not None
    assert render(caught.value.diagnostics[0]).startswith(example.expected.strip())


@pytest.mark.parametrize("example", of("python"), ids=str)
def test_python_runs(example: Example) -> None:
    exec(compile(example.text, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("example", of("sh"), ids=str)
def test_commands_run(example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    for line in example.text.splitlines():
        program, *words = shlex.split(line)
        assert program == "fed"
        assert main(words) == 0, capsys.readouterr().err
    if example.expected is not None:
        assert capsys.readouterr().out == example.expected
