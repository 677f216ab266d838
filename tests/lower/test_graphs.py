"""Each program beside this file is lowered to the graph in its `.graph`: `f`, or each method of the process `f`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedlang.checking import open_source
from fedlang.ir.text import parse_graph, print_graph
from fedlang.ir.verify import verify_graph
from fedlang.lower.entry import method_names
from fedlang.modules import Modules
from fedlang.names.world import Symbol
from fedlang.pipeline import Entry, lower_entry
from fedlang.source import Source
from fedlang.syntax import tree
from tests.golden import check_golden

PROGRAMS = sorted(Path(__file__).parent.glob("*.fed"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_graph(path: Path) -> None:
    unit = open_source(Source(path.name, path.read_text(encoding="utf-8")), Modules())
    unit.verify()
    symbol = Symbol("", "f")
    process = isinstance(unit.world.declaration(symbol), tree.ProcessDeclaration)
    text = ""
    for method in method_names(unit.checker, symbol) if process else ("",):
        graph = lower_entry(unit, Entry("f", method)).graph
        verify_graph(graph, level="federated")
        shown = print_graph(graph)
        assert print_graph(parse_graph(shown)) == shown
        text += f"# {method}\n{shown}\n" if method else f"{shown}\n"
    check_golden(path.with_suffix(".graph"), text)
