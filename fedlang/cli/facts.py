"""The tests of a file: its `test` blocks, and the facts in the documentation of its declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedlang.check.typed import CheckedTest
from fedlang.checking import Unit
from fedlang.cli.opening import open_path
from fedlang.cli.paths import verify_text
from fedlang.cli.sinks import Console
from fedlang.diagnostics import DiagnosticError
from fedlang.pipeline import compile_test
from fedlang.run.errors import check_failed
from fedlang.run.registry import get_executor
from fedlang.source import Source, Span
from fedlang.syntax import tree
from fedlang.syntax.parser import parse_expression

_FACT = re.compile(r"^##(?: {4,}|\t)\s*(\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """One test. `declaration` is checked when it runs, so that a mistake in one is no mistake of the others."""

    path: str
    name: str
    unit: Unit
    test: CheckedTest | Span

    def run(self, executor: str) -> None:
        """Raises `DiagnosticError` where it fails."""
        if isinstance(self.test, CheckedTest):
            _run(self.unit, self.test, executor)
            return
        holds = _run(self.unit, _check_fact(self.unit, self.test), executor)
        if not holds:
            raise check_failed("the fact does not hold", self.test)


def cases_of(path: str) -> Iterator[Case]:
    """The tests of a file, in the order of its text. Raises `DiagnosticError` where the file has mistakes."""
    verify_text(path, "test")
    unit = open_path(path)
    unit.verify()
    found = [Case(path, test.title, unit, test) for test in unit.tests]
    found += [Case(path, span.text, unit, span) for span in facts_of(unit.world.root.source)]
    yield from sorted(found, key=lambda case: case.test.start if isinstance(case.test, Span) else case.test.span.start)


def facts_of(source: Source) -> Iterator[Span]:
    """Where facts are stated: indented lines of documentation comments."""
    for found in _FACT.finditer(source.text):
        yield Span(source, found.start(1), found.end(1))


def _check_fact(unit: Unit, span: Span) -> CheckedTest:
    """The fact as a test whose value is whether it holds. Its text keeps its place, so that mistakes show it."""
    before = "".join(each if each in "\r\n" else " " for each in span.source.text[: span.start])
    expression = parse_expression(Source(span.source.path, before + span.text))
    block = tree.Block((), expression, expression.span)
    known = len(unit.checker.diagnostics)
    test = unit.checker.check_test(tree.TestDeclaration(span.text, block, expression.span), "")
    wrong = unit.checker.diagnostics[known:]
    del unit.checker.diagnostics[known:]
    if wrong:
        raise DiagnosticError(*wrong)
    return test


def _run(unit: Unit, test: CheckedTest, executor: str) -> bool:
    leaves = get_executor(executor).compile_local(compile_test(unit, test))([], Console(err=False))
    return bool(leaves) and all(bool(np.all(np.asarray(leaf))) for leaf in leaves)
