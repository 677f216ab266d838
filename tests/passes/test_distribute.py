"""Loops without the products that no step waits for, and padded pieces joined: the same values with less in the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlang.ir.graph import Graph, LeafType, Node, Sequence, Tensor
from fedlang.ir.verify import verify_graph
from fedlang.passes.dead import remove_dead
from fedlang.passes.distribute import distribute_loops
from fedlang.passes.join import join_pads
from fedlang.passes.order import run_passes
from fedlang.types.dims import named

from .programs import Write, elementwise_rules, graph_of, real, run, value_and_gradient

N, T = named("n"), named("t")


def ops(graph: Graph) -> list[str]:
    """The operations, parameters left out."""
    return [node.op for node in graph.nodes if node.op != "parameter"]


def folds(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op == "fold"]


def products(graph: Graph) -> list[int]:
    """How many products each loop has in its body."""
    return [ops(node.bodies[0]).count("matmul") for node in folds(graph)]


def distributed(graph: Graph) -> Graph:
    found = remove_dead(distribute_loops(graph))
    verify_graph(found, level="local")
    return found


def recurrent(n: Any, inner: int, steps: Any = T, *, reverse: bool = False) -> Graph:
    """The sum of squares of what h' = tanh(x[t] w + h u) gives over all steps: of w, u, h and x."""

    def step(b: Write, w: int, u: int, h: int, x: int) -> tuple[int, int]:
        a, c = (
            b.op("matmul", rows, matrix, type=real(n, inner), transpose_a=False, transpose_b=False)
            for rows, matrix in ((x, w), (h, u))
        )
        new = b.op("tanh", b.op("add", a, c))
        return new, new

    body = graph_of([real(3, inner), real(inner, inner), real(n, inner), real(n, 3)], step)

    def whole(b: Write, w: int, u: int, h: int, x: int) -> int:
        types = (real(n, inner), real(steps, n, inner))
        loop = b.add("fold", (w, u, h, x), types, body=body, captured=2, carries=1, reverse=reverse)
        return b.op("add", b.sum(b.op("square", b.get(loop, 1))), b.sum(b.get(loop, 0)))

    return graph_of([real(3, inner), real(inner, inner), real(n, inner), real(steps, n, 3)], whole)


def compiled(graph: Graph, after: str) -> Graph:
    return remove_dead(run_passes(graph, after, elementwise_rules))


@given(st.integers(0, 5), st.integers(1, 4), st.booleans(), st.integers(0, 9))
def test_a_recurrent_layer_and_its_derivative_keep_their_values(t: int, n: int, reverse: bool, seed: int) -> None:
    graph = value_and_gradient(recurrent(N, 8, reverse=reverse), 4)
    before, after = compiled(graph, "hoist"), compiled(graph, "distribute")
    assert products(before) == [2, 4]
    assert products(after) == [1, 1]  # h u, and the cotangent of h
    assert [node.attribute("carries") for node in folds(before)] == [1, 3]
    assert [node.attribute("carries") for node in folds(after)] == [1, 1]
    random = np.random.default_rng(seed)
    values = [random.standard_normal(shape) for shape in ((3, 8), (8, 8), (n, 8), (t, n, 3))]
    for found, wanted in zip(run(after, *values), run(before, *values), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("rows", "sums"), [(1, 0), (2, 1)])
