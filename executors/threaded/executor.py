"""Chunks of clients on a pool of threads.

A chunk runs as one TensorFlow program whose loop over clients is in the graph: a call for each client from Python
costs 1.4 times as much. TensorFlow works outside Python's lock, so that one thread keeps one core busy. A client's
result does not depend on its chunk or its thread, and the driver adds up exactly: the number of threads changes the
time and nothing else.

At most two chunks for each thread are alive at once, read but not yet taken by the driver.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from fedlang.ir.graph import Graph
from fedlang.passes.batch import move_maps
from fedlang.run.executor import Chunk, ClientTask, ClientWork, LocalWork
from fedlang.run.externs import Called
from fedlang.run.options import check_count
from fedlang.run.sequences import LeafValue

from ..batched.costs import cost_of
from ..batched.strategy import sequential_size, spreads
from ..reference import ReferenceExecutor
from ..tensorflow.blame import Guarded, Room, warn
from ..tensorflow.chunks import SequentialWork, sequential_work
from ..tensorflow.guards import guard_rows
from ..tensorflow.pool import in_order, looked_ahead, new_pool
from ..tensorflow.ready import Ready
from ..tensorflow.scope import Unsupported
from ..tensorflow.start import CORES
from ..tensorflow.work import read_chunks


@dataclass(frozen=True, slots=True, eq=False)
class ThreadedWork:
    """Compiled work, and how many threads share it."""

    work: SequentialWork
    graph: Graph
    varies: tuple[bool, ...]
    threads: int
    chunk: int
    spreads: bool
    room: Room
    pool: ThreadPoolExecutor | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pool", new_pool(self.threads, "clients"))

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """Chunks in the order of the clients."""
        every, chunks = looked_ahead(read_chunks(clients, self._chunk_size(clients)), self.threads)
        feeds = self.work.pack_shared(shared)
        guarded = Guarded(
            self.work, self.graph, self.varies, tuple(shared), feeds, self.room, spread=self.spreads and not every
        )
        jobs = (partial(guarded.run, guarded.pack(read), read) for read in chunks)
        for parts in in_order(self.pool, jobs, 2 * self.threads):
            yield from parts

    def _chunk_size(self, clients: Iterable[ClientTask]) -> int:
        """Two chunks for each thread where that is known, so that threads end together."""
        most = min(self.chunk, self.room.most)
        if not isinstance(clients, Sequence):
            return most
        return max(1, min(most, -(-len(clients) // (2 * self.threads))))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Made:
    """A work made ready: its graph, and the functions from Python that it was compiled with."""

    graph: Graph
    called: Called
    work: ClientWork

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """The work's chunks."""
        return self.work.run(shared, clients)


@dataclass(slots=True, eq=False)
class ThreadedExecutor:
    """Clients on threads. A chunk has at most `chunk` clients; else as many as can wait with what they send.

    Works that TensorFlow cannot run are the reference's.
    """

    threads: int = CORES
    chunk: int | None = None
    name: str = "threaded"
    _ready: Ready[Made] = field(default_factory=Ready, init=False)

    def __post_init__(self) -> None:
        check_count(self.name, "threads", self.threads)
        if self.chunk is not None:
            check_count(self.name, "chunk", self.chunk)

    def compile_work(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        """The work made ready: once for the same graph, as long as the functions that it calls are the same."""
        return self._ready.get(work, varies, lambda: Made(work, Called.by(work), self._make(work, varies)))

    def _make(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        try:
            compiled = sequential_work(guard_rows(move_maps(work)), varies)
            chunk = sequential_size(work) if self.chunk is None else self.chunk
            return ThreadedWork(compiled, work, varies, self.threads, chunk, spreads(cost_of(work)), Room(warn))
        except Unsupported:
            return ReferenceExecutor().compile_work(work, varies)

    def compile_local(self, graph: Graph) -> LocalWork:
        """By the reference, so that the server's bits are the same in all executors."""
        return ReferenceExecutor().compile_local(graph)
