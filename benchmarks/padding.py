"""How much of what the batched executor computes is of use, where clients are of very unequal sizes.

Clients that run together take as many steps as the longest of them, and chunks are filled up with dead clients. Useful
steps are those of the clients, executed steps those of all places of all chunks, as `fed run --explain` tells them.
"""

from __future__ import annotations

from benchmarks.models import SOFTMAX
from benchmarks.rows import Row, Verdict, verdict
from benchmarks.workloads import Workload, unequal
from fedlang.executors.batched import BatchedExecutor

BOUND = 0.8


def measure(clients: int) -> list[Row]:
    """A row for each way to run: log-normal sizes of deviation 1.5 about a mean of 60, batches of 10."""
    workload = Workload("padding", "", SOFTMAX, unequal(clients, 60, 1.5), 10, 0.1)
    return [_measure(workload, strategy) for strategy in ("auto", "vectorised")]


def _measure(workload: Workload, strategy: str) -> Row:
    executor = BatchedExecutor(strategy=strategy)
    state, data = workload.process.initialize(0), workload.data.batches(workload.batch)
    with executor.watched(measured=False) as tell:
        workload.process.run_round(state, (data,), executor=executor)
    (work,) = tell().works
    assert sum(work.chunks) == len(workload.sizes), "each client is counted once"
    found: tuple[Verdict, ...] = ()
    if strategy == "auto":
        found = verdict(f"useful of executed steps >= {BOUND:g}", work.useful, met=work.useful >= BOUND)
    note = f"ran as {work.strategy}, {work.useful:.0%} of executed steps useful"
    name = "batched" if strategy == "auto" else f"batched, {strategy}"
    return Row("padding", name, note=note, figures={"useful": work.useful, "steps": workload.steps}, verdicts=found)
