"""Compiled work, run chunk by chunk: while one chunk runs the next is read and packed, and no more are alive."""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fedlang.ir.graph import Graph
from fedlang.run.executor import Chunk, ClientTask, ClientWork
from fedlang.run.sequences import Elements, LeafValue, Rows

from ..tensorflow.blame import Guarded, Room, Runnable
from ..tensorflow.blocks import BlockWork
from ..tensorflow.lanes import LANES
from ..tensorflow.pool import in_order, new_pool
from ..tensorflow.work import Readable, alike, read_chunks
from .strategy import Strategy
from .tally import Tally

WINDOW = 8  # chunks whose clients are read together, and sorted by length


@dataclass(frozen=True, slots=True, eq=False)
class BatchedWork:
    """Compiled work, how it was decided to run, and how many chunks run at once."""

    work: Runnable
    graph: Graph
    varies: tuple[bool, ...]
    strategy: Strategy
    threads: int
    room: Room
    tallies: list[Tally]  # of the last run
    pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pool", new_pool(self.threads, "chunks"))

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """Chunks as they are made; the clients of a window may be in any of its chunks."""
        guarded = Guarded(self.work, self.graph, self.varies, tuple(shared), self.work.pack_shared(shared), self.room)
        size = self.work.size if isinstance(self.work, BlockWork) else None
        self.tallies[:] = [Tally(self.strategy.name, size)]
        read = self._counted(clients)
        submitted = (self.pool.submit(self._run, guarded, guarded.pack(each), each) for each in read)
        for parts in in_order(submitted, self.threads + 1):
            yield from parts

    def _counted(self, clients: Iterable[ClientTask]) -> Iterator[Readable]:
        tally = self.tallies[-1]
        for read in self._chunks(clients):
            tally.add([_longest(values) for values in read.values], LANES)
            yield read

    def _run(self, guarded: Guarded, packed: list[Any] | None, read: Readable) -> tuple[Chunk, ...]:
        started, tally = time.perf_counter(), self.tallies[-1]
        found = guarded.run(packed, read)
        tally.times.append(time.perf_counter() - started)
        return found

    def _chunks(self, clients: Iterable[ClientTask]) -> Iterator[Readable]:
        """Chunks to run. Where padding costs, they hold clients of about one length, found in a window of chunks."""
        size = self._chunk_size(clients)
        if self.strategy.name == "sequential":
            yield from read_chunks(clients, size)
            return
        for window in read_chunks(clients, WINDOW * size):
            most = min(size, self.room.most)
            yield from alike(window, most) if self.strategy.name == "vectorised" else by_length(window, most)
            del window  # let go of before the next one is read

    def _chunk_size(self, clients: Iterable[ClientTask]) -> int:
        """At least one chunk for each thread, where the number of clients is known."""
        most = min(self.strategy.chunk, self.room.most)
        if not isinstance(clients, Sequence):
            return most
        each = -(-len(clients) // self.threads)
        return max(1, min(most, -(-each // LANES) * LANES))


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceWork:
    """Work that TensorFlow does not run, on the reference; it is counted as the other is."""

    work: ClientWork
    tallies: list[Tally]  # of the last run

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """The reference's chunks."""
        self.tallies[:] = [Tally("reference", None)]
        for chunk in self.work.run(shared, clients):
            self.tallies[-1].chunks.append(len(chunk.ids))
            yield chunk


def by_length(window: Readable, size: int) -> Iterator[Readable]:
    """The window's clients in chunks of about equal numbers, the longest first; inside a chunk in their order."""
    count = len(window.tasks)
    order = sorted(range(count), key=lambda k: (-_longest(window.values[k]), window.tasks[k].position))
    chunks = max(1, -(-count // size))
    each = max(1, -(-count // chunks))
    each = min(size, -(-each // LANES) * LANES)
    failures = window.failures
    for start in range(0, max(count, 1), each):
        rows = sorted(order[start : start + each])
        yield Readable(tuple(window.tasks[k] for k in rows), tuple(window.values[k] for k in rows), failures)
        failures = ()


def _longest(values: tuple[LeafValue, ...]) -> int:
    return max((len(value) for value in values if isinstance(value, Rows | Elements)), default=0)
