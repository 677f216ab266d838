"""Derivatives against differences, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph, LeafType, Sequence, Tensor
from fedlang.ir.text import print_graph
from fedlang.passes.dead import remove_dead
from fedlang.passes.differentiate import differentiate
from fedlang.types.dims import named

from .programs import Write, check_gradient, elementwise_rules, graph_of, real, run, value_and_gradient

N = named("n")
RANDOM = np.random.default_rng(0)
INT = Tensor("int32")


def draw(*shape: int) -> Any:
    """Numbers away from zero and from each other."""
    return RANDOM.uniform(0.5, 2.0, shape)


def derive(body: Graph, count: int) -> Graph:
    """The value and the derivatives, cleaned."""
    return remove_dead(differentiate(value_and_gradient(body, count), elementwise_rules))


def weighted(write: Write, x: int) -> int:
    """A scalar that every element of `x` changes differently."""
    return write.sum(write.op("square", x))


Case = tuple[list[LeafType], Callable[..., int], list[Any], int]
WINDOW = {"size": (2, 2), "strides": (2, 2), "padding": "valid"}
STEPS = {"strides": (1, 1), "padding": "same"}
INDEX = np.array([0, 2, 0], np.int32)
ALONG = np.array([[1, 0], [2, 2], [0, 1]], np.int32)


def one(op: str, result: LeafType, *types: LeafType, **attributes: Any) -> Callable[..., int]:
    """A body that squares and sums what one operation gives."""
    return lambda b, *x: weighted(b, b.op(op, *x, type=result, **attributes))


IMAGE, KERNEL, HALF, RESULT = real(1, 4, 4, 2), real(3, 3, 2, 3), real(1, 2, 2, 2), real(1, 4, 4, 3)
COLUMNS = Tensor("int32", (3, 2))
CASES: dict[str, Case] = {
    "broadcast": ([real(3)], one("broadcast", real(2, 3), axes=(1,)), [draw(3)], 1),
    "broadcast of size 1": ([real(1, 3)], one("broadcast", real(2, 4, 3), axes=(1, 2)), [draw(1, 3)], 1),
    "reduce_sum": ([real(2, 3)], one("reduce_sum", real(3), axes=(0,)), [draw(2, 3)], 1),
    "reduce_max": ([real(2, 3)], one("reduce_max", real(2), axes=(1,)), [draw(2, 3)], 1),
    "reshape": ([real(2, 3)], one("reshape", real(6)), [draw(2, 3)], 1),
    "transpose": ([real(2, 3, 4)], one("transpose", real(4, 2, 3), permutation=(2, 0, 1)), [draw(2, 3, 4)], 1),
    "reverse": ([real(4)], one("reverse", real(4), axis=0), [draw(4)], 1),
    "cumulative_sum": ([real(4)], one("cumulative_sum", real(4), axis=0), [draw(4)], 1),
    "slice": ([real(5)], one("slice", real(2), axis=0, start=1, stop=3), [draw(5)], 1),
    "pad": ([real(2)], one("pad", real(5), axis=0, before=1, after=2), [draw(2)], 1),
    "concat": ([real(2), real(3)], one("concat", real(5), axis=0), [draw(2), draw(3)], 2),
    "gather": ([real(3, 2), Tensor("int32", (3,))], one("gather", real(3, 2)), [draw(3, 2), INDEX], 1),
    "scatter_add": (
        [real(3, 2), Tensor("int32", (3,))],
        lambda b, x, i: weighted(b, b.op("scatter_add", i, x, type=real(4, 2))),
        [draw(3, 2), INDEX],
        1,
    ),
    "take_along": ([real(3, 2), COLUMNS], one("take_along", real(3, 2), axis=0), [draw(3, 2), ALONG], 1),
    "put_along": (
        [real(3, 2), COLUMNS],
        lambda b, x, i: weighted(b, b.op("put_along", i, x, type=real(3, 2), axis=0)),
        [draw(3, 2), ALONG],
        1,
    ),
    "sort": (
        [real(4)],
        lambda b, x: b.sum(b.op("multiply", b.op("sort", x, axis=0), b.op("cumulative_sum", x, axis=0))),
        [draw(4)],
        1,
    ),
    "conv2d": ([IMAGE, KERNEL], one("conv2d", real(1, 4, 4, 3), **STEPS), [draw(1, 4, 4, 2), draw(3, 3, 2, 3)], 2),
    "conv2d_input": ([RESULT, KERNEL], one("conv2d_input", IMAGE, **STEPS), [draw(1, 4, 4, 3), draw(3, 3, 2, 3)], 2),
    "conv2d_kernel": ([RESULT, IMAGE], one("conv2d_kernel", KERNEL, **STEPS), [draw(1, 4, 4, 3), draw(1, 4, 4, 2)], 2),
    "max_pool": ([IMAGE], one("max_pool", HALF, **WINDOW), [draw(1, 4, 4, 2)], 1),
    "average_pool": ([IMAGE], one("average_pool", HALF, **WINDOW), [draw(1, 4, 4, 2)], 1),
    "average_pool_gradient": ([HALF], one("average_pool_gradient", IMAGE, **WINDOW), [draw(1, 2, 2, 2)], 1),
    "unstack and stack": (
        [real(3, 2)],
        lambda b, x: weighted(b, b.op("stack", b.op("unstack", x, type=Sequence(real(2), 3)), type=real(3, 2))),
        [draw(3, 2)],
        1,
    ),
}  # fmt: skip
for ta in (False, True):
    for tb in (False, True):
        A, B = ((3, 2) if ta else (2, 3)), ((4, 3) if tb else (3, 4))
        body = one("matmul", real(5, 2, 4), transpose_a=ta, transpose_b=tb)
        CASES[f"matmul {ta} {tb}"] = ([real(5, *A), real(5, *B)], body, [draw(5, *A), draw(5, *B)], 2)


@pytest.mark.parametrize("name", CASES)
def test_a_rule_agrees_with_differences(name: str) -> None:
    types, body, arguments, count = CASES[name]
    graph = graph_of(types, body)
    check_gradient(graph, arguments, count, derive(graph, count))


def test_equal_maxima_share() -> None:
    graph = graph_of([real(3)], lambda b, x: b.op("reduce_max", x, type=real(), axes=(0,)))
    np.testing.assert_array_equal(run(derive(graph, 1), np.array([1.0, 2.0, 2.0]))[1], [0, 0.5, 0.5])


def test_a_training_step_has_no_product_too_many() -> None:
    """Of L layers: L products forward, 2 L - 1 backward, because the data has no derivative."""

    def body(b: Write, first: int, second: int, x: int) -> int:
        hidden = b.op("tanh", b.op("matmul", x, first, type=real(N, 4), transpose_a=False, transpose_b=False))
        return weighted(b, b.op("matmul", hidden, second, type=real(N, 2), transpose_a=False, transpose_b=False))

    graph = graph_of([real(3, 4), real(4, 2), real(N, 3)], body)
    derived = derive(graph, 2)
    assert sum(node.op == "matmul" for node in derived.nodes) == 5
    assert sum(node.op == "tanh" for node in derived.nodes) == 1
    check_gradient(graph, [draw(3, 4), draw(4, 2), draw(5, 3)], 2, derived)


def test_what_the_loss_does_not_need_has_zeros() -> None:
    graph = graph_of([real(2), real(2)], lambda b, x, y: b.sum(x))
    np.testing.assert_array_equal(run(derive(graph, 2), draw(2), draw(2))[2], [0, 0])


def test_nothing_flows_through_stop_gradient() -> None:
    graph = graph_of([real(2)], lambda b, x: b.sum(b.op("multiply", x, b.op("stop_gradient", x))))
    x = draw(2)
    np.testing.assert_array_equal(run(derive(graph, 1), x)[1], x)


def test_an_operation_without_a_derivative_is_told() -> None:
    with pytest.raises(DiagnosticError, match="FED0502"):
        derive(graph_of([real(2)], lambda b, x: b.sum(b.op("erf", x))), 1)


def recurrent(*, reverse: bool = False) -> Graph:
    """loss = sum(c^2) + sum(y^2), where c' = tanh(c A + x U), y = c' * c."""

    def step(b: Write, a: int, u: int, carry: int, x: int) -> tuple[int, int]:
        both = [b.op("reshape", each, type=real(1, size)) for each, size in ((carry, 3), (x, 2))]
        products = [
            b.op("matmul", each, weight, type=real(1, 3), transpose_a=False, transpose_b=False)
            for each, weight in zip(both, (a, u), strict=True)
        ]
        new = b.op("reshape", b.op("tanh", b.op("add", *products)), type=real(3))
        return new, b.op("multiply", new, carry)

    body = graph_of([real(3, 3), real(2, 3), real(3), real(2)], step)

    def loss(b: Write, a: int, u: int, start: int, rows: int) -> int:
        fold = b.add(
            "fold", (a, u, start, rows), (real(3), real(N, 3)), body=body, captured=2, carries=1, reverse=reverse
        )
        return b.op("add", weighted(b, b.get(fold, 0)), weighted(b, b.get(fold, 1)))

    return graph_of([real(3, 3), real(2, 3), real(3), real(N, 2)], loss)


@pytest.mark.parametrize("steps", [0, 1, 6])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_loop_agrees_with_differences(steps: int, reverse: bool) -> None:
    graph = recurrent(reverse=reverse)
    derived = derive(graph, 4)
    check_gradient(graph, [draw(3, 3) - 1, draw(2, 3) - 1, draw(3), draw(steps, 2)], 4, derived)


def test_the_forward_loop_runs_once() -> None:
    derived = derive(recurrent(), 4)
    assert sum(node.op == "fold" for node in derived.nodes) == 2


def test_a_loop_agrees_with_its_steps_written_out() -> None:
    def step(b: Write, w: int, carry: int, x: int) -> int:
        return b.op("tanh", b.op("add", b.op("multiply", w, carry), x))

    body = graph_of([real(), real(), real()], step)

    def looped(b: Write, w: int, start: int, rows: int) -> int:
        fold = b.add("fold", (w, start, rows), (real(),), body=body, captured=1, carries=1, reverse=False)
        return b.get(fold, 0)

    def unrolled(b: Write, w: int, carry: int, rows: int) -> int:
        for t in range(3):
            row = b.op("slice", rows, type=real(1), axis=0, start=t, stop=t + 1)
            carry = step(b, w, carry, b.op("reshape", row, type=real()))
        return carry

    types = [real(), real(), real(3)]
    arguments = [draw(), draw(), draw(3)]
    results = [run(derive(graph_of(types, body), 3), *arguments) for body in (looped, unrolled)]
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_loop_over_a_sequence_of_batches() -> None:
    """The elements differ in size; only what is captured is differentiated."""
    m, size = named("m"), named("b")

    def step(b: Write, w: int, total: int, batch: int) -> int:
        column = b.op("reshape", w, type=real(2, 1))
        product = b.op("matmul", batch, column, type=real(size, 1), transpose_a=False, transpose_b=False)
        return b.op("add", total, weighted(b, product))

    body = graph_of([real(2), real(), real(size, 2)], step)

    def loss(b: Write, w: int, batches: int) -> int:
        fold = b.add("fold", (w, b.number(0.0), batches), (real(),), body=body, captured=1, carries=1, reverse=False)
        return b.get(fold, 0)

    graph = graph_of([real(2), Sequence(real(size, 2), m)], loss)
    batches = run(
        graph_of(
            [real(N, 2), INT],
            lambda b, x, k: b.op(
                "batch", b.op("unstack", x, type=Sequence(real(2), N)), k, type=Sequence(real(size, 2), m)
            ),
        ),
        draw(5, 2),
        np.int32(2),
    )[0]
    check_gradient(graph, [draw(2), batches], 1, derive(graph, 1))


def test_a_map_is_differentiated() -> None:
    def each(b: Write, w: int, x: int) -> int:
        return b.op("multiply", w, b.op("tanh", x))

    body = graph_of([real(2), real(2)], each)

    def loss(b: Write, w: int, x: int) -> int:
        rows = b.op("unstack", x, type=Sequence(real(2), N))
        mapped = b.add("map", (w, rows), Sequence(real(2), N), body=body, captured=1)
        return weighted(b, b.op("stack", mapped, type=real(N, 2)))

    graph = graph_of([real(2), real(N, 2)], loss)
    check_gradient(graph, [draw(2), draw(3, 2)], 2, derive(graph, 2))


@pytest.mark.parametrize("x", [2.0, 0.0])
def test_the_branch_not_taken_gives_nothing(x: float) -> None:
    """where(x > 0, log x, x * x): at 0 the other branch's infinity does not show."""
    then = graph_of([real()], lambda b, x: b.op("log", x))
    otherwise = graph_of([real()], lambda b, x: b.op("multiply", x, x))

    def loss(b: Write, x: int) -> int:
        positive = b.op("greater", x, b.number(0.0), type=Tensor("bool"))
        return b.get(b.add("cond", (positive, x), (real(),), then=then, otherwise=otherwise), 0)

    assert float(run(derive(graph_of([real()], loss), 1), x)[1]) == (0.5 if x else 0.0)


