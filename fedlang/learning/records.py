"""Nested records as text: types and values, from leaves by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FieldPath = tuple[str, ...]


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
