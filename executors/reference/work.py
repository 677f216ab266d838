"""The reference executor: one client at a time, in order, each a chunk of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph, LeafType, Tensor
from fedlang.run.errors import client_failed, unreadable_client
from fedlang.run.executor import (
    Chunk,
    ClientFailure,
    ClientTask,
    ClientWork,
    Collected,
    Effects,
    LocalWork,
    Sink,
    Stacked,
    merge_parameters,
)
from fedlang.run.sequences import LeafValue

from .plan import evaluate_graph, plan_of


@dataclass(frozen=True, slots=True)
class ReferenceWork:
    """A work graph evaluated for each client in turn."""

    work: Graph
    varies: tuple[bool, ...]

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """A chunk for each client."""
        for task in clients:
            sink = Collected()
            try:
                results = evaluate_graph(self.work, merge_parameters(self.varies, shared, read_client(task)), sink)
            except DiagnosticError as error:
                failure = ClientFailure(task.position, task.id, client_failed(task.id, error))
                yield Chunk((), (), tuple([] for _ in self.work.results), (failure,))
                continue
            stacked = tuple(_stack_one(v, t) for v, t in zip(results, self.work.result_types(), strict=True))
            effects = (Effects(tuple(sink.lines), tuple(sink.probes)),) if sink.lines or sink.probes else ()
            yield Chunk((task.position,), (task.id,), stacked, (), effects)


def read_client(task: ClientTask) -> tuple[LeafValue, ...]:
    """The client's own values; whatever goes wrong in reading them becomes a `DiagnosticError`."""
    try:
        return task.read()
    except DiagnosticError:
        raise
    except Exception as error:
        raise unreadable_client(task.id, f"{type(error).__name__}: {error}") from error


def _stack_one(value: LeafValue, type: LeafType) -> Stacked:
    return np.asarray(value)[None] if isinstance(type, Tensor) else [value]


@dataclass(frozen=True, slots=True)
class ReferenceExecutor:
    """NumPy, plainly. The oracle that other executors are held to."""

    name: str = "reference"

    def compile_work(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        """Plans the graph, so that what it cannot run is found before any client is read."""
        plan_of(work)
        return ReferenceWork(work, varies)

    def compile_local(self, graph: Graph) -> LocalWork:
        """Plans the graph."""
        plan_of(graph)

        def run(arguments: Sequence[LeafValue], sink: Sink) -> list[LeafValue]:
            return evaluate_graph(graph, arguments, sink)

        return run
