"""Derivatives in functions from Python: the same as TensorFlow's, by faster operations where there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import fedlang as fl
from fedlang.embed.tensorflow import TensorFlowExtern
from fedlang.executors.tensorflow import convolution
from fedlang.executors.tensorflow.derivatives import derived_faster
from fedlang.run.externs import register_extern
from fedlang.run.registry import get_executor

FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...], tuple[int, ...]]] = {
    # of images and a kernel, and their shapes
    "by tiles": (lambda x, k: tf.nn.conv2d(x, k, 1, "VALID"), (10, 10, 64), (3, 3, 64, 64)),
    "by tiles, same": (lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), (8, 8, 64), (3, 3, 64, 64)),
    "by places": (lambda x, k: tf.nn.conv2d(x, k, 1, "SAME"), (5, 4, 16), (2, 3, 16, 48)),
    "strides": (lambda x, k: tf.nn.conv2d(x, k, 2, "SAME"), (10, 10, 64), (3, 3, 64, 64)),
    "dilations": (lambda x, k: tf.nn.conv2d(x, k, 1, "VALID", dilations=2), (10, 10, 16), (3, 3, 16, 32)),
    "explicit padding": (
        lambda x, k: tf.nn.conv2d(x, k, 1, [[0, 0], [1, 2], [0, 1], [0, 0]]),
        (10, 10, 64),
        (3, 3, 64, 64),
    ),
    "groups": (lambda x, k: tf.nn.conv2d(x, k, 1, "VALID"), (10, 10, 64), (3, 3, 32, 64)),
    "pooling": (lambda x, k: tf.nn.max_pool2d(x * k[0, 0, 0], 2, 2, "VALID"), (6, 5, 4), (1, 1, 1, 4)),
    "pooling that overlaps": (lambda x, k: tf.nn.max_pool2d(x * k[0, 0, 0], 3, 1, "SAME"), (6, 5, 4), (1, 1, 1, 4)),
    "pooling with explicit padding": (
        lambda x, k: tf.nn.max_pool2d(x * k[0, 0, 0], 3, 2, [[0, 0], [1, 1], [1, 0], [0, 0]]),
        (6, 5, 4),
        (1, 1, 1, 4),
    ),
}


EMPTY = [name for name in sorted(FUNCTIONS) if name.startswith(("by", "pooling"))]
"""Of no image TensorFlow derives these; it takes the result of another convolution to be as large as the images."""


@pytest.mark.parametrize(
    ("name", "count"), [*((name, 3) for name in sorted(FUNCTIONS)), *((name, 0) for name in EMPTY)]
)
def test_derivatives_are_the_same(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    monkeypatch.setattr(convolution, "MASKED", False)
    body, images, kernel = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, *images)).astype(np.float32)
    k = (0.02 * rng.standard_normal(kernel)).astype(np.float32)
    signature = [tf.TensorSpec([None, *images]), tf.TensorSpec(kernel)]
    plain = tf.function(body, input_signature=signature, autograph=False)
    faster = derived_faster(plain)
    assert faster is derived_faster(plain)
    assert faster is not plain
    for found, expected in zip(_derived(faster, x, k), _derived(plain, x, k), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


def _derived(function: Any, x: Any, k: Any) -> list[Any]:
    """The result, and the derivatives of a part of its squares."""
    x, k = tf.constant(x), tf.constant(k)
    with tf.GradientTape() as tape:
        tape.watch((x, k))
        y = function(x, k)
        value = tf.reduce_sum(tf.square(y)) / 9
    return [y.numpy(), *(slope.numpy() for slope in tape.gradient(value, (x, k)))]


@pytest.mark.parametrize(
    ("name", "faster"), [("by tiles", True), ("by places", True), ("strides", False), ("pooling", False)]
)
def test_which_are_products(monkeypatch: pytest.MonkeyPatch, name: str, faster: bool) -> None:
    monkeypatch.setattr(convolution, "MASKED", False)
    body, images, kernel = FUNCTIONS[name]
    signature = [tf.TensorSpec([None, *images]), tf.TensorSpec(kernel)]
    function = derived_faster(tf.function(body, input_signature=signature, autograph=False))

    @tf.function(input_signature=signature, autograph=False)
    def slopes(x: Any, k: Any) -> Any:
        return tf.gradients(function(x, k), [x, k])

    graph = slopes.get_concrete_function().graph.as_graph_def()
    kinds = {node.op for part in graph.library.function for node in part.node_def}
    assert ("Conv2DBackpropFilter" not in kinds and "MatMul" in kinds) == faster


def test_what_has_nothing_to_gain_stays() -> None:
    pooled = lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID")  # noqa: E731
    signature = [tf.TensorSpec([None, 4, 4, 1])]
    for function in (
        None,
        abs,
        tf.function(pooled, autograph=False),
        tf.function(pooled, input_signature=signature),
        tf.function(pooled, input_signature=signature, autograph=False, jit_compile=True),
        tf.function(tf.nn.relu, input_signature=signature, autograph=False),
    ):
        assert derived_faster(function) is function


@pytest.mark.parametrize("rank", [None, 4])
@pytest.mark.parametrize("operation", ["conv2d", "max_pool2d"])
def test_shapes_that_are_not_known(operation: str, rank: int | None) -> None:
    """As behind a function of NumPy arrays."""

    def body(x: Any, k: Any) -> Any:
        x = tf.raw_ops.PlaceholderWithDefault(input=x, shape=[None] * rank if rank else None)
        return tf.nn.conv2d(x, k, 1, "SAME") if operation == "conv2d" else tf.nn.max_pool2d(x, 2, 2, "SAME")

    signature = [tf.TensorSpec([None, 6, 6, 32]), tf.TensorSpec([3, 3, 32, 64])]
    plain = tf.function(body, input_signature=signature, autograph=False)
    rng = np.random.default_rng(0)
    x, k = rng.standard_normal((2, 6, 6, 32)).astype(np.float32), np.full((3, 3, 32, 64), 0.01, np.float32)
    faster = derived_faster(plain)
    assert faster is not plain

    def derived(function: Any) -> Any:
        with tf.GradientTape() as tape:
            given = tf.constant(x)
            tape.watch(given)
            value = tf.reduce_sum(tf.square(function(given, tf.constant(k))))
        return tape.gradient(value, given).numpy()

    np.testing.assert_allclose(derived(faster), derived(plain), rtol=1e-4, atol=1e-4)


HALVED = """
extern fn halved(x: float32[2]) -> float32[2]

fn slope(x: float32[2]) -> float32[2] { grad(fn (x: float32[2]) => reduce_sum(halved(x)))(x) }

fed f(x: <float32[2]>@CLIENTS) -> <float32[2]>@CLIENTS { slope(x) }
"""


def test_statements_for_autograph_are_left_to_it() -> None:
    def halved(x: Any) -> Any:
        while tf.reduce_sum(x) > 1:
            x = x / 2
        return [x]

    rewritten = tf.function(halved, input_signature=[tf.TensorSpec([2])])
    program = fl.loads(HALVED)
    register_extern("halved", TensorFlowExtern(rewritten))
    found = program.f.run(([np.float32([4, 2]), np.float32([0.5, 0.25])],), executor=get_executor("threaded"))
    np.testing.assert_array_equal(found, [[0.125, 0.125], [1, 1]])
