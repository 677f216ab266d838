"""Numbers that were made of the sequences of a chunk, found again as long as the same sequences come and nobody can
change them: those of clients that take part in every round and whose data stay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from fedlang.run.sequences import Array, Elements, LeafValue, Rows, owner_of

LIMIT = 32 << 20  # bytes of numbers; those that were found last stay longest

Leaves: TypeAlias = Sequence[tuple[LeafValue, ...]]  # for each client those of one group
Numbers: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    leaves: list[ref[Any]]
    numbers: tuple[Numbers, ...]
    nbytes: int


class Kept:
    """Numbers made of chunks' sequences. It holds none of the sequences."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._entries: OrderedDict[tuple[int, ...], _Entry] = OrderedDict()
        self._room = limit

    def find(self, clients: Leaves) -> tuple[Numbers, ...] | None:
        """What was kept of these very sequences, if nobody can have changed them."""
        key = _key(clients)
        entry = self._entries.get(key)
        if entry is None:
            return None
        leaves = [*chain.from_iterable(clients)]
        if not _are_fixed(leaves) or any(known() is not leaf for known, leaf in zip(entry.leaves, leaves, strict=True)):
            return None
        self._entries.move_to_end(key)
        return entry.numbers

    def keep(self, clients: Leaves, numbers: tuple[Numbers, ...]) -> None:
        """Keeps what was made of sequences, unless somebody can change them."""
        leaves = [*chain.from_iterable(clients)]
        if not leaves or not _are_fixed(leaves):
            return
        key = _key(clients)
        former = self._entries.pop(key, None)
        entry = self._entries[key] = _Entry([*map(ref, leaves)], numbers, sum(each.nbytes for each in numbers))
        self._room += (former.nbytes if former else 0) - entry.nbytes
        while self._room < 0:
            _, oldest = self._entries.popitem(last=False)
            self._room += oldest.nbytes


def _key(clients: Leaves) -> tuple[int, ...]:
    """What chunks are told by at first: how many clients, and the first and the last one's sequences."""
    return (len(clients), *(id(leaf) for each in (clients[0], clients[-1]) for leaf in each)) if clients else ()


def _are_fixed(leaves: Sequence[LeafValue]) -> bool:
    """Whether nobody can change any of what the sequences consist of."""
    for leaf in leaves:
        for array in _arrays_of(leaf):
            if array is not None and owner_of(array) is None:
                return False
    return True


def _arrays_of(leaf: LeafValue) -> tuple[Array | None, ...]:
    if isinstance(leaf, Rows):
        return leaf.rows, leaf.splits, leaf.order
    return leaf.items if isinstance(leaf, Elements) else (leaf,)
