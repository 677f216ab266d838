"""Chunks of clients, each one TensorFlow program: vectorised over the clients, or one by one in the graph.

`strategy` "auto" decides for each work by `choose_strategy`; `decisions` says what was decided and why. Work that
cannot be vectorised runs one by one in the graph; work that TensorFlow cannot run at all is left to the reference.

While a chunk runs, the next one is read and packed; no more are alive. `budget` bounds, in bytes, what a chunk's
weights take.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fedlang.ir.graph import Graph
from fedlang.passes.batch import NotBatchable, batch_graph, move_maps
from fedlang.run.executor import Chunk, ClientTask, ClientWork, LocalWork
from fedlang.run.sequences import LeafValue

from ..reference import ReferenceExecutor
from ..tensorflow.blame import Guarded, Runnable
from ..tensorflow.chunks import sequential_work
from ..tensorflow.guards import guard_rows
from ..tensorflow.layout import layout_of
from ..tensorflow.scope import Unsupported
from ..tensorflow.start import CORES, tf
from ..tensorflow.vectorised import LANES, compile_vectorised
from ..tensorflow.work import Readable, alike, read_chunks
from ..threaded.executor import in_order
from .strategy import Strategy, choose_strategy

BUDGET = 8 << 20
WINDOW = 8  # chunks whose clients are read together, and sorted by length


@dataclass(frozen=True, slots=True, eq=False)
class BatchedWork:
    """Compiled work, how it was decided to run, and how many chunks run at once."""

    work: Runnable
    graph: Graph
    varies: tuple[bool, ...]
    strategy: Strategy
    threads: int

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """Chunks as they are made; the clients of a window may be in any of its chunks."""
        guarded = Guarded(self.work, self.graph, self.varies, tuple(shared), self.work.pack_shared(shared))
        with ThreadPoolExecutor(self.threads, "fedlang-chunks") as pool:
            chunks = self._chunks(clients)
            submitted = (pool.submit(guarded.run, guarded.pack(read), read) for read in chunks)
            yield from in_order(submitted, self.threads + 1)

    def _chunks(self, clients: Iterable[ClientTask]) -> Iterator[Readable]:
        """Chunks to run; vectorised ones hold clients of about one length, found in a window of some chunks."""
        size = self._chunk_size(clients)
        if self.strategy.name != "vectorised":
            yield from read_chunks(clients, size)
            return
        for window in read_chunks(clients, WINDOW * size):
            yield from alike(window, size)

    def _chunk_size(self, clients: Iterable[ClientTask]) -> int:
        """At least one chunk for each thread, where the number of clients is known."""
        if not isinstance(clients, Sequence):
            return self.strategy.chunk
        each = -(-len(clients) // self.threads)
        return max(1, min(self.strategy.chunk, -(-each // LANES) * LANES))


@dataclass(slots=True, eq=False)
class BatchedExecutor:
    """Clients by the chunk. `strategy`: "auto", "vectorised" or "sequential"; `chunk` overrides the chunks' size."""

    strategy: str = "auto"
    chunk: int | None = None
    budget: int = BUDGET
    threads: int = CORES
    name: str = "batched"
    decisions: dict[int, Strategy] = field(default_factory=dict)
    _made: dict[tuple[int, tuple[bool, ...]], tuple[Graph, ClientWork]] = field(default_factory=dict)

    def compile_work(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        """The work made ready; the same graph is made ready once."""
        key = (id(work), varies)
        if key not in self._made:
            self._made[key] = (work, self._make(work, varies))
        return self._made[key][1]

    def decision(self, work: Graph) -> Strategy:
        """How a compiled work runs, and why."""
        return self.decisions[id(work)]

    def _make(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        try:
            return self._on_tensorflow(work, varies)
        except Unsupported as reason:
            self.decisions[id(work)] = Strategy("reference", str(reason), 1)
            return ReferenceExecutor().compile_work(work, varies)

    def _on_tensorflow(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        moved = guard_rows(move_maps(work))
        layout = layout_of(moved, varies)
        try:
            batched = batch_graph(moved, varies)
            decided = self._decide(choose_strategy(batched, moved, gpu=has_gpu(), budget=self.budget))
        except NotBatchable as reason:
            batched, decided = None, self._sized(Strategy("sequential", reason.reason, 64))
        self.decisions[id(work)] = decided
        if batched is not None and decided.name == "vectorised":
            return BatchedWork(compile_vectorised(batched, layout), work, varies, decided, self.threads)
        return BatchedWork(sequential_work(moved, varies, parallel=self.threads), work, varies, decided, 1)

    def _decide(self, automatic: Strategy) -> Strategy:
        if self.strategy == "auto" or self.strategy == automatic.name:
            return self._sized(automatic)
        return self._sized(Strategy(self.strategy, "asked for", automatic.chunk))

    def _sized(self, strategy: Strategy) -> Strategy:
        return strategy if self.chunk is None else Strategy(strategy.name, strategy.reason, self.chunk)

    def compile_local(self, graph: Graph) -> LocalWork:
        """By the reference, so that the server's bits are the same in all executors."""
        return ReferenceExecutor().compile_local(graph)


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
