"""Convolutions by tiles: the identity behind them, their results against doubles, and where they are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.executors.batched.costs import cost_of
from fedlang.executors.batched.figures import FIXED
from fedlang.executors.reference import evaluate
from fedlang.executors.tensorflow import convolution, winograd
from fedlang.executors.tensorflow.winograd import Tiling
from tests.executors.alone import run_tensorflow
from tests.executors.convolving import PADDINGS, convolutions, in_doubles


@given(
    st.lists(st.integers(-(2**20), 2**20), min_size=6, max_size=6),
    st.lists(st.integers(-99, 99), min_size=3, max_size=3),
)
def test_four_results_of_six_pixels(pixels: list[int], kernel: list[int]) -> None:
    results, kernels, values = winograd.matrices()
    found = results @ ((kernels @ kernel) * (values @ pixels))
    np.testing.assert_allclose(found, np.correlate(pixels, kernel), rtol=1e-12, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_results_against_doubles(data: st.DataObject) -> None:
    """Whatever the sizes: also where tiles reach over the image, where there is one tile, and without images."""
    padding = data.draw(st.sampled_from(PADDINGS))
    least = 1 if padding == "same" else 3
    count, height, width = (data.draw(st.integers(low, high)) for low, high in ((0, 3), (least, 13), (least, 13)))
    channels, filters = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    tiling = Tiling(height, width, PADDINGS.index(padding))
    x = rng.standard_normal((count, height, width, channels)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, channels, filters)).astype(np.float32)
    dy = rng.standard_normal((count, *tiling.results, filters)).astype(np.float32)
    for found, expected, most in zip(
        _by_tiles(x, kernel, dy, tiling),
        in_doubles(x, kernel, dy, padding),
        in_doubles(*map(abs, (x, kernel, dy)), padding),
        strict=True,
    ):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=6e-6 * most.max(initial=0))


def _by_tiles(x: Any, kernel: Any, dy: Any, tiling: Tiling) -> list[Any]:
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *x.shape[1:]]),
            tf.TensorSpec(kernel.shape),
            tf.TensorSpec([None, *dy.shape[1:]]),
        ]
    )
    def run(x: Any, kernel: Any, dy: Any) -> Any:
        return (
            winograd.convolved(x, kernel, tiling),
            winograd.by_images(dy, kernel, tiling),
            winograd.by_kernel(dy, x, tiling),
        )

    return [each.numpy() for each in run(x, kernel, dy)]


def test_parts_of_large_images() -> None:
    """Every pixel's place in every window, and no more memory than that: windows of 6x6 pixels cover the image."""
    tiling = Tiling(1026, 514, 0)
    shared = winograd._shared(tiling)
    assert [len(group) for group in shared.places] == [1, 2, 4]
    assert sum(place.size for group in shared.places for place, _ in group) == 36 * tiling.count
    assert shared.before.size == 1026 * 514


def test_a_branch_makes_what_it_needs() -> None:
    tiling = Tiling(10, 10, 0)

    @tf.function(input_signature=[tf.TensorSpec([None, 10, 10, 2]), tf.TensorSpec([3, 3, 2, 2])], autograph=False)
    def perhaps(x: Any, kernel: Any) -> Any:
        return tf.cond(tf.size(x) > 0, lambda: winograd.convolved(x, kernel, tiling), lambda: tf.zeros([0, 8, 8, 2]))

    operations = perhaps.get_concrete_function().graph.get_operations()
    assert not {"MatMul", "GatherV2"} & {operation.type for operation in operations}
    assert perhaps(tf.ones([2, 10, 10, 2]), tf.ones([3, 3, 2, 2])).shape == (2, 8, 8, 2)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_does_not_get_lost(bad: float) -> None:
    rng = np.random.default_rng(0)
    x, kernel = (
        rng.standard_normal((2, 9, 9, 3)).astype(np.float32),
        rng.standard_normal((3, 3, 3, 2)).astype(np.float32),
    )
    x[0, 6, 2, 1] = bad
    dy = np.ones((2, 7, 7, 2), np.float32)
    y, _, dk = _by_tiles(x, kernel, dy, Tiling(9, 9, 0))
    assert not np.isfinite(y[0, 4:7, 0:3]).any()
    assert np.isfinite(y[1]).all()
    assert not np.isfinite(dk[:, :, 1]).any()


TAKEN = [
    # images, kernel, padding, strides, dtype, and whether it is by tiles
    ((10, 10, 64), (3, 3, 64, 64), "valid", (1, 1), "float32", True),
    ((16, 12, 64), (3, 3, 64, 64), "same", (1, 1), "float32", True),
    ((10, 10, 32), (3, 3, 32, 32), "valid", (1, 1), "float32", False),  # too few channels
    ((9, 9, 64), (3, 3, 64, 64), "same", (1, 1), "float32", False),  # of nine tiles half are empty
    ((6, 6, 64), (3, 3, 64, 64), "valid", (1, 1), "float32", False),  # one tile
    ((10, 10, 64), (3, 3, 64, 64), "valid", (2, 1), "float32", False),
    ((10, 10, 64), (3, 3, 64, 64), "valid", (1, 1), "float64", False),
]


@pytest.mark.parametrize(("shape", "kernel", "padding", "strides", "dtype", "by_tiles"), TAKEN)
def test_where_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, shape: Any, kernel: Any, padding: str, strides: Any, dtype: str, by_tiles: bool
) -> None:
    monkeypatch.setattr(convolution, "MASKED", False)
    monkeypatch.setattr(convolution, "has_gpu", lambda: False)
    taken: list[str] = []
    for name in ("convolved", "by_images", "by_kernel"):
        own = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *given, n=name, f=own: taken.append(n) or f(*given))
    graph, sizes = convolutions(shape, kernel, dtype, padding=padding, strides=strides)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(each).astype(dtype) for each in ((3, *shape), kernel, (3, *sizes, kernel[3]))]
    found = run_tensorflow(graph, inputs)
    assert taken == (["convolved", "by_images", "by_kernel"] if by_tiles else [])
    for each, expected in zip(found, evaluate(graph, inputs), strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-4, atol=1e-3)


def test_what_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds() -> float:
        graph, _ = convolutions((10, 10, 64), (3, 3, 64, 64), "float32", padding="valid", strides=(1, 1))
        return cost_of(graph).seconds(FIXED, looped=False)

    monkeypatch.setattr(convolution, "has_gpu", lambda: False)
    monkeypatch.setattr(convolution, "MASKED", True)
    own = seconds()
    monkeypatch.setattr(convolution, "MASKED", False)
    assert 0.4 < seconds() / own < 0.8
