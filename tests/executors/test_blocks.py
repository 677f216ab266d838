"""Chunks in blocks: what changes is the time, and that by the clients' lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.tensorflow.blocks import steps_of
from fedlang.run.sequences import Rows
from tests.executors.training import data_of, tasks_of, training_graph, weights_of

VARIES = (False, False, True, True)


def run(executor: Any, graph: Any, sizes: list[int]) -> dict[str, list[Any]]:
    chunks = executor.compile_work(graph, VARIES).run(weights_of((8, 3)), tasks_of(data_of(sizes, 8, 3)))
    return {id: [np.asarray(r[k]) for r in chunk.results] for chunk in chunks for k, id in enumerate(chunk.ids)}


@pytest.mark.parametrize("block", [16, 32, 128])
def test_any_size_of_blocks_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    graph = training_graph((8, 3), 4)
    sizes = [int(n) for n in np.random.default_rng(2).integers(0, 40, 70)]
    expected = run(BatchedExecutor(strategy="vectorised"), graph, sizes)
    monkeypatch.setattr("fedlang.executors.batched.executor.block_size", lambda *_: lambda steps: block)
    found = run(BatchedExecutor(strategy="blocks"), graph, sizes)
    assert found.keys() == expected.keys()
    for id, values in expected.items():
        for a, b in zip(found[id], values, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_trace_serves_chunks_with_blocks_of_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr("fedlang.executors.batched.executor.block_size", lambda *_: lambda steps: sizes[-1])
    graph, executor = training_graph((8, 3), 4), BatchedExecutor(strategy="blocks")
    for block in (16, 64, 32):
        sizes.append(block)
        run(executor, graph, [int(n) for n in np.random.default_rng(block).integers(0, 40, 50 + block)])
    work: Any = executor.compile_work(graph, VARIES)
    assert work.work.traces() == 1


def test_a_block_has_as_many_steps_as_its_longest_client() -> None:
    lengths = np.array([[9, 2], [7, 3], [5, 1], [1, 1], [0, 8]], np.int32)
    np.testing.assert_array_equal(steps_of(lengths, 2), [[9, 5, 0], [3, 1, 8]])


def test_unequal_clients_get_small_blocks_and_equal_ones_large() -> None:
    executor, graph = BatchedExecutor(strategy="blocks", threads=1), training_graph((8, 3), 4)
    work: Any = executor.compile_work(graph, VARIES)
    size = work.work.size
    assert size(np.full(128, 4, np.int32)) == 128
    assert size(np.array([100, 50, *[1] * 126], np.int32)) <= 32
    assert size(np.array([3], np.int32)) == 16


def test_results_of_unequal_sizes_are_one_block() -> None:
    """A ragged result has another shape in each block."""
    from tests.executors.test_batching import Make, N, Tensor

    b = Make()
    graph = b.finish((b.ew("negate", b.parameter(Tensor("float32", (N,)))),))
    executor = BatchedExecutor(strategy="blocks")
    values = [(np.arange(n, dtype=np.float32),) for n in (3, 0, 5)]
    (chunk,) = executor.compile_work(graph, (True,)).run([], tasks_of(values))
    assert [len(each) for each in chunk.results[0]] == [3, 0, 5]
    assert executor.decision(graph).name == "vectorised"
    assert "no blocks" in executor.decision(graph).reason


def test_what_was_asked_for_and_cannot_be_is_said() -> None:
    from tests.executors.test_batching import Make, N, Tensor, multiply

    b = Make()
    x = b.parameter(Tensor("float32", (3, N)))
    graph = b.finish((b.to("reshape", (x,), (multiply(N, 3),)),))
    said: list[str] = []
    BatchedExecutor(strategy="blocks", notice=said.append).compile_work(graph, (True,))
    assert len(said) == 1
    assert said[0].startswith("clients run one by one: a reshape merges")
    BatchedExecutor(notice=said.append).compile_work(graph, (True,))
    assert len(said) == 1, "nobody asked"


def test_lengths_come_from_sequences_alone() -> None:
    graph, executor = training_graph((8, 3), 4), BatchedExecutor(strategy="blocks")
    work: Any = executor.compile_work(graph, VARIES)
    values = [(Rows(np.zeros((n, 8), np.float32)), Rows(np.zeros(n, np.int32))) for n in (1, 6, 3)]
    assert {id for chunk in work.run(weights_of((8, 3)), tasks_of(values)) for id in chunk.ids} == {"c0", "c1", "c2"}
