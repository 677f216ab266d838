"""Graphs as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.ir.graph import Attribute, Builder, Graph, LeafType, Node, Sequence, Tensor
from fedlang.ir.text import GraphSyntaxError, parse_graph, print_graph
from fedlang.types.dims import Size, add, divide, fresh_named, fresh_unknown, multiply, named

from .builders import folding, mean_of_clients

FOLDING = """\
graph {
  %0 = parameter "start" {index = 0} : float32[3]
  %1 = parameter "rows" {index = 1} : float32[n, 3]
  %2 = fold(%0, %1) {body = graph {
    %0 = parameter {index = 0} : float32[3]
    %1 = parameter {index = 1} : float32[3]
    %2 = add(%0, %1) : float32[3]
    %3 = add(%1, %1) : float32[3]
    results %2, %3
  }, captured = 0, carries = 1, reverse = false} : (float32[3], float32[n, 3])
  %3 = get(%2) {index = 0} : float32[3]
  %4 = get(%2) {index = 1} : float32[n, 3]
  results %3, %4
}"""


def test_a_graph_reads_well() -> None:
    assert print_graph(folding()) == FOLDING


def test_places_and_names_survive() -> None:
    graph = mean_of_clients()
    again = parse_graph(print_graph(graph))
    assert again == graph
    assert again.names == graph.names


def test_sizes_that_print_alike_are_told_apart() -> None:
    first, second = fresh_named("n"), fresh_named("n")
    b = Builder()
    x, y, z = (b.parameter(Tensor("float32", (size,))) for size in (second, first, second))
    text = print_graph(b.finish((x, y, z)))
    assert "n'2" in text
    again = parse_graph(text)
    shapes = [type.shape for type in again.parameter_types() if isinstance(type, Tensor)]
    assert shapes[0] == shapes[2] != shapes[1]
    assert print_graph(again) == text


@pytest.mark.parametrize("text", ["", "graph {", "graph { %1 = iota : int32 }", "graph { %0 = iota ! }", "graph { } x"])
def test_what_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(GraphSyntaxError):
        parse_graph(text)


ATOMS: list[Size] = [named("n"), fresh_named("n"), fresh_named("m"), fresh_unknown(), fresh_unknown()]
sizes: st.SearchStrategy[Size] = st.recursive(
    st.integers(0, 9) | st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        st.builds(add, inner, inner),
        st.builds(multiply, inner, inner | st.just(-1)),
        st.builds(divide, inner, st.just(2) | st.just(ATOMS[0]), st.sampled_from(["ceil", "floor"])),
    ),
    max_leaves=4,
)
tensors = st.builds(Tensor, st.sampled_from(["float32", "int32", "Key"]), st.lists(sizes, max_size=3).map(tuple))
leaves: st.SearchStrategy[LeafType] = st.one_of(tensors, st.builds(Sequence, tensors, sizes))
plain: st.SearchStrategy[Attribute] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.just(math.nan), st.text(), leaves, sizes
)
attributes = st.recursive(plain, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
NAMES = ["axis", "body", "value", "index"]


@st.composite
def graphs(draw: st.DrawFn, depth: int = 0) -> Graph:
    """Graphs of any operations whatever: text knows none of their rules."""
    values: st.SearchStrategy[Attribute] = st.one_of(attributes, graphs(depth + 1)) if depth < 2 else attributes
    nodes: list[Node] = []
    for index in range(draw(st.integers(0, 6))):
        inputs = draw(st.lists(st.integers(0, index - 1), max_size=3)) if index else []
        given = draw(st.dictionaries(st.sampled_from(NAMES), values, max_size=2))
        type = draw(st.one_of(leaves, st.lists(leaves, max_size=2).map(tuple)))
        op, place = (
            draw(st.sampled_from(["parameter", "fold", "add"])),
            draw(st.sampled_from(["", "server", "clients"])),
        )
        nodes.append(Node(op, tuple(inputs), tuple(sorted(given.items(), key=lambda pair: pair[0])), type, place))
    parameters = tuple(index for index, node in enumerate(nodes) if node.op == "parameter")
    chosen = st.lists(st.integers(0, len(nodes) - 1), max_size=3).map(tuple) if nodes else st.just(())
    return Graph(tuple(nodes), parameters, draw(chosen), draw(chosen))


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_text_parses_back(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse_graph(text)
    assert print_graph(again) == text
    assert parse_graph(print_graph(again)) == again
