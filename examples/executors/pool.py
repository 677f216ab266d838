"""An executor in one file: clients in a pool of processes or threads, each run by the reference evaluator.

In: the graph of a phase's work, the values all clients share, tasks that read a client's own values. Out: chunks of
finished clients, in the order of the tasks. At most two chunks for each worker are read and not yet taken, so memory
does not grow with the cohort.

The pool starts at the first run and is kept. `docs/executors.md` explains this file part by part.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from threading import Lock

import numpy as np

from fedlang.diagnostics import DiagnosticError
from fedlang.executors.reference import ReferenceExecutor, evaluate, plan_of, read_client
from fedlang.ir.graph import Graph
from fedlang.run.errors import client_failed
from fedlang.run.executor import (
    Chunk,
    ClientFailure,
    ClientTask,
    ClientWork,
    Collected,
    Effects,
    LocalWork,
    Stacked,
    merge_parameters,
)
from fedlang.run.sequences import LeafValue


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """A client whose values were read: the parameters that vary, in their order."""

    position: int
    id: str
    values: tuple[LeafValue, ...]


def read(task: ClientTask) -> Client | ClientFailure:
    """The client's values, or the failure to read them."""
    try:
        return Client(task.position, task.id, read_client(task))
    except DiagnosticError as error:
        return ClientFailure(task.position, task.id, client_failed(task.id, error))


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """A work graph; `packed`, made once, is what of it travels to the workers."""

    graph: Graph
    varies: tuple[bool, ...]
    packed: bytes

    def __reduce__(self) -> tuple[object, ...]:
        return unpack_work, (self.packed,)


@lru_cache(maxsize=64)
def unpack_work(packed: bytes) -> Work:
    """The same object for the same bytes: a worker makes a graph, and the reference's plan of it, once."""
    graph, varies = pickle.loads(packed)
    return Work(graph, varies, packed)


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """What one client's work gave."""

    client: Client
    results: list[LeafValue]
    effects: Effects


def run_client(work: Work, shared: Sequence[LeafValue], client: Client) -> Done | ClientFailure:
    """One client's results. What it prints and probes comes back with them: a worker has no sink."""
    sink = Collected()
    try:
        results = evaluate(work.graph, merge_parameters(work.varies, shared, client.values), sink)
    except DiagnosticError as error:
        return ClientFailure(client.position, client.id, client_failed(client.id, error))
    return Done(client, results, Effects(tuple(sink.lines), tuple(sink.probes)))


def run_chunk(work: Work, shared: Sequence[LeafValue], clients: Sequence[Client | ClientFailure]) -> Chunk:
    """A worker's job: a few clients, one after another."""
    ended = [each if isinstance(each, ClientFailure) else run_client(work, shared, each) for each in clients]
    done = [each for each in ended if isinstance(each, Done)]
    has_effects = any(each.effects.lines or each.effects.probes for each in done)
    return Chunk(
        positions=tuple(each.client.position for each in done),
        ids=tuple(each.client.id for each in done),
        results=tuple(stack([each.results[k] for each in done]) for k in range(len(work.graph.results))),
        failures=tuple(each for each in ended if isinstance(each, ClientFailure)),
        effects=tuple(each.effects for each in done) if has_effects else (),
    )


def stack(values: list[LeafValue]) -> Stacked:
    """One array `[clients, ...]`; sequences, and arrays of unequal shapes, stay a list."""
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    one_shape = len({array.shape for array in arrays}) == 1
    return np.stack(arrays) if one_shape and len(arrays) == len(values) else values


# The ids of a chunk's clients, and the chunk to come.
Job = tuple[tuple[str, ...], futures.Future[Chunk]]


@dataclass(frozen=True, slots=True, eq=False)
class PoolWork:
    """Work made ready, and the executor whose pool runs it."""

    executor: PoolExecutor
    work: Work

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """Chunks in the order of the clients. Tasks are read when a worker is soon free for them."""
        submitted = self._submitted(tuple(shared), iter(clients))
        waiting: deque[Job] = deque()
        try:
            waiting.extend(islice(submitted, 2 * self.executor.workers))
            while waiting:
                yield waiting[0][1].result()
                waiting.popleft()
                waiting.extend(islice(submitted, 1))
        except futures.BrokenExecutor as error:
            self.executor.close()
            error.add_note(f"clients at work or in line: {', '.join(id for ids, _ in waiting for id in ids) or 'none'}")
            raise
        finally:
            for _, future in waiting:
                future.cancel()

    def _submitted(self, shared: tuple[LeafValue, ...], clients: Iterator[ClientTask]) -> Iterator[Job]:
        """The next chunk's clients are read, and handed to the pool, when it is asked for."""
        while tasks := tuple(islice(clients, self.executor.chunk)):
            ready = tuple(read(task) for task in tasks)
            yield tuple(task.id for task in tasks), self.executor.pool().submit(run_chunk, self.work, shared, ready)


@dataclass(slots=True, eq=False)
class PoolExecutor:
    """Clients in a pool of processes or threads, each by the reference evaluator. `chunk` clients are one job."""

    workers: int = os.cpu_count() or 1
    chunk: int = 4
    processes: bool = True
    name: str = "pool"
    _pool: futures.Executor | None = None
    _lock: Lock = field(default_factory=Lock)

    def compile_work(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        """Plans the graph, so that what cannot run is found now. Work that calls Python stays in this thread."""
        plan_of(work)
        if calls_python(work):
            return ReferenceExecutor().compile_work(work, varies)
        return PoolWork(self, Work(work, varies, pickle.dumps((work, varies))))

    def compile_local(self, graph: Graph) -> LocalWork:
        """By the reference, so that the server's bits are the same in all executors."""
        return ReferenceExecutor().compile_local(graph)

    def pool(self) -> futures.Executor:
        """The pool, started when first asked for. Processes are spawned: a copy of a process with threads may hang."""
        with self._lock:
            if self._pool is None:
                self._pool = (
                    futures.ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))
                    if self.processes
                    else futures.ThreadPoolExecutor(self.workers, "fedlang-pool")
                )
            return self._pool

    def close(self) -> None:
        """Ends the workers; a later run starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def calls_python(graph: Graph) -> bool:
    """Whether a node, or one in a body, calls a function that only this process knows."""
    return any(node.op == "extern" or any(calls_python(body) for body in node.bodies) for node in graph.nodes)
