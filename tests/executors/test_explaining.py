"""What the executor `batched` tells of a run: strategy, chunks, what operations took and where."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tensorflow.python.util._pywrap_util_port import IsMklEnabled

import fedlang as fl
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.tally import Tally
from fedlang.executors.tensorflow import profile
from fedlang.executors.tensorflow.profile import AROUND, Profile, _read_line, operation_of
from fedlang.executors.tensorflow.start import tf
from fedlang.ir.graph import Sequence, Tensor
from fedlang.run.explanation import Watched, WorkExplanation
from tests.executors.test_batching import Make, images
from tests.executors.training import data_of, tasks_of, training_graph, weights_of

SIZES = [30, *[3] * 39]


def explained(executor: BatchedExecutor, *, measured: bool = True) -> WorkExplanation:
    """A training that was watched."""
    graph = training_graph((300, 40), 4)
    work = executor.compile_work(graph, (False, False, True, True))
    with executor.watched(measured=measured) as tell:
        for _ in work.run(weights_of((300, 40)), tasks_of(data_of(SIZES, 300, 40))):
            pass
    (found,) = tell().works
    return found


@pytest.mark.parametrize("strategy", ["vectorised", "blocks", "sequential"])
def test_operations_have_an_estimate_and_a_measurement_and_a_device(strategy: str) -> None:
    executor = BatchedExecutor(strategy=strategy)
    assert isinstance(executor, Watched)
    found = explained(executor)
    assert (found.strategy, found.reason) == (strategy, "asked for")
    products = next(row for row in found.operations if row.operation == "matmul")
    assert products.device == "CPU"
    assert products.calls > 0
    assert products.measured is not None
    assert products.estimated is not None
    assert 0 < products.measured < 10
    assert 0 < products.estimated < 10
    assert set(found.strategies) == {"sequential", "blocks"}
    assert found.seconds > 0


def test_calls_are_those_of_the_program() -> None:
    """Two products a step: one by one 8 steps and 39 times 1; vectorised, as many as the longest has."""
    one_by_one = explained(BatchedExecutor(strategy="sequential", threads=1))
    together = explained(BatchedExecutor(strategy="vectorised", threads=1, chunk=64))
    assert sum(one_by_one.chunks) == sum(together.chunks) == 40
    calls = [next(row.calls for row in each.operations if row.operation == "matmul") for each in (one_by_one, together)]
    assert calls[0] >= 2 * (8 + 39)
    assert calls[1] < calls[0] / 2


def test_the_useful_share_counts_padded_steps() -> None:
    one_by_one, blocks = (
        explained(BatchedExecutor(strategy=each), measured=False) for each in ("sequential", "blocks")
    )
    assert one_by_one.useful == 1.0
    assert blocks.useful == pytest.approx((8 + 39) / (16 * (8 + 1 + 1)), abs=0.2)
    assert all(row.measured is None for row in blocks.operations)
    assert any(row.estimated for row in blocks.operations)


def test_a_tally_of_clients_together() -> None:
    tally = Tally(4)
    for lengths in ([1, 5, 2, 4], [3, 3], []):
        tally.add(lengths)
    assert (tally.chunks, tally.steps, tally.counts) == ([4, 2, 0], {4: 8}, {4: 3})
    assert tally.share == 18 / 32


def test_a_tally_of_clients_one_by_one_wastes_nothing() -> None:
    tally = Tally(1)
    assert tally.share == 1.0
    tally.add([1, 5])
    assert (tally.share, tally.steps, tally.counts) == (1.0, {1: 6}, {1: 2})


def test_convolutions_with_own_kernels_are_told_of() -> None:
    graph, varies, values = images()
    executor = BatchedExecutor(strategy="vectorised")
    own = [tuple(v for v, differs in zip(each, varies, strict=True) if differs) for each in values]
    shared = [v for v, differs in zip(values[0], varies, strict=True) if not differs]
    with executor.watched(measured=False) as tell:
        list(executor.compile_work(graph, varies).run(shared, tasks_of(own)))
    (found,) = tell().works
    assert any("`conv2d` client by client inside each chunk" in note for note in found.notes)


POOLED = """
import learning.fedavg (fedavg)
import learning.model (count)
import learning.optimizers (sgd)
import random

type Example = {x: float32[8, 8, 2], y: float32}
type Weights = {kernel: float32[3, 3, 2, 4], bias: float32[4], out: float32[64, 1]}

fn init(key: Key) -> Weights { random.normal[Weights](key) }

