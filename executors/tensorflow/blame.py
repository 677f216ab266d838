"""A chunk that TensorFlow stops: whose fault it is, found by running its clients one by one on the reference.

TensorFlow names neither the client nor the place in the text. The reference does; the clients without fault run again.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph
from fedlang.run.errors import client_failed, operation_failed
from fedlang.run.executor import Chunk, ClientFailure, Collected, merge_parameters
from fedlang.run.sequences import LeafValue

from ..reference import evaluate
from .start import tf
from .work import Readable


class Runnable(Protocol):
    """Work compiled for chunks."""

    def pack_shared(self, shared: Sequence[LeafValue]) -> list[Any]:
        """The shared values' tensors."""
        ...

    def pack(self, read: Readable) -> list[Any]:
        """A chunk's tensors."""
        ...

    def run(self, shared: Sequence[Any], packed: Sequence[Any], read: Readable) -> Chunk:
        """A chunk's results."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A run of compiled work, with what is needed to find who is at fault: the graph and the shared values."""

    work: Runnable
    graph: Graph
    varies: tuple[bool, ...]
    shared: tuple[LeafValue, ...]
    tensors: list[Any]

    def pack(self, read: Readable) -> list[Any]:
        """A chunk's tensors; none where no client's data could be read."""
        return self.work.pack(read) if read.tasks else []

    def run(self, packed: Sequence[Any], read: Readable) -> Chunk:
        """A packed chunk's results; clients at fault are failures."""
        try:
            return self.work.run(self.tensors, packed, read)
        except tf.errors.OpError as error:
            return self._without_fault(read, str(error.message).splitlines()[0])

    def _without_fault(self, read: Readable, reason: str) -> Chunk:
        found = [self._failure(k, read) for k in range(len(read.tasks))]
        kept = [k for k, failure in enumerate(found) if failure is None]
        if len(kept) == len(found):
            raise operation_failed("client work", f"TensorFlow: {reason}", None)
        failures = (*read.failures, *(failure for failure in found if failure is not None))
        rest = Readable(tuple(read.tasks[k] for k in kept), tuple(read.values[k] for k in kept), failures)
        return self.work.run(self.tensors, self.pack(rest), rest)

    def _failure(self, client: int, read: Readable) -> ClientFailure | None:
        task = read.tasks[client]
        try:
            evaluate(self.graph, merge_parameters(self.varies, self.shared, read.values[client]), Collected())
        except DiagnosticError as cause:
            return ClientFailure(task.position, task.id, client_failed(task.id, cause))
        return None
