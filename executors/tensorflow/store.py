"""Client data, kept: the rows of all clients seen lately, one behind the other, in memory that TensorFlow reads where
it lies.

A `Store` serves the sequence leaves that have one length (images and labels): their rows stand at the same places.
Row 0 is zero: it is what padding points at. A client is known by the arrays it brings: the same arrays in a later
round are found, not copied again, if nobody can have changed them.

Rows that nobody can need are written over, so that data made anew for each round take no more memory than those of one
window do. Rows of arrays that are gone are such: whoever runs a chunk holds the arrays that it was packed from. Rows of
arrays that can be changed are not found again, so nobody needs them when the chunk is gone that they were packed for.

What grows is copied, and chunks that still run keep the memory they were given. Where far less is in use than there is
room for, or a limit is reached, everything is dropped and filled anew.
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
from .memory import zeros
from .spans import FIRST, Spans
from .start import tf


class Uneven(Exception):
    """Clients of one chunk, or elements at one client, have rows of other sizes: they do not lie in one array."""


LIMIT = 2 << 30  # bytes of rows that a store keeps
LOOK = 64 << 20  # bytes of new rows after which it looks how many are in use; with less room it drops nothing
SPARSE = 8  # how many times the rows in use there may be before they are dropped
_SHARED_DTYPES = frozenset({"bool", *INTEGERS, "float16", "float32", "float64"})


class Column:
    """A growing array, and the tensor that shows its memory."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.dtype = numpy_dtype(dtype)
        self.shares = dtype in _SHARED_DTYPES
        self.array = zeros((FIRST, *shape), self.dtype)
        self._tensor: Any = None

    def suits(self, rows: Array) -> bool:
        """Whether the rows have the sizes of those that are there; no rows always have."""
        return not len(rows) or self.array.shape[1:] == rows.shape[1:]

    def shape_as(self, rows: Array) -> None:
        """Gives the rows of an empty column the sizes that the type leaves open."""
        if not self.suits(rows):
            self.array, self._tensor = zeros((len(self.array), *rows.shape[1:]), self.dtype), None

    def write(self, start: int, rows: Array, size: int) -> None:
        """Puts rows at their place; there is room for `size` then."""
        if size > len(self.array):
            self._grow(size)
        if not len(rows):
            return
        self.array[start : start + len(rows)] = rows
        if not self.shares:
            self._tensor = None

    def tensor(self) -> Any:
        """The rows as a tensor, without a copy where the dtype allows it. It may have more rows than are used."""
        if self._tensor is None:
            show = tf.experimental.dlpack.from_dlpack if self.shares else tf.constant
            self._tensor = show(self.array.__dlpack__() if self.shares else self.array)
        return self._tensor

    def _grow(self, size: int) -> None:
        larger = zeros((size, *self.array.shape[1:]), self.dtype)
        larger[: len(self.array)] = self.array
        self.array, self._tensor = larger, None


@dataclass(slots=True)
class Place:
    """Where a client's rows are: `rows` from `start` on, `length` elements; its splits from `first_split` on.

    They are needed as long as what `alive` refers to is there.
    """

    start: int
    length: int
    first_split: int
    rows: int
    alive: list[weakref.ref[Any]] = field(default_factory=list)

    def is_used(self) -> bool:
        """Whether anybody may need the rows."""
        return all(ref() is not None for ref in self.alive)

    def is_of(self, arrays: list[Array]) -> bool:
        """Whether the rows are of these very arrays, and not of some that were where these are now."""
        return all(ref() is array for ref, array in zip(self.alive, arrays, strict=True))


