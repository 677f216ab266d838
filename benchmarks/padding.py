"""How much of what the batched executor computes is of use, where clients are of very unequal sizes.

Clients that run together take as many steps as the longest of their block, and blocks are filled up with dead clients.
Useful steps are those of the clients, executed steps those of all places of all blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.models import SOFTMAX
from benchmarks.rows import Row, verdict
from benchmarks.workloads import Workload, unequal
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.running import BatchedWork
from fedlang.executors.tensorflow.blocks import BlockWork
from fedlang.executors.tensorflow.vectorised import LANES
from fedlang.ir.graph import Graph
from fedlang.run.executor import Chunk, ClientTask, ClientWork, LocalWork
from fedlang.run.sequences import Elements, LeafValue, Rows

BOUND = 0.8


@dataclass(frozen=True)
class Block:
    """A chunk's clients' numbers of steps, longest first, and how many clients run together."""

    steps: tuple[int, ...]
    clients: int

    def executed(self) -> int:
        """Steps of all places."""
        return self.clients * sum(self.steps[:: self.clients])


@dataclass(frozen=True, eq=False)
class Watched:
    """A work whose plan is written down before it runs."""

    work: BatchedWork
    plan: list[Block]

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """As the work runs."""
        tasks = list(clients)
        for read in self.work._chunks(tasks):
            steps = sorted((_longest(values) for values in read.values), reverse=True)
            self.plan.append(Block(tuple(steps), self._together(steps)))
        return self.work.run(shared, tasks)

    def _together(self, steps: list[int]) -> int:
        if self.work.strategy.name == "sequential":
            return 1
        if isinstance(self.work.work, BlockWork):
            return self.work.work.size(np.array(steps, np.int32))
        return max(1, -(-len(steps) // LANES)) * LANES


def _longest(values: Sequence[LeafValue]) -> int:
    return max((len(value) for value in values if isinstance(value, Rows | Elements)), default=0)


@dataclass(eq=False)
class WatchedExecutor:
    """A batched executor whose plan is written down."""

    inner: BatchedExecutor
    plan: list[Block] = field(default_factory=list)
    name: str = "batched"

    def compile_work(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        """The work, watched."""
        made = self.inner.compile_work(work, varies)
        return Watched(made, self.plan) if isinstance(made, BatchedWork) else made

    def compile_local(self, graph: Graph) -> LocalWork:
        """The server's work is not watched."""
        return self.inner.compile_local(graph)


def useful_share(plan: Iterable[Block]) -> float:
    """Useful over executed steps."""
    chunks = list(plan)
    return sum(sum(chunk.steps) for chunk in chunks) / sum(chunk.executed() for chunk in chunks)


def measure(clients: int) -> list[Row]:
    """A row for each way to run: log-normal sizes of deviation 1.5 about a mean of 60, batches of 10."""
    workload = Workload("padding", "", SOFTMAX, unequal(clients, 60, 1.5), 10, 0.1)
    return [_measure(workload, strategy) for strategy in ("auto", "vectorised")]


def _measure(workload: Workload, strategy: str) -> Row:
    executor = WatchedExecutor(BatchedExecutor(strategy=strategy))
    state, data = workload.process.initialize(0), workload.data.batches(workload.batch)
    workload.process.run_round(state, (data,), executor=executor)
    assert sum(sum(chunk.steps) for chunk in executor.plan) == workload.steps, "each client's steps are counted once"
    share = useful_share(executor.plan)
    (made,) = executor.inner.made()
    found = verdict(f"useful of executed steps >= {BOUND:g}", share, met=share >= BOUND) if strategy == "auto" else ()
    note = f"ran as {made.strategy.name}, {share:.0%} of executed steps useful"
    name = "batched" if strategy == "auto" else f"batched, {strategy}"
    return Row("padding", name, note=note, figures={"useful": share, "steps": workload.steps}, verdicts=found)
