"""Each pass on the smallest graph that shows it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Builder, Graph, LeafType, Sequence, Tensor
from fedlang.ir.text import parse_graph, print_graph
from fedlang.ir.verify import verify_graph
from fedlang.passes.common import merge_common
from fedlang.passes.constants import fold_constants
from fedlang.passes.dead import remove_dead
from fedlang.passes.hoist import hoist_invariants
from fedlang.passes.inline import inline
from fedlang.passes.scale import sink_scales
from fedlang.types.dims import named

from .programs import Write, graph_of, real, run

N, M = named("n"), named("m")
BOOL = Tensor("bool")
INT = Tensor("int32")
SINGLE = Tensor("float32")


def ops(graph: Graph) -> list[str]:
    """The operations, parameters left out."""
    return [node.op for node in graph.nodes if node.op != "parameter"]


def constant(b: Write, value: Any, dtype: str = "float64") -> int:
    return b.add("constant", (), Tensor(dtype), value=value)


# Constants.


def folded(dtype: str, op: str, *values: Any, result: str = "") -> Any:
    """What constant folding makes of one operation on constants; the operation's name where it leaves it."""
    graph = graph_of([], lambda b: b.op(op, *(constant(b, v, dtype) for v in values), type=Tensor(result or dtype)))
    node = fold_constants(graph).nodes[-1]
    return node.attribute("value") if node.op == "constant" else node.op


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (folded("float32", "add", 0.1, 0.2), float(np.float32(0.1) + np.float32(0.2))),
        (folded("float64", "add", 0.1, 0.2), 0.1 + 0.2),
        (folded("int8", "add", 127, 1), -128),
        (folded("uint8", "negate", 1), 255),
        (folded("int32", "floor_divide", -7, 2), -4),
        (folded("int32", "floor_divide", 1, 0), "floor_divide"),
        (folded("float32", "less", 1.0, 2.0, result="bool"), True),
        (folded("float32", "multiply", 1e-30, 1e-10), "multiply"),  # subnormal
        (folded("float32", "negate", 0.0), "negate"),  # minus zero
        (folded("float32", "divide", 0.0, 0.0), "divide"),  # not a number
        (folded("float32", "divide", 1.0, 0.0), math.inf),
        (folded("float32", "exp", 1.0), "exp"),
        (folded("float32", "cast", 2.9, result="int32"), 2),
        (folded("float32", "cast", 1e30, result="int32"), 2**31 - 1),
        (folded("int64", "cast", 2**53 + 1, result="float64"), float(2**53)),
        (folded("int32", "cast", 300, result="uint8"), 44),
        (folded("bool", "cast", True, result="float32"), 1.0),
    ],
)
def test_scalars_are_computed_as_executors_do(found: Any, expected: Any) -> None:
    assert (found, type(found)) == (expected, type(expected))