fn loss(w: Weights, batch: Example[?], _: Key) -> float32 {
  let pooled = max_pool(relu(conv2d(batch.x, w.kernel) + w.bias), size = 2)
  reduce_mean(square((flatten(pooled) @ w.out)[:, 0] - batch.y))
}

process p = fedavg({init, loss, examples: count}, client = sgd(0.01))
"""


@pytest.mark.parametrize("strategy", ["vectorised", "sequential"])
def test_gradients_of_pooling_have_the_fast_kernel(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    names: set[str] = set()
    monkeypatch.setattr(profile, "operation_of", lambda name: names.add(name) or operation_of(name))
    process, rng = fl.loads(POOLED).p, np.random.default_rng(0)
    batch = {"x": rng.random((4, 8, 8, 2), np.float32), "y": rng.random(4, np.float32)}
    executor = BatchedExecutor(strategy=strategy, threads=1)
    with executor.watched() as tell:
        process.run_round(process.initialize(0), ({"a": [batch] * 3, "b": [batch]},), executor=executor)
    kernels = {name.rpartition(":")[2] for name in names if "op.max_pool_gradient" in name}
    assert ("_MklNativeMaxPoolGrad" if IsMklEnabled() else "MaxPoolGrad") in kernels
    row = next(row for row in tell().works[0].operations if row.operation == "max_pool_gradient")
    assert row.measured is not None
    assert row.calls > 0


def test_what_runs_on_the_reference_is_told_of() -> None:
    b = Make()
    x = b.parameter(Tensor("string"))
    b.add_effect("print", (x,), format="{}")
    graph = b.finish((x,))
    executor = BatchedExecutor()
    with executor.watched(measured=False) as tell:
        list(executor.compile_work(graph, (True,)).run([], tasks_of([(np.array("a", object),)])))
    (found,) = tell().works
    assert (found.strategy, found.chunks) == ("reference", (1,))
    with executor.watched(measured=False) as tell:
        pass
    assert tell().works == (), "what ran before is not told of again"
    assert found.notes[0] == "client by client on the reference, in NumPy: it works with strings"
    assert "`print` is shown after each chunk" in found.notes[1]


def test_works_that_did_not_run_are_not_told_of() -> None:
    b = Make()
    graph = b.finish((b.add("stack", (b.parameter(Sequence(Tensor("float32"), 3)),), Tensor("float32", (3,))),))
    executor = BatchedExecutor()
    executor.compile_work(graph, (True,))
    with executor.watched(measured=False) as tell:
        pass
    assert tell().works == ()


def test_another_profile_is_let_be(tmp_path: Any) -> None:
    tf.profiler.experimental.start(str(tmp_path))
    try:
        found = explained(BatchedExecutor(strategy="blocks"))
    finally:
        tf.profiler.experimental.stop()
    assert all(row.measured is None for row in found.operations)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("work.0/while/body/_1/work.0/op.fold/while/op.reduce_sum_1/Sum:Sum", "reduce_sum"),
        ("work.0/op.fold/while/op.add_12/add:_MklNativeFusedMatMul", "matmul"),
        ("work.0/op.fold/while/op.conv2d/Conv2D:Conv2DBackpropFilter", "conv2d_kernel"),
        ("work.0/op.fold/while/op.conv2d_kernel_1/MatMul_3:_MklMatMul", "conv2d_kernel"),
        ("work.0/op.fold/while/op.conv2d_1/MatMul_3:_MklMatMul", "conv2d"),
        ("work.0/op.fold/while/add:AddV2", "loops and calls"),
        ("work.0/while/less:Less", "loops and calls"),
    ],
)
def test_names_are_read(name: str, expected: str) -> None:
    assert operation_of(name) == expected


def test_a_function_that_runs_inside_its_caller_is_counted_once() -> None:
    names = {1: "ExecutorState::Process", 2: "work.0/op.exp/Exp:Exp"}
    parts = [(1, 0, 10), (1, 2, 5), (2, 3, 4), (1, 20, 3)]  # what, from when, how long
    events = [SimpleNamespace(metadata_id=m, offset_ps=at * 10**12, duration_ps=s * 10**12) for m, at, s in parts]
    found = Profile()
    _read_line(SimpleNamespace(events=events), names, "CPU", found)
    assert found.spent["", AROUND, "CPU"].seconds == 13
    assert found.spent["work.0", "exp", "CPU"].seconds == 4
    assert found.rest == 9
