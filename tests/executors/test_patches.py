"""Convolutions of few channels by products of patches: results against doubles, and where they are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.costs import batched_cost, cost_of
from fedlang.executors.batched.figures import FIXED
from fedlang.executors.reference import evaluate
from fedlang.executors.tensorflow import convolution, patches
from fedlang.executors.tensorflow.patches import Window
from fedlang.passes.batch import batch_graph
from fedlang.run.sequences import LeafValue
from tests.executors.alone import run_tensorflow
from tests.executors.convolving import PADDINGS, convolutions, in_doubles
from tests.executors.test_batching import tasks_of


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_results_against_doubles(data: st.DataObject) -> None:
    """Of one client and of several, whatever the sizes: also kernels as large as the images, and no images."""
    padding = data.draw(st.sampled_from(PADDINGS))
    down, across = (data.draw(st.integers(1, 5)) for _ in range(2))
    height, width = (data.draw(st.integers(1 if padding == "same" else least, 9)) for least in (down, across))
    clients, count, channels, filters = (data.draw(st.integers(least, 4)) for least in (1, 0, 1, 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    window = Window(down, across, height, width, channels, padding == "same")
    x = rng.standard_normal((clients, count, height, width, channels)).astype(np.float32)
    kernel = rng.standard_normal((clients, down, across, channels, filters)).astype(np.float32)
    dy = rng.standard_normal((clients, count, *window.results, filters)).astype(np.float32)
    together = _by_patches(x, kernel, dy, window)
    for client in range(clients):
        expected = in_doubles(x[client], kernel[client], dy[client], padding)
        most = in_doubles(*(abs(each[client]) for each in (x, kernel, dy)), padding)
        alone = _by_patches(x[client], kernel[client], dy[client], window)
        for found in (alone, [each[client] for each in together]):
            for own, right, bound in zip(found, expected[::2], most[::2], strict=True):
                assert own.shape == right.shape
                np.testing.assert_allclose(own, right, rtol=0, atol=1e-6 * bound.max(initial=0))


def _by_patches(x: Any, kernel: Any, dy: Any, window: Window) -> list[Any]:
    """Of one client, or of several."""
    each = [None] * (kernel.ndim - 4)
    specs = [[*each, None, *x.shape[-3:]], [*each, *kernel.shape[-4:]], [*each, None, *dy.shape[-3:]]]

    @tf.function(input_signature=list(map(tf.TensorSpec, specs)), autograph=False)
    def run(x: Any, kernel: Any, dy: Any) -> Any:
        if each:
            return patches.convolved_together(x, kernel, window), patches.by_kernels_together(dy, x, window)
        many = lambda: tf.fill(tf.shape(dy), 7.0), lambda: tf.fill(tf.shape(kernel), 7.0)
        return patches.convolved(x, kernel, window, many[0]), patches.by_kernel(dy, x, window, many[1])

    return [found.numpy() for found in run(x, kernel, dy)]


TAKEN = [
    # images, kernel, padding, strides, dtype, and whether it is by patches
    ((8, 6, 1), (3, 3, 1, 4), "valid", (1, 1), "float32", True),
    ((8, 6, 1), (3, 3, 1, 4), "same", (1, 1), "float32", True),
    ((8, 6, 2), (2, 2, 2, 3), "same", (1, 1), "float32", True),
    ((8, 6, 1), (5, 5, 1, 32), "valid", (1, 1), "float32", True),
    ((4, 3, 1), (3, 3, 1, 4), "valid", (1, 1), "float32", True),  # as wide as the images
    ((8, 6, 1), (5, 5, 1, 8), "valid", (1, 1), "float32", False),  # few filters
    ((8, 6, 2), (3, 3, 2, 8), "valid", (1, 1), "float32", False),  # many channels
    ((8, 6, 2), (1, 1, 2, 8), "valid", (1, 1), "float32", False),  # one place
    ((8, 6, 1), (3, 3, 1, 4), "valid", (2, 1), "float32", False),
    ((8, 6, 1), (3, 3, 1, 4), "valid", (1, 1), "float64", False),
    ((2, 6, 1), (3, 3, 1, 4), "valid", (1, 1), "float32", False),  # no results
    ((1, 1, 1), (3, 3, 1, 4), "valid", (1, 1), "float32", False),  # by far
    ((32, 40, 1), (3, 3, 1, 4), "same", (1, 1), "float32", False),  # large images
    ((5, 5, 0), (3, 3, 0, 2), "same", (1, 1), "float32", False),  # nothing to add up
    ((5, 5, 1), (3, 3, 1, 0), "same", (1, 1), "float32", False),  # no filters
    ((5, 5, 4), (3, 3, 4, 0), "same", (1, 1), "float32", False),
]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is computed by patches, in its order."""
    found: list[str] = []
    monkeypatch.setattr(convolution, "MASKED", False)
    monkeypatch.setattr(convolution, "has_gpu", lambda: False)
    for name in ("convolved", "by_kernel", "convolved_together", "by_kernels_together"):
        own = getattr(patches, name)
        monkeypatch.setattr(patches, name, lambda *given, n=name, f=own: found.append(n) or f(*given))
    return found