Simplified = tuple[list[LeafType], Callable[..., Any], list[str]]
ROW, SQUARE = real(3), real(2, 2)
SIMPLER: dict[str, Simplified] = {
    "x * 1": ([ROW], lambda b, x: b.op("multiply", x, b.number(1.0, 3)), []),
    "x + 0 stays": ([ROW], lambda b, x: b.op("add", x, b.number(0.0, 3)), ["constant", "broadcast", "add"]),
    "x * 0 stays": ([ROW], lambda b, x: b.op("multiply", x, b.number(0.0, 3)), ["constant", "broadcast", "multiply"]),
    "x - 0": ([ROW], lambda b, x: b.op("subtract", x, b.number(0.0, 3)), []),
    "x / 1": ([ROW], lambda b, x: b.op("divide", x, b.number(1.0, 3)), []),
    "integer x + 0": ([INT], lambda b, x: b.op("add", constant(b, 0, "int32"), x), []),
    "integer x * 0": ([INT], lambda b, x: b.op("multiply", constant(b, 0, "int32"), x), ["constant"]),
    "filled": ([], lambda b: b.op("add", b.number(1.0, 3), b.number(2.0, 3)), ["constant", "broadcast"]),
    "select on constant": ([ROW, ROW], lambda b, x, y: b.op("select", wide(b, True), x, y), []),
    "select of equals": ([Tensor("bool", (3,)), ROW], lambda b, c, x: b.op("select", c, x, x), []),
    "and true": ([BOOL], lambda b, x: b.op("logical_and", x, constant(b, True, "bool")), []),
    "or true": ([BOOL], lambda b, x: b.op("logical_or", constant(b, True, "bool"), x), ["constant"]),
    "not not": ([BOOL], lambda b, x: b.op("logical_not", b.op("logical_not", x)), []),
    "minus minus": ([ROW], lambda b, x: b.op("negate", b.op("negate", x)), []),
    "broadcast twice": (
        [ROW],
        lambda b, x: spread(b, spread(b, x, real(2, 3), 1), real(4, 2, 3), 1, 2),
        ["broadcast"],
    ),
    "reshape back": ([SQUARE], lambda b, x: b.op("reshape", b.op("reshape", x, type=real(4)), type=SQUARE), []),
    "transpose back": ([SQUARE], lambda b, x: turned(b, turned(b, x)), []),
    "transpose into matmul": ([SQUARE, SQUARE], lambda b, x, y: product(b, turned(b, x), y), ["matmul"]),
    "cast to itself": ([ROW], lambda b, x: b.op("cast", x, type=ROW), []),
    "slice of all": ([ROW], lambda b, x: b.op("slice", x, type=ROW, axis=0, start=0, stop=3), []),
    "known size": ([], lambda b: b.add("size", (), INT, dimension=3), ["constant"]),
    "named size stays": ([real(N)], lambda b, x: b.add("size", (), INT, dimension=N), ["size"]),
    "rows stacked": ([SQUARE], lambda b, x: b.op("stack", rows(b, x), type=SQUARE), []),
    "cond on constant": ([ROW], lambda b, x: choice(b, constant(b, True, "bool"), x), ["negate"]),
}  # fmt: skip


def spread(b: Write, x: int, type: Tensor, *axes: int) -> int:
    return b.op("broadcast", x, type=type, axes=axes)


def product(b: Write, x: int, y: int) -> int:
    return b.op("matmul", x, y, type=SQUARE, transpose_a=False, transpose_b=False)


def rows(b: Write, x: int) -> int:
    return b.op("unstack", x, type=Sequence(real(2), 2))


def wide(b: Write, value: bool) -> int:
    return b.add("broadcast", (constant(b, value, "bool"),), Tensor("bool", (3,)), axes=())


def turned(b: Write, x: int) -> int:
    return b.op("transpose", x, type=SQUARE, permutation=(1, 0))


def choice(b: Write, condition: int, x: int) -> int:
    then, otherwise = (graph_of([ROW], lambda b, x, op=op: b.op(op, x)) for op in ("negate", "abs"))
    return b.get(b.add("cond", (condition, x), (ROW,), then=then, otherwise=otherwise), 0)


@pytest.mark.parametrize("name", SIMPLER)
def test_detours_are_removed(name: str) -> None:
    types, body, expected = SIMPLER[name]
    graph = graph_of(types, body)
    simpler = fold_constants(graph)
    assert ops(simpler) == expected
    given = [sample(type) for type in types]
    if not any(type.shape and not isinstance(type.shape[0], int) for type in types if isinstance(type, Tensor)):
        for a, b in zip(run(simpler, *given), run(graph, *given), strict=True):
            np.testing.assert_array_equal(a, b)


def sample(type: LeafType) -> Any:
    """Some value of a type whose sizes are known."""
    assert isinstance(type, Tensor)
    shape = tuple(size if isinstance(size, int) else 2 for size in type.shape)
    return (np.arange(math.prod(shape)) + 1).reshape(shape).astype(type.dtype)


def test_a_check_that_holds_goes_and_one_that_fails_stays() -> None:
    def body(b: Write) -> tuple[int, ...]:
        for value in (True, False):
            b.add_effect("check", (constant(b, value, "bool"),), message=str(value))
        return ()

    checks = [node.attribute("message") for node in fold_constants(graph_of([], body)).nodes if node.op == "check"]
    assert checks == ["False"]


def test_a_result_stays_at_its_place() -> None:
    text = """graph {
      %0 = parameter {index = 0} : float32
      %1 = constant {value = 1.0} : float32
      %2 = multiply(%0, %1) : float32 @clients
      results %2
    }"""
    assert fold_constants(parse_graph(text)).nodes[-1].place == "clients"


