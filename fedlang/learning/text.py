"""The text of a module in parts: records of leaves by their paths, functions, and what has to do with statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedlang.source import Source
from fedlang.syntax.parser import parse
from fedlang.syntax.printer import print_module

FieldPath = tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """A module's text in parts, so that more can be put beside it."""

    title: str
    imports: Mapping[str, frozenset[str]]
    declarations: tuple[str, ...]
    allows: tuple[str, ...] = ()

    def with_more(
        self, imports: Mapping[str, frozenset[str]], declarations: Iterable[str], allows: tuple[str, ...] = ()
    ) -> Module:
        """This module and more declarations; `allows` is what the file permits those it imports."""
        names = {
            module: self.imports.get(module, frozenset()) | imports.get(module, frozenset())
            for module in {**self.imports, **imports}
        }
        return Module(self.title, names, (*self.declarations, *declarations), (*self.allows, *allows))

    @property
    def text(self) -> str:
        """The text in the one style."""
        lines = [f"allow {what}" for what in self.allows]
        lines += [_import(module, names) for module, names in sorted(self.imports.items())]
        parts = [f"## {self.title}\n" + "\n".join(lines), *(part.strip() for part in self.declarations)]
        return print_module(parse(Source("<keras>", "\n\n".join(parts) + "\n")))


def _import(module: str, names: frozenset[str]) -> str:
    return f"import {module} ({', '.join(sorted(names))})" if names else f"import {module}"


def nest(leaves: Mapping[FieldPath, Any]) -> dict[str, Any]:
    """Nested mappings, in the order of the leaves. A leaf lies under no other."""
    found: dict[str, Any] = {}
    for path, leaf in leaves.items():
        here = found
        for part in path[:-1]:
            here = here.setdefault(part, {})
            assert isinstance(here, dict), f"{path} lies under a leaf"
        here[path[-1]] = leaf
    return found


def print_record(tree: Any) -> str:
    """Nested mappings of texts as a record, of types or of values; a text alone is itself."""
    if isinstance(tree, str):
        return tree
    return "{" + ", ".join(f"{name}: {print_record(inner)}" for name, inner in tree.items()) + "}"


def print_function(signature: str, lines: Iterable[str]) -> str:
    """A function of these lines."""
    return f"fn {signature} {{\n" + "\n".join(f"  {line}" for line in lines) + "\n}"


def print_seen(types: Mapping[FieldPath, str]) -> str:
    """The type of the statistics that a step gives."""
    return f"## What a step saw: statistics that are not trained.\ntype Seen = {print_record(nest(types))}"


def print_settle(weights: Iterable[FieldPath], statistics: Iterable[FieldPath], seen: str) -> str:
    """The function `settle`; `seen` is the expression for what a step with `w`, `batch` and `key` saw."""
    moved = set(statistics)
    fields = {path: f"{'seen' if path in moved else 'stepped'}.{'.'.join(path)}" for path in weights}
    return "## The weights after a step, with the statistics that `w` saw.\n" + print_function(
        "settle(w: Weights, batch: Example[?], key: Key, stepped: Weights) -> Weights",
        [f"let seen = {seen}", print_record(nest(fields))],
    )
