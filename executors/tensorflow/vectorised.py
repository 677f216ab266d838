"""A chunk of clients as one TensorFlow program with an axis of clients: the batched graph, compiled, and its feeds
made on the host.

Chunks are filled up with dead clients (no elements, zeros) to a multiple of so many that the bits of a client do not
depend on its chunk (see `lanes.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import Tensor
from fedlang.passes.batch import Batched, Feed
from fedlang.run.executor import Chunk, Stacked
from fedlang.run.sequences import LeafValue, SequenceValue
from fedlang.run.values import numpy_dtype
from fedlang.types.dims import Atom, atoms_of

from .calls import Traced
from .dtypes import hidden_axes, spec_of
from .lanes import LANES, VECTOR, filled
from .layout import Group, Layout, sequences_of
from .lower import evaluate
from .numbering import numbered
from .scope import Scope, Site, Unsupported, extent, sites_in
from .start import tf
from .store import Store
from .together import calls_tensorflow, calls_together
from .work import Finished, Readable, finish, nothing

T = TypeVar("T")
Ranges: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class VectorisedWork:
    """A batched graph as a program for chunks."""

    batched: Batched
    layout: Layout
    function: Traced
    sites: tuple[Site, ...]
    stores: list[Store]
    lock: Lock
    lanes: int  # chunks have a multiple of so many places
    columns: int  # and batches, where their size is open, of so many at least

    def traces(self) -> int:
        """How often the program was traced."""
        return self.function.traces()

    def pack_shared(self, shared: Sequence[LeafValue]) -> list[Any]:
        """The shared values' feeds."""
        return self.layout.pack_shared(shared)

    def width(self, count: int) -> int:
        """How wide batches are of which the largest has `count` rows."""
        return filled(count, self.columns)

    def pack(self, read: Readable) -> list[Any]:
        """The clients' tensors. Data are copied here, so only one thread at a time may do it."""
        with self.lock:
            for store in self.stores:
                store.make_room(read)
            return _Packing(self, read.values).feeds()

    def run(self, shared: Sequence[Any], packed: Sequence[Any], read: Readable, *, spread: bool = False) -> Chunk:
        """A packed chunk's results. May be called from several threads at once; `spread` as `Traced` takes it."""
        if not read.tasks:
            return nothing(read, self.batched.count)
        *results, flags = self.function(*shared, *packed, spread=spread)
        stacked = tuple(_own(results, k, sizes) for k, sizes in enumerate(self.batched.sizes))
        return finish(read, Finished(stacked, (), flags), self.sites, ())


def _own(results: list[NDArray[Any]], k: int, sizes: tuple[int, ...]) -> Stacked:
    """A result; where its axes are ragged, each client's without its padding."""
    if all(size < 0 for size in sizes):
        return results[k]
    found: list[LeafValue] = []
    for client, padded in enumerate(results[k]):
        found.append(padded[tuple(slice(None) if size < 0 else slice(results[size][client]) for size in sizes)])
    return found