# Common subexpressions.


def test_equal_nodes_are_merged_but_effects_are_not() -> None:
    text = """graph {
      %0 = parameter {index = 0} : bool
      %1 = logical_not(%0) : bool
      %2 = logical_not(%0) : bool
      %3 = check(%1) {message = "a"} : ()
      %4 = check(%2) {message = "a"} : ()
      %5 = logical_and(%1, %2) : bool
      effects %3, %4
      results %5
    }"""
    assert ops(merge_common(parse_graph(text))) == ["logical_not", "check", "check", "logical_and"]


def test_two_zeros_of_different_dtypes_stay_two() -> None:
    graph = graph_of([], lambda b: (constant(b, 0, "int32"), constant(b, 0.0, "float32"), constant(b, 0, "int32")))
    assert ops(merge_common(graph)) == ["constant", "constant"]


# Dead code.

PAIR = real(), real()


def looped(step: Callable[..., tuple[int, ...]], read: tuple[int, ...], carries: int, outputs: int) -> Graph:
    """A fold over a row with one captured value and some carries, of which some results are read."""
    body = graph_of([real()] * (2 + carries), step)

    def whole(b: Write, captured: int, *rest: int) -> tuple[int, ...]:
        types = (*[real()] * carries, *[real(N)] * outputs)
        node = b.add("fold", (captured, *rest), types, body=body, captured=1, carries=carries, reverse=False)
        return tuple(b.get(node, k) for k in read)

    return graph_of([*[real()] * (1 + carries), real(N)], whole)


def fold_of(graph: Graph) -> Any:
    return next(node for node in graph.nodes if node.op == "fold")


def shape_of(graph: Graph) -> tuple[int, int, int]:
    """Of the graph's fold: what it captures, what it carries, all its results."""
    verify_graph(graph, level="local")
    node = fold_of(graph)
    return node.attribute("captured"), node.attribute("carries"), len(node.type)


def test_a_carry_that_only_feeds_itself_goes() -> None:
    graph = looped(lambda b, k, c, d, x: (b.op("add", c, x), b.op("multiply", d, k)), (0,), 2, 0)
    slim = remove_dead(graph)
    assert shape_of(slim) == (0, 1, 1)
    assert run(slim, 2.0, 1.0, 5.0, np.arange(3.0)) == run(graph, 2.0, 1.0, 5.0, np.arange(3.0)) == [4.0]


def test_a_carry_that_a_live_one_reads_stays() -> None:
    graph = looped(lambda b, k, c, d, x: (b.op("add", c, d), b.op("multiply", d, k)), (0,), 2, 0)
    assert shape_of(remove_dead(graph)) == (1, 2, 2)


def test_an_output_that_nobody_reads_goes() -> None:
    graph = looped(lambda b, k, c, x: (b.op("add", c, x), b.op("exp", k), b.op("square", x)), (2,), 1, 2)
    slim = remove_dead(graph)
    assert shape_of(slim) == (0, 0, 1)
    np.testing.assert_array_equal(run(slim, 2.0, 1.0, np.arange(3.0))[0], [0, 1, 4])


def test_a_loop_that_only_checks_stays() -> None:
    def step(b: Write, k: int, c: int, x: int) -> tuple[int, ...]:
        b.add_effect("check", (b.op("less", x, k, type=BOOL),), message="small")
        return (b.op("add", c, x),)

    graph = looped(step, (), 1, 0)
    slim = remove_dead(graph)
    assert shape_of(slim) == (1, 0, 0)
    with pytest.raises(DiagnosticError):
        run(slim, 2.0, 1.0, np.arange(3.0))


def test_a_loop_keeps_something_to_count_by() -> None:
    graph = looped(lambda b, k, c, x: (b.op("add", c, k),), (0,), 1, 0)
    assert run(remove_dead(graph), 2.0, 1.0, np.arange(3.0)) == [7.0]


