"""How a sequence leaf is held at run time: examples once, elements as ranges of rows.

A sequence of `float32[784]` with 60 elements is `Rows(array[60, 784])`. A sequence of `float32[?, 784]` (batches) is
`Rows(array[total, 784], splits)`: element `t` is `rows[splits[t]:splits[t + 1]]`. Batches that were shuffled, or go
over the examples several times, say in what order: `Rows(array[60, 784], splits, order)`, element `t` being
`rows[order[splits[t]:splits[t + 1]]]`; no example is copied for it. Leaves of one record that share their `?` share
equal splits. Elements that are unequal in any other way are kept one by one, as `Elements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
T = TypeVar("T", bound=NDArray[Any])


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Elements that lie one behind the other in one array, or that are numbers of its rows.

    `splits` (int64, one more than elements) is None when every element is a row. With `order` (int64, which `splits`
    cut) an element has the rows of these numbers; there is none without `splits`.
    """

    rows: Array
    splits: NDArray[np.int64] | None = None
    order: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.rows) if self.splits is None else len(self.splits) - 1

    def __getitem__(self, index: int) -> Array:
        if self.splits is None:
            row: Array = np.asarray(self.rows[index])
            return row
        part = slice(self.splits[index], self.splits[index + 1])
        return self.rows[part] if self.order is None else self.rows[self.order[part]]

    def __iter__(self) -> Iterator[Array]:
        return (self[index] for index in range(len(self)))

    def laid_out(self) -> Rows:
        """The same with its elements one behind the other: itself, but where there is an order."""
        return self if self.order is None else Rows(self.rows[self.order], self.splits)


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """Elements of any shapes, each an array of its own."""

    items: tuple[Array, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Array:
        return self.items[index]

    def __iter__(self) -> Iterator[Array]:
        return iter(self.items)


SequenceValue = Rows | Elements
LeafValue = Array | SequenceValue


def is_fixed(array: Array) -> bool:
    """Whether nobody can change the array: what was made of it holds whenever the same array is met again."""
    return owner_of(array) is not None


def owner_of(array: Array) -> Array | None:
    """The array that has the memory which an array shows; None where somebody can change it, or may.

    Memory of bytes, and of a file that is mapped for reading, is taken for such as nobody changes; of whatever else is
    not NumPy's own, NumPy does not know.
    """
    owner = array
    while not owner.flags.writeable:
        base: object = owner.base
        if base is None or isinstance(base, bytes) or (isinstance(base, mmap) and memoryview(base).readonly):
            return owner
        if not isinstance(base, np.ndarray):
            return None
        owner = base
    return None


def fix(array: T) -> T:
    """The array, which is the caller's own, for reading only from now on."""
    array.flags.writeable = False
    return array
