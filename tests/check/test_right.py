"""Each program in `good` is accepted without a word; its `.types` has the types of its declarations."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedlang.check.declarations import Checker
from fedlang.checking import open_source
from fedlang.diagnostics import render
from fedlang.modules import Modules
from fedlang.names.world import NamedDeclaration, Symbol
from fedlang.source import Source
from fedlang.syntax import tree
from fedlang.types.types import print_type
from tests.golden import check_golden

PROGRAMS = sorted((Path(__file__).parent / "good").glob("*.fed"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_types(path: Path) -> None:
    unit = open_source(Source(path.name, path.read_text(encoding="utf-8")), Modules())
    assert not unit.diagnostics, "\n".join(render(each) for each in unit.diagnostics)
    named = [
        d for d in unit.world.root.declarations if not isinstance(d, tree.Import | tree.Allow | tree.TestDeclaration)
    ]
    check_golden(path.with_suffix(".types"), "".join(f"{line}\n" for d in named for line in shown(unit.checker, d)))


def shown(checker: Checker, declaration: NamedDeclaration) -> list[str]:
    """The type of a declaration; a process has a line for each method."""
    name = declaration.name.text
    if isinstance(declaration, tree.TypeDeclaration):
        alias = checker.alias(Symbol("", name, "type"))
        assert alias is not None
        return [f"type {name} = {print_type(alias.type)}"]
    signature = checker.signature(Symbol("", name), declaration.span)
    assert signature is not None
    checked = checker.checked(Symbol("", name))
    assert checked is not None
    if not isinstance(declaration, tree.ProcessDeclaration):
        return [f"{name}: {print_type(signature.type)}"]
    parts = dict(checked.type.fields)  # type: ignore[union-attr]
    return [f"{name}.{method}: {print_type(type)}" for method, type in parts.items()]
