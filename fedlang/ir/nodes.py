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

from dataclasses import dataclass, field
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
Attribute: TypeAlias = "bool | int | float | str | Size | Tensor | Sequence | Graph | tuple[Attribute, ...] | None"


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
    def bodies(self) -> tuple[Graph, ...]:
        """The graphs in its attributes."""
        return tuple(value for _, value in self.attributes if isinstance(value, Graph))

    @property
    def has_effects(self) -> bool:
        """Whether a graph in its attributes has an effect: then it is kept, and never merged with another."""
        return any(body.has_effects for body in self.bodies)

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

    `parameters` are the indices of the `parameter` nodes, in order; `results` the indices of the results; `effects`
    those of checks, prints and probes, which are never dropped. `spans` says where each node comes from, `names` what
    each parameter is called: neither counts in comparisons. `hash` and `has_effects` (whether running it checks, prints
    or probes anything, in the graphs inside it too) are worked out once, when it is made.
    """

    nodes: tuple[Node, ...]
    parameters: tuple[int, ...]
    results: tuple[int, ...]
    effects: tuple[int, ...] = ()
    spans: tuple[Span | None, ...] = field(default=(), compare=False, repr=False)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)
    hash: int = field(default=0, compare=False, repr=False)
    has_effects: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        inside = any(node.has_effects for node in self.nodes if node.attributes)
        object.__setattr__(self, "hash", hash((self.nodes, self.parameters, self.results, self.effects)))
        object.__setattr__(self, "has_effects", bool(self.effects) or inside)

    def __hash__(self) -> int:
        return self.hash

    def result_types(self) -> tuple[LeafType, ...]:
        """The types of the results."""
        return tuple(self.nodes[index].leaf for index in self.results)

    def parameter_types(self) -> tuple[LeafType, ...]:
        """The types of the parameters."""
        return tuple(self.nodes[index].leaf for index in self.parameters)