@pytest.mark.parametrize(("shape", "kernel", "padding", "strides", "dtype", "by_patches"), TAKEN)
def test_where_it_is_taken(
    taken: list[str], shape: Any, kernel: Any, padding: str, strides: Any, dtype: str, by_patches: bool
) -> None:
    """For a client alone, and for clients with kernels of their own."""
    graph, sizes = convolutions(shape, kernel, dtype, padding=padding, strides=strides)
    rng = np.random.default_rng(0)
    clients = [
        tuple(rng.standard_normal(each).astype(dtype) for each in ((n, *shape), kernel, (n, *sizes, kernel[3])))
        for n in (3, 1, 0)
    ]
    expected = [evaluate(graph, inputs) for inputs in clients]
    for inputs, right in zip(clients, expected, strict=True):
        taken.clear()
        found = run_tensorflow(graph, inputs)
        assert taken == (["convolved", "by_kernel"] if by_patches else [])
        _assert_close(found, right)
    taken.clear()
    (chunk,) = BatchedExecutor(strategy="vectorised").compile_work(graph, (True,) * 3).run([], tasks_of(clients))
    assert taken == (["convolved_together", "by_kernels_together"] if by_patches else [])
    for row, client in enumerate(chunk.positions):
        _assert_close([result[row] for result in chunk.results], expected[client])


def _assert_close(found: Any, expected: list[LeafValue]) -> None:
    for each, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(each, right, rtol=1e-4, atol=1e-4)


def test_patches_are_laid_down_once() -> None:
    window = Window(3, 3, 8, 8, 1, around=False)

    @tf.function(input_signature=[tf.TensorSpec([4, None, 8, 8, 1]), tf.TensorSpec([4, 3, 3, 1, 4])], autograph=False)
    def step(x: Any, kernels: Any) -> Any:
        return patches.by_kernels_together(patches.convolved_together(x, kernels, window), x, window)

    kinds = [operation.type for operation in step.get_concrete_function().graph.get_operations()]
    assert kinds.count("Slice") == 6


@pytest.mark.parametrize("known", [False, True])
def test_many_images_are_left_to_tensorflow(monkeypatch: pytest.MonkeyPatch, *, known: bool) -> None:
    """Whether their number is known when the graph is made or not; results are the same, up to rounding."""
    window, rng = Window(3, 3, 6, 6, 1, around=False), np.random.default_rng(0)
    monkeypatch.setattr(patches, "FIT", 5 * 4 * 9 * 16)

    def run(count: int) -> tuple[Any, Any]:
        x, dy = (rng.standard_normal((count, size, size, 1)).astype(np.float32) for size in (6, 4))
        kernel = rng.standard_normal((3, 3, 1, 1)).astype(np.float32)
        free = count if known else None

        @tf.function(input_signature=[tf.TensorSpec([free, 6, 6, 1]), tf.TensorSpec([free, 4, 4, 1])], autograph=False)
        def both(x: Any, dy: Any) -> Any:
            found = patches.convolved(x, tf.constant(kernel), window, lambda: tf.fill(tf.shape(dy), 7.0))
            return found, patches.by_kernel(dy, x, window, lambda: tf.fill([3, 3, 1, 1], 7.0))

        found, (right, _, slope) = both(x, dy), in_doubles(x, kernel, dy, "valid")
        return [each.numpy() for each in found], [right, slope]

    for each, right in zip(*run(5), strict=True):
        np.testing.assert_allclose(each, right, atol=1e-4)
    assert all((each == 7.0).all() for each in run(6)[0])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_where_it_is(bad: float) -> None:
    rng = np.random.default_rng(0)
    x, kernel = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 6, 6, 1), (3, 3, 1, 2)))
    x[0, 3, 2] = bad
    y, _ = _by_patches(x, kernel, np.ones((2, 4, 4, 2), np.float32), Window(3, 3, 6, 6, 1, around=False))
    met = np.zeros((2, 4, 4), bool)
    met[0, 1:4, 0:3] = True
    assert (np.isfinite(y).all(-1) == ~met).all()


def test_what_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds() -> tuple[float, float]:
        graph, _ = convolutions((14, 14, 1), (3, 3, 1, 8), "float32", padding="same", strides=(1, 1))
        batched = batch_graph(graph, (True,) * 3)
        costs = cost_of(graph), batched_cost(batched, 16)
        return costs[0].seconds(FIXED, looped=False), sum(costs[1].seconds(FIXED, looped=looped) for looped in (0, 1))

    monkeypatch.setattr(convolution, "has_gpu", lambda: False)
    monkeypatch.setattr(convolution, "MASKED", True)
    alone, together = seconds()
    monkeypatch.setattr(convolution, "MASKED", False)
    found = seconds()
    assert found[0] < alone
    assert found[1] < together
