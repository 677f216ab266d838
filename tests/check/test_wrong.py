"""Each program beside this file is wrong, and gives the messages in its `.err`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedlang.checking import open_source
from fedlang.diagnostics import render
from fedlang.modules import Modules
from fedlang.source import Source
from tests.golden import check_golden

PROGRAMS = sorted(Path(__file__).parent.glob("*.fed"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_mistakes(path: Path) -> None:
    unit = open_source(Source(path.name, path.read_text(encoding="utf-8")), Modules())
    assert unit.diagnostics, "the program is accepted"
    check_golden(path.with_suffix(".err"), "".join(f"{render(each)}\n\n" for each in unit.diagnostics))