def test_a_body_keeps_what_tells_a_size() -> None:
    """Counting the examples of batches reads none of them."""
    body = graph_of([INT, real(M, 2)], lambda b, c, x: b.op("add", c, b.add("size", (), INT, dimension=M)))

    def whole(b: Write, batches: int) -> int:
        start = b.add("constant", (), INT, value=0)
        return b.get(b.add("fold", (start, batches), (INT,), body=body, captured=0, carries=1, reverse=False), 0)

    graph = graph_of([Sequence(real(M, 2), N)], whole)
    assert len(fold_of(remove_dead(graph)).attribute("body").parameters) == 2


def test_a_size_keeps_what_tells_it() -> None:
    def body(b: Write, x: int, flags: int) -> int:
        b.op("filter", b.op("unstack", x, type=Sequence(real(), 3)), flags, type=Sequence(real(), M))
        return b.add("size", (), INT, dimension=M)

    graph = remove_dead(graph_of([ROW, Tensor("bool", (3,))], body))
    assert run(graph, np.arange(3.0), np.array([True, False, True])) == [2]


def test_branches_lose_what_nobody_reads() -> None:
    then = graph_of([real(), real()], lambda b, x, y: (b.op("exp", x), b.op("exp", y)))
    otherwise = graph_of([real(), real()], lambda b, x, y: (x, y))

    def whole(b: Write, c: int, x: int, y: int) -> int:
        return b.get(b.add("cond", (c, x, y), (real(), real()), then=then, otherwise=otherwise), 1)

    slim = remove_dead(graph_of([BOOL, real(), real()], whole))
    verify_graph(slim, level="local")
    assert [len(node.inputs) for node in slim.nodes if node.op == "cond"] == [2]
    assert run(slim, np.array(False), 1.0, 2.0) == [2.0]


def test_fields_of_an_aggregate_that_nobody_reports_go() -> None:
    """State (a, b, c): a is reported, b feeds a, c feeds itself alone."""
    zero = graph_of([], lambda b: tuple(b.number(0.0) for _ in range(3)))
    accumulate = graph_of(
        [real()] * 5,
        lambda b, a, s, c, x, y: (b.op("add", a, s), b.op("add", s, x), b.op("add", c, y)),
    )
    merge = graph_of([real()] * 6, lambda b, *s: tuple(b.op("add", s[k], s[k + 3]) for k in range(3)))
    report = graph_of([real()] * 3, lambda b, a, s, c: (a, c))

    b = Builder()
    x, y = b.parameter(real(), place="clients"), b.parameter(real(), place="clients")
    graphs = {"zero": zero, "accumulate": accumulate, "merge": merge, "report": report}
    node = b.add("federated_aggregate", (x, y), PAIR, place="server", captured=0, **graphs)
    slim = remove_dead(b.finish((b.get(node, 0),)))
    verify_graph(slim, level="federated")
    (left,) = (node for node in slim.nodes if node.op == "federated_aggregate")
    assert len(left.inputs) == 1
    assert len(left.attribute("zero").results) == 2  # type: ignore[union-attr]


def test_a_field_nobody_reads_is_not_sent() -> None:
    b = Builder()
    x, y = b.parameter(SINGLE, place="clients"), b.parameter(SINGLE, place="clients")
    sums = [b.add("federated_sum", (each,), SINGLE, place="server") for each in (x, y)]
    assert ops(remove_dead(b.finish((sums[0],)))) == ["federated_sum"]


# Loop invariants.


def test_what_only_needs_captured_values_leaves_the_loop() -> None:
    graph = looped(lambda b, k, c, x: (b.op("add", c, b.op("multiply", b.op("exp", k), x)),), (0,), 1, 0)
    hoisted = remove_dead(hoist_invariants(graph))
    verify_graph(hoisted, level="local")
    assert ops(fold_of(hoisted).attribute("body")) == ["multiply", "add"]
    assert "exp" in ops(hoisted)
    given = 0.5, 1.0, np.arange(3.0)
    assert run(hoisted, *given) == run(graph, *given)


def test_what_rearranges_or_needs_an_elements_size_stays() -> None:
    def step(b: Write, k: int, c: int, x: int) -> int:
        spread = b.op("square", b.op("broadcast", k, type=real(M), axes=()))
        return b.op("add", c, b.sum(b.op("multiply", spread, x)))

    body = graph_of([real(), real(), real(M)], step)

    def whole(b: Write, k: int, c: int, xs: int) -> int:
        return b.get(b.add("fold", (k, c, xs), (real(),), body=body, captured=1, carries=1, reverse=False), 0)

    graph = graph_of([real(), real(), Sequence(real(M), N)], whole)
    assert print_graph(hoist_invariants(graph)) == print_graph(graph)