def test_what_a_sum_needs_is_kept_where_it_is_no_more_than_the_elements(rows: int, sums: int) -> None:
    def step(b: Write, h: int, c: int, x: int) -> tuple[int, int]:
        new = b.op(
            "tanh",
            b.op(
                "add", h, b.op("broadcast", b.op("reduce_sum", x, type=real(4), axes=(0,)), type=real(2, 4), axes=(1,))
            ),
        )
        return new, b.op("add", c, b.op("matmul", new, new, type=real(4, 4), transpose_a=True, transpose_b=False))

    body = graph_of([real(2, 4), real(4, 4), real(rows, 4)], step)

    def whole(b: Write, h: int, c: int, x: int) -> tuple[int, int]:
        loop = b.add("fold", (h, c, x), (real(2, 4), real(4, 4)), body=body, captured=0, carries=2, reverse=False)
        return b.get(loop, 0), b.get(loop, 1)

    graph = graph_of([real(2, 4), real(4, 4), real(T, rows, 4)], whole)
    after = distributed(graph)
    assert [node.attribute("carries") for node in folds(after)] == [2 - sums]
    values = [np.random.default_rng(0).standard_normal(shape) for shape in ((2, 4), (4, 4), (5, rows, 4))]
    for found, wanted in zip(run(after, *values), run(graph, *values), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


@given(st.booleans(), st.booleans(), st.integers(0, 4), st.booleans(), st.integers(0, 9))
def test_sums_of_elements_need_no_loop(ta: bool, tb: bool, t: int, first: bool, seed: int) -> None:
    x_type, y_type = real(*((4, 2) if ta else (2, 4))), real(*((3, 4) if tb else (4, 3)))
    total, sums = real(2, 3), real(x_type.shape[1])

    def step(b: Write, c: int, s: int, x: int, y: int) -> tuple[int, int]:
        product = b.op("matmul", x, y, type=total, transpose_a=ta, transpose_b=tb)
        rows = b.op("reduce_sum", x, type=sums, axes=(0,))
        return b.op("add", *((product, c) if first else (c, product))), b.op("add", s, rows)

    body = graph_of([total, sums, x_type, y_type], step)

    def whole(b: Write, c: int, s: int, x: int, y: int) -> tuple[int, int]:
        loop = b.add("fold", (c, s, x, y), (total, sums), body=body, captured=0, carries=2, reverse=False)
        return b.get(loop, 0), b.get(loop, 1)

    graph = graph_of([total, sums, *(real(T, *type.shape) for type in (x_type, y_type))], whole)
    after = distributed(graph)
    assert not folds(after)
    random = np.random.default_rng(seed)
    shapes = [total.shape, sums.shape, *((t, *type.shape) for type in (x_type, y_type))]
    values = [random.standard_normal(shape) for shape in shapes]  # type: ignore[arg-type]
    for found, wanted in zip(run(after, *values), run(graph, *values), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def loop_of(step: Any, *, dtype: str = "float64", over: LeafType | None = None, outputs: int = 0) -> Graph:
    """A fold of a captured matrix, a carried one and rows, all of 2 by 2."""
    square = Tensor(dtype, (2, 2))
    body = graph_of([square, square, square], step)
    types = (square, *[Tensor(dtype, (T, 2, 2))] * outputs)

    def whole(b: Write, w: int, c: int, x: int) -> tuple[int, ...]:
        loop = b.add("fold", (w, c, x), types, body=body, captured=1, carries=1, reverse=False)
        return tuple(b.get(loop, k) for k in range(1 + outputs))

    return graph_of([square, square, over or Tensor(dtype, (T, 2, 2))], whole)


def times(b: Write, x: int, y: int) -> int:
    return b.op("matmul", x, y, transpose_a=False, transpose_b=False)


@pytest.mark.parametrize(
    "graph",
    [
        loop_of(lambda b, w, c, x: (b.op("add", c, times(b, x, c)),)),  # the next step waits for the sum
        loop_of(lambda b, w, c, x: (b.op("add", c, times(b, x, w)),)),  # one factor is the same in all steps
        loop_of(lambda b, w, c, x: (b.op("add", c, b.op("tanh", times(b, x, x))),)),  # a sum of other things
        loop_of(lambda b, w, c, x: (b.op("subtract", c, times(b, x, x)),)),
        loop_of(lambda b, w, c, x: (b.op("add", c, times(b, x, x)), c), outputs=1),  # what it was is a result
        loop_of(lambda b, w, c, x: (b.op("add", c, times(b, x, x)),), dtype="float16"),
        loop_of(lambda b, w, c, x: (b.op("add", c, times(b, x, x)),), over=Sequence(real(2, 2), T)),
    ],
    ids=["recurrence", "captured", "tanh", "difference", "prefixes", "half", "sequence"],
)
def test_other_loops_stay(graph: Graph) -> None:
    assert products(distributed(graph)) == products(graph)


def test_products_by_what_is_captured_leave_at_both_ends() -> None:
    def step(b: Write, w: int, c: int, x: int) -> tuple[int, ...]:
        new = b.op("tanh", b.op("add", times(b, c, x), times(b, x, w)))
        return new, times(b, x, w), new, times(b, new, w)

    graph = loop_of(step, outputs=3)
    after = distributed(graph)
    assert products(after) == [1]
    assert ops(after).count("matmul") == 2
    random = np.random.default_rng(0)
    for t in (0, 1, 5):
        values = [random.standard_normal(shape) for shape in ((2, 2), (2, 2), (t, 2, 2))]
        for found, wanted in zip(run(after, *values), run(graph, *values), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-9)


# Padded pieces.


def padded(b: Write, x: int, before: int, after: int, *, axis: int = 1) -> int:
    size = [*b.nodes[x].tensor.shape]
    size[axis] += before + after  # type: ignore[operator]
    return b.op("pad", x, type=real(*size), axis=axis, before=before, after=after)


def added(*places: tuple[int, int, int]) -> Graph:
    """Pieces of so many columns, each padded by so many before and after, and added up from the left."""

    def make(b: Write, *pieces: int) -> int:
        total, *rest = (padded(b, x, before, after) for x, (_, before, after) in zip(pieces, places, strict=True))
        for each in rest:
            total = b.op("add", total, each)
        return total

    return graph_of([real(N, width) for width, _, _ in places], make)


@pytest.mark.parametrize(
    "graph",
    [added((2, 0, 3), (3, 2, 0)), added((1, 4, 0), (2, 0, 3), (2, 2, 1)), added((3, 1, 0), (1, 0, 3))],
    ids=["in order", "in any order", "from behind"],
)
def test_pieces_that_fill_each_others_gaps_are_joined(graph: Graph) -> None:
    after = join_pads(graph)
    verify_graph(after, level="local")
    assert ops(after) == ["concat"]
    random = np.random.default_rng(0)
    values = [random.standard_normal((4, type.shape[1])) for type in graph.parameter_types()]  # type: ignore[union-attr, arg-type]
    np.testing.assert_array_equal(run(after, *values)[0], run(graph, *values)[0])


@pytest.mark.parametrize(
    "graph",
    [added((2, 0, 3), (2, 3, 0)), added((3, 0, 2), (3, 2, 0)), added((5, 0, 0), (5, 0, 0))],
    ids=["a gap", "an overlap", "the same place"],
)
def test_other_pieces_are_added(graph: Graph) -> None:
    assert ops(join_pads(graph)) == ops(graph)


def test_pieces_along_two_axes_are_added() -> None:
    graph = graph_of(
        [real(2, 4), real(4, 2)], lambda b, x, y: b.op("add", padded(b, x, 2, 0, axis=0), padded(b, y, 2, 0))
    )
    assert ops(join_pads(graph)) == ops(graph)


def test_the_derivative_of_all_slices_is_one_piece() -> None:
    def loss(b: Write, x: int) -> int:
        parts = [b.op("slice", x, type=real(N, 2), axis=1, start=k, stop=k + 2) for k in (0, 2, 4)]
        first, second, third = (b.sum(b.op("square", each)) for each in parts)
        return b.op("add", b.op("add", first, second), third)

    graph = value_and_gradient(graph_of([real(N, 6)], loss), 1, value=False)
    after = compiled(graph, "join")
    assert "pad" not in ops(after)
    assert ops(after).count("concat") == 1
    x = np.random.default_rng(0).standard_normal((3, 6))
    np.testing.assert_allclose(run(after, x)[0], 2 * x)
