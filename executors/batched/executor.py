"""Chunks of clients, each one TensorFlow program: vectorised, in blocks, or one by one in the graph.

`strategy` "auto" decides for each work by its cost (`strategy.py`); `decision` says what was decided and why. Work that
cannot be vectorised runs one by one in the graph; work that TensorFlow cannot run at all is left to the reference.
`budget` bounds, in bytes, what a chunk's weights take.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

from fedlang.ir.graph import Graph
from fedlang.passes.batch import Batched, NotBatchable, batch_graph, move_maps
from fedlang.run.executor import ClientWork, LocalWork
from fedlang.run.explanation import Explanation
from fedlang.run.externs import Called
from fedlang.run.options import check_choice, check_count, check_function

from ..reference import ReferenceExecutor
from ..tensorflow.blame import Room, Runnable, warn
from ..tensorflow.chunks import sequential_work
from ..tensorflow.guards import guard_rows
from ..tensorflow.layout import layout_of
from ..tensorflow.ready import Ready
from ..tensorflow.scope import Unsupported
from ..tensorflow.start import CORES, has_gpu
from ..tensorflow.together import apart, verify_together
from ..tensorflow.vectorised import compile_vectorised
from ..tensorflow.work import STEP
from .calibration import figures
from .costs import batched_cost, cost_of
from .explaining import Made, watched
from .figures import FIXED
from .running import BatchedWork, ReferenceWork
from .strategy import Strategy, choose, chunk_size, chunks_ahead, cutting, estimate, sequential_size, spreads

BUDGET = 64 << 20
MOST = 128  # clients in a chunk, so that the server adds up one while the next runs
STRATEGIES = ("auto", "vectorised", "blocks", "sequential")


@dataclass(slots=True, eq=False)
class BatchedExecutor:
    """Clients by the chunk. `strategy`: "auto", "vectorised", "blocks" or "sequential"; `chunk` overrides chunks' size.

    `notice` is told what does not change results but is worth knowing.
    """

    strategy: str = "auto"
    chunk: int | None = None
    budget: int = BUDGET
    threads: int = CORES
    notice: Callable[[str], None] = warn
    name: str = "batched"
    _ready: Ready[Made] = field(default_factory=Ready, init=False)
    _watching: list[list[Made]] = field(default_factory=list, init=False)  # what each that watches keeps
    _numbers: Iterator[int] = field(default_factory=count, init=False)

    def __post_init__(self) -> None:
        check_choice(self.name, "strategy", self.strategy, STRATEGIES)
        check_count(self.name, "threads", self.threads)
        check_count(self.name, "budget", self.budget, f"{BUDGET} (bytes)")
        check_function(self.name, "notice", self.notice)
        if self.chunk is not None:
            check_count(self.name, "chunk", self.chunk)

    def compile_work(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        """The work made ready: once for the same graph, as long as the functions that it calls are the same."""
        made = self._ready.get(work, varies, lambda: self._make(work, varies))
        for kept in self._watching:
            kept.append(made)
        return made

    def decision(self, work: Graph) -> Strategy:
        """How a compiled work runs, and why."""
        return next(made.strategy for made in self.made() if made.graph is work)

    def made(self) -> tuple[Made, ...]:
        """The works made ready that are still there, in their order."""
        return self._ready.works()

    def _make(self, work: Graph, varies: tuple[bool, ...]) -> Made:
        called = Called.by(work)
        try:
            return self._on_tensorflow(work, varies, called)
        except Unsupported as reason:
            decided = Strategy("reference", str(reason), 1)
            running = ReferenceWork(ReferenceExecutor().compile_work(work, varies), [])
            return Made(work, work, called, None, decided, running, "")

    def _on_tensorflow(self, work: Graph, varies: tuple[bool, ...], called: Called) -> Made:
        own = guard_rows(move_maps(work))
        layout = layout_of(own, varies)
        try:
            batched = batch_graph(own, varies, apart=apart)
            verify_together(batched.graph)
            decided = self._decide(batched, own)
        except NotBatchable as reason:
            batched, decided = None, self._one_by_one(reason.reason, own)
        label = f"work.{next(self._numbers)}"
        if batched is None or decided.name == "sequential":
            compiled: Runnable = sequential_work(own, varies, label=label)
        else:
            without = partial(batch_graph, own, varies, apart=apart)
            compiled = compile_vectorised(batched, lambda even: without(even=even), layout, label=label)
        decided = decided if self.chunk is None else replace(decided, chunk=self.chunk)
        found = decided.estimate
        cut = None if decided.name != "blocks" or found is None else cutting(found, self.threads)
        alone = cost_of(own) if batched is None or decided.name == "sequential" else batched_cost(batched, STEP)
        ahead = chunks_ahead(own, decided.chunk, self.threads)
        running = BatchedWork(
            compiled, work, varies, decided, cut, self.threads, ahead, spreads(alone), Room(self.notice), []
        )
        return Made(work, own, called, batched, decided, running, label)

    def _one_by_one(self, reason: str, own: Graph) -> Strategy:
        if self.strategy in ("vectorised", "blocks"):
            self.notice(f"clients run one by one: {reason}")
        return Strategy("sequential", reason, sequential_size(own))

    def _decide(self, batched: Batched, own: Graph) -> Strategy:
        chunk = chunk_size(batched, self.budget, MOST)
        if self.strategy != "auto":
            guess = estimate(batched, own, self.threads, FIXED)
            one_by_one = self.strategy == "sequential"
            return Strategy(self.strategy, "asked for", sequential_size(own) if one_by_one else chunk, guess)
        if has_gpu():
            return Strategy("vectorised", "there is a GPU", chunk)
        name, reason, found = choose(batched, own, self.threads, figures)
        return Strategy(name, reason, sequential_size(own) if name == "sequential" else chunk, found)

    def watched(self, *, measured: bool = True) -> AbstractContextManager[Callable[[], Explanation]]:
        """What runs inside is explained by the function that the block gives, once the block has ended."""
        return watched(self.name, self._watching, self.made, measured=measured)

    def compile_local(self, graph: Graph) -> LocalWork:
        """By the reference, so that the server's bits are the same in all executors."""
        return ReferenceExecutor().compile_local(graph)
