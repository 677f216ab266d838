"""Compiled work, run chunk by chunk: while one chunk runs the next is read and packed, and no more are alive."""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fedlang.ir.graph import Graph
from fedlang.run.executor import Chunk, ClientTask, ClientWork
from fedlang.run.sequences import LeafValue

from ..tensorflow.blame import Guarded, Packed, Room, Runnable
from ..tensorflow.pool import in_order, looked_ahead, new_pool
from ..tensorflow.work import Readable, alike, read_chunks
from .strategy import Strategy
from .tally import Tally
from .trials import Cut

WINDOW = 8  # chunks whose clients are read together, and sorted by length


@dataclass(frozen=True, slots=True, eq=False)
class BatchedWork:
    """Compiled work, how it was decided to run (`cut`: which clients are a block), on how many threads, and how many
    chunks there are that are not yet taken (`ahead`); `spreads`: whether a chunk that is alone may have threads of
    TensorFlow's."""

    work: Runnable
    graph: Graph
    varies: tuple[bool, ...]
    strategy: Strategy
    cut: Cut | None
    threads: int
    ahead: int
    spreads: bool
    room: Room
    tallies: list[Tally]  # of the last run
    pool: ThreadPoolExecutor | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pool", new_pool(self.threads, "chunks"))

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """Chunks as they are made; the clients of a window may be in any of its chunks."""
        self.tallies[:] = [Tally(self.work.lanes)]
        started, worked = time.perf_counter(), time.process_time()  # by whoever uses the chunks, too
        if self.cut is not None:
            self.cut.begin()
        every, read = looked_ahead(self._counted(clients), self.threads)  # whether every thread has a chunk
        feeds = self.work.pack_shared(shared)
        guarded = Guarded(
            self.work, self.graph, self.varies, tuple(shared), feeds, self.room, spread=self.spreads and not every
        )
        jobs = (partial(self._run, guarded, guarded.pack(each), each) for each in read)
        for parts in in_order(self.pool, jobs, self.threads + 1, self.ahead):
            yield from parts
        if self.cut is not None:
            self.cut.end(time.perf_counter() - started, time.process_time() - worked)

    def _counted(self, clients: Iterable[ClientTask]) -> Iterator[Readable]:
        tally = self.tallies[-1]
        for read in self._chunks(clients):
            tally.add(read.lengths)
            yield read

    def _run(self, guarded: Guarded, packed: Packed, read: Readable) -> tuple[Chunk, ...]:
        started, tally = time.perf_counter(), self.tallies[-1]
        found = guarded.run(packed, read)
        tally.times.append(time.perf_counter() - started)
        return found

    def _chunks(self, clients: Iterable[ClientTask]) -> Iterator[Readable]:
        """Chunks to run. Where padding costs, they hold clients of about one length, found in a window of chunks."""
        if self.strategy.name == "sequential":
            yield from read_chunks(clients, self._share(clients))
            return
        size = self.strategy.chunk
        for window in read_chunks(clients, WINDOW * size):
            most = min(size, self.room.most)
            yield from alike(window, most) if self.cut is None else by_length(window, most, self.cut)
            del window  # let go of before the next one is read

    def _share(self, clients: Iterable[ClientTask]) -> int:
        """How many clients run one by one in a chunk: where their number is known, every thread has chunks, as many as
        the others."""
        most = min(self.strategy.chunk, self.room.most)
        if not isinstance(clients, Sequence):
            return most
        rounds = -(-len(clients) // (most * self.threads))
        return max(1, min(most, -(-len(clients) // (max(1, rounds) * self.threads))))


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceWork:
    """Work that TensorFlow does not run, on the reference; it is counted as the other is."""

    work: ClientWork
    tallies: list[Tally]  # of the last run

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """The reference's chunks."""
        self.tallies[:] = [Tally(1)]
        for chunk in self.work.run(shared, clients):
            self.tallies[-1].chunks.append(len(chunk.ids))
            yield chunk


def by_length(window: Readable, most: int, cut: Cut) -> Iterator[Readable]:
    """The window's clients in blocks, the longest first; inside a block in their order."""
    order = sorted(range(len(window.tasks)), key=lambda k: (-window.lengths[k], window.tasks[k].position))
    failures, start = window.failures, 0
    for size in cut(np.array([window.lengths[k] for k in order], np.int32), most):
        yield window.take(sorted(order[start : start + size]), failures)
        failures, start = (), start + size
