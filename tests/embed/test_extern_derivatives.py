"""Derivatives through functions of TensorFlow, on every executor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.diagnostics import DiagnosticError
from fedlang.embed.tensorflow import TensorFlowExtern
from fedlang.run.externs import register_extern

EXECUTORS = ("reference", "threaded", "batched")


PROGRAM = """
type Weights = {b: float32, a: float32[2]}
type Batch = {x: float32[?, 2], y: int32[?]}
extern fn measure(w: Weights, batch: Batch) -> {loss: float32, scores: float32[?]}
fed slopes(weights: Weights@SERVER, batch: <Batch>@CLIENTS) -> {value: float32@SERVER, slope: Weights@SERVER} {
  let (value, slope) = value_and_grad(fn (w, batch) => 2.0 * measure(w, batch).loss)(federated_broadcast(weights), batch)
  {value: federated_sum(value), slope: federated_sum(slope)}
}
"""


@pytest.fixture
def slopes() -> Any:
    import tensorflow as tf

    def measure(a: Any, b: Any, x: Any, y: Any) -> list[Any]:
        scores = tf.linalg.matvec(x, a) + b
        return [tf.reduce_mean(tf.square(scores - tf.cast(y, tf.float32))), scores]

    shapes = ([2], tf.float32), ([], tf.float32), ([None, 2], tf.float32), ([None], tf.int32)
    signature = [tf.TensorSpec(shape, dtype) for shape, dtype in shapes]
    register_extern("measure", TensorFlowExtern(tf.function(measure, input_signature=signature)))
    return fl.loads(PROGRAM).slopes


def expected(weights: dict[str, Any], clients: list[dict[str, Any]]) -> tuple[Any, Any]:
    by_a, by_b = np.zeros(2), 0.0
    for each in clients:
        error = each["x"] @ weights["a"] + weights["b"] - each["y"]
        by_a += 4.0 * (error @ each["x"]) / len(error)
        by_b += 4.0 * error.mean()
    return by_a, by_b


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_derivative_goes_through_a_tensorflow_function(slopes: Any, executor: str) -> None:
    rng = np.random.default_rng(0)
    clients = [
        {"x": rng.normal(size=(n, 2)).astype(np.float32), "y": rng.integers(0, 3, n).astype(np.int32)}
        for n in (3, 5, 1)
    ]
    weights = {"a": np.float32([0.5, -1.0]), "b": np.float32(0.25)}
    with fl.executor(executor):
        found = slopes(weights, clients)
    by_a, by_b = expected(weights, clients)
    np.testing.assert_allclose(found.slope.a, by_a, rtol=1e-5)
    np.testing.assert_allclose(found.slope.b, by_b, rtol=1e-5)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_function_without_derivative_is_named(executor: str) -> None:
    class Twice:
        def call(self, *arrays: Any) -> Any:
            return arrays[0] * 2

    register_extern("twice", Twice())
    program = fl.loads(
        "extern fn twice(x: float32) -> float32\n"
        "fed slope(x: <float32>@CLIENTS) -> float32@SERVER { federated_sum(grad(fn (v) => twice(v))(x)) }"
    )
    with fl.executor(executor), pytest.raises(DiagnosticError) as caught:
        program.slope([1.0, 2.0])
    assert caught.value.diagnostics[0].code == "FED0607"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_registered_vector_jacobian_product_is_used(executor: str) -> None:
    class Cube:
        def call(self, *arrays: Any) -> Any:
            return arrays[0] ** 3

        def vjp(self, *arrays: Any) -> tuple[Any, ...]:
            x, cotangent = arrays
            return (3 * x**2 * cotangent,)

    program = fl.loads(
        "extern fn cube(x: float32) -> float32\n"
        "fed slope(x: <float32>@CLIENTS) -> float32@SERVER { federated_sum(grad(fn (v) => 2.0 * cube(v))(x)) }"
    )
    register_extern("cube", Cube())
    with fl.executor(executor):
        assert program.slope([1.0, 2.0]) == 30.0