@pytest.mark.parametrize("body", [recurrent(), recurrent(reverse=True)])
def test_second_derivatives_through_a_loop(body: Graph) -> None:
    """A Hessian-vector product: reverse over reverse, against differences of the first derivative."""
    types = body.parameter_types()

    def product(b: Write, *arguments: int) -> int:
        given, vector = arguments[:-1], arguments[-1]
        node = b.add("gradient", given, (types[0],), body=body, count=1, value=False)
        return b.sum(b.op("multiply", b.get(node, 0), vector))

    outer = graph_of([*types, types[0]], product)
    arguments = [draw(3, 3) - 1, draw(2, 3) - 1, draw(3), draw(4, 2), draw(3, 3)]
    inner = differentiate(outer, elementwise_rules)
    check_gradient(inner, arguments, 4, derive(outer, 4))


def test_derived_graphs_stay_small() -> None:
    derived = derive(recurrent(), 4)
    assert len(derived.nodes) < 60, print_graph(derived)


def test_checks_happen_forward_only() -> None:
    def step(b: Write, carry: int, x: int) -> int:
        b.add_effect("check", (b.op("less", x, b.number(9.0), type=Tensor("bool")),), message="small")
        return b.op("multiply", carry, x)

    body = graph_of([real(), real()], step)

    def loss(b: Write, start: int, rows: int) -> int:
        return b.get(b.add("fold", (start, rows), (real(),), body=body, captured=0, carries=1, reverse=False), 0)

    derived = derive(graph_of([real(), real(N)], loss), 2)
    assert print_graph(derived).count("check") == 1
    check_gradient(graph_of([real(), real(N)], loss), [draw(), draw(3)], 2, derived)
