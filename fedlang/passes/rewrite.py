"""How passes go through a graph: node by node into a new one, and into the graphs inside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from fedlang.ir.graph import Builder, Graph, Node
from fedlang.ir.nodes import Attribute

# What a node becomes: one node, or the results of a node with several.
Replacement = int | tuple[int, ...]
Rule = Callable[[Builder, Node], Replacement]


def keep(builder: Builder, node: Node) -> Replacement:
    """The rule that changes nothing. The builder makes equal nodes once all the same."""
    return builder.add_node(node)


def never(builder: Builder, node: Node) -> bool:
    """No effect is needless."""
    return False


def rebuild(
    graph: Graph,
    rule: Rule = keep,
    needless: Callable[[Builder, Node], bool] = never,
    chosen: Mapping[int, Rule] = MappingProxyType({}),
) -> Graph:
    """The graph made again, each node (its inputs replaced already) by what `rule` makes of it, or a rule chosen.

    Effects stay as they are, but for those that `needless` says can go.
    """
    builder = Builder()
    new: dict[int, Replacement] = dict(copy_parameters(builder, graph))
    effects = set(graph.effects)
    for index, node in enumerate(graph.nodes):
        if index in new:
            continue
        builder.span = graph.spans[index] if graph.spans else None
        if node.op == "get" and isinstance(parts := new[node.inputs[0]], tuple):
            new[index] = parts[index_of(node)]
            continue
        moved = replace(node, inputs=tuple(single(new[i]) for i in node.inputs)) if node.inputs else node
        if index not in effects:
            new[index] = chosen.get(index, rule)(builder, moved)
        elif not needless(builder, moved):
            new[index] = builder.add_effect_node(moved)
    return builder.finish(tuple(single(new[index]) for index in graph.results))


def copy_parameters(builder: Builder, graph: Graph) -> dict[int, int]:
    """Makes the graph's parameters in the builder; gives their new indices."""
    names = graph.names or ("",) * len(graph.parameters)
    new: dict[int, int] = {}
    for index, name in zip(graph.parameters, names, strict=True):
        node = graph.nodes[index]
        builder.span = graph.spans[index] if graph.spans else None
        new[index] = builder.parameter(node.leaf, name=name, place=node.place)
    return new


def single(replacement: Replacement) -> int:
    """A replacement that must be one node."""
    assert isinstance(replacement, int), "only `get` reads a node with several results"
    return replacement


def index_of(node: Node) -> int:
    """The `index` attribute."""
    return number_of(node, "index")


def number_of(node: Node, name: str) -> int:
    """An attribute that is a number."""
    value = node.attribute(name)
    assert isinstance(value, int), f"{name} is a number"
    return value


def numbers_of(node: Node, name: str) -> tuple[int, ...]:
    """An attribute that is a tuple of numbers."""
    value = node.attribute(name)
    assert isinstance(value, tuple), f"{name} is a tuple"
    return tuple(each for each in value if isinstance(each, int))


def scalar_of(nodes: Sequence[Node], index: int) -> int | None:
    """The scalar that a tensor repeats; None where it does something else."""
    node = nodes[index]
    return node.inputs[0] if node.op == "broadcast" and node.attribute("axes") == () else None


def graph_of(node: Node, name: str = "body") -> Graph:
    """An attribute that is a graph."""
    value = node.attribute(name)
    assert isinstance(value, Graph), f"{name} is a graph"
    return value


def with_attributes(node: Node, **changes: Attribute) -> Node:
    """The node with some attributes changed."""
    return replace(node, attributes=tuple((name, changes.get(name, value)) for name, value in node.attributes))


def deep(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """`change` applied to the graphs inside, innermost first, then to the graph. Each body is changed once."""
    known: dict[int, tuple[Graph, Graph]] = {}

    def visit(each: Graph) -> Graph:
        if id(each) not in known:
            known[id(each)] = each, change(replace_bodies(each, visit))
        return known[id(each)][1]

    return visit(graph)


def replace_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with every graph in its nodes' attributes changed."""
    nodes = tuple(_with_bodies(node, change) if node.bodies else node for node in graph.nodes)
    return graph if nodes == graph.nodes else replace(graph, nodes=nodes)


def _with_bodies(node: Node, change: Callable[[Graph], Graph]) -> Node:
    return with_attributes(node, **{name: change(value) for name, value in node.attributes if isinstance(value, Graph)})


def select_results(graph: Graph, results: tuple[int, ...]) -> Graph:
    """The graph with those of its results only."""
    return replace(graph, results=tuple(graph.results[k] for k in results))


def keep_parameters(graph: Graph, kept: tuple[int, ...]) -> Graph:
    """The graph with those of its parameters only; no node may read the others."""
    dropped = {index for k, index in enumerate(graph.parameters) if k not in kept}
    order = [index for index in range(len(graph.nodes)) if index not in dropped]
    new = {old: position for position, old in enumerate(order)}
    number = {graph.parameters[k]: position for position, k in enumerate(kept)}

    def moved(index: int) -> Node:
        node = graph.nodes[index]
        if index in number:
            return replace(node, attributes=(("index", number[index]),))
        return replace(node, inputs=tuple(new[i] for i in node.inputs))

    return Graph(
        tuple(moved(index) for index in order),
        tuple(new[graph.parameters[k]] for k in kept),
        tuple(new[index] for index in graph.results),
        tuple(new[index] for index in graph.effects),
        tuple(graph.spans[index] for index in order) if graph.spans else (),
        tuple(graph.names[k] for k in kept) if graph.names else (),
    )
