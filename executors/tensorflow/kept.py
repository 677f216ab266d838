"""Numbers that were made of the sequences of a chunk, found again as long as the same sequences come and nobody can
change them: those of clients that take part in every round and whose data stay.

A sequence is told by its arrays, since whoever reads a client may put them together anew each time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from fedlang.run.sequences import Array, LeafValue, Rows, owner_of

LIMIT = 32 << 20  # bytes; what was found last stays longest
REFERENCE = 100  # bytes that it takes to know an array again

Leaves: TypeAlias = Sequence[tuple[LeafValue, ...]]  # for each client those of one group
Numbers: TypeAlias = NDArray[np.int32]
Key: TypeAlias = tuple[int, int, int]
ABSENT: Array = np.empty(0)  # stands for an array that is not there; None is what a reference to one that is gone gives


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    arrays: list[ref[Array]]
    numbers: tuple[Numbers, ...]
    size: int


class Kept:
    """Numbers made of chunks' sequences. It holds no sequence, and forgets what was made of one that is gone."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = self._room = limit
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._gone: deque[Key] = deque()  # keys of entries of which an array is gone; any thread may add one

    def __len__(self) -> int:
        self._forget()
        return len(self._entries)

    def find(self, clients: Leaves) -> tuple[Numbers, ...] | None:
        """What was kept of these very sequences, if nobody can have changed them."""
        arrays = _arrays_of(clients)
        entry = self._entries.get(_key(arrays)) if arrays else None
        if entry is None or any(known() is not array for known, array in zip(entry.arrays, arrays, strict=True)):
            return None
        self._entries.move_to_end(_key(arrays))
        return entry.numbers

    def keep(self, clients: Leaves, numbers: tuple[Numbers, ...]) -> None:
        """Keeps what was made of sequences, unless somebody can change them, or it is too much."""
        self._forget()
        arrays = _arrays_of(clients)
        size = sum(each.nbytes for each in numbers) + REFERENCE * len(arrays)
        if not arrays or size > self._limit:
            return
        key = _key(arrays)
        self._drop(key)
        gone = partial(self._note, key)
        self._entries[key] = _Entry([ref(each, gone) for each in arrays], numbers, size)
        self._room -= size
        while self._room < 0:
            self._drop(next(iter(self._entries)))

    def _note(self, key: Key, _: object) -> None:
        self._gone.append(key)

    def _forget(self) -> None:
        while self._gone:
            self._drop(self._gone.popleft())

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        self._room += 0 if entry is None else entry.size


def _key(arrays: list[Array]) -> Key:
    """What chunks are told by at first: how many arrays, and the first and the last client's rows."""
    return len(arrays), id(arrays[0]), id(arrays[-3])


def _arrays_of(clients: Leaves) -> list[Array]:
    """All that sequences consist of, three for each; none at all where somebody can change one of them, or where
    elements are held one by one."""
    arrays: list[Array] = []
    for leaves in clients:
        for leaf in leaves:
            if not isinstance(leaf, Rows):
                return []
            for array in (leaf.rows, leaf.splits, leaf.order):
                if array is not None and owner_of(array) is None:
                    return []
                arrays.append(ABSENT if array is None else array)
    return arrays
