"""Clients in blocks: what changes is the time, and that by the clients' lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedlang.executors.batched import BatchedExecutor
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


def test_the_longest_clients_are_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedlang.executors.batched.executor.block_size", lambda *_: lambda steps: 16)
    executor, graph = BatchedExecutor(strategy="blocks"), training_graph((8, 3), 4)
    sizes = [4 * (k % 5) for k in range(40)]
    work: Any = executor.compile_work(graph, VARIES)
    blocks = [
        [sizes[position] for position in chunk.positions]
        for chunk in work.run(weights_of((8, 3)), tasks_of(data_of(sizes, 8, 3)))
    ]
    assert [len(block) for block in blocks] == [16, 16, 8]
    assert [min(block) for block in blocks[:-1]] >= [max(block) for block in blocks[1:]]
    (tally,) = work.tallies
    assert tally.steps == {16: 16 + 8, 8: 0}


def test_unequal_clients_get_small_blocks_and_equal_ones_large() -> None:
    executor, graph = BatchedExecutor(strategy="blocks", threads=1), training_graph((300, 40), 4)
    work: Any = executor.compile_work(graph, VARIES)
    size = work.block
    assert size(np.full(128, 4, np.int32)) >= 64
    assert size(np.array([100, 50, *[1] * 126], np.int32)) <= 32
    assert size(np.array([3], np.int32)) == 16


def test_results_may_have_other_sizes_in_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.executors.test_batching import Make, N, Tensor

    monkeypatch.setattr("fedlang.executors.batched.executor.block_size", lambda *_: lambda steps: 16)
    b = Make()
    graph = b.finish((b.ew("negate", b.parameter(Tensor("float32", (N,)))),))
    sizes = [k % 7 for k in range(20)]
    values = [(np.arange(n, dtype=np.float32),) for n in sizes]
    chunks = list(BatchedExecutor(strategy="blocks").compile_work(graph, (True,)).run([], tasks_of(values)))
    assert len(chunks) == 2
    for chunk in chunks:
        assert [len(each) for each in chunk.results[0]] == [sizes[position] for position in chunk.positions]


def test_what_was_asked_for_and_cannot_be_is_said() -> None:
    from tests.executors.test_batching import Make, N, Tensor, multiply

    b = Make()
    x = b.parameter(Tensor("float32", (2, 3, N)))
    graph = b.finish((b.to("reshape", (x,), (2, multiply(N, 3))),))
    said: list[str] = []
    BatchedExecutor(strategy="blocks", notice=said.append).compile_work(graph, (True,))
    assert len(said) == 1
    assert said[0].startswith("clients run one by one: a reshape merges")
    BatchedExecutor(notice=said.append).compile_work(graph, (True,))
    assert len(said) == 1, "nobody asked"
