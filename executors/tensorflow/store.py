"""Client data, kept: the rows of all clients seen lately, one behind the other, in memory that TensorFlow reads where
it lies.

A `Store` serves the sequence leaves that have one length (images and labels): their rows stand at the same places.
Row 0 is zero: it is what padding points at. A client is known by the arrays it brings: the same arrays in a later
round are found, not copied again, if nobody can have changed them. Arrays that are gone leave their rows unused; when
most are, or a limit is reached, everything is dropped and filled anew, and chunks that still run keep the memory they
were given.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import Tensor
from fedlang.run.sequences import Array, Elements, Rows, SequenceValue, is_fixed
from fedlang.run.values import numpy_dtype
from fedlang.types.dtypes import INTEGERS

from .dtypes import hidden_axes
from .start import tf

LIMIT = 2 << 30  # bytes of rows that a store keeps
LOOK = 64 << 20  # bytes from which it looks for rows that nobody needs
_ALIGNED = 64
_SHARED_DTYPES = frozenset({"bool", *INTEGERS, "float16", "float32", "float64"})


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that start where TensorFlow wants memory to start."""
    count = int(np.prod(shape)) * dtype.itemsize
    room = np.zeros(count + _ALIGNED, np.uint8)
    offset = -room.ctypes.data % _ALIGNED
    return room[offset : offset + count].view(dtype).reshape(shape)


class Column:
    """A growing array, and the tensor that shows its memory."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.dtype = numpy_dtype(dtype)
        self.shares = dtype in _SHARED_DTYPES
        self.array = _zeros((16, *shape), self.dtype)
        self.used = 1
        self._tensor: Any = None

    def append(self, rows: Array) -> None:
        """Puts rows behind those there are."""
        if self.used + len(rows) > len(self.array):
            self._grow(self.used + len(rows))
        self.array[self.used : self.used + len(rows)] = rows
        self.used += len(rows)
        if not self.shares:
            self._tensor = None

    def tensor(self) -> Any:
        """The rows as a tensor, without a copy where the dtype allows it. It may have more rows than are used."""
        if self._tensor is None:
            show = tf.experimental.dlpack.from_dlpack if self.shares else tf.constant
            self._tensor = show(self.array.__dlpack__() if self.shares else self.array)
        return self._tensor

    def _grow(self, needed: int) -> None:
        larger = _zeros((max(needed, 2 * len(self.array)), *self.array.shape[1:]), self.dtype)
        larger[: self.used] = self.array[: self.used]
        self.array, self._tensor = larger, None


@dataclass(slots=True)
class Place:
    """Where a client's rows are: `rows` from `start` on, `length` elements; its splits from `first_split` on."""

    start: int
    length: int
    first_split: int
    rows: int
    alive: list[weakref.ref[Array]] = field(default_factory=list)

    def is_of(self, arrays: list[Array]) -> bool:
        """Whether the rows are of these very arrays, and not of some that were where these are now."""
        return all(ref() is array for ref, array in zip(self.alive, arrays, strict=True))


class Store:
    """The rows of the sequence leaves `elements`, which have one length; `split` where elements are ranges of rows."""

    def __init__(self, elements: tuple[Tensor, ...], *, split: bool, limit: int = LIMIT) -> None:
        self.elements = elements
        self.split = split
        self.limit = limit
        self.next_look = min(LOOK, limit)
        self._empty()

    def _empty(self) -> None:
        self.columns = [Column(self._row_shape(element), element.dtype) for element in self.elements]
        self.splits = Column((), "int32")
        self.places: dict[tuple[int, ...], Place] = {}

    def _row_shape(self, element: Tensor) -> tuple[int, ...]:
        sizes = element.shape[1:] if self.split else element.shape
        return (*(size if isinstance(size, int) else 0 for size in sizes), *hidden_axes(element.dtype))

    def place(self, leaves: tuple[SequenceValue, ...]) -> Place:
        """Where these leaves' rows are; copied in when they are new, and each time when they can be changed."""
        arrays = [array for leaf in leaves for array in _arrays(leaf)]
        key = tuple(map(id, arrays))
        known = self.places.get(key)
        if known is not None and known.is_of(arrays):
            return known
        made = self._add(leaves)
        if all(map(is_fixed, arrays)):
            made.alive = [weakref.ref(array) for array in arrays]
            self.places[key] = made
        return made

    def make_room(self) -> None:
        """Drops everything when the limit is passed, or when most rows are of arrays that are gone.

        To be called between chunks only.
        """
        row = sum(column.array[:1].nbytes for column in self.columns)
        used = self.columns[0].used * row
        if used <= self.next_look:
            return
        living = (
            sum(place.rows for place in self.places.values() if all(ref() is not None for ref in place.alive)) * row
        )
        self.next_look = max(LOOK, 2 * living)
        if used > self.limit or 2 * living < used:
            self._empty()

    def _add(self, leaves: tuple[SequenceValue, ...]) -> Place:
        start, first_split = self.columns[0].used, self.splits.used
        for column, leaf in zip(self.columns, leaves, strict=True):
            rows, splits = _rows_and_splits(leaf, split=self.split)
            if column.used == 1 and column.array.shape[1:] != rows.shape[1:]:
                column.array = _zeros((len(column.array), *rows.shape[1:]), column.dtype)
            column.append(rows)
        if self.split and splits is not None:
            self.splits.append((splits + start).astype(np.int32))
        return Place(start, len(leaves[0]), first_split, self.columns[0].used - start)

    def tensors(self) -> list[Any]:
        """The columns, then the splits where elements are ranges."""
        shown = [column.tensor() for column in self.columns]
        return [*shown, self.splits.tensor()] if self.split else shown


def _arrays(leaf: SequenceValue) -> tuple[Array, ...]:
    if isinstance(leaf, Elements):
        return leaf.items
    return (leaf.rows,) if leaf.splits is None else (leaf.rows, leaf.splits)


def _rows_and_splits(leaf: SequenceValue, *, split: bool) -> tuple[Array, NDArray[np.int64] | None]:
    """The rows of a leaf's elements, and for ranges where each starts."""
    if not split:
        return (leaf.rows if isinstance(leaf, Rows) and leaf.splits is None else np.stack(list(leaf))), None
    if isinstance(leaf, Rows) and leaf.splits is not None:
        first, last = int(leaf.splits[0]), int(leaf.splits[-1])
        return leaf.rows[first:last], leaf.splits - first
    parts = list(leaf)
    splits = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return np.concatenate(parts) if parts else np.zeros((0, 0)), splits