class Store:
    """The rows of the sequence leaves `elements`, which have one length; `split` where elements are ranges of rows."""

    def __init__(self, elements: tuple[Tensor, ...], *, split: bool, limit: int = LIMIT) -> None:
        self.elements = elements
        self.split = split
        self.limit = limit
        self.chunk: weakref.ref[Any] | None = None
        self.holds = False  # rows of the chunk being packed
        self._empty()

    def _empty(self) -> None:
        self.columns = [Column(self._row_shape(element), element.dtype) for element in self.elements]
        self.splits = Column((), "int32")
        self.rows, self.bounds = Spans(), Spans()  # the rows of the columns, and those of the splits
        self.places: dict[tuple[int, ...], Place] = {}
        self.passing: list[Place] = []  # those that are not found again

    def _row_shape(self, element: Tensor) -> tuple[int, ...]:
        sizes = element.shape[1:] if self.split else element.shape
        return (*(size if isinstance(size, int) else 0 for size in sizes), *hidden_axes(element.dtype))

    def place(self, leaves: tuple[SequenceValue, ...]) -> Place:
        """Where these leaves' rows are; copied in when they are new, and each time when they can be changed. `Uneven`
        where they have other sizes than the chunk's rows before."""
        arrays = [array for leaf in leaves for array in _arrays(leaf)]
        key = tuple(map(id, arrays))
        known = self.places.get(key)
        if known is not None and known.is_of(arrays):
            self.holds = True
            return known
        made = self._add(leaves)
        if all(map(is_fixed, arrays)):
            made.alive = [weakref.ref(array) for array in arrays]
            self.places[key] = made
        else:
            made.alive = [self.chunk] if self.chunk else []
            self.passing.append(made)
        return made

    def make_room(self, chunk: object) -> None:
        """Drops everything when the limit is passed, or when there is far more room than rows in use.

        To be called before each chunk is packed, with an object that is there until the chunk has run.
        """
        self.chunk, self.holds = weakref.ref(chunk), False
        row = sum(column.array[:1].nbytes for column in self.columns)
        if row * self.rows.most > self.limit or row * self.rows.taken > max(LOOK, row * self.rows.kept):
            self._look()
        sparse = SPARSE * self.rows.most < self.rows.size
        if row * self.rows.most > self.limit or (sparse and row * self.rows.size > LOOK):
            self._empty()

    def _look(self) -> None:
        """Forgets what nobody needs; its rows are free."""
        self.places = {key: place for key, place in self.places.items() if place.is_used()}
        self.passing = [place for place in self.passing if place.is_used()]
        used = (*self.places.values(), *self.passing)
        self.rows.keep((place.start, place.rows) for place in used)
        self.bounds.keep((place.first_split, place.length + 1) for place in used if self.split)

    def _add(self, leaves: tuple[SequenceValue, ...]) -> Place:
        found = [_rows_and_splits(leaf, split=self.split) for leaf in leaves]
        rows, length = [rows for rows, _ in found], len(leaves[0])
        if self._should_look(rows, length + 1):
            self._look()
        if not self._suit(rows) and self.rows.most:
            if self.holds:
                raise Uneven("clients whose elements differ in size")
            self._empty()
        self.holds = True
        start = self._add_rows(rows)
        return Place(start, length, self._add_splits(found[-1][1], start), len(rows[0]))

    def _should_look(self, rows: list[Array], bounds: int) -> bool:
        """Whether these do not fit, by their number or by sizes that the type leaves open."""
        if self.rows.should_look(len(rows[0])) or (self.split and self.bounds.should_look(bounds)):
            return True
        return not self._suit(rows)

    def _suit(self, rows: list[Array]) -> bool:
        return all(column.suits(each) for column, each in zip(self.columns, rows, strict=True))

    def _add_rows(self, rows: list[Array]) -> int:
        are_first = not self.rows.most
        start = self.rows.take(len(rows[0]))
        for column, each in zip(self.columns, rows, strict=True):
            if are_first:
                column.shape_as(each)
            column.write(start, each, self.rows.size)
        return start

    def _add_splits(self, splits: NDArray[np.int64] | None, start: int) -> int:
        if splits is None:
            return 0
        first = self.bounds.take(len(splits))
        self.splits.write(first, (splits + start).astype(np.int32), self.bounds.size)
        return first

    def tensors(self) -> list[Any]:
        """The columns, then the splits where elements are ranges."""
        shown = [column.tensor() for column in self.columns]
        return [*shown, self.splits.tensor()] if self.split else shown


def _arrays(leaf: SequenceValue) -> tuple[Array, ...]:
    if isinstance(leaf, Elements):
        return leaf.items
    return (leaf.rows,) if leaf.splits is None else (leaf.rows, leaf.splits)


def _even(leaf: SequenceValue, first: int) -> list[Array]:
    """The elements, which have the same sizes from an axis on. `Uneven` where they have not."""
    parts = list(leaf)
    if len({part.shape[first:] for part in parts}) > 1:
        raise Uneven("elements that differ in size")
    return parts


def _rows_and_splits(leaf: SequenceValue, *, split: bool) -> tuple[Array, NDArray[np.int64] | None]:
    """The rows of a leaf's elements, and for ranges where each starts."""
    if not split and isinstance(leaf, Rows) and leaf.splits is None:
        return leaf.rows, None
    if not split:
        return (np.stack(_even(leaf, 0)) if len(leaf) else np.zeros((0, 0))), None
    if isinstance(leaf, Rows) and leaf.splits is not None:
        first, last = int(leaf.splits[0]), int(leaf.splits[-1])
        return leaf.rows[first:last], leaf.splits - first
    parts = _even(leaf, 1)
    splits = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return np.concatenate(parts) if parts else np.zeros((0, 0)), splits
