"""Each program beside this file gives the mistakes in its `.err`, or the formatted text in its `.fmt`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedlang.diagnostics import render
from fedlang.source import Source
from fedlang.syntax.parser import parse
from fedlang.syntax.printer import print_module
from tests.golden import check_golden

PROGRAMS = sorted(Path(__file__).parent.glob("*.fed"))


def read(path: Path) -> Source:
    return Source(path.name, path.read_bytes().decode())


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_mistakes(path: Path) -> None:
    parsed = parse(read(path))
    check_golden(path.with_suffix(".err"), "".join(f"{render(each)}\n\n" for each in parsed.diagnostics))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_formatted(path: Path) -> None:
    parsed = parse(read(path))
    if parsed.diagnostics:
        return
    text = print_module(parsed)
    check_golden(path.with_suffix(".fmt"), text if text != parsed.module.source.text else "")
    again = parse(Source(path.name, text))
    assert again.module == parsed.module
    assert print_module(again) == text
