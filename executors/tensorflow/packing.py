"""The feeds of a chunk whose clients run together, made on the host: for each client a lane, and the last client's again
for the lanes that are left.

What sequences give is numbers: how many elements, and which rows of a store they are. Of sequences that come again and
that nobody can change, as those of clients that take part in every round, they are made once (`Store.made_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedlang.passes.batch import Batched, Feed
from fedlang.run.sequences import LeafValue
from fedlang.run.values import numpy_dtype

from .dtypes import hidden_axes
from .lanes import filled
from .layout import Group, Layout, sequences_of
from .numbering import numbered
from .store import Store

T = TypeVar("T")
Numbers = NDArray[np.int32]
Clients = Sequence[tuple[LeafValue, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """Which rows of a store the elements of a group's sequences are. Number 0 is the zero row's."""

    lengths: Numbers  # [C]
    rows: Numbers  # [L, C], and [L, C, B] where elements are ranges of rows
    counts: Numbers  # [L, C]: how many rows an element has; empty where each is one

    @property
    def nbytes(self) -> int:
        """What they take."""
        return self.lengths.nbytes + self.rows.nbytes + self.counts.nbytes


class Packer:
    """Makes chunks' feeds. They have a multiple of `lanes` lanes; batches, where their size is open, of `columns` rows.

    The clients' data are in its stores. One thread at a time may use it.
    """

    def __init__(self, batched: Batched, layout: Layout, lanes: int, columns: int) -> None:
        self.layout, self.lanes, self.columns = layout, lanes, columns
        self.stores = layout.stores()
        self.own = [feed for feed in batched.feeds if feed.kind != "shared"]
        self.position = {k: n for n, k in enumerate(k for k, differs in enumerate(layout.varies) if differs)}
        self.group = {k: n for n, group in enumerate(layout.groups) for k in group.members}

    def make_room(self, chunk: object) -> None:
        """To be called before each chunk is packed, with an object that is there until the chunk has run."""
        for store in self.stores:
            store.make_room(chunk)

    def feeds(self, clients: Clients) -> list[Any]:
        """The tensors of all feeds that are not shared, for clients with these values. `Uneven` where their data have
        no one layout."""
        elements = [self._elements(*each, clients) for each in zip(self.layout.groups, self.stores, strict=True)]
        shown = [store.tensors() for store in self.stores]  # they may be others once rows were added
        return [self._feed(feed, clients, elements, shown) for feed in self.own]

    def _feed(self, feed: Feed, clients: Clients, elements: list[Elements], shown: list[list[Any]]) -> Any:
        if feed.kind == "stacked":
            return self._stacked(feed.parameter, clients)
        if feed.kind == "length" and feed.axis >= 0:
            sizes = [np.asarray(value).shape[feed.axis] for value in self._values(feed.parameter, clients)]
            return np.array(self._for_lanes(sizes), np.int32)
        number = self.group[feed.parameter]
        if feed.kind == "store":
            return shown[number][self.layout.groups[number].members.index(feed.parameter)]
        assert feed.kind in ("length", "rows", "counts"), feed.kind
        found = elements[number]
        return {"length": found.lengths, "rows": found.rows, "counts": found.counts}[feed.kind]

    def _elements(self, group: Group, store: Store, clients: Clients) -> Elements:
        positions = [self.position[k] for k in group.members]
        leaves = [tuple([values[k] for k in positions]) for values in clients]
        return store.made_of(leaves, partial(self._made_elements, group, store, leaves))

    def _made_elements(self, group: Group, store: Store, leaves: list[tuple[LeafValue, ...]]) -> Elements:
        sequences = [sequences_of(each) for each in leaves]
        places = [store.place(each) for each in sequences]
        lengths = self._numbers([len(each[0]) for each in sequences])
        step = np.arange(lengths.max(initial=0), dtype=np.int32)[:, None]
        live = step < lengths
        if not group.split:
            starts = self._numbers([place.start for place in places])
            return Elements(lengths, np.where(live, starts + step, np.int32(0)), np.zeros(0, np.int32))
        found = numbered(places, [each[0] for each in sequences])
        at = np.where(live, self._numbers(found.first.tolist()) + step, 0)
        first = np.where(live, found.splits[at], np.int32(0))
        counts = np.where(live, found.splits[at + 1] - first, np.int32(0))
        column = np.arange(filled(int(counts.max(initial=0)), self.columns), dtype=np.int32)
        own = column < counts[..., None]
        rows = np.append(np.int32(0), found.rows)
        return Elements(
            lengths, rows[np.where(own, first[..., None] + column + np.int32(1), np.int32(0))], counts
        )

    def _stacked(self, parameter: int, clients: Clients) -> NDArray[Any]:
        type = self.layout.tensor(parameter)
        arrays = self._for_lanes([np.asarray(value) for value in self._values(parameter, clients)])
        rank = len(type.shape) + len(hidden_axes(type.dtype))
        shape = tuple(max(array.shape[axis] for array in arrays) for axis in range(rank))
        found = np.zeros((len(arrays), *shape), numpy_dtype(type.dtype))
        for client, array in enumerate(arrays):
            own: tuple[Any, ...] = (client, *(slice(size) for size in array.shape))
            found[own] = array
        return found

    def _values(self, parameter: int, clients: Clients) -> list[LeafValue]:
        """Each client's value of a parameter."""
        position = self.position[parameter]
        return [values[position] for values in clients]

    def _for_lanes(self, clients: list[T]) -> list[T]:
        """One thing for each lane."""
        return [*clients, *[clients[-1]] * (-len(clients) % self.lanes)]

    def _numbers(self, clients: list[int]) -> Numbers:
        return np.array(self._for_lanes(clients), np.int32)
