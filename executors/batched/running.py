"""Compiled work, run chunk by chunk: while one chunk runs the next is read and packed, and no more are alive."""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fedlang.ir.graph import Graph
from fedlang.run.executor import Chunk, ClientTask
from fedlang.run.sequences import LeafValue

from ..tensorflow.blame import Guarded, Room, Runnable
from ..tensorflow.vectorised import LANES
from ..tensorflow.work import Readable, alike, read_chunks
from ..threaded.executor import in_order
from .strategy import Strategy

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

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """Chunks as they are made; the clients of a window may be in any of its chunks."""
        guarded = Guarded(self.work, self.graph, self.varies, tuple(shared), self.work.pack_shared(shared), self.room)
        with ThreadPoolExecutor(self.threads, "fedlang-chunks") as pool:
            chunks = self._chunks(clients)
            submitted = (pool.submit(guarded.run, guarded.pack(read), read) for read in chunks)
            for parts in in_order(submitted, self.threads + 1):
                yield from parts

    def _chunks(self, clients: Iterable[ClientTask]) -> Iterator[Readable]:
        """Chunks to run; vectorised ones hold clients of about one length, found in a window of some chunks."""
        size = self._chunk_size(clients)
        if self.strategy.name != "vectorised":
            yield from read_chunks(clients, size)
            return
        for window in read_chunks(clients, WINDOW * size):
            yield from alike(window, min(size, self.room.most))

    def _chunk_size(self, clients: Iterable[ClientTask]) -> int:
        """At least one chunk for each thread, where the number of clients is known."""
        most = min(self.strategy.chunk, self.room.most)
        if not isinstance(clients, Sequence):
            return most
        each = -(-len(clients) // self.threads)
        return max(1, min(most, -(-each // LANES) * LANES))
