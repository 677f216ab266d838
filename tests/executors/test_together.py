"""Functions from Python that are called for all clients of a block at once: what they may be, and that nobody else's
are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.embed.tensorflow import TensorFlowExtern
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.explaining import notes_of
from fedlang.run.externs import register_extern

PROGRAM = """
import random
extern fn NAME(w: float32[3], x: float32[?, 3], key: Key) -> {total: float32, rows: float32}
fn total(w: float32[3], x: float32[?, 3], key: Key) -> float32 { NAME(w, x, key).total }
fn descend(w: float32[3], key: Key, data: float32[?, 3]*) -> {w: float32[3], rows: float32} {
  let end = fold x in data from {w, rows: 0.0, step: 0} as now {
    let here = random.at(key, now.step)
    {w: now.w - 0.1 * grad(total)(now.w, x, here), rows: now.rows + NAME(now.w, x, here).rows, step: now.step + 1}
  }
  {w: end.w, rows: end.rows}
}
fed train(w: float32[3]@SERVER, data: <float32[?, 3]*>@CLIENTS, seed: int32@SERVER)
    -> {w: float32[3]@SERVER, rows: float32@SERVER} {
  let found = descend(federated_broadcast(w), federated_keys(random.key(seed)), data)
  {w: federated_mean(found.w), rows: federated_sum(found.rows)}
}
"""
SIZES = [[4, 4, 2], [4], [], [1, 3], [2], [4, 1], [3, 3, 3, 3]] * 3
_names = count()


@pytest.fixture(scope="module")
def tf() -> Any:
    from fedlang.executors.tensorflow.start import tf

    return tf


def clients() -> list[list[np.ndarray]]:
    random = np.random.default_rng(0)
    return [[random.normal(size=(n, 3)).astype(np.float32) for n in sizes] for sizes in SIZES]


def program(tf: Any, each: Callable[[Any, Any, Any], Any], **given: Any) -> Any:
    """Training with the sum over rows of a function of weights, rows and key."""
    name = f"together{next(_names)}"
    signature = [tf.TensorSpec([3]), tf.TensorSpec([None, 3]), tf.TensorSpec([2], tf.uint32)]

    def call(w: Any, x: Any, key: Any) -> list[Any]:
        return [tf.cast(tf.shape(x)[0], tf.float32), tf.reduce_sum(each(w, x, key))]

    def padded(w: Any, x: Any, key: Any, rows: Any) -> list[Any]:
        own = tf.range(tf.shape(x)[0]) < rows
        return [tf.cast(rows, tf.float32), tf.reduce_sum(tf.where(own, each(w, x, key), 0.0))]

    form = tf.function(padded, input_signature=[*signature, tf.TensorSpec([], tf.int32)], autograph=False)
    made = tf.function(call, input_signature=signature, autograph=False)
    register_extern(name, TensorFlowExtern(made, **({"padded": form} | given)))
    return fl.loads(PROGRAM.replace("NAME", name)).train


def waves(tf: Any) -> Callable[[Any, Any, Any], Any]:
    return lambda w, x, key: tf.sin(tf.linalg.matvec(x, w))


def run(train: Any, executor: Any) -> Any:
    return train.run((np.array([0.5, -0.25, 1.0], np.float32), clients(), 3), executor=executor)


def ran(executor: BatchedExecutor) -> str:
    (made,) = executor.made()
    return made.strategy.name


@pytest.mark.parametrize("strategy", ["vectorised", "blocks"])
def test_clients_together_are_clients_one_by_one(tf: Any, strategy: str) -> None:
    train, executor = program(tf, waves(tf)), BatchedExecutor(strategy=strategy)
    found, alone = run(train, executor), run(train, BatchedExecutor(strategy="sequential"))
    assert ran(executor) == strategy
    assert found.rows == alone.rows == sum(map(sum, SIZES))
    np.testing.assert_allclose(found.w, alone.w, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(found.w, run(train, "reference").w, rtol=2e-6, atol=2e-6)


def test_bits_do_not_depend_on_chunks(tf: Any) -> None:
    train = program(tf, waves(tf))
    found = [run(train, BatchedExecutor(strategy="blocks", chunk=chunk)) for chunk in (16, 128)]
    np.testing.assert_array_equal(found[0].w, found[1].w)


def test_each_client_has_its_own_key(tf: Any) -> None:
    def noisy(w: Any, x: Any, key: Any) -> Any:
        seed = tf.cast(tf.bitwise.right_shift(key, tf.constant([1, 1], tf.uint32)), tf.int32)
        return tf.linalg.matvec(x, w) * tf.random.stateless_uniform([tf.shape(x)[0]], seed)

    train, executor = program(tf, noisy), BatchedExecutor(strategy="blocks")
    found = run(train, executor)
    assert ran(executor) == "blocks"
    np.testing.assert_allclose(found.w, run(train, "reference").w, rtol=2e-6, atol=2e-6)


def refused(tf: Any) -> Iterator[tuple[Any, str]]:
    yield program(tf, waves(tf), padded=None), "for one client at a time"
    yield program(tf, waves(tf), padded=None, apart="it mixes"), "it mixes"
    images = lambda w, x, key: tf.nn.conv2d(x[:, None, :, None], w[None, :, None, None], 1, "SAME")[:, 0, 0, 0]  # noqa: E731
    yield program(tf, images), "no vectorised `Conv2D`"


def test_what_cannot_run_together_runs_one_by_one_and_says_why(tf: Any) -> None:
    for train, reason in refused(tf):
        said: list[str] = []
        executor = BatchedExecutor(strategy="blocks", notice=said.append)
        found = run(train, executor)
        (made,) = executor.made()
        assert made.strategy.name == "sequential"
        assert reason in made.strategy.reason
        assert reason in said[0]
        assert any(reason in note for note in notes_of(made))
        np.testing.assert_allclose(found.w, run(train, "reference").w, rtol=2e-6, atol=2e-6)


def test_a_function_without_a_form_for_it_sees_no_padded_row(tf: Any) -> None:
    seen: set[int] = set()
    name = f"together{next(_names)}"

    class Counting:
        """A function of arrays that notes how many rows it was given."""

        def call(self, w: Any, x: Any, key: Any) -> tuple[Any, ...]:
            seen.add(len(x))
            return np.float32(len(x)), np.float32((x @ w).sum())

        def vjp(self, w: Any, x: Any, key: Any, *cotangents: Any) -> tuple[Any, ...]:
            seen.add(len(x))
            return x.sum(0) * cotangents[1], np.zeros_like(x)

    register_extern(name, Counting())
    train = fl.loads(PROGRAM.replace("NAME", name)).train
    run(train, BatchedExecutor(notice=lambda text: None))
    assert seen == {n for sizes in SIZES for n in sizes}


def test_it_is_told_that_a_function_is_vectorised(tf: Any) -> None:
    executor = BatchedExecutor(strategy="blocks")
    run(program(tf, waves(tf)), executor)
    (made,) = executor.made()
    assert [note for note in notes_of(made) if "is vectorised: one call for all clients of a block" in note]


def test_all_rows_of_the_clients_are_taken_as_they_are(tf: Any) -> None:
    """No operation copies what clients' rows are taken from."""
    from fedlang.executors.tensorflow.together import MARKS, _behind, together

    program(tf, waves(tf))
    made = together(f"together{next(_names) - 1}", True, (False, True, True), padded=True).function
    assert MARKS
    assert not {"GatherV2", "PreventGradient"} & {op.type for op in _behind(made.get_concrete_function().graph, None)}


def test_others_operations_of_the_kind_that_marks_rows_stay_what_they_are(tf: Any) -> None:
    from fedlang.executors.tensorflow import together  # noqa: F401 (it teaches TensorFlow)

    def each(x: Any) -> Any:
        return tf.raw_ops.PreventGradient(input=tf.gather(table, x) * 2, message="theirs")

    table = tf.constant([3, 1, 4])
    assert tf.vectorized_map(each, tf.constant([2, 0])).numpy().tolist() == [8, 6]
