"""Clients' training by threads, one by one in the graph and vectorised: the reference's answer, and the same bits in
any chunk."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.running import WINDOW
from fedlang.executors.reference import evaluate
from fedlang.executors.threaded import ThreadedExecutor
from fedlang.ir.graph import Graph
from fedlang.run.sequences import Rows
from tests.executors.training import data_of, tasks_of, training_graph, weights_of

BATCH = 20
SIZES = [0, 1, 20, 240, 33, 100, 19, 21, 60, 5, 40, 39, 77, 180, 2, 12, 20, 20, 61, 8]
FEATURES, CLASSES = 12, 4

Found = dict[str, list[np.ndarray]]


def run(
    executor: Any, graph: Graph, weights: Sequence[Any], values: list[tuple[Any, ...]], order: Sequence[int] = ()
) -> Found:
    """Each client's results by its id; clients go in this order."""
    work = executor.compile_work(graph, (False,) * len(weights) + (True,) * len(values[0]))
    tasks = tasks_of(values)
    found = {}
    for chunk in work.run(weights, [tasks[k] for k in order] if len(order) else tasks):
        assert not chunk.failures
        for k, id in enumerate(chunk.ids):
            found[id] = [np.array(result[k]) for result in chunk.results]
    assert len(found) == len(order or values)
    return found


def same_bits(a: Found, b: Found) -> bool:
    return a.keys() == b.keys() and all(
        x.tobytes() == y.tobytes() for id in a for x, y in zip(a[id], b[id], strict=True)
    )


def setting(layers: tuple[int, ...], **options: Any) -> tuple[Graph, list[Any], list[tuple[Any, ...]]]:
    """A training graph, weights and clients."""
    graph = training_graph(layers, BATCH, **options)
    rng = np.random.default_rng(7)
    values: list[tuple[Any, ...]] = list(data_of(SIZES, layers[0], layers[-1]))
    if options.get("shuffled"):
        values = [(*each, rng.integers(0, 2**32, 2, dtype=np.uint32)) for each in values]
    return graph, weights_of(layers), values


EXECUTORS = [
    lambda: ThreadedExecutor(threads=2, chunk=4),
    lambda: BatchedExecutor(strategy="sequential", chunk=7),
    lambda: BatchedExecutor(strategy="vectorised"),
    lambda: BatchedExecutor(strategy="blocks"),
]


@pytest.mark.parametrize("make", EXECUTORS, ids=["threaded", "sequential", "vectorised", "blocks"])
@pytest.mark.parametrize(
    ("layers", "options"),
    [((FEATURES, CLASSES), {}), ((FEATURES, 6, CLASSES), {"epochs": 2, "shuffled": True})],
    ids=["softmax", "network, two epochs, shuffled"],
)
def test_ragged_clients_train_as_in_the_reference(make: Any, layers: tuple[int, ...], options: dict[str, Any]) -> None:
    graph, weights, values = setting(layers, **options)
    found = run(make(), graph, weights, values)
    for k, own in enumerate(values):
        expected = evaluate(graph, [*weights, *own])
        for x, y in zip(found[f"c{k}"], expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)


def test_a_client_has_the_same_bits_in_any_chunk_and_any_place() -> None:
    graph, weights, values = setting((FEATURES, CLASSES))
    order = np.random.default_rng(1).permutation(len(values)).tolist()
    first = run(BatchedExecutor(strategy="vectorised"), graph, weights, values)
    for chunk in (1, 3, 16, len(values)):
        for strategy in ("vectorised", "blocks"):
            executor = BatchedExecutor(strategy=strategy, chunk=chunk)
            assert same_bits(first, run(executor, graph, weights, values)), chunk
            assert same_bits(first, run(executor, graph, weights, values, order)), f"{chunk}, in another order"


def test_one_by_one_neither_threads_nor_chunks_nor_the_executor_change_a_bit() -> None:
    graph, weights, values = setting((FEATURES, 6, CLASSES))
    order = np.random.default_rng(1).permutation(len(values)).tolist()
    first = run(ThreadedExecutor(threads=1), graph, weights, values)
    for threads, chunk in ((2, 3), (4, 1)):
        assert same_bits(first, run(ThreadedExecutor(threads=threads, chunk=chunk), graph, weights, values, order))
    for chunk in (1, len(values)):
        executor = BatchedExecutor(strategy="sequential", chunk=chunk)
        assert same_bits(first, run(executor, graph, weights, values, order))


@pytest.mark.parametrize("strategy", ["vectorised", "blocks", "sequential"])
def test_one_trace_serves_rounds_of_other_cohorts(strategy: str) -> None:
    graph, weights, values = setting((FEATURES, CLASSES))
    executor = BatchedExecutor(strategy=strategy, chunk=16)
    made: Any = executor.compile_work(graph, (False, False, True, True))
    for cohort in (values, values[:3], values[5:], [(Rows(x.rows[:3]), Rows(y.rows[:3])) for x, y in values[2:9]]):
        run(executor, graph, weights, cohort)
    work = made.work.work
    traces = work.program.traces() if strategy == "sequential" else work.traces()
    assert traces == 1


def test_a_client_whose_data_cannot_be_read_fails_alone() -> None:
    graph, weights, values = setting((FEATURES, CLASSES))
    tasks = tasks_of(values[:5])

    def broken() -> Any:
        raise OSError("gone")

    tasks[2] = type(tasks[2])(2, "c2", broken)
    for executor in (
        ThreadedExecutor(),
        BatchedExecutor(strategy="vectorised"),
        BatchedExecutor(strategy="sequential"),
    ):
        chunks = list(executor.compile_work(graph, (False, False, True, True)).run(weights, tasks))
        assert sorted(id for chunk in chunks for id in chunk.ids) == ["c0", "c1", "c3", "c4"]
        (failure,) = [failure for chunk in chunks for failure in chunk.failures]
        assert failure.id == "c2"
        assert "gone" in str(failure.error)


def test_no_more_clients_are_read_than_chunks_are_alive() -> None:
    """The driver takes one chunk; what is read ahead is bounded."""
    graph, weights, values = setting((FEATURES, CLASSES))
    read = []

    def tasks() -> Any:
        for task in tasks_of(values * 100):
            read.append(task.position)
            yield task

    batched = BatchedExecutor(strategy="vectorised", chunk=16, threads=2)
    for executor, most in ((ThreadedExecutor(threads=2, chunk=4), 6 * 16), (batched, 2 * WINDOW * 16)):
        read.clear()
        chunks = executor.compile_work(graph, (False, False, True, True)).run(weights, tasks())
        next(chunks)
        assert len(read) <= most
        chunks.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("executor", [ThreadedExecutor(), BatchedExecutor()])
def test_work_that_nobody_holds_is_let_go_of(executor: ThreadedExecutor | BatchedExecutor) -> None:
    graph, weights, values = setting((FEATURES, CLASSES))
    work = executor.compile_work(graph, (False, False, True, True))
    list(work.run(weights, tasks_of(values)))
    assert executor.compile_work(graph, (False, False, True, True)) is work
    gone = weakref.ref(work)
    del work
    gc.collect()
    assert gone() is None
