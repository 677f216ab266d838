"""Client data, kept: the rows of all clients seen lately, in memory that TensorFlow reads where it lies, or has a copy
of on its GPU.

A `Store` serves the sequence leaves that have one length (images and labels): their rows stand at the same places.
Row 0 is zero: it is what padding points at. A client is known by the memory that it brings: the same in a later round
is found, not copied again, if nobody can have changed it. Which rows are an element, and in what order the elements
come, is not the store's matter (`numbering.py`): batches of other sizes, shuffled anew and gone over several times are
of the same rows. These lie one behind the other; those of clients that are new together may be laid out as their chunk
reads them (`places.py`).

Rows that nobody can need are written over, so that data made anew for each round take no more memory than those of one
window do. Rows of arrays that are gone are such: whoever runs a chunk holds the arrays that it was packed from. Rows of
arrays that can be changed are not found again, so nobody needs them when the chunk is gone that they were packed for.

What grows is copied, and chunks that still run keep the memory they were given. Where far less is in use than there is
room for, or a limit is reached, everything is dropped and filled anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from fedlang.ir.graph import Tensor
from fedlang.run.sequences import Array, Elements, Rows, SequenceValue, fix, owner_of
from fedlang.run.values import numpy_dtype
from fedlang.types.dtypes import INTEGERS

from .dtypes import hidden_axes
from .kept import Kept, Leaves, Numbers
from .memory import copied, is_read_in_place, with_rows, zeros
from .places import Form, Place, Table
from .spans import FIRST, Spans
from .start import has_gpu, tf


class Uneven(Exception):
    """Clients of one chunk, or elements at one client, have rows of other sizes: they do not lie in one array."""


LIMIT = 2 << 30  # bytes of rows that a store keeps
LOOK = 64 << 20  # bytes of new rows after which it looks how many are in use; with less room it drops nothing
SPARSE = 8  # how many times the rows in use there may be before they are dropped
_SHARED_DTYPES = frozenset({"bool", *INTEGERS, "float16", "float32", "float64"})


Memory: TypeAlias = tuple[tuple[Any, ...], list[Array]]


class Column:
    """A growing array, and the tensor that shows its memory; or that has a copy, where TensorFlow computes on a GPU or
    does not share memory of the dtype. To a copy only rows that were written since are added."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.dtype = numpy_dtype(dtype)
        self.shares = dtype in _SHARED_DTYPES and not has_gpu()
        self.array = zeros((FIRST, *shape), self.dtype)
        self._tensor: Any = None
        self._written: list[slice] = []  # since the copy was made

    def suits(self, rows: Array) -> bool:
        """Whether the rows have the sizes of those that are there; no rows always have."""
        return not len(rows) or self.array.shape[1:] == rows.shape[1:]

    def shape_as(self, rows: Array) -> None:
        """Gives the rows of an empty column the sizes that the type leaves open."""
        if not self.suits(rows):
            self.array, self._tensor = zeros((len(self.array), *rows.shape[1:]), self.dtype), None

    @property
    def is_read_in_place(self) -> bool:
        """Whether reading rows that follow each other where they lie, which TensorFlow can, is worth it."""
        return self.shares and is_read_in_place(self.array[:1].nbytes)

    def make_room(self, size: int) -> None:
        """Has room for `size` rows then."""
        if size > len(self.array):
            self._grow(size)

    def write(self, start: int, rows: Array) -> None:
        """Puts rows at their place."""
        if not len(rows):
            return
        self.array[start : start + len(rows)] = rows
        self._note(start, len(rows))

    def lay_out(self, table: Table, clients: Sequence[Array]) -> None:
        """Puts the clients' rows into a table."""
        table.write(self.array, clients)
        self._note(table.start, table.form.rows)

    def _note(self, start: int, count: int) -> None:
        if not self.shares and self._tensor is not None:
            self._written.append(slice(start, start + count))

    def tensor(self) -> Any:
        """The rows as a tensor. It may have more rows than are used."""
        if self._tensor is None and self.shares:
            self._tensor = tf.experimental.dlpack.from_dlpack(self.array.__dlpack__())
        elif self._tensor is None:
            self._tensor = copied(self.array)
        elif self._written:
            numbers = np.concatenate([np.arange(each.start, each.stop, dtype=np.int32) for each in self._written])
            self._tensor = with_rows(self._tensor, numbers, self.array[numbers])
        self._written.clear()
        return self._tensor

    def _grow(self, size: int) -> None:
        larger = zeros((size, *self.array.shape[1:]), self.dtype)
        larger[: len(self.array)] = self.array
        self.array, self._tensor = larger, None


