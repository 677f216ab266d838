"""How a sequence leaf is held at run time: examples once, elements as ranges of rows.

A sequence of `float32[784]` with 60 elements is `Rows(array[60, 784])`. A sequence of `float32[?, 784]` (batches) is
`Rows(array[total, 784], splits)`: element `t` is `rows[splits[t]:splits[t + 1]]`. Leaves of one record that share
their `?` share
equal splits. Elements that are unequal in any other way are kept one by one, as `Elements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
T = TypeVar("T", bound=NDArray[Any])


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Elements that lie one behind the other in one array.

    `splits` (int64, one more than elements) is None when every element is a row.
    """

    rows: Array
    splits: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.rows) if self.splits is None else len(self.splits) - 1

    def __getitem__(self, index: int) -> Array:
        if self.splits is None:
            row: Array = np.asarray(self.rows[index])
            return row
        return self.rows[self.splits[index] : self.splits[index + 1]]

    def __iter__(self) -> Iterator[Array]:
        return (self[index] for index in range(len(self)))


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
    owner: object = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return True


def fix(array: T) -> T:
    """The array, which is the caller's own, for reading only from now on."""
    array.flags.writeable = False
    return array
