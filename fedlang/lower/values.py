"""What expressions are while lowering: leaves of a graph, put together as records and tuples, and functions.

A sequence of records is a record of sequences. Functions exist only here: calling one evaluates its body, so none
is left
in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from fedlang.check.typed import BindName, BlockOf
from fedlang.ir.graph import Builder, Graph, LeafType, Node
from fedlang.names.world import Symbol
from fedlang.source import Span
from fedlang.types.substitute import Substitution


class Level:
    """A graph being built.

    What an inner graph uses of an outer one becomes a parameter of the inner, `captured` in order.
    """

    def __init__(self, parent: Level | None = None) -> None:
        self.builder = Builder()
        self.parent = parent
        self.captured: list[Leaf] = []
        self._inner: dict[Leaf, int] = {}
        self.memo: dict[object, Value] = {}

    @property
    def federated(self) -> bool:
        """Whether places mean something here: the outermost graph only."""
        return self.parent is None

    def own(self, leaf: Leaf) -> int:
        """The node of a leaf in this graph; one of an outer graph is captured."""
        if leaf.level is self:
            return leaf.index
        if leaf not in self._inner:
            self._inner[leaf] = self.builder.parameter(leaf.type)
            self.captured.append(leaf)
        return self._inner[leaf]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One node of one graph."""

    level: Level = field(repr=False)
    index: int

    @property
    def node(self) -> Node:
        return self.level.builder.nodes[self.index]

    @property
    def type(self) -> LeafType:
        return self.node.leaf


@dataclass(frozen=True, slots=True)
class TupleValue:
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RecordValue:
    fields: dict[str, Value]


@dataclass(frozen=True, slots=True)
class PerClient:
    """In a test, which drives a program itself: the value of each client."""

    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Env:
    """What names and type parameters mean where an expression is evaluated."""

    names: dict[str, Value]
    types: Substitution

    def with_names(self, more: dict[str, Value]) -> Env:
        """The same with more names."""
        return Env({**self.names, **more}, self.types)


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A lambda or a method, with what it captured."""

    parameters: tuple[BindName, ...]
    body: BlockOf
    env: Env
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """A declaration as a value, its type parameters given."""

    symbol: Symbol
    instance: Substitution


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """The derivative of a function."""

    value: bool
    function: Value
    span: Span


Value = Leaf | TupleValue | RecordValue | PerClient | Closure | Declared | Gradient
UNIT = TupleValue(())


def leaves_of(value: Value) -> Iterator[Leaf]:
    """The leaves, fields in the order of their names."""
    match value:
        case Leaf():
            yield value
        case TupleValue(items) | PerClient(items):
            for item in items:
                yield from leaves_of(item)
        case RecordValue(fields):
            for name in sorted(fields):
                yield from leaves_of(fields[name])
        case _:
            raise AssertionError("a function has no leaves")


def is_data(value: Value) -> bool:
    """Whether no function is in the value."""
    match value:
        case Leaf():
            return True
        case TupleValue(items) | PerClient(items):
            return all(is_data(item) for item in items)
        case RecordValue(fields):
            return all(is_data(item) for item in fields.values())
        case _:
            return False


def map_leaves(value: Value, function: Callable[[Leaf], Leaf]) -> Value:
    """The same structure with each leaf replaced."""
    match value:
        case Leaf():
            return function(value)
        case TupleValue(items):
            return TupleValue(tuple(map_leaves(item, function) for item in items))
        case PerClient(items):
            return PerClient(tuple(map_leaves(item, function) for item in items))
        case RecordValue(fields):
            return RecordValue({name: map_leaves(fields[name], function) for name in sorted(fields)})
        case _:
            raise AssertionError("a function has no leaves")


def rebuild(like: Value, leaves: Iterator[Leaf]) -> Value:
    """The structure of `like` around other leaves."""
    return map_leaves(like, lambda _: next(leaves))


def reordered(graph: Graph, order: tuple[int, ...]) -> Graph:
    """The graph with its parameters in another order: `order` has positions in the present one."""
    nodes = list(graph.nodes)
    parameters = tuple(graph.parameters[k] for k in order)
    for position, index in enumerate(parameters):
        nodes[index] = replace(nodes[index], attributes=(("index", position),))
    names = tuple(graph.names[k] for k in order) if graph.names else ()
    return Graph(tuple(nodes), parameters, graph.results, graph.effects, graph.spans, names)


def has_clients(value: Value) -> bool:
    """Whether a client's value is anywhere inside, captured ones included."""
    return clients_in(value, -1) >= 0


def clients_in(value: Value, none: int = 0) -> int:
    """How many clients a value is for; `none` where it is for none in particular."""
    match value:
        case PerClient(items):
            return len(items)
        case TupleValue(items):
            inner: list[Value] = list(items)
        case RecordValue(fields):
            inner = list(fields.values())
        case Closure(_, _, env):
            inner = list(env.names.values())
        case Gradient(_, function):
            inner = [function]
        case _:
            inner = []
    return next((found for found in (clients_in(item, -1) for item in inner) if found >= 0), none)


def of_client(value: Value, client: int) -> Value:
    """What one client has of a value."""
    match value:
        case PerClient(items):
            return items[client]
        case TupleValue(items):
            return TupleValue(tuple(of_client(item, client) for item in items))
        case RecordValue(fields):
            return RecordValue({name: of_client(item, client) for name, item in fields.items()})
        case Closure(parameters, body, env, name):
            return Closure(parameters, body, env_of_client(env, client), name)
        case Gradient(keep, function, span):
            return Gradient(keep, of_client(function, client), span)
        case _:
            return value


def env_of_client(env: Env, client: int) -> Env:
    """An environment as one client sees it; its sizes are its own."""
    types = Substitution(dict(env.types.types), dict(env.types.packs), dict(env.types.sizes))
    return Env({name: of_client(value, client) for name, value in env.names.items()}, types)