class Store:
    """The rows of the sequence leaves `elements`, which have one length; `split` where elements are ranges of rows."""

    def __init__(self, elements: tuple[Tensor, ...], *, split: bool, limit: int = LIMIT) -> None:
        self.elements = elements
        self.split = split
        self.limit = limit
        self.chunk: weakref.ref[Any] | None = None
        self.holds = False  # rows of the chunk being packed
        self.passed = 0  # how many places were not to be found again
        self._empty()

    def _empty(self) -> None:
        self.kept = Kept()
        self.columns = [Column(self._row_shape(element), element.dtype) for element in self.elements]
        self.rows = Spans()
        self.places: dict[tuple[Any, ...], Place] = {}
        self.passing: list[Place] = []  # those that are not found again

    def _row_shape(self, element: Tensor) -> tuple[int, ...]:
        sizes = element.shape[1:] if self.split else element.shape
        return (*(size if isinstance(size, int) else 0 for size in sizes), *hidden_axes(element.dtype))

    def place(self, leaves: tuple[SequenceValue, ...]) -> Place:
        """Where these leaves' rows are; copied in when they are new, and each time when they can be changed. `Uneven`
        where they have other sizes than the chunk's rows before."""
        if not self.split:
            leaves = tuple(whole(leaf) for leaf in leaves)
        memory = _memory_of(leaves)
        known = self._known(memory)
        if known is not None:
            self.holds = True
            return known
        rows = [_rows_of(leaf, split=self.split) for leaf in leaves]
        start = self._take(rows, len(rows[0]))
        for column, each in zip(self.columns, rows, strict=True):
            column.write(start, each)
        return self._remembered(Place(start, len(rows[0])), memory)

    def together(self, clients: Sequence[tuple[SequenceValue, ...]], form: Form) -> list[Place] | None:
        """The places of the leaves of a chunk's clients, all laid out in a new table. None where some are there
        already, or where nothing is gained by a table."""
        memories = [_memory_of(leaves) for leaves in clients]
        told = [memory[0] for memory in memories if memory is not None]
        if len({*told}) < len(told) or any(self._known(memory) for memory in memories):
            return None
        rows = [[_rows_of(leaf, split=True) for leaf in leaves] for leaves in clients]
        some = [own for own in rows if len(own[0])]
        if len({tuple([each.shape[1:] for each in own]) for own in some}) != 1:
            return None
        table = Table(self._take(some[0], form.rows), form)
        for k, column in enumerate(self.columns):
            column.lay_out(table, [own[k] for own in rows])
        places = [Place.within(table, lane, len(own[0])) for lane, own in enumerate(rows)]
        return [self._remembered(place, memory) for place, memory in zip(places, memories, strict=True)]

    @property
    def is_read_in_place(self) -> bool:
        """Whether something is gained by a table."""
        return any(column.is_read_in_place for column in self.columns)

    def _known(self, memory: Memory | None) -> Place | None:
        known = None if memory is None else self.places.get(memory[0])
        return known if memory is not None and known is not None and known.is_of(memory[1]) else None

    def _remembered(self, made: Place, memory: Memory | None) -> Place:
        """A new place, to be found again by what tells its memory; without that, needed as long as the chunk runs."""
        if memory is None:
            made.alive = [self.chunk] if self.chunk else []
            self.passing.append(made)
            self.passed += 1
        else:
            made.alive = [weakref.ref(owner) for owner in memory[1]]
            self.places[memory[0]] = made
        return made

    def numbers_of(self, clients: Leaves, make: Callable[[], tuple[Numbers, ...]]) -> tuple[Numbers, ...]:
        """The numbers that `make` makes of a chunk's sequences and their places; made once, where they stay the
        same."""
        found = self.kept.find(clients)
        if found is not None:
            self.holds = True
            return found
        passed = self.passed
        made = tuple([fix(each) for each in make()])
        if self.passed == passed:  # all rows are found again, where they are now
            self.kept.keep(clients, made)
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
        self.rows.keep({place.span for place in (*self.places.values(), *self.passing)})

    def _take(self, rows: list[Array], count: int) -> int:
        """Where there is room for so many rows like these, in all columns."""
        if self.rows.should_look(count) or not self._suit(rows):
            self._look()
        if not self._suit(rows) and self.rows.most:
            if self.holds:
                raise Uneven("clients whose elements differ in size")
            self._empty()
        self.holds = True
        are_first = not self.rows.most
        start = self.rows.take(count)
        for column, each in zip(self.columns, rows, strict=True):
            if are_first:
                column.shape_as(each)
            column.make_room(self.rows.size)
        return start

    def _suit(self, rows: list[Array]) -> bool:
        return all(column.suits(each) for column, each in zip(self.columns, rows, strict=True))

    def tensors(self) -> list[Any]:
        """The columns."""
        return [column.tensor() for column in self.columns]


