"""Values on the command line: an expression of the language, JSON, or `@FILE` for a .npy, .npz or .json file.

Lists, records, tuples and numbers are read as they are, so that the parameter's type decides what they become:
`[1, 2]` is a tensor, a sequence, or one value for each of two clients. Any other expression is computed, with the
program's names in scope: `range(10)`, `random.normal[float32[3]](random.key(1))`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fedlang.checking import Unit
from fedlang.cli import errors
from fedlang.diagnostics import DiagnosticError
from fedlang.embed.values import decode
from fedlang.pipeline import compile_test
from fedlang.run.executor import Collected
from fedlang.run.registry import get_executor
from fedlang.source import Source
from fedlang.syntax import tree
from fedlang.syntax.parser import parse_expression
from fedlang.types.substitute import substitute

_NAMED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", re.DOTALL)


class Reader:
    """Reads values with the names of a program in scope."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    def arguments(self, words: tuple[str, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The words of a call: `VALUE` by place, `NAME=VALUE` by name."""
        places, names = [], {}
        for word in words:
            if found := _NAMED.fullmatch(word):
                names[found[1]] = self.value(found[2])
            else:
                places.append(self.value(word))
        return tuple(places), names

    def value(self, text: str) -> Any:
        """One value."""
        if text.startswith("@"):
            return read_file(text[1:])
        try:
            expression = parse_expression(Source("<argument>", text))
        except DiagnosticError:
            return _json(text)
        return self._value(expression)

    def _value(self, expression: tree.Expression) -> Any:
        match expression:
            case tree.IntegerLiteral() | tree.FloatLiteral() | tree.StringLiteral() | tree.BoolLiteral():
                return expression.value
            case tree.Unary("-", tree.IntegerLiteral(value) | tree.FloatLiteral(value)):
                return -value
            case tree.ListExpression(items):
                return [self._value(item) for item in items]
            case tree.TupleExpression(items):
                return tuple(self._value(item) for item in items)
            case tree.RecordExpression(items) if all(isinstance(item, tree.RecordField) for item in items):
                return {item.name.text: self._value(item.value) for item in items if isinstance(item, tree.RecordField)}
            case _:
                return self._computed(expression)

    def _computed(self, expression: tree.Expression) -> Any:
        block = tree.Block((), expression, expression.span)
        test = self.unit.checker.check_test(tree.TestDeclaration("argument", block, expression.span), "")
        self.unit.verify()
        leaves = get_executor("reference").compile_local(compile_test(self.unit, test))([], Collected())
        return decode(substitute(test.body.type, test.solution), iter(leaves))


def _json(text: str) -> Any:
    """JSON where it is no expression; the mistake of the expression where it is neither."""
    try:
        return json.loads(text)
    except ValueError:
        return parse_expression(Source("<argument>", text))


def read_file(path: str) -> Any:
    """The value in a file, by the end of its name."""
    try:
        if Path(path).suffix == ".json":
            return json.loads(Path(path).read_text(encoding="utf-8"))
        if Path(path).suffix in (".npy", ".npz"):
            return _arrays(path)
    except (OSError, ValueError) as error:
        raise errors.unreadable_argument(path, str(error)) from None
    raise errors.unreadable_argument(path, "its name has another ending")


def _arrays(path: str) -> Any:
    import numpy as np

    found = np.load(path, allow_pickle=False)
    return dict(found) if path.endswith(".npz") else found
