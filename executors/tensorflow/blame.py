"""A chunk that TensorFlow stops: for want of memory it runs again in halves; otherwise its clients run one by one on
the reference, to find whose fault it is. A chunk whose data have no one layout runs there to the end.

TensorFlow names neither the client nor the place in the text. The reference does; the clients without fault run again.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, Protocol, TypeAlias

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph
from fedlang.run.calling import reason_of
from fedlang.run.errors import client_failed, operation_failed, out_of_memory
from fedlang.run.executor import Chunk, ClientFailure, ClientTask, Collected, merge_parameters
from fedlang.run.sequences import LeafValue

from ..reference import ReferenceExecutor, evaluate
from .externs import interrupt_in
from .start import tf
from .store import Uneven
from .work import STEP, Readable, nothing

Packed: TypeAlias = "list[Any] | MemoryError | Uneven"
OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)


class Runnable(Protocol):
    """Work compiled for chunks. `lanes`: of how many places a chunk has a multiple; 1 where clients run one by one."""

    @property
    def lanes(self) -> int: ...

    def pack_shared(self, shared: Sequence[LeafValue]) -> list[Any]:
        """The shared values' feeds."""
        ...

    def pack(self, read: Readable) -> list[Any]:
        """A chunk's tensors."""
        ...

    def run(self, shared: Sequence[Any], packed: Sequence[Any], read: Readable, *, spread: bool = False) -> Chunk:
        """A chunk's results; `spread` as `calls.Traced` takes it."""
        ...


def warn(text: str) -> None:
    """As a Python warning."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)


@dataclass(slots=True)
class Room:
    """How many clients at most go into a chunk: fewer once memory did not suffice, which is said the first time."""

    notice: Callable[[str], None]
    most: int = 1 << 30
    told: bool = False
    _lock: Lock = field(default_factory=Lock)

    def shrink(self, failed: int) -> None:
        """Chunks of `failed` clients were too many."""
        with self._lock:
            first, self.most = self.most == 1 << 30, min(self.most, first_half(failed))
        if first:
            self.notice(f"{failed} clients at once do not fit the memory: going on with chunks of {self.most}")

    def tell(self, text: str) -> None:
        """Says, once, what is not about memory."""
        with self._lock:
            first, self.told = not self.told, True
        if first:
            self.notice(text)


def _itself(values: tuple[LeafValue, ...]) -> tuple[LeafValue, ...]:
    return values


def first_half(clients: int) -> int:
    """Half of a chunk, whole steps where it has them."""
    half = -(-clients // 2)
    return -(-half // STEP) * STEP if half > STEP else half


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A run of compiled work, with what is needed to find who is at fault: the graph and the shared values."""

    work: Runnable
    graph: Graph
    varies: tuple[bool, ...]
    shared: tuple[LeafValue, ...]
    feeds: list[Any]
    room: Room
    spread: bool

    def pack(self, read: Readable) -> Packed:
        """A chunk's tensors, none where no client's data could be read; or why they cannot be made."""
        try:
            return self.work.pack(read) if read.tasks else []
        except (MemoryError, Uneven) as reason:
            return reason

    def run(self, packed: Packed, read: Readable) -> tuple[Chunk, ...]:
        """A packed chunk's results, in parts where it is too large for the memory; clients at fault are failures."""
        if isinstance(packed, Uneven):
            return self._on_reference(read, packed)
        with suppress(*OUT_OF_MEMORY):  # what failed is let go of before the halves are made
            if not isinstance(packed, MemoryError):
                return (self._run(packed, read),)
        return self._halves(read)

    def _on_reference(self, read: Readable, reason: Uneven) -> tuple[Chunk, ...]:
        self.room.tell(f"a chunk of {len(read.tasks)} runs on the reference: {reason}")
        tasks = [
            ClientTask(task.position, task.id, partial(_itself, values))
            for task, values in zip(read.tasks, read.values, strict=True)
        ]
        work = ReferenceExecutor().compile_work(self.graph, self.varies)
        unread = [nothing(read, len(self.graph.results))] if read.failures else []
        return (*unread, *work.run(self.shared, tasks))

    def _halves(self, read: Readable) -> tuple[Chunk, ...]:
        if len(read.tasks) < 2:
            raise out_of_memory(read.tasks[0].id)
        self.room.shrink(len(read.tasks))
        half = first_half(len(read.tasks))
        first = read.take(range(half), read.failures)
        second = read.take(range(half, len(read.tasks)), ())
        return (*self.run(self.pack(first), first), *self.run(self.pack(second), second))

    def _run(self, packed: Sequence[Any], read: Readable) -> Chunk:
        try:
            return self.work.run(self.feeds, packed, read, spread=self.spread)
        except OUT_OF_MEMORY:
            raise
        except tf.errors.OpError as error:
            interrupt = interrupt_in(error)
            if interrupt is not None:
                raise interrupt from None
            return self._without_fault(read, reason_of(error))

    def _without_fault(self, read: Readable, reason: str) -> Chunk:
        found = [self._failure(k, read) for k in range(len(read.tasks))]
        kept = [k for k, failure in enumerate(found) if failure is None]
        if len(kept) == len(found):
            raise operation_failed("client work", f"TensorFlow: {reason}", None)
        failures = [*read.failures, *(failure for failure in found if failure is not None)]
        rest = read.take(kept, tuple(sorted(failures, key=lambda failure: failure.position)))
        return self._run(self.work.pack(rest) if kept else [], rest)

    def _failure(self, client: int, read: Readable) -> ClientFailure | None:
        task = read.tasks[client]
        try:
            evaluate(self.graph, merge_parameters(self.varies, self.shared, read.values[client]), Collected())
        except DiagnosticError as cause:
            return ClientFailure(task.position, task.id, client_failed(task.id, cause))
        return None
