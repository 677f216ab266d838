"""What was made of the sequences of a chunk, found again as long as the same sequences come and nobody can change them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from weakref import ref

from fedlang.run.sequences import Array, Elements, LeafValue, Rows, owner_of

LIMIT = 32 << 20  # bytes; what was found last stays longest

Leaves: TypeAlias = Sequence[tuple[LeafValue, ...]]  # for each client those of one group


class Sized(Protocol):
    """What says how many bytes it takes."""

    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True, eq=False)
class _Entry(Generic[T]):
    leaves: list[ref[Any]]
    made: T


class Kept(Generic[T]):
    """Things made of chunks' sequences. It holds none of the sequences."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._entries: OrderedDict[tuple[int, ...], _Entry[T]] = OrderedDict()
        self._room = limit

    def find(self, clients: Leaves) -> T | None:
        """What was kept of these very sequences, if nobody can have changed them."""
        key = _key(clients)
        entry = self._entries.get(key)
        if entry is None:
            return None
        leaves = [*chain.from_iterable(clients)]
        if len(leaves) != len(entry.leaves) or not _are_fixed(leaves):
            return None
        if any(known() is not leaf for known, leaf in zip(entry.leaves, leaves, strict=True)):
            return None
        self._entries.move_to_end(key)
        return entry.made

    def keep(self, clients: Leaves, made: T) -> None:
        """Keeps what was made of sequences, unless somebody can change them."""
        leaves = [*chain.from_iterable(clients)]
        if not leaves or not _are_fixed(leaves):
            return
        key = _key(clients)
        known = self._entries.pop(key, None)
        self._room += (0 if known is None else known.made.nbytes) - made.nbytes
        self._entries[key] = _Entry([ref(leaf) for leaf in leaves], made)
        while self._room < 0:
            _, oldest = self._entries.popitem(last=False)
            self._room += oldest.made.nbytes


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
