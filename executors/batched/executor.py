"""Chunks of clients, each one TensorFlow program: vectorised over the clients, or one by one in the graph.

`strategy` "auto" decides for each work by `choose_strategy`; `decisions` says what was decided and why. Work that
cannot be vectorised runs one by one in the graph; work that TensorFlow cannot run at all is left to the reference.
`budget` bounds, in bytes, what a chunk's weights take.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fedlang.ir.graph import Graph
from fedlang.passes.batch import NotBatchable, batch_graph, move_maps
from fedlang.run.errors import bad_option
from fedlang.run.executor import ClientWork, LocalWork

from ..reference import ReferenceExecutor
from ..tensorflow.blame import Room, warn
from ..tensorflow.chunks import sequential_work
from ..tensorflow.guards import guard_rows
from ..tensorflow.layout import layout_of
from ..tensorflow.scope import Unsupported
from ..tensorflow.start import CORES, tf
from ..tensorflow.vectorised import compile_vectorised
from .running import BatchedWork
from .strategy import Strategy, choose_strategy

BUDGET = 8 << 20
SEQUENTIAL = 32  # clients in a chunk that runs them one by one
AHEAD = 4  # clients for each thread that a loop over clients may have begun: one long client does not hold up others
STRATEGIES = ("auto", "vectorised", "sequential")


@dataclass(slots=True, eq=False)
class BatchedExecutor:
    """Clients by the chunk. `strategy`: "auto", "vectorised" or "sequential"; `chunk` overrides the chunks' size.

    `notice` is told what does not change results but is worth knowing.
    """

    strategy: str = "auto"
    chunk: int | None = None
    budget: int = BUDGET
    threads: int = CORES
    notice: Callable[[str], None] = warn
    name: str = "batched"
    decisions: dict[int, Strategy] = field(default_factory=dict, init=False)
    _made: dict[tuple[int, tuple[bool, ...]], tuple[Graph, ClientWork]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise bad_option(self.name, "strategy", self.strategy, STRATEGIES)

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
            batched, decided = None, self._sized(Strategy("sequential", reason.reason, SEQUENTIAL))
        self.decisions[id(work)] = decided
        room = Room(self.notice)
        if batched is not None and decided.name == "vectorised":
            return BatchedWork(compile_vectorised(batched, layout), work, varies, decided, self.threads, room)
        parallel = AHEAD * self.threads if self.threads > 1 else 1
        compiled = sequential_work(moved, varies, parallel=parallel)
        return BatchedWork(compiled, work, varies, decided, min(self.threads, 2), room)

    def _decide(self, automatic: Strategy) -> Strategy:
        if self.strategy == "auto" or self.strategy == automatic.name:
            return self._sized(automatic)
        chunk = SEQUENTIAL if self.strategy == "sequential" else automatic.chunk
        return self._sized(Strategy(self.strategy, "asked for", chunk))

    def _sized(self, strategy: Strategy) -> Strategy:
        return strategy if self.chunk is None else Strategy(strategy.name, strategy.reason, self.chunk)

    def compile_local(self, graph: Graph) -> LocalWork:
        """By the reference, so that the server's bits are the same in all executors."""
        return ReferenceExecutor().compile_local(graph)


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))
