"""All passes together."""

from __future__ import annotations

from cProfile import Profile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.ir.graph import Builder, Graph, Sequence, Tensor
from fedlang.ir.text import parse_graph, print_graph, print_program
from fedlang.ir.verify import InvariantError
from fedlang.passes.order import PASSES, run_passes
from fedlang.passes.phases import to_program
from fedlang.run.executor import Collected
from fedlang.types.dims import named

from .programs import Write, elementwise_rules, graph_of, real, run
from .rounds import run_program

REAL, ROW, BOOL = real(), real(3), Tensor("bool")
M, B = named("m"), named("b")


def averaging() -> Graph:
    """Federated averaging of a linear model: gradient steps over batches, and the weighted mean of the changes."""

    def loss(b: Write, w: int, batch: int) -> int:
        column = b.op("reshape", w, type=real(3, 1))
        product = b.op("matmul", batch, column, type=real(B, 1), transpose_a=False, transpose_b=False)
        return b.sum(b.op("square", product))

    loss_graph = graph_of([ROW, real(B, 3)], loss)

    def step(b: Write, rate: int, w: int, count: int, batch: int) -> tuple[int, int]:
        gradient = b.get(b.add("gradient", (w, batch), (ROW,), body=loss_graph, count=1, value=False), 0)
        scaled = b.op("multiply", b.op("broadcast", rate, type=ROW, axes=()), gradient)
        size = b.op("cast", b.add("size", (), Tensor("int32"), dimension=B), type=REAL)
        return b.op("subtract", w, scaled), b.op("add", count, size)

    step_graph = graph_of([REAL, ROW, REAL, real(B, 3)], step)

    def train(b: Write, rate: int, w: int, batches: int) -> tuple[int, int]:
        start = w, b.number(0.0)
        node = b.add(
            "fold", (rate, *start, batches), (ROW, REAL), body=step_graph, captured=1, carries=2, reverse=False
        )
        return b.op("subtract", b.get(node, 0), w), b.get(node, 1)

    train_graph = graph_of([REAL, ROW, Sequence(real(B, 3), M)], train)
    b = Builder()
    rate = b.parameter(REAL, name="rate")
    weights = b.parameter(ROW, name="state.weights", place="server")
    data = b.parameter(Sequence(real(B, 3), M), name="data", place="clients")
    sent = b.add("federated_broadcast", (weights,), ROW, place="shared", path="weights")
    call = b.add("call", (rate, sent, data), (ROW, REAL), place="clients", body=train_graph, name="train")
    delta, examples = b.get(call, 0), b.get(call, 1)
    mean = b.add("federated_mean", (delta, examples), ROW, place="server", path="delta")
    return b.finish((b.add("add", (weights, mean), ROW, place="server"),))


PROGRAM = """\
program {
  inputs {
    rate : float64
    state.weights : float64[3] @server
    data : float64[b, 3]*[m] @clients
  }
  phase 0 {
    prepare(input 1) {
      %0 = parameter "state.weights" {index = 0} : float64[3]
      results %0
    }
    broadcast the first 1
    work(input 0, input 2, server 0 of phase 0) {
      %0 = parameter "rate" {index = 0} : float64
      %1 = parameter "data" {index = 1} : float64[b, 3]*[m]
      %2 = parameter {index = 2} : float64[3]
      %3 = constant {value = 0.0} : float64
      %4 = fold(%0, %2, %3, %1) {body = graph {
        %0 = parameter {index = 0} : float64
        %1 = parameter {index = 1} : float64[3]
        %2 = parameter {index = 2} : float64
        %3 = parameter {index = 3} : float64[b, 3]
        %4 = reshape(%1) : float64[3, 1]
        %5 = matmul(%3, %4) {transpose_a = false, transpose_b = false} : float64[b, 1]
"""


def test_a_round_of_averaging_becomes_one_phase() -> None:
    program = to_program(run_passes(averaging(), rules=elementwise_rules))
    assert print_program(program).startswith(PROGRAM)
    assert print_program(program).count("matmul(") == 2
    rows = run(
        graph_of(
            [real(4, 3)],
            lambda b, x: b.op(
                "batch",
                b.op("unstack", x, type=Sequence(ROW, 4)),
                b.add("constant", (), Tensor("int32"), value=3),
                type=Sequence(real(B, 3), M),
            ),
        ),
        np.arange(12.0).reshape(4, 3) / 10,
    )[0]
    (found,) = run_program(program, (np.float64(0.1), np.ones(3), [rows, rows]), 2, Collected())
    w, examples = np.ones(3), np.arange(12.0).reshape(4, 3) / 10
    for batch in (examples[:3], examples[3:]):
        w = w - 0.1 * 2 * batch.T @ (batch @ w)
    np.testing.assert_allclose(found, w)


