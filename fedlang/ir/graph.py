"""The graph: what a computation is once it is lowered. Immutable, flat, first-order.

A `Graph` is a tuple of nodes in an order that is already topological: a node's inputs are indices of earlier nodes.
Values are leaves: one tensor, or one sequence of tensors. Records and tuples are taken apart when lowering (fields in
the order of their names), so that every pass works leaf by leaf; a program's signature puts them together again.

The same nodes serve both levels. In a federated graph a node has a `place`; in a local graph every place is "".

    ""         local, or known at every place (literals, settings)
    "server"   held by the server
    "shared"   at every client, the same at all of them (what a broadcast gives)
    "clients"  one value per client

An edge between places is always a movement (an operation whose name starts with `federated_`).
Operations with several results have a tuple type and are read by `get` nodes with an `index` attribute.
`docs/operations.md` lists the operations, with inputs, attributes and meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

from fedlang.source import Span
from fedlang.types.dims import Size

PLACES = ("", "server", "shared", "clients")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor leaf. `dtype` "Key" is a pair of uint32 words that the shape does not show."""

    dtype: str
    shape: tuple[Size, ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence leaf. Sizes in `element` that have a name of their own may differ from element to element."""

    element: Tensor
    length: Size


LeafType = Tensor | Sequence
NodeType = LeafType | tuple[LeafType, ...]

# What an attribute may hold: all hashable, all printable by ir/text.py.
Attribute: TypeAlias = "None | bool | int | float | str | Size | Tensor | Sequence | Graph | tuple[Attribute, ...]"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. `attributes` are sorted by name."""

    op: str
    inputs: tuple[int, ...]
    attributes: tuple[tuple[str, Attribute], ...]
    type: NodeType
    place: str = ""

    def attribute(self, name: str) -> Attribute:
        """The attribute of that name; raises `KeyError` where there is none."""
        for key, value in self.attributes:
            if key == name:
                return value
        raise KeyError(name)

    @property
    def leaf(self) -> LeafType:
        """The type of a node that has one result."""
        assert not isinstance(self.type, tuple), f"{self.op} has several results"
        return self.type

    @property
    def tensor(self) -> Tensor:
        """The type of a node whose one result is a tensor."""
        assert isinstance(self.type, Tensor), f"{self.op} is no tensor"
        return self.type


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in topological order.

    `parameters` are the indices of the `parameter` nodes, in order; `results` the indices of the results; `effects` those
    of checks, prints and probes, which are never dropped. `spans` says where each node comes from, `names` what each
    parameter is called: neither counts in comparisons.
    """

    nodes: tuple[Node, ...]
    parameters: tuple[int, ...]
    results: tuple[int, ...]
    effects: tuple[int, ...] = ()
    spans: tuple[Span | None, ...] = field(default=(), compare=False, repr=False)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)
    hash: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", hash((self.nodes, self.parameters, self.results, self.effects)))

    def __hash__(self) -> int:
        return self.hash

    def result_types(self) -> tuple[LeafType, ...]:
        """The types of the results."""
        return tuple(self.nodes[index].leaf for index in self.results)

    def parameter_types(self) -> tuple[LeafType, ...]:
        """The types of the parameters."""
        return tuple(self.nodes[index].leaf for index in self.parameters)


class Builder:
    """Makes a graph node by node; the same operation on the same inputs is made once (hash-consing).

    Effects and parameters are never shared. `span` is where the nodes being made come from.
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
        if known is None:
            known = self._known[node] = self._append(node)
        return known

    def add_effect(self, op: str, inputs: tuple[int, ...], *, place: str = "", **attributes: Attribute) -> int:
        """A `check`, `print` or `probe`: kept whether or not its token is read."""
        index = self._append(Node(op, inputs, tuple(sorted(attributes.items())), (), place))
        self.effects.append(index)
        return index

    def get(self, node: int, index: int) -> int:
        """Result `index` of a node that has several."""
        type = self.nodes[node].type
        assert isinstance(type, tuple), "only a node with several results has parts"
        return self.add("get", (node,), type[index], place=self.nodes[node].place, index=index)

    def inline(self, graph: Graph, arguments: tuple[int, ...], *, place: str | None = None) -> tuple[int, ...]:
        """Copies another graph's nodes in, its parameters replaced, and gives its results. Its effects become this graph's.

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
    """The graph without nodes that neither a result nor an effect needs."""
    live = {*graph.parameters}
    pending = [*graph.results, *graph.effects]
    while pending:
        index = pending.pop()
        if index not in live:
            live.add(index)
            pending += graph.nodes[index].inputs
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
