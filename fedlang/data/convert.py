"""Reads what users hand in for a client: arrays, lists, generators and TensorFlow datasets, checked as they are read.

Examples may come as

- an array, or a dict or tuple of them, nested at will: the first axis of each counts the examples;
- a list, a generator or a `tf.data.Dataset` of elements, each a number, an array, or a dict or tuple of them.

Batches come as the second. TensorFlow is never imported here: who has a dataset has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar, cast

import numpy as np

from fedlang.data import errors
from fedlang.data.trees import Examples, Sequences, Tree, join_trees, named_leaves, structure_of
from fedlang.run.sequences import Array, Elements, LeafValue, Rows

T = TypeVar("T")


class _Dataset(Protocol):
    """What is used of a `tf.data.Dataset`."""

    def as_numpy_iterator(self) -> Iterator[object]: ...


def is_dataset(value: object) -> bool:
    """Whether the value is a `tf.data.Dataset`."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(value, tensorflow.data.Dataset)


def is_stacked(value: object) -> bool:
    """Whether the value's own arrays are the examples, as they are."""
    return not _is_many(value)


def examples_of(client: str, value: object) -> Examples:
    """The examples, stacked. `DiagnosticError` FED0702 to FED0708 names the client and the leaf that is wrong."""
    examples = _joined(client, _elements(client, value), _stack) if _is_many(value) else _tree(client, value)
    _verify_lengths(client, examples)
    return examples


def batches_of(client: str, value: object) -> Sequences:
    """A sequence of batches: elements whose first axes may differ, in rows and splits."""
    if not _is_many(value):
        raise errors.unreadable_value(client, type(value).__name__)
    elements = _elements(client, value)
    for element in elements:
        _verify_lengths(client, element)
    return _joined(client, elements, _rows)


def _is_many(value: object) -> bool:
    """Whether the value gives elements one by one; an array or a record of arrays gives them stacked."""
    return isinstance(value, (list, Iterator)) or is_dataset(value)


def _elements(client: str, value: object) -> list[Examples]:
    """The elements of a list, a generator or a dataset, all of one structure."""
    source = cast("_Dataset", value).as_numpy_iterator() if is_dataset(value) else cast("Iterable[object]", value)
    elements = [_tree(client, element) for element in source]
    if not elements:
        raise errors.no_elements(client)
    first = structure_of(elements[0])
    for index, element in enumerate(elements):
        if set(structure_of(element)) != set(first):
            raise errors.structures_differ(client, index, first, structure_of(element))
    return elements


def _tree(client: str, value: object, path: str = "") -> Examples:
    """The value with every leaf an array."""
    if isinstance(value, Mapping):
        if not value:
            raise errors.no_elements(client)
        return {str(name): _tree(client, part, f"{path}.{name}") for name, part in value.items()}
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return _tree(client, value._asdict(), path)
        if not value:
            raise errors.no_elements(client)
        return tuple(_tree(client, part, f"{path}.{index}") for index, part in enumerate(value))
    return _array(client, value, path)


def _array(client: str, value: object, path: str) -> Array:
    """A leaf; strings become arrays of `str`."""
    if value is None or isinstance(value, (set, frozenset)):
        raise errors.unreadable_value(client, type(value).__name__)
    try:
        array: Array = np.asarray(value)
    except ValueError:
        raise errors.wrong_dtype(client, path, "object (rows of different shapes)") from None
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype == object:
        return _strings(client, array, path)
    if array.dtype.kind in "Mmc":
        raise errors.wrong_dtype(client, path, str(array.dtype))
    return array


def _strings(client: str, array: Array, path: str) -> Array:
    """An object array of strings; TensorFlow and NumPy have bytes for them."""
    texts = np.empty(array.shape, object)
    for place, text in np.ndenumerate(array):
        if not isinstance(text, (str, bytes)):
            raise errors.wrong_dtype(client, path, f"object ({type(text).__name__})")
        try:
            texts[place] = text.decode() if isinstance(text, bytes) else text
        except UnicodeDecodeError:
            raise errors.wrong_dtype(client, path, "bytes (that are no UTF-8 text)") from None
    return texts


def _joined(client: str, elements: list[Examples], join: Callable[[str, str, list[Array]], T]) -> Tree[T]:
    """The elements in one tree, its leaves put together by `join`."""
    paths = iter(structure_of(elements[0]))
    return join_trees(lambda leaves: join(client, next(paths), leaves), elements)


def _stack(client: str, path: str, leaves: list[Array]) -> Array:
    for index, leaf in enumerate(leaves):
        if leaf.shape != leaves[0].shape:
            raise errors.shapes_differ(client, path, index, leaves[0].shape, leaf.shape)
    return np.stack(leaves)


def _rows(client: str, path: str, leaves: list[Array]) -> LeafValue:
    if len({leaf.shape[1:] for leaf in leaves}) > 1:
        return Elements(tuple(leaves))
    splits = np.cumsum([0, *(len(leaf) for leaf in leaves)], dtype=np.int64)
    return Rows(np.concatenate(leaves), splits)


def _verify_lengths(client: str, examples: Examples) -> None:
    """Every leaf has a first axis, and they are equal."""
    leaves = list(named_leaves(examples))
    for path, leaf in leaves:
        if leaf.ndim == 0:
            raise errors.not_a_sequence(client, path)
    first, length = leaves[0][0], len(leaves[0][1])
    for path, leaf in leaves:
        if len(leaf) != length:
            raise errors.lengths_differ(client, first, length, path, len(leaf))
