"""Shuffles and epochs are numbers of rows: what executors compute of them is what they compute of the rows laid out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.data import ClientData
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.tensorflow.numbering import alike, numbered
from fedlang.executors.tensorflow.store import Store
from fedlang.ir.graph import Tensor
from fedlang.run.registry import get_executor
from fedlang.run.sequences import Elements, Rows, SequenceValue, fix
from fedlang.types.dims import fresh_unknown

EXECUTORS: list[tuple[str, dict[str, Any]]] = [
    ("reference", {}),
    ("threaded", {}),
    *(("batched", {"strategy": strategy}) for strategy in ("vectorised", "blocks", "sequential")),
]


def leaf(random: np.random.Generator) -> SequenceValue:
    """A sequence of ranges of rows, in one of the forms there are."""
    count, parts = int(random.integers(0, 12)), int(random.integers(0, 4))
    rows = fix(random.standard_normal((count, 3)).astype(np.float32))
    if random.random() < 0.2:
        return Elements(tuple(rows[: int(random.integers(0, count + 1))] for _ in range(parts)))
    if random.random() < 0.5:
        return Rows(rows, np.sort(random.integers(0, count + 1, parts + 1)))
    order = random.integers(0, count, 2 * count)
    return Rows(rows, np.sort(random.integers(0, len(order) + 1, parts + 1)), order)


def test_numbers_of_rows_say_what_the_elements_are() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        store = Store((Tensor("float32", (fresh_unknown(), 3)),), split=True)
        leaves = [leaf(random) for _ in range(int(random.integers(1, 6)))]
        found = numbered([store.place((each,)) for each in leaves], leaves)
        (shown,) = store.tensors()
        for client, each in enumerate(leaves):
            assert found.lengths[client] == len(each)
            for t, element in enumerate(each):
                start, stop = found.splits[found.first[client] + t :][:2]
                np.testing.assert_array_equal(np.asarray(shown)[found.rows[start:stop]], element)


def test_leaves_of_other_orders_are_laid_out() -> None:
    rows, splits, order = np.arange(4), np.array([0, 2, 4]), np.array([3, 2, 1, 0])
    ordered = Rows(rows, splits, order)
    assert alike((ordered, Rows(rows + 1, splits, order)))[0] is ordered
    for other in (Rows(rows, splits), Rows(rows, splits, order.copy()), Rows(np.arange(5), splits, order)):
        found = alike((ordered, other))
        assert [each.order for each in found if isinstance(each, Rows)] == [None, None]
        np.testing.assert_array_equal(found[0][0], [3, 2])
        np.testing.assert_array_equal(found[1][1], other[1])


PROGRAM = """
import learning.fedavg (fedavg)
import learning.model (model)
import learning.optimizers (sgd)

type Weights = {kernel: float32[5, 3], bias: float32[3]}

fn loss(w: Weights, batch: {x: float32[?, 5], y: int32[?]}) -> float32 {
  reduce_mean(sparse_softmax_cross_entropy(batch.x @ w.kernel + w.bias, batch.y))
}

process train = fedavg(model(fn (_) => zeros(), loss), client = sgd(0.5))
"""


@pytest.mark.parametrize(("name", "options"), EXECUTORS)
def test_shuffled_epochs_are_computed_as_the_same_batches_laid_out(name: str, options: dict[str, Any]) -> None:
    random = np.random.default_rng(1)
    examples = {
        f"c{n}": {"x": random.standard_normal((n, 5)).astype(np.float32), "y": random.integers(0, 3, n, np.int32)}
        for n in (3, 7, 20, 21)
    }
    data, process, executor = ClientData.from_dict(examples), fl.loads(PROGRAM).train, get_executor(name, **options)
    state = process.initialize(0)
    for seed in (0, 1):
        batches = data.batches(4, epochs=3, shuffle_seed=seed)
        laid_out = {}
        for client in data:
            sequence = batches.sequence(client)
            assert isinstance(sequence, dict)
            laid_out[client] = [{k: leaf[t] for k, leaf in sequence.items()} for t in range(len(sequence["x"]))]
        found, wanted = (process.run_round(state, (each,), executor=executor) for each in (batches, laid_out))
        for field in ("kernel", "bias"):
            np.testing.assert_array_equal(found.state.weights[field], wanted.state.weights[field])
        state = found.state


def test_a_shuffle_packs_no_examples_anew() -> None:
    random = np.random.default_rng(1)
    examples = {"x": random.standard_normal((20, 5)).astype(np.float32), "y": np.zeros(20, np.int32)}
    data, process = ClientData.from_list([examples, examples]), fl.loads(PROGRAM).train
    executor = BatchedExecutor(strategy="vectorised")
    state = process.initialize(0)
    for seed in range(5):
        state = process.run_round(state, (data.batches(4, 2, seed),), executor=executor).state
    (made,) = executor.made()
    (store,) = made.work.work.packer.stores
    assert len(store.places) == 2
    assert store.rows.most == 40


FIXED = """
fn last(xs: float32[2, 3]*, w: float32) -> float32[2, 3] { fold x in xs from zeros() as s { s * w + x } }

fed own(x: <float32[2, 3]*>@CLIENTS) -> <float32[2, 3]>@CLIENTS { last(x, 2.0) }

fed shared(x: float32[2, 3]*@SERVER, w: <float32>@CLIENTS) -> <float32[2, 3]>@CLIENTS { last(federated_broadcast(x), w) }
"""


@pytest.mark.parametrize(("name", "options"), EXECUTORS)
def test_batches_of_a_known_size_are_in_the_order_of_each_round(name: str, options: dict[str, Any]) -> None:
    data = ClientData.from_dict({
        f"c{n}": np.random.default_rng(n).integers(0, 9, (n, 3)).astype(np.float32) for n in (8, 1, 6, 10)
    })  # fmt: skip
    program, executor, seen = fl.loads(FIXED), get_executor(name, **options), []
    for epochs, seed in ((1, None), (1, 1), (1, 2), (3, 3), (2, None), (1, None)):
        batches = data.batches(2, epochs, seed, drop_last=True)
        elements = [list(batches.sequence(client)) for client in data]
        wanted = [sum(x * 2.0**k for k, x in enumerate(reversed(each))) + np.zeros((2, 3)) for each in elements]
        np.testing.assert_array_equal(program.own.run((batches,), executor=executor), wanted)
        for client, expected in (("c8", wanted[0]), ("c1", wanted[1])):
            found = program.shared.run((batches.sequence(client), [2.0, 2.0]), executor=executor)
            np.testing.assert_array_equal(found, [expected, expected])
        seen.append(wanted[0].tobytes())
    assert len(set(seen)) == 5
