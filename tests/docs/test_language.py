"""The pages under docs/ hold no example that does not check. A block marked `fed error` must not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fedlang as fl
from fedlang.pipeline import Entry, compile_entry

ROOT = Path(__file__).parent.parent.parent
BLOCKS = [
    pytest.param(
        found.group(2),
        found.group(1) is not None,
        id=f"{page.name}:{page.read_text()[: found.start()].count(chr(10)) + 2}",
    )
    for page in sorted((ROOT / "docs").glob("*.md"))
    for found in re.finditer(r"^```fed( error)?\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    if not page.name.startswith("error")
]


@pytest.mark.parametrize(("text", "wrong"), [(p.values[0], p.values[1]) for p in BLOCKS], ids=[p.id for p in BLOCKS])
def test_example_checks_and_compiles(text: str, wrong: bool) -> None:
    if wrong:
        with pytest.raises(fl.DiagnosticError):
            fl.loads(text)
        return
    package = fl.loads(text)
    for name in package.names:
        entry = package.entry(name)
        methods = entry.methods if isinstance(entry, fl.Process) else ("",)
        for method in methods:
            assert compile_entry(package.unit, Entry(name, method)).program.results
