"""Dtypes for data that came as JSON, one a feature for all clients: JSON says only what is text and what a number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedlang.data.errors import other_fields, wrong_feature
from fedlang.data.trees import Examples, map_leaves, named_leaves, structure_of
from fedlang.run.sequences import Array

WIDEST_FLOAT = float(np.finfo(np.float32).max)
WORDS = {"O": "text", "b": "true or false", "i": "numbers", "u": "numbers", "f": "numbers"}


def agreed(clients: Mapping[str, Examples]) -> dict[str, Examples]:
    """The clients' examples with a dtype for each feature, and its shape where a client has no examples.

    `DiagnosticError` FED0712 for clients with other fields, FED0717 for text beside numbers and for numbers that
    neither int64 nor float32 holds.
    """
    if not clients:
        return {}
    first, paths = next(iter(clients)), structure_of(next(iter(clients.values())))
    for client, examples in clients.items():
        if set(structure_of(examples)) != set(paths):
            raise other_fields(client, structure_of(examples), first, paths)
    leaves = {client: dict(named_leaves(examples)) for client, examples in clients.items()}
    for path in paths:
        column = {client: leaves[client][path] for client in clients}
        for client, array in _column(path, column).items():
            leaves[client][path] = array
    return {client: _with(examples, leaves[client]) for client, examples in clients.items()}


def _with(examples: Examples, leaves: Mapping[str, Array]) -> Examples:
    """The examples with these arrays as leaves."""
    paths = iter(structure_of(examples))
    return map_leaves(lambda _: leaves[next(paths)], examples)


def _column(path: str, column: dict[str, Array]) -> dict[str, Array]:
    """One feature of all clients."""
    full = {client: array for client, array in column.items() if len(array)}
    if not full:
        return column
    dtype, pattern = _dtype(path, full), next(iter(full.values()))
    empty = np.zeros((0, *pattern.shape[1:]), dtype)
    return {client: array.astype(dtype) if len(array) else empty for client, array in column.items()}


def _dtype(path: str, full: dict[str, Array]) -> np.dtype[np.generic]:
    """The dtype that holds the values of all clients who have some."""
    pattern = next(iter(full))
    first = full[pattern].dtype.kind
    for client, array in full.items():
        found, needed = WORDS[array.dtype.kind], WORDS[first]
        if found != needed:
            raise wrong_feature(client, path.lstrip("."), found, f"{needed}, as client {pattern} has")
    if first in "Ob":
        return full[pattern].dtype
    if any(array.dtype.kind == "f" for array in full.values()):
        return np.dtype(_verified(path, full, WIDEST_FLOAT, "float32"))
    _verified(path, full, 2**63 - 1, "int64")
    narrow = np.iinfo(np.int32)
    fits = all(array.min(initial=0) >= narrow.min and array.max(initial=0) <= narrow.max for array in full.values())
    return np.dtype(np.int32 if fits else np.int64)


def _verified(path: str, full: dict[str, Array], widest: float, dtype: str) -> str:
    """The dtype, if no finite number is beyond its widest."""
    for client, array in full.items():
        finite = array[np.isfinite(array)]
        if finite.max(initial=0) > widest or finite.min(initial=0) < -widest - 1:
            raise wrong_feature(client, path.lstrip("."), f"numbers from {finite.min():g} to {finite.max():g}", dtype)
    return dtype