def test_each_stage_reads_as_text() -> None:
    for each in PASSES:
        graph = run_passes(averaging(), stop_after=each.name, rules=elementwise_rules)
        assert parse_graph(print_graph(graph)) == graph


def test_a_pass_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError):
        run_passes(averaging(), stop_after="fly")


def test_a_broken_graph_is_refused_before_the_first_pass() -> None:
    with pytest.raises(InvariantError):
        run_passes(Graph((), (), (0,)))


def long_chain(length: int) -> Graph:
    """Scalars at a server and clients, none of which folds away."""
    b = Builder()
    model, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    value = b.add("federated_broadcast", (model,), REAL, place="shared", path="")
    for k in range(length):
        value = b.add(("add", "multiply", "maximum")[k % 3], (value, data), REAL, place="clients")
    return b.finish((b.add("federated_sum", (value,), REAL, place="server", path=""),))


def test_work_grows_with_the_number_of_nodes_and_no_faster() -> None:
    """Calls of Python functions are counted: seconds say as much of the machine."""

    def calls(length: int) -> int:
        profile = Profile()
        profile.runcall(lambda: to_program(run_passes(long_chain(length))))
        return sum(entry.callcount for entry in profile.getstats())

    few, many = calls(250), calls(2000)
    assert many < 8.5 * few
    assert many < 600 * 2000


UNARY = ["negate", "abs", "square", "exp", "tanh", "round"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]


@st.composite
def local_graphs(draw: st.DrawFn) -> Graph:
    """Rows of three, with constants, loops and choices between them."""
    b = Write()
    b.parameter(ROW), b.parameter(ROW)
    b.number(1.0, 3)
    for _ in range(draw(st.integers(1, 12))):
        rows = [index for index, node in enumerate(b.nodes) if node.type == ROW]
        x, y = draw(st.sampled_from(rows)), draw(st.sampled_from(rows))
        match draw(st.sampled_from(["unary", "binary", "binary", "constant", "compare", "loop", "choice"])):
            case "unary":
                b.op(draw(st.sampled_from(UNARY)), x)
            case "binary":
                b.op(draw(st.sampled_from(BINARY)), x, y)
            case "constant":
                b.number(float(draw(st.integers(0, 2))), 3)
            case "compare":
                b.op("select", b.op("less", x, y, type=Tensor("bool", (3,))), x, y)
            case "loop":
                _loop(b, draw(st.sampled_from(BINARY)), draw(st.sampled_from(UNARY)), x, y)
            case _:
                _choice(b, draw(st.sampled_from(UNARY)), x, y)
    rows = [index for index, node in enumerate(b.nodes) if node.type == ROW]
    return b.finish(tuple(draw(st.lists(st.sampled_from(rows), min_size=1, max_size=3))))


def _loop(b: Write, join: str, one: str, x: int, y: int) -> None:
    def step(b: Write, k: int, first: int, second: int, item: int) -> tuple[int, ...]:
        return b.op(join, first, b.op(one, k)), b.op("add", second, item), b.op("multiply", item, b.sum(k))

    body = graph_of([ROW, ROW, REAL, REAL], step)
    start = b.number(0.0)
    fold = b.add("fold", (x, y, start, y), (ROW, REAL, ROW), body=body, captured=1, carries=2, reverse=False)
    for k in range(3):
        b.get(fold, k)


def _choice(b: Write, op: str, x: int, y: int) -> None:
    then = graph_of([ROW, ROW], lambda b, x, y: (b.op(op, x), b.op("add", x, y)))
    otherwise = graph_of([ROW, ROW], lambda b, x, y: (y, x))
    condition = b.op("less", b.sum(x), b.number(1.0), type=BOOL)
    node = b.add("cond", (condition, x, y), (ROW, ROW), then=then, otherwise=otherwise)
    b.get(node, 0), b.get(node, 1)


@settings(max_examples=60, deadline=None)
@given(local_graphs(), st.sampled_from([0.0, 0.5, -3.0]))
def test_every_pass_keeps_every_bit(graph: Graph, value: float) -> None:
    arguments: list[Any] = [np.array([value, 1.0, -0.0]), np.array([2.0, value, np.inf])]
    expected = run(graph, *arguments)
    for each in PASSES:
        graph = run_passes(graph, passes=(each,))
        for a, b in zip(run(graph, *arguments), expected, strict=True):
            np.testing.assert_array_equal(a, b)
            defined = ~np.isnan(a)
            np.testing.assert_array_equal(np.signbit(a)[defined], np.signbit(b)[defined])
