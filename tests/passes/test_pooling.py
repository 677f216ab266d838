"""Masks and sums taken before a pooling's derivative spreads over an image: the same values from smaller tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlang.ir.graph import Graph, Tensor
from fedlang.passes.dead import remove_dead
from fedlang.passes.pooling import mask_before_spreading
from fedlang.types.dims import named

from .programs import Write, graph_of, run

N = named("n")


def pooled_size(size: int, window: int, stride: int, padding: str) -> int:
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def layer(
    height: int = 6,
    width: int = 6,
    *,
    window: tuple[int, int] = (2, 2),
    strides: tuple[int, int] = (2, 2),
    padding: str = "valid",
    axes: tuple[int, ...] = (0, 1, 2),
    kind: str = "max",
    bound: float | None = 0.0,
    other: float = 0.0,
    of_itself: bool = True,
    twice: bool = False,
) -> Graph:
    """The derivative of a layer cut off at a bound and pooled, and its sum over axes. Without a bound nothing is cut
    off; with `of_itself` false something else is compared with the bound; with `twice` what is spread is a result."""
    image = Tensor("float32", (N, height, width, 3))
    sizes = (pooled_size(height, window[0], strides[0], padding), pooled_size(width, window[1], strides[1], padding))
    pooled = Tensor("float32", (N, *sizes, 3))
    how = {"size": window, "strides": strides, "padding": padding}

    def repeated(b: Write, value: float) -> int:
        scalar = b.add("constant", (), Tensor("float32"), value=value)
        return b.op("broadcast", scalar, type=image, axes=())

    def make(b: Write, x: int, dy: int) -> Any:
        inputs = (dy,) if kind == "average" else (x, b.op("max_pool", x, type=pooled, **how), dy)
        found = spread = b.op(f"{kind}_pool_gradient", *inputs, type=image, **how)
        if bound is not None:
            compared = x if of_itself else b.op("negate", x)
            above = b.op("greater", compared, repeated(b, bound), type=Tensor("bool", image.shape))
            found = b.op("select", above, spread, repeated(b, other), type=image)
        kept = tuple(size for axis, size in enumerate(image.shape) if axis not in axes)
        total = b.op("reduce_sum", found, type=Tensor("float32", kept), axes=axes)
        return (total, found, spread) if twice else (total, found)

    return graph_of([image, pooled], make)


def changed(graph: Graph) -> Graph:
    return remove_dead(mask_before_spreading(graph))


def sizes_of(graph: Graph, op: str) -> list[tuple[Any, ...]]:
    """The sizes of images that an operation's first input has."""
    return [graph.nodes[node.inputs[0]].tensor.shape[1:3] for node in graph.nodes if node.op == op]


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(3, 7),
    width=st.integers(3, 7),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.sampled_from(["valid", "same"]),
    kind=st.sampled_from(["max", "average"]),
    bound=st.sampled_from([None, 0.0, -1.0, 2.0]),
    missing=st.booleans(),
)
def test_the_values_are_the_same(
    seed: int,
    height: int,
    width: int,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
    kind: str,
    bound: float | None,
    missing: bool,
) -> None:
    """For windows that overlap or leave gaps, whatever is equal, and NaN: whole numbers add up exactly in any order."""
    before = layer(height, width, window=window, strides=strides, padding=padding, kind=kind, bound=bound)
    random = np.random.default_rng(seed)
    x = random.integers(-2, 4, (2, height, width, 3)).astype(np.float32)
    x[..., 0] = np.where(random.random(x.shape[:-1]) < 0.1, np.nan, x[..., 0]) if missing else x[..., 0]
    shape = before.nodes[before.parameters[1]].tensor.shape[1:]
    dy = 36 * random.integers(-3, 4, (2, *shape)).astype(np.float32)
    after = changed(before)
    for expected, found in zip(run(before, x, dy), run(after, x, dy), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6 if kind == "average" else 0)


def test_a_layer_is_cut_off_and_added_up_where_it_is_pooled() -> None:
    graph = changed(layer())
    assert sizes_of(graph, "greater") == sizes_of(graph, "select") == sizes_of(graph, "reduce_sum") == [(3, 3)]


def test_what_average_pooling_spreads_is_added_up_before() -> None:
    assert sizes_of(changed(layer(kind="average", bound=None)), "reduce_sum") == [(3, 3)]


@pytest.mark.parametrize(
    "graph",
    [
        layer(twice=True),  # it would be spread twice
        layer(of_itself=False),
        layer(other=1.0),  # not what is spread where there is nothing
        layer(kind="average"),  # every element gets a share, and is cut off by itself
    ],
    ids=["read twice", "another condition", "not zero", "average"],
)
def test_other_selections_stay(graph: Graph) -> None:
    assert sizes_of(changed(graph), "select") == [(6, 6)]


@pytest.mark.parametrize("axes", [(1,), (0, 2), (0, 3), (3,)])
def test_a_sum_over_a_part_of_a_window_stays(axes: tuple[int, ...]) -> None:
    assert sizes_of(changed(layer(axes=axes)), "reduce_sum") == [(6, 6)]