def range_of(leaf: SequenceValue) -> tuple[int, int]:
    """The rows that are kept of a leaf: those that its elements are ranges of, or that an order may choose from."""
    if not isinstance(leaf, Rows):
        return 0, len(leaf)
    if leaf.splits is None or leaf.order is not None:
        return 0, len(leaf.rows)
    return int(leaf.splits[0]), int(leaf.splits[-1])


def whole(leaf: SequenceValue) -> SequenceValue:
    """A leaf that holds each element as one row. `Uneven` where they have not the same sizes."""
    if not isinstance(leaf, Rows) or leaf.splits is None:
        return leaf
    sizes = np.diff(leaf.splits)
    if not len(sizes):
        return Elements(())
    if np.any(sizes != sizes[0]):
        raise Uneven("elements that differ in size")
    part = leaf.laid_out().rows[leaf.splits[0] : leaf.splits[-1]]
    return Rows(part.reshape(len(leaf), int(sizes[0]), *part.shape[1:]))


def _memory_of(leaves: tuple[SequenceValue, ...]) -> Memory | None:
    """What tells the memory of leaves' rows from all other memory, as long as the arrays are there that have it, and
    these arrays. None where somebody can change any of it."""
    key: list[object] = []
    owners = []
    for leaf in leaves:
        key += type(leaf), range_of(leaf)
        for array in leaf.items if isinstance(leaf, Elements) else (leaf.rows,):
            owner = owner_of(array)
            if owner is None:
                return None
            owners.append(owner)
            key.append(id(owner))
            if owner is not array:
                key += array.__array_interface__["data"][0], array.shape, array.strides, array.dtype
    return tuple(key), owners


def _even(leaf: SequenceValue, first: int) -> list[Array]:
    """The elements, which have the same sizes from an axis on. `Uneven` where they have not."""
    parts = list(leaf)
    if len({part.shape[first:] for part in parts}) > 1:
        raise Uneven("elements that differ in size")
    return parts


def _rows_of(leaf: SequenceValue, *, split: bool) -> Array:
    """The rows that are kept of a leaf; `split` where its elements are ranges of rows, and else each is one."""
    if isinstance(leaf, Rows) and split == (leaf.splits is not None):
        return leaf.rows[slice(*range_of(leaf))]
    parts = _even(leaf, 1 if split else 0)
    if not parts:
        return np.zeros((0, 0))
    return np.concatenate(parts) if split else np.stack(parts)