# Inlining.


def doubling(depth: int) -> Graph:
    """A function that calls the one below twice, with different arguments: 2^depth operations."""
    body = graph_of([real()], lambda b, x: b.op("exp", x))
    for level in range(depth):

        def twice(b: Write, x: int, inner: Graph = body, name: str = f"f{level}") -> int:
            calls = [b.get(b.add("call", (y,), (real(),), body=inner, name=name), 0) for y in (x, b.op("square", x))]
            return b.op("add", *calls)

        body = graph_of([real()], twice)
    return body


def test_calls_are_replaced() -> None:
    graph = doubling(3)
    flat = inline(graph)
    assert not any(node.op == "call" for node in flat.nodes)
    assert run(flat, 0.5) == pytest.approx([sum(math.exp(0.5**2**k) * n for k, n in enumerate((1, 3, 3, 1)))])


def test_calls_take_the_place_of_the_call() -> None:
    b = Builder()
    x = b.parameter(real(), place="server")
    body = graph_of([real()], lambda b, x: b.op("exp", x))
    graph = b.finish((b.get(b.add("call", (x,), (real(),), place="server", body=body, name="f"), 0),))
    assert inline(graph).nodes[-1].place == "server"


def test_too_many_operations_are_refused_with_the_chain_of_calls() -> None:
    chain = [
        graph_of([real()] * 1, lambda b, x: b.op("add", b.op("exp", x), b.op("square", x))),
    ]
    for level in range(30):

        def twice(b: Write, x: int, inner: Graph = chain[-1], name: str = f"f{level}") -> int:
            first = b.get(b.add("call", (x,), (real(),), body=inner, name=name), 0)
            second = b.get(b.add("call", (b.op("log", x),), (real(),), body=inner, name=name), 0)
            return b.op("multiply", first, second)

        chain.append(graph_of([real()], twice))
    with pytest.raises(DiagnosticError, match="f29 -> f28"):
        inline(chain[-1], budget=200)


# Scales.


def scaled_product(
    x: tuple[Any, ...], dy: tuple[Any, ...], dtype: str = "float32", *, twice: bool = False, turned: bool = False
) -> Graph:
    """`rate * (x^T dy)`; with `twice` the product is a result, too, and with `turned` the rate stands behind."""
    types: list[LeafType] = [Tensor(dtype), Tensor(dtype, x), Tensor(dtype, dy)]
    type = Tensor(dtype, (x[1], dy[1]))

    def make(b: Write, rate: int, x: int, dy: int) -> Any:
        product = b.op("matmul", x, dy, type=type, transpose_a=True, transpose_b=False)
        spread = b.op("broadcast", rate, type=type, axes=())
        step = b.op("multiply", *((product, spread) if turned else (spread, product)), type=type)
        return (step, product) if twice else step

    return graph_of(types, make)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("x", [(N, 784), (3, 784)])
def test_a_scale_goes_to_the_smaller_factor_of_a_product(x: tuple[Any, ...], *, turned: bool) -> None:
    before = scaled_product(x, (x[0], 10), turned=turned)
    graph = remove_dead(sink_scales(before))
    assert ops(graph) == ["broadcast", "multiply", "matmul"]
    assert graph.nodes[-2].tensor.shape == (x[0], 10)
    random = np.random.default_rng(0)
    given = [np.float32(0.1), *(random.standard_normal((3, k), dtype=np.float32) for k in (784, 10))]
    np.testing.assert_allclose(run(graph, *given)[0], run(before, *given)[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "graph",
    [
        scaled_product((N, 784), (N, 10), twice=True),  # it would be computed twice
        scaled_product((2000, 4), (2000, 4)),  # the factors are larger
        scaled_product((N, 784), (N, 10), "float16"),  # a small rate may take it out of its range
        scaled_product((N, 784), (N, 10), "int32"),
    ],
    ids=["read twice", "smaller", "half", "whole"],
)
def test_other_scales_stay(graph: Graph) -> None:
    assert ops(remove_dead(sink_scales(graph))) == ops(graph)
