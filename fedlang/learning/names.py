"""Names of Keras layers and variables as names of fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

from fedlang.learning import errors

# fmt: off
KEYWORDS = frozenset(
    (
        "allow", "and", "as", "derivative", "else", "expect", "extern", "false", "fed", "fn", "fold", "from",
        "if", "import", "in", "let", "not", "or", "prim", "print", "probe", "process", "repeat", "scan", "test",
        "true", "type",
    )
)
# fmt: on


TAKEN = ("loss", "examples", "num_examples", "clients_left_out")
"""What stands beside metrics in what a model, or its training, gives."""


def field_name(name: str) -> str:
    """A name of the language: other characters are `_`, and `_` keeps it apart from a number or a word of its own."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if plain[:1].isdigit():
        plain = f"_{plain}"
    return f"{plain}_" if plain in KEYWORDS else plain


def field_path(path: Iterable[str]) -> tuple[str, ...]:
    """The fields that lead to what has this path in Keras."""
    return tuple(field_name(each) for each in path)


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with `_1`, `_2` and so on behind those that were there before, as Keras does it."""
    found: list[str] = []
    for name in names:
        others = (f"{name}_{number}" for number in count(1))
        found.append(name if name not in found else next(other for other in others if other not in found))
    return found


def title_of(metric: Any) -> str:
    """What Keras calls a metric: as the user wrote its name, else as its object or function is called.

    A class is called as its first object would be, whatever was made of it before.
    """
    if isinstance(metric, str):
        return metric
    if isinstance(metric, Mapping):
        return str(metric.get("config", {}).get("name") or _snake_case(str(metric.get("class_name"))))
    if isinstance(metric, type):
        return _snake_case(metric.__name__)
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", "metric"))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def metric_fields(metrics: Iterable[Any]) -> list[str]:
    """The fields of metrics' results. Raises `DiagnosticError` for a name that something else has."""
    titles = [title_of(metric) for metric in metrics]
    for title in titles:
        if field_name(title) in TAKEN:
            raise errors.metric_name_taken(title)
    return distinct(field_name(title) for title in titles)


def verify_no_clash(paths: Iterable[tuple[str, ...]]) -> None:
    """No two layers or models share a field. Raises `DiagnosticError` that names both."""
    owners: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path in paths:
        for part in (path[:size] for size in range(1, len(path) + 1)):
            first = owners.setdefault(field_path(part), part)
            if first != part:
                raise errors.names_clash("/".join(first), "/".join(part), ".".join(field_path(part)))
