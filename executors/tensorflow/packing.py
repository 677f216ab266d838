"""The feeds of a chunk whose clients run together, made on the host: for each client a lane, and the last client's
again for the lanes that are left.

What sequences give is numbers: how many elements, and which rows of a store they are. Of sequences that come again and
that nobody can change, as those of clients that take part in every round, they are made once (`Store.numbers_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedlang.passes.batch import Batched, Feed
from fedlang.run.sequences import LeafValue
from fedlang.run.values import numpy_dtype

from .dtypes import hidden_axes
from .kept import Numbers
from .lanes import filled
from .layout import Group, Layout, sequences_of
from .numbering import numbered
from .places import form_of, table_of
from .store import Store

T = TypeVar("T")
Clients: TypeAlias = Sequence[tuple[LeafValue, ...]]
NUMBERS = ("length", "rows", "counts")  # the feeds that are numbers of a group's elements


class Packer:
    """Makes chunks' feeds. They have a multiple of `lanes` lanes; batches, where their size is open, of `columns` rows.

    The clients' data are in its stores. One thread at a time may use it.
    """

    def __init__(self, batched: Batched, layout: Layout, lanes: int, columns: int) -> None:
        self.layout, self.lanes, self.columns = layout, lanes, columns
        self.stores = layout.stores()
        self.own = [feed for feed in batched.feeds if feed.kind != "shared"]
        self.position = {k: n for n, k in enumerate(k for k, differs in enumerate(layout.varies) if differs)}
        self.own_stores = [n for n, feed in enumerate(self.own) if feed.kind == "store"]  # the places of their feeds
        self.rows = {feed.parameter: n for n, feed in enumerate(self.own) if feed.kind == "rows"}
        self.group = {k: n for n, group in enumerate(layout.groups) for k in group.members}

    def make_room(self, chunk: object) -> None:
        """To be called before each chunk is packed, with an object that is there until the chunk has run."""
        for store in self.stores:
            store.make_room(chunk)

    def feeds(self, clients: Clients) -> list[Any]:
        """The tensors of all feeds that are not shared, for clients with these values. `Uneven` where their data have
        no one layout."""
        numbers = [self._numbers(*each, clients) for each in zip(self.layout.groups, self.stores, strict=True)]
        shown = [store.tensors() for store in self.stores]  # they may be others once rows were added
        return [self._feed(feed, clients, numbers, shown) for feed in self.own]

    def is_even(self, place: int, feeds: Sequence[Any]) -> bool:
        """Whether the feed at a place is lengths that are the same for all clients, or counts that are all of the
        width."""
        feed, given = self.own[place], feeds[place]
        if feed.kind == "length":
            return bool((given == given[0]).all())
        return feed.kind == "counts" and bool((given == feeds[self.rows[feed.parameter]].shape[-1]).all())

    def _feed(self, feed: Feed, clients: Clients, numbers: list[tuple[Numbers, ...]], shown: list[list[Any]]) -> Any:
        if feed.kind == "stacked":
            return self._stacked(feed.parameter, clients)
        if feed.axis >= 0:
            return self._for_lanes(
                [np.asarray(value).shape[feed.axis] for value in self._values(feed.parameter, clients)]
            )
        group = self.group[feed.parameter]
        if feed.kind == "store":
            return shown[group][self.layout.groups[group].members.index(feed.parameter)]
        return numbers[group][NUMBERS.index(feed.kind)]

    def _numbers(self, group: Group, store: Store, clients: Clients) -> tuple[Numbers, ...]:
        positions = [self.position[k] for k in group.members]
        leaves = [tuple([values[k] for k in positions]) for values in clients]
        return store.numbers_of(leaves, partial(self._made_numbers, group, store, leaves))

    def _made_numbers(self, group: Group, store: Store, leaves: Clients) -> tuple[Numbers, ...]:
        """How many elements each client has [C]; which rows of the store they are [L, C], or [L, C, B] where elements
        are ranges of rows; how many rows each of these has [L, C]. Other numbers are those of zero rows."""
        sequences = [sequences_of(each) for each in leaves]
        lengths = self._for_lanes([len(each[0]) for each in sequences])
        step = np.arange(lengths.max(initial=0), dtype=np.int32)[:, None]
        live = step < lengths
        if not group.split:
            starts = self._for_lanes([store.place(each).start for each in sequences])
            return lengths, np.where(live, starts + step, np.int32(0))
        batches = [each[0] for each in sequences]
        form = form_of(batches, self.lanes, self.columns) if store.is_read_in_place else None
        together = None if form is None else store.together(sequences, form)
        places = [store.place(each) for each in sequences] if together is None else together
        found = numbered(places, batches)
        at = np.where(live, self._for_lanes(found.first.tolist()) + step, 0)
        first = np.where(live, found.splits[at], np.int32(0))
        counts = np.where(live, found.splits[at + 1] - first, np.int32(0))
        table = table_of(places, form)
        if table is not None:
            return lengths, table.numbers(), counts
        column = np.arange(filled(int(counts.max(initial=0)), self.columns), dtype=np.int32)
        own = column < counts[..., None]
        rows = np.append(np.int32(0), found.rows)
        return lengths, rows[np.where(own, first[..., None] + column + np.int32(1), np.int32(0))], counts

    def _stacked(self, parameter: int, clients: Clients) -> NDArray[Any]:
        type = self.layout.tensor(parameter)
        arrays = self._repeated([np.asarray(value) for value in self._values(parameter, clients)])
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

    def _repeated(self, clients: list[T]) -> list[T]:
        """One thing for each lane."""
        return [*clients, *[clients[-1]] * (-len(clients) % self.lanes)]

    def _for_lanes(self, clients: list[int]) -> Numbers:
        """A number for each lane."""
        return np.array(self._repeated(clients), np.int32)
