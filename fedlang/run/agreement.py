"""Whether a client's values agree in the sizes that their types share.

The fields of a batch `{x: float32[n, 784], y: int32[n]}` have one `n`, and the fields of a sequence one length. Data
that a user put together may break that; executors take it for granted. Sizes of a graph's own are its executor's
matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import LeafType
from fedlang.ir.graph import Sequence as SequenceType
from fedlang.run.errors import size_mismatch
from fedlang.run.sequences import LeafValue, Rows
from fedlang.types.dims import Dim, Quotient, Size

Verify: TypeAlias = Callable[[Sequence[LeafValue]], None]
LENGTH = -1  # the axis that a sequence's elements stand along


@dataclass(frozen=True, slots=True)
class Pair:
    """Two places that share a size: leaves by their numbers, and an axis of each (of an element, in a sequence)."""

    size: str
    first: tuple[int, int]
    second: tuple[int, int]

    @property
    def is_split(self) -> bool:
        """Whether sequences held as ranges of rows have it in their splits."""
        return self.first[1] <= 0 and self.second[1] <= 0


def agreement(types: Sequence[LeafType], names: Sequence[str]) -> Verify:
    """What raises `DiagnosticError` FED0601 for values of these types whose sizes do not agree."""
    pairs = [(pair.is_split, pair.first[0], pair.second[0], pair) for pair in _pairs(types)]

    def verify(values: Sequence[LeafValue]) -> None:
        for is_split, one, other, pair in pairs:
            a, b = values[one], values[other]
            if is_split and isinstance(a, Rows) and isinstance(b, Rows) and a.splits is b.splits is not None:
                continue  # what most clients bring, and all of them are asked in each round
            have, had = np.broadcast_arrays(_extents(a, pair.first[1]), _extents(b, pair.second[1]))
            if (have == had).all():
                continue
            place = int(np.argmax(have != had))
            where = [
                f"`{names[leaf]}[{place}]`" if _is_of_elements(types[leaf], axis) else f"`{names[leaf]}`"
                for leaf, axis in (pair.first, pair.second)
            ]
            raise size_mismatch(pair.size, where[0], int(have[place]), where[1], int(had[place]), None)

    return verify


def _pairs(types: Sequence[LeafType]) -> list[Pair]:
    """Each place of a size that is a name, with the first of its kind. A size of elements alone differs from one to the
    next, and is shared by sequences of one length."""
    places = [(leaf, axis, size) for leaf, type in enumerate(types) for axis, size in _places(type)]
    single = {size for leaf, axis, size in places if not _is_of_elements(types[leaf], axis)}
    first: dict[tuple[Size, Size | None], tuple[int, int]] = {}
    found = []
    for leaf, axis, size in sorted(places, key=lambda place: _is_of_elements(types[place[0]], place[1])):
        type = types[leaf]
        over = type.length if isinstance(type, SequenceType) and size not in single else None
        known = first.setdefault((size, over), (leaf, axis))
        if known != (leaf, axis):
            found.append(Pair(str(size), known, (leaf, axis)))
    return found


def _is_of_elements(type: LeafType, axis: int) -> bool:
    return isinstance(type, SequenceType) and axis != LENGTH


def _places(type: LeafType) -> list[tuple[int, Size]]:
    """Axes whose sizes are one name."""
    shape = type.element.shape if isinstance(type, SequenceType) else type.shape
    places = [*([(LENGTH, type.length)] if isinstance(type, SequenceType) else ()), *enumerate(shape)]
    return [(k, size) for k, size in places if isinstance(size, Dim) and is_name(size)]


def is_name(size: Dim) -> bool:
    """Whether a size is a name alone."""
    return size.atom is not None and not isinstance(size.atom, Quotient)


def _extents(value: LeafValue, axis: int) -> NDArray[np.int64]:
    """The sizes along an axis: one, or one for each element of a sequence. No element has none."""
    if axis == LENGTH:
        return np.array([len(value)], np.int64)
    if isinstance(value, np.ndarray):
        return np.array([value.shape[axis]], np.int64)
    if isinstance(value, Rows) and value.splits is not None and axis == 0:
        return np.diff(value.splits)
    if isinstance(value, Rows):
        return np.full(len(value), value.rows.shape[axis + (value.splits is None)], np.int64)
    return np.array([item.shape[axis] for item in value], np.int64)
