"""Leaf values as NumPy holds them: dtypes by name, and the conversions that every executor shares.

A tensor leaf is an array of `numpy_dtype(dtype)`. A `Key` is a uint32 array with a last axis of two words that the
type's shape does not show. A `string` is an object array of `str`. A sequence leaf is a `SequenceValue`.
"""

from __future__ import annotations

from collections.abc import Sequence as Items

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from fedlang.run.sequences import Array, Elements, LeafValue, Rows, SequenceValue
from fedlang.types.dims import Size

_NAMED = {"bfloat16": np.dtype(ml_dtypes.bfloat16), "string": np.dtype(object), "Key": np.dtype(np.uint32)}


def numpy_dtype(dtype: str) -> np.dtype[np.generic]:
    """The NumPy dtype that holds a fedlang dtype."""
    return _NAMED.get(dtype) or np.dtype(dtype)


def as_array(value: object, dtype: str) -> Array:
    """The value as an array of exactly that dtype. Converts Python numbers only, else `TypeError`."""
    wanted = numpy_dtype(dtype)
    if isinstance(value, (bool, int, float)) or dtype == "string":
        return np.array(value, wanted)
    array = np.asarray(value)
    if array.dtype != wanted:
        raise TypeError(f"{array.dtype} where {dtype} is needed")
    return array


def shown_type(dtype: str, shape: Items[object]) -> str:
    """A tensor's type as it is written."""
    return f"{dtype}[{', '.join(str(size) for size in shape)}]" if shape else dtype


def sequence_of(items: Items[Array], dtype: str, element: tuple[Size, ...]) -> SequenceValue:
    """The sequence of these elements, whose type is `element`; a first size that is symbolic gives rows and splits."""
    if not items:
        return empty_sequence(dtype, element)
    if len({item.shape[1:] for item in items}) == 1 and element and not isinstance(element[0], int):
        splits = np.cumsum([0, *(len(item) for item in items)], dtype=np.int64)
        return Rows(np.concatenate(items), splits)
    if len({item.shape for item in items}) == 1:
        return Rows(np.stack(items))
    return Elements(tuple(items))


def empty_sequence(dtype: str, element: tuple[Size, ...]) -> SequenceValue:
    """The sequence of no elements; sizes that nobody knows count as 0."""
    sizes = tuple(size if isinstance(size, int) else 0 for size in element) + ((2,) if dtype == "Key" else ())
    if element and not isinstance(element[0], int):
        return Rows(np.zeros(sizes, numpy_dtype(dtype)), np.zeros(1, np.int64))
    return Rows(np.zeros((0, *sizes), numpy_dtype(dtype)))


def select_elements(sequence: SequenceValue, order: NDArray[np.int64]) -> SequenceValue:
    """The elements at these places, in this order."""
    if isinstance(sequence, Elements):
        return Elements(tuple(sequence.items[index] for index in order.tolist()))
    if sequence.splits is None:
        return Rows(sequence.rows[order])
    starts, lengths = sequence.splits[:-1][order], np.diff(sequence.splits)[order]
    splits = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    rows = np.repeat(starts - splits[:-1], lengths) + np.arange(splits[-1])
    return Rows(sequence.rows, splits, rows if sequence.order is None else sequence.order[rows])


def stack_elements(sequence: SequenceValue) -> Array:
    """The elements as one array with a new first axis. `ValueError` where they are unequal."""
    if isinstance(sequence, Elements):
        shapes = sorted({item.shape for item in sequence.items})
        if len(shapes) > 1:
            raise ValueError(f"elements of shapes {[*shapes[0]]} and {[*shapes[-1]]} cannot be stacked")
        return np.stack(sequence.items)
    sequence = sequence.laid_out()
    if sequence.splits is None:
        return sequence.rows
    lengths = np.diff(sequence.splits)
    if len(lengths) and (lengths != lengths[0]).any():
        raise ValueError(f"elements of {lengths.min()} and of {lengths.max()} rows cannot be stacked")
    size = int(lengths[0]) if len(lengths) else 0
    rows = sequence.rows[int(sequence.splits[0]) : int(sequence.splits[-1])]
    return rows.reshape(len(lengths), size, *rows.shape[1:])


def leaves_equal(a: LeafValue, b: LeafValue) -> bool:
    """Whether two leaves are the same bit for bit; NaN equals NaN, 0.0 differs from -0.0."""
    if isinstance(a, (Rows, Elements)) or isinstance(b, (Rows, Elements)):
        if not isinstance(a, (Rows, Elements)) or not isinstance(b, (Rows, Elements)) or len(a) != len(b):
            return False
        return all(leaves_equal(x, y) for x, y in zip(a, b, strict=True))
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
