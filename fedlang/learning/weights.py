"""Weights between the language and Keras: a nested record there, variables with paths here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.embed.records import Record
from fedlang.learning import errors
from fedlang.learning.text import FieldPath

Weights = NDArray[np.float32]


def read(variables: Mapping[FieldPath, Any]) -> Record:
    """The variables' values as a nested record."""
    return _nested({path: np.array(variable.numpy(), np.float32) for path, variable in variables.items()})


def _nested(leaves: Mapping[FieldPath, Weights]) -> Record:
    groups: dict[str, dict[FieldPath, Weights]] = {}
    for path, leaf in leaves.items():
        groups.setdefault(path[0], {})[path[1:]] = leaf
    return Record({name: inner[()] if () in inner else _nested(inner) for name, inner in groups.items()})


def by_keras_path(variables: Mapping[FieldPath, Any], weights: Mapping[str, Any]) -> dict[str, Weights]:
    """Arrays by the variables' paths in Keras; by their fields, where layers of one name have the same paths."""
    found = _fitting(variables, weights)
    names = [variables[path].path for path in found]
    return {
        name if names.count(name) == 1 else "/".join(path): leaf
        for name, (path, leaf) in zip(names, found.items(), strict=True)
    }


def assign(variables: Mapping[FieldPath, Any], weights: Mapping[str, Any]) -> None:
    """Sets every variable, after all names and shapes have been compared."""
    for path, leaf in _fitting(variables, weights).items():
        variables[path].assign(leaf)


def _fitting(variables: Mapping[FieldPath, Any], weights: Mapping[str, Any]) -> dict[FieldPath, Weights]:
    given = dict(_leaves(weights, ()))
    missing = [_shown(path) for path in variables if path not in given]
    extra = [_shown(path) for path in given if path not in variables]
    shapes = [
        f"`{_shown(path)}` has the shape {list(given[path].shape)}, not {list(variable.shape)}"
        for path, variable in variables.items()
        if path in given and given[path].shape != tuple(variable.shape)
    ]
    if missing or extra or shapes:
        raise errors.weights_do_not_fit(missing, extra, shapes)
    return {path: given[path] for path in variables}


def _leaves(weights: Any, path: FieldPath) -> Iterator[tuple[FieldPath, Weights]]:
    if not isinstance(weights, Mapping):
        try:
            yield path, np.asarray(weights, np.float32)
        except (TypeError, ValueError):
            shown = f"`{_shown(path)}` is a {type(weights).__name__}, no array of numbers"
            raise errors.weights_do_not_fit([], [], [shown]) from None
        return
    for name, inner in weights.items():
        yield from _leaves(inner, (*path, name))


def _shown(path: FieldPath) -> str:
    return f".{'.'.join(path)}"
