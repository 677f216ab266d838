"""Graphs made and pruned. What a graph is, `ir/nodes.py` says; its names are this module's too."""

from __future__ import annotations

from dataclasses import replace

from fedlang.ir.nodes import PLACES, Attribute, Graph, LeafType, Node, NodeType, Sequence, Tensor
from fedlang.ir.sizes import hidden_sources, sources_needed
from fedlang.source import Span

__all__ = ["PLACES", "Attribute", "Builder", "Graph", "LeafType", "Node", "NodeType", "Sequence", "Tensor", "prune"]


class Builder:
    """Makes a graph node by node; the same operation on the same inputs is made once (hash-consing).

    Effects, nodes with effects in their bodies, and parameters are never shared. `span` is where the nodes being made
    come from.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.spans: list[Span | None] = []
        self.parameters: list[int] = []
        self.names: list[str] = []
        self.effects: list[int] = []
        self.span: Span | None = None
        self._known: dict[Node, int] = {}

    def parameter(self, type: LeafType, *, name: str = "", place: str = "") -> int:
        """A new parameter of the graph."""
        index = self._append(Node("parameter", (), (("index", len(self.parameters)),), type, place))
        self.parameters.append(index)
        self.names.append(name)
        return index

    def add(self, op: str, inputs: tuple[int, ...], type: NodeType, *, place: str = "", **attributes: Attribute) -> int:
        """The index of the node, made now unless it is there already."""
        return self.add_node(Node(op, inputs, tuple(sorted(attributes.items())), type, place))

    def add_node(self, node: Node) -> int:
        """As `add`, for a node that is made already."""
        known = self._known.get(node)
        if known is None or node.has_effects:
            known = self._known[node] = self._append(node)
        return known

    def add_effect(self, op: str, inputs: tuple[int, ...], *, place: str = "", **attributes: Attribute) -> int:
        """A `check`, `print` or `probe`: kept whether or not its token is read."""
        return self.add_effect_node(Node(op, inputs, tuple(sorted(attributes.items())), (), place))

    def add_effect_node(self, node: Node) -> int:
        """As `add_effect`, for a node that is made already."""
        self.effects.append(self._append(node))
        return self.effects[-1]

    def get(self, node: int, index: int) -> int:
        """Result `index` of a node that has several."""
        type = self.nodes[node].type
        assert isinstance(type, tuple), "only a node with several results has parts"
        return self.add("get", (node,), type[index], place=self.nodes[node].place, index=index)

    def inline(self, graph: Graph, arguments: tuple[int, ...], *, place: str | None = None) -> tuple[int, ...]:
        """Copies another graph's nodes in, its parameters replaced, and gives its results; its effects become ours.

        `place`, when given, is the place of every copied node.
        """
        new: list[int] = []
        position = {parameter: k for k, parameter in enumerate(graph.parameters)}
        outer = self.span
        effects = set(graph.effects)
        for index, node in enumerate(graph.nodes):
            if index in position:
                new.append(arguments[position[index]])
                continue
            self.span = (graph.spans[index] if graph.spans else None) or outer
            inputs = tuple(new[i] for i in node.inputs)
            copied = replace(node, inputs=inputs, place=node.place if place is None else place)
            if index in effects:
                new.append(self._append(copied))
                self.effects.append(new[-1])
            else:
                new.append(self.add_node(copied))
        self.span = outer
        return tuple(new[index] for index in graph.results)

    def finish(self, results: tuple[int, ...]) -> Graph:
        """The graph, unread nodes left out. Parameters stay, read or not."""
        return prune(
            Graph(
                tuple(self.nodes),
                tuple(self.parameters),
                results,
                tuple(self.effects),
                tuple(self.spans),
                tuple(self.names),
            )
        )

    def _append(self, node: Node) -> int:
        self.nodes.append(node)
        self.spans.append(self.span)
        return len(self.nodes) - 1


def prune(graph: Graph) -> Graph:
    """The graph without nodes that neither a result nor an effect needs, effects in bodies included.

    A node that tells a size is needed by those that mention the size (`ir/sizes.py`).
    """
    live = {*graph.parameters}
    inside = [index for index, node in enumerate(graph.nodes) if node.attributes and node.has_effects]
    sources = hidden_sources(graph)
    pending = [*graph.results, *graph.effects, *inside]
    while pending:
        index = pending.pop()
        if index not in live:
            live.add(index)
            pending += graph.nodes[index].inputs
            pending += sources_needed(graph.nodes[index], sources)
    if len(live) == len(graph.nodes):
        return graph
    order = sorted(live)
    new = {old: k for k, old in enumerate(order)}
    return Graph(
        tuple(replace(graph.nodes[i], inputs=tuple(new[j] for j in graph.nodes[i].inputs)) for i in order),
        tuple(new[i] for i in graph.parameters),
        tuple(new[i] for i in graph.results),
        tuple(new[i] for i in graph.effects),
        tuple(graph.spans[i] for i in order) if graph.spans else (),
        graph.names,
    )
