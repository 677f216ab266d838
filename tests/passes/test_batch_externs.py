"""Functions from Python in a batched graph: one node for all clients, where they allow it."""

from __future__ import annotations

import pytest

from fedlang.ir.graph import Graph, Node, Tensor
from fedlang.ir.text import parse_graph, print_graph
from fedlang.ir.verify import verify_graph
from fedlang.passes.batch import Batched, NotBatchable, batch_graph
from fedlang.types.dims import Size, named
from tests.passes.programs import Write

F32 = "float32"
N = named("n")


def call(*shapes: tuple[Size, ...], result: tuple[Size, ...] = ()) -> Graph:
    """A function of arguments of these shapes, the first of them shared."""
    write = Write()
    arguments = tuple(write.parameter(Tensor(F32, shape)) for shape in shapes)
    node = write.add("extern", arguments, (Tensor(F32, result),), handle="called")
    return write.finish((write.get(node, 0),))


def together(graph: Graph, *, varies: bool = True) -> Batched:
    return batch_graph(graph, (False, *[varies] * (len(graph.parameter_types()) - 1)), apart=lambda handle: "")


def calls(batched: Batched) -> list[Node]:
    verify_graph(batched.graph, level="local")
    assert print_graph(parse_graph(print_graph(batched.graph))) == print_graph(batched.graph)
    return [node for node in batched.graph.nodes if node.op == "extern"]


def test_a_function_that_says_nothing_is_called_client_by_client() -> None:
    with pytest.raises(NotBatchable, match="`called` from Python is called for one client at a time"):
        batch_graph(call((3,), (N, 3)), (False, True))


def test_the_reason_is_that_of_the_function() -> None:
    with pytest.raises(NotBatchable, match="because called"):
        batch_graph(call((3,), (N, 3)), (False, True), apart=lambda handle: f"because {handle}")


def test_a_shared_argument_stays_shared_and_rows_are_counted() -> None:
    batched = together(call((3,), (N, 3)))
    (node,) = calls(batched)
    assert (node.attribute("batched"), node.attribute("padded")) == ((0, 1), True)
    weights, rows, counts = (batched.graph.nodes[i].tensor for i in node.inputs)
    assert weights.shape == (3,)
    assert len(rows.shape) == 3
    assert (counts.dtype, len(counts.shape)) == ("int32", 1)


def test_without_padding_nothing_is_counted() -> None:
    (node,) = calls(together(call((3,), (5, 3))))
    assert node.attribute("padded") is False
    assert len(node.inputs) == 2


def test_a_call_on_what_all_share_is_made_once() -> None:
    (node,) = calls(together(call((3,), (4,)), varies=False))
    assert "batched" not in dict(node.attributes)


def test_padding_that_may_be_anything_is_zero_for_the_function() -> None:
    write = Write()
    rows = write.parameter(Tensor(F32, (N, 3)))
    node = write.add("extern", (write.op("exp", rows),), (Tensor(F32),), handle="called")
    batched = batch_graph(write.finish((write.get(node, 0),)), (True,), apart=lambda handle: "")
    (found,) = calls(batched)
    assert batched.graph.nodes[found.inputs[0]].op == "select"


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (call((3,), (N, 3), (named("m"), 3)), "differ in several sizes"),
        (call((3,), (3, N)), "differ in several sizes"),
        (call((3,), (N, 3), result=(named("k"),)), "a result of a size of its own"),
    ],
)
def test_sizes_that_no_count_describes_are_refused(graph: Graph, reason: str) -> None:
    with pytest.raises(NotBatchable, match=reason):
        together(graph)
