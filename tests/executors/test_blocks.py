"""Clients in blocks: what changes is the time, and that by the clients' lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.cutting import BlockCost, _least, costs_up_to, cut, duration, longest_of
from fedlang.executors.tensorflow.work import STEP
from fedlang.run.sequences import Rows
from tests.executors.test_batching import given_batches
from tests.executors.training import data_of, tasks_of, training_graph, weights_of

VARIES = (False, False, True, True)


def run(executor: Any, graph: Any, sizes: list[int]) -> dict[str, list[Any]]:
    chunks = executor.compile_work(graph, VARIES).run(weights_of((8, 3)), tasks_of(data_of(sizes, 8, 3)))
    return {id: [np.asarray(r[k]) for r in chunk.results] for chunk in chunks for k, id in enumerate(chunk.ids)}


class OfSize:
    """A way to cut clients: in blocks of a size, whatever they take."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, steps: Any, most: int) -> list[int]:
        return [min(self.size, len(steps) - start) for start in range(0, max(1, len(steps)), self.size)]

    def begin(self) -> None:
        """Keeps nothing."""

    def end(self, waited: float, worked: float) -> None:
        """Learns nothing."""


@pytest.mark.parametrize("block", [16, 32, 128])
def test_any_size_of_blocks_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    graph = training_graph((8, 3), 4)
    sizes = [int(n) for n in np.random.default_rng(2).integers(0, 40, 70)]
    expected = run(BatchedExecutor(strategy="vectorised"), graph, sizes)
    monkeypatch.setattr("fedlang.executors.batched.executor.cutting", lambda *_: OfSize(block))
    found = run(BatchedExecutor(strategy="blocks"), graph, sizes)
    assert found.keys() == expected.keys()
    for id, values in expected.items():
        for a, b in zip(found[id], values, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_trace_serves_chunks_with_blocks_of_other_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = OfSize(0)
    monkeypatch.setattr("fedlang.executors.batched.executor.cutting", lambda *_: cut)
    graph, executor = training_graph((8, 3), 4), BatchedExecutor(strategy="blocks")
    made: Any = executor.compile_work(graph, VARIES)
    for block in (16, 64, 32):
        cut.size = block
        run(executor, graph, [int(n) for n in np.random.default_rng(block).integers(0, 40, 50 + block)])
    assert made.work.work.traces() == 1


def test_clients_who_are_alike_run_without_masks_until_others_come() -> None:
    executor, (graph, varies, _) = BatchedExecutor(strategy="vectorised", threads=1), given_batches()
    made: Any = executor.compile_work(graph, varies)
    work, rng = made.work.work, np.random.default_rng(3)

    def traced(*sizes: tuple[int, ...]) -> tuple[int, int]:
        data = [
            (Rows(rng.random((sum(each), 3), np.float32), np.cumsum([0, *each], dtype=np.int64)),) for each in sizes
        ]
        (chunk,) = made.run([np.ones(3, np.float32)], tasks_of(data))
        assert not chunk.failures
        return 0 if work.unmasked is None else work.unmasked.traces(), work.masked.traces()

    assert traced((4, 4), (4, 4)) == (1, 0)
    assert traced((4,), (4,), (4,)) == (1, 0)
    assert traced((4, 4), (4, 2)) == (1, 1), "a short batch"
    assert traced((4, 4), (4, 4)) == (1, 1)
    assert work.traces() == 2


def test_clients_who_take_as_many_steps_need_no_masks_of_steps() -> None:
    """Batches of other sizes, here 4 and 2, keep theirs."""
    graph, varies, _ = given_batches()
    made: Any = BatchedExecutor(strategy="vectorised", threads=1).compile_work(graph, varies)
    for sizes, even in (([(4, 2), (4, 2)], {"length"}), ([(4,), (3,)], {"length"}), ([(4,), (4, 2)], set())):
        data = [(Rows(np.ones((sum(each), 3), np.float32), np.cumsum([0, *each], dtype=np.int64)),) for each in sizes]
        list(made.run([np.ones(3, np.float32)], tasks_of(data)))
        assert {made.work.work.packer.own[place].kind for place in made.work.work.even} == even


def test_the_longest_clients_are_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedlang.executors.batched.executor.cutting", lambda *_: OfSize(16))
    executor, graph = BatchedExecutor(strategy="blocks"), training_graph((8, 3), 4)
    sizes = [4 * (k % 5) for k in range(40)]
    work: Any = executor.compile_work(graph, VARIES).work
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
    work: Any = executor.compile_work(graph, VARIES).work
    assert min(work.cut(np.full(128, 4, np.int32), 128)) >= 64
    unequal = work.cut(np.array([100, 50, *[1] * 126], np.int32), 128)
    assert sum(unequal) == 128
    assert unequal[0] < 32 < unequal[1]
    assert work.cut(np.array([3], np.int32), 128) == [1]
    assert work.cut(np.array([], np.int32), 128) == [0]
    assert work.cut(np.full(20, 4, np.int32), STEP) == [20 % STEP] + [STEP] * (20 // STEP)


COSTS = st.builds(BlockCost, *[st.floats(1e-6, 1e-3)] * 2, st.just(1e-4))


@given(
    st.lists(st.integers(0, 50), max_size=60),
    st.fixed_dictionaries(dict.fromkeys((8, 16, 32, 64), COSTS)),
    st.integers(1, 4),
    st.sampled_from([8, 16, 64]),
)
def test_a_cut_is_of_all_clients_and_the_least_work(
    steps: list[int], known: dict[int, BlockCost], threads: int, most: int
) -> None:
    ordered, costs = np.array(sorted(steps, reverse=True), np.int32), costs_up_to(known, most)
    found = cut(ordered, costs, threads)
    seconds, sizes = found.seconds, found.sizes
    assert sum(sizes) == len(steps)
    assert all(0 < size <= max(most, STEP) and size % STEP == 0 for size in sizes[1:])
    assert not steps or 0 < sizes[0] <= max(most, STEP)
    longest = longest_of(ordered)
    equal = [1] * len(longest)
    whole = [min(len(costs.step), len(longest) - k) for k in range(0, len(longest), len(costs.step))]
    if threads == 1:
        assert seconds <= min(duration(longest, other, costs, 1) for other in (equal, whole)) * (1 + 1e-9)
    assert seconds <= duration(longest, _least(longest, costs, threads, len(costs.step)), costs, threads) * (1 + 1e-9)


def test_results_may_have_other_sizes_in_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.executors.test_batching import Make, N, Tensor

    monkeypatch.setattr("fedlang.executors.batched.executor.cutting", lambda *_: OfSize(16))
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
