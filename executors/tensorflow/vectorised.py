"""A chunk of clients as one TensorFlow program with an axis of clients: the batched graph, compiled, and its feeds
made on the host.

Chunks are filled up with the last client again to a multiple of so many that the bits of a client do not depend on its
chunk (see `lanes.py`).

Where all clients of a chunk take as many steps, or have batches of one size that needs no filling up, some masks do
nothing. The first chunk says which. Chunks run a program without those, of the same operations otherwise, until one
comes that needs them: from then on all run the one that has them all, so that there are two programs at most, and
mostly one. The bits are those of either: what a mask lets through is what was there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import Tensor
from fedlang.passes.batch import Batched, Feed
from fedlang.run.executor import Chunk, Stacked
from fedlang.run.sequences import LeafValue
from fedlang.types.dims import Atom, atoms_of

from .calls import Traced
from .dtypes import spec_of
from .lanes import LANES, VECTOR
from .layout import Layout
from .lower import evaluate
from .memory import host
from .packing import Packer
from .scope import Scope, Site, Unsupported, extent, sites_in
from .start import tf
from .together import calls_tensorflow, calls_together
from .work import Finished, Readable, finish, nothing


@dataclass(slots=True, eq=False)
class VectorisedWork:
    """A batched graph as a program for chunks. `without` makes the one for chunks in which certain feeds are even: it
    is `unmasked`, once it was made, and `even` are the places of those that have been so in all chunks up to now."""

    batched: Batched
    layout: Layout
    masked: Traced
    without: Callable[[frozenset[Feed]], Traced]
    sites: tuple[Site, ...]
    packer: Packer
    lock: Lock = field(default_factory=Lock)
    unmasked: Traced | None = None
    even: tuple[int, ...] | None = None

    @property
    def lanes(self) -> int:
        """Of how many places chunks have a multiple."""
        return self.packer.lanes

    def traces(self) -> int:
        """How often the programs were traced."""
        return self.masked.traces() + (0 if self.unmasked is None else self.unmasked.traces())

    def pack_shared(self, shared: Sequence[LeafValue]) -> list[Any]:
        """The shared values' feeds."""
        return self.layout.pack_shared(shared)

    def pack(self, read: Readable) -> list[Any]:
        """The program, and the clients' tensors. Data are copied here, so only one thread at a time may do it."""
        with self.lock:
            self.packer.make_room(read)
            feeds = self.packer.feeds(read.values)
            return [self._program(feeds), *feeds]

    def _program(self, feeds: Sequence[Any]) -> Traced:
        """That of a chunk with these feeds."""
        among = range(len(feeds)) if self.even is None else self.even
        found = tuple([place for place in among if self.packer.is_even(place, feeds)])
        if self.even is None and found:
            self.unmasked = self.without(frozenset(self.packer.own[place] for place in found))
        self.even = found if self.even in (None, found) else ()
        return self.unmasked if self.even and self.unmasked is not None else self.masked

    def run(self, shared: Sequence[Any], packed: Sequence[Any], read: Readable, *, spread: bool = False) -> Chunk:
        """A packed chunk's results. May be called from several threads at once; `spread` as `Traced` takes it."""
        if not read.tasks:
            return nothing(read, self.batched.count)
        program, *feeds = packed
        *results, flags = program(*shared, *feeds, spread=spread)
        stores = [host(feeds[n]) for n in self.packer.own_stores]
        results = [_apart(result, stores) for result in results]
        stacked = tuple(_own(results, k, sizes) for k, sizes in enumerate(self.batched.sizes))
        return finish(read, Finished(stacked, (), flags), self.sites, ())


def _apart(result: NDArray[Any], stores: list[NDArray[Any]]) -> NDArray[Any]:
    """A result in memory of its own: rows that are read where they lie may be one, and will be written over."""
    return result.copy() if any(np.may_share_memory(result, store) for store in stores) else result


def _own(results: list[NDArray[Any]], k: int, sizes: tuple[int, ...]) -> Stacked:
    """A result; where its axes are ragged, each client's without its padding."""
    if all(size < 0 for size in sizes):
        return results[k]
    found: list[LeafValue] = []
    for client, padded in enumerate(results[k]):
        found.append(padded[tuple(slice(None) if size < 0 else slice(results[size][client]) for size in sizes)])
    return found


def compile_vectorised(
    batched: Batched, without: Callable[[frozenset[Feed]], Batched], layout: Layout, *, label: str = "work"
) -> VectorisedWork:
    """The program of a batched graph; `without` gives the graph for chunks in which certain feeds are even. `label` is
    their name in profiles."""
    lanes = VECTOR if calls_together(batched.graph) else LANES
    sites = sites_in(batched.graph)

    def unmasked(even: frozenset[Feed]) -> Traced:
        return _traced(without(even), layout, lanes, sites, label)

    packer = Packer(batched, layout, lanes, VECTOR // lanes)
    return VectorisedWork(batched, layout, _traced(batched, layout, lanes, sites, label), unmasked, sites, packer)


def _traced(batched: Batched, layout: Layout, lanes: int, sites: tuple[Site, ...], label: str) -> Traced:
    graph = batched.graph
    multiples = {batched.clients: lanes} | dict.fromkeys(_widths(batched), VECTOR // lanes)

    def run(*feeds: Any) -> list[Any]:
        scope = Scope(flag_rank=1, multiples=multiples, clients=batched.clients)
        with tf.name_scope(label):
            results = evaluate(graph, _arguments_of(batched, layout, feeds), scope)
        return [*results, _flags_of(scope, sites, extent(results[0], 0))]

    return Traced(run, _specs_of(batched, layout), as_written=not calls_tensorflow(graph))


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