def compile_vectorised(batched: Batched, layout: Layout, *, label: str = "work") -> VectorisedWork:
    """The program of a batched graph; `label` is its name in profiles."""
    graph = batched.graph
    sites = sites_in(graph)
    lanes = VECTOR if calls_together(graph) else LANES
    multiples = {batched.clients: lanes} | dict.fromkeys(_widths(batched), VECTOR // lanes)

    def run(*feeds: Any) -> list[Any]:
        scope = Scope(flag_rank=1, multiples=multiples, clients=batched.clients)
        with tf.name_scope(label):
            results = evaluate(graph, _arguments_of(batched, layout, feeds), scope)
        return [*results, _flags_of(scope, sites, extent(results[0], 0))]

    function = Traced(run, _specs_of(batched, layout), as_written=not calls_tensorflow(graph))
    return VectorisedWork(batched, layout, function, sites, layout.stores(), Lock(), lanes, VECTOR // lanes)


def _specs_of(batched: Batched, layout: Layout) -> list[Any]:
    """The signature: shared values, then the other feeds in their order."""
    feeds = zip(batched.feeds, batched.graph.parameter_types(), strict=True)
    return [*layout.shared_specs(), *(_spec(type) for feed, type in feeds if feed.kind != "shared")]


def _widths(batched: Batched) -> Iterator[Atom]:
    """The open sizes of batches."""
    for feed, type in zip(batched.feeds, batched.graph.parameter_types(), strict=True):
        if feed.kind == "rows" and isinstance(type, Tensor) and len(type.shape) == 3:
            yield from atoms_of(type.shape[-1])


def _arguments_of(batched: Batched, layout: Layout, feeds: Sequence[Any]) -> list[Any]:
    """The batched graph's arguments, from tensors in the order of `_specs_of`."""
    rest = list(feeds)
    common = layout.shared_arguments(rest)
    own = iter(rest)
    return [common[feed.parameter] if feed.kind == "shared" else next(own) for feed in batched.feeds]


def _spec(type: object) -> Any:
    if not isinstance(type, Tensor):
        raise Unsupported("a batched sequence")
    return spec_of(type)


def _flags_of(scope: Scope, sites: tuple[Site, ...], clients: Any) -> Any:
    """bool [C, sites]."""
    if not sites:
        return tf.zeros([clients, 0], tf.bool)
    flags = [scope.flags.get(site, tf.constant(True)) for site in sites]
    return tf.stack([tf.broadcast_to(flag, [clients]) for flag in flags], axis=1)


class _Packing:
    """The feeds of one chunk."""

    def __init__(self, work: VectorisedWork, own: Sequence[tuple[LeafValue, ...]]) -> None:
        self.work, self.own, self.layout = work, own, work.layout
        self.lanes = -(-len(own) // work.lanes) * work.lanes
        self.position = {k: n for n, k in enumerate(k for k, differs in enumerate(self.layout.varies) if differs)}
        self.group = {k: n for n, group in enumerate(self.layout.groups) for k in group.members}
        self.sequences = [self._sequences(group) for group in self.layout.groups]
        stores = zip(self.sequences, work.stores, strict=True)
        self.places = [[store.place(each) for each in sequences] for sequences, store in stores]
        self.shown = [store.tensors() for store in work.stores]
        self.ranges: dict[int, Ranges] = {}

    def feeds(self) -> list[Any]:
        """The tensors of all feeds that are not shared."""
        return [MAKERS[feed.kind](self, feed) for feed in self.work.batched.feeds if feed.kind != "shared"]

    def _sequences(self, group: Group) -> list[tuple[SequenceValue, ...]]:
        positions = [self.position[k] for k in group.members]
        return [sequences_of(tuple([values[k] for k in positions])) for values in self.own]

    def values(self, parameter: int) -> list[LeafValue]:
        """Each client's value of a parameter."""
        return [values[self.position[parameter]] for values in self.own]

    def repeated(self, clients: list[T]) -> list[T]:
        """One thing for each lane."""
        return [*clients, *[clients[-1]] * (self.lanes - len(clients))]

    def lengths(self, parameter: int) -> NDArray[np.int32]:
        """How many elements each client has."""
        return self.filled([len(leaves[0]) for leaves in self.sequences[self.group[parameter]]])

    def starts(self, parameter: int) -> NDArray[np.int32]:
        """Where each client's rows start."""
        return self.filled([place.start for place in self.places[self.group[parameter]]])

    def filled(self, numbers: Sequence[int]) -> NDArray[np.int32]:
        """The clients' numbers, and the last one's again for each lane that is left."""
        return np.array(self.repeated(list(numbers)), np.int32)


def _store(packing: _Packing, feed: Feed) -> Any:
    number = packing.group[feed.parameter]
    return packing.shown[number][packing.layout.groups[number].members.index(feed.parameter)]


def _length(packing: _Packing, feed: Feed) -> NDArray[np.int32]:
    if feed.axis < 0:
        return packing.lengths(feed.parameter)
    return packing.filled([np.asarray(value).shape[feed.axis] for value in packing.values(feed.parameter)])


def _rows(packing: _Packing, feed: Feed) -> NDArray[np.int32]:
    if packing.layout.groups[packing.group[feed.parameter]].split:
        return _ranges(packing, feed)[0]
    lengths, starts = packing.lengths(feed.parameter), packing.starts(feed.parameter)
    place = np.arange(lengths.max(initial=0), dtype=np.int32)[:, None]
    return np.where(place < lengths, starts + place, np.int32(0))


def _counts(packing: _Packing, feed: Feed) -> NDArray[np.int32]:
    return _ranges(packing, feed)[1]


def _ranges(packing: _Packing, feed: Feed) -> Ranges:
    """Rows [L, C, B] and counts [L, C] of elements that are ranges of rows."""
    number = packing.group[feed.parameter]
    if number not in packing.ranges:
        packing.ranges[number] = _made_ranges(packing, number, packing.lengths(feed.parameter))
    return packing.ranges[number]


def _made_ranges(packing: _Packing, number: int, lengths: NDArray[np.int32]) -> Ranges:
    found = numbered(packing.places[number], [leaves[0] for leaves in packing.sequences[number]])
    step = np.arange(lengths.max(initial=0), dtype=np.int32)[:, None]
    live = step < lengths
    at = np.where(live, packing.filled(found.first.tolist()) + step, 0)
    first = np.where(live, found.splits[at], np.int32(0))
    counts = np.where(live, found.splits[at + 1] - first, np.int32(0))
    column = np.arange(packing.work.width(int(counts.max(initial=0))), dtype=np.int32)
    own = column < counts[..., None]
    rows = np.append(np.int32(0), found.rows)  # number 0 is the zero row's, as it is in a store
    return rows[np.where(own, first[..., None] + column + np.int32(1), np.int32(0))], counts


def _stacked(packing: _Packing, feed: Feed) -> NDArray[Any]:
    type = packing.layout.tensor(feed.parameter)
    arrays = packing.repeated([np.asarray(value) for value in packing.values(feed.parameter)])
    rank = len(type.shape) + len(hidden_axes(type.dtype))
    shape = tuple(max(array.shape[axis] for array in arrays) for axis in range(rank))
    found = np.zeros((packing.lanes, *shape), numpy_dtype(type.dtype))
    for client, array in enumerate(arrays):
        own: tuple[Any, ...] = (client, *(slice(size) for size in array.shape))
        found[own] = array
    return found


MAKERS: dict[str, Any] = {
    "store": _store,
    "length": _length,
    "rows": _rows,
    "counts": _counts,
    "stacked": _stacked,
}
