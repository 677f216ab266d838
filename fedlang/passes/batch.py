"""Batching: a client's work made into the work of all clients of a chunk at once, as a graph of the same operations.

In: a local graph, and which of its parameters differ from client to client. Out: a `Batched` graph whose values have
an axis of clients in front where they differ, and a `Feed` for each of its parameters that says how to make it from
the clients' own values. Gradients are taken before, so that no derivative is ever taken of a mask made here.

Ragged sizes. Clients have different numbers of examples, and a last batch may be short. An axis whose size differs is
as long as the longest client's, values stand left-aligned in it, and an int32[C] tensor of lengths says how many are
each client's own. Everything follows from two facts kept for every value: whether it has the axis of clients, and
what its padding holds, `none`, `zero` or `dirty`.

    elementwise   need no mask: padding makes padding. It stays zero where f(0) = 0 and the inputs' padding is zero
    reductions    over a ragged axis: padding is replaced by the identity (0, -inf, true …) first
    contractions  over a ragged axis: both sides' padding is replaced by 0. By select, never by a product: 0 * NaN is
                  NaN
    reshapes      that merge or split a ragged axis under another gather values to where they stand left-aligned
    externs       get zeros in their padding, and the client's own number of rows (`batch_externs.py`)
    gathers       index padding is replaced by 0, so that it is in range; what is scattered by 0
    folds         run for the longest client; a carry of a client that has no step left keeps its value
    random draws  are counted over the client's own shape; padding shifts none
    checks        count only for clients that take part (`live`) and for values that are no padding
    a size        is read as the client's own length, so that a mean is a sum divided by it

Nothing is repeated for each client that need not be: weights that all share stay one matrix until a client writes to
its own, and a product of clients' rows with a shared matrix is one large product. Sequences are numbers of rows in a
store that all clients share (`batch_sequences.py`); row 0 of a store is zero, which gives padding that needs no mask
at all.

Where a size cannot be padded or an operation cannot be shared in this way, `NotBatchable` says why and where.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from fedlang.ir.graph import Builder, Graph, LeafType, Node, Sequence, Tensor
from fedlang.ir.operations import OPERATIONS
from fedlang.types.dims import Atom, Dim, Quotient, Size, atoms_of, fresh_named

from . import batch_control, batch_externs, batch_rules, batch_sequences
from .batch_maps import push_maps, renamed
from .batch_values import INT, Apart, Batching, Items, Known, Mapped, NotBatchable, Value, one_by_one

__all__ = ["Batched", "Feed", "Grouping", "NotBatchable", "batch_graph", "grouping"]

Grouping: TypeAlias = tuple[Size, Size | None]


@dataclass(frozen=True, slots=True)
class Feed:
    """How a parameter of the batched graph is made; `parameter` is the local graph's.

    "shared"   as it is
    "stacked"  the clients' tensors, [C, …], padded with zeros
    "store"    the rows of all clients one behind the other, after one zero row
    "rows"     int32 [L, C] or [L, C, B]: the numbers of the rows of each element in the store, for padding 0 or
               that of another zero row
    "counts"   int32 [L, C]: how many of the B rows of an element are its own
    "length"   int32 [C]: the size of axis `axis` of the parameter, or the length of the sequence where it is -1
    """

    kind: str
    parameter: int
    axis: int = -1


@dataclass(frozen=True, slots=True)
class Batched:
    """A graph for all clients. Results are [C, …], padded; `sizes[k][axis]` is the index of the result that has the
    clients' own sizes of that axis of result `k` (axes of the local graph), or -1 where all have the same. `count`
    results are the local graph's own.
    """

    graph: Graph
    feeds: tuple[Feed, ...]
    count: int
    sizes: tuple[tuple[int, ...], ...]
    clients: Atom


def batch_graph(
    graph: Graph,
    varies: tuple[bool, ...],
    *,
    packed: str = "zero",
    apart: Apart = one_by_one,
    even: frozenset[Feed] = frozenset(),
) -> Batched:
    """The graph for all clients; `varies` says which parameters differ. Raises `NotBatchable`.

    `packed` "dirty" makes a graph that trusts no padding of its parameters, not even the zero row. `apart` says which
    functions from Python are called for one client at a time, and why (`batch_externs.py`). Lengths and counts that
    are `even` are the same at all clients, counts those of a full width: a graph for such clients has the same feeds
    and the same operations, without the masks of these sizes.
    """
    graph = move_maps(graph)
    batching = Batching(Builder(), fresh_named("clients"), packed=packed, apart=apart)
    arguments, feeds = _Parameters(batching, graph, varies, even).make()
    results = _run(batching, graph, arguments)
    outputs, sizes = _results(batching, graph, results)
    clients = batching.clients.atom
    assert clients is not None
    return Batched(batching.builder.finish(outputs), feeds, len(results), sizes, clients)


def move_maps(graph: Graph) -> Graph:
    """The graph with its maps moved to where elements are read (`batch_maps.py`)."""
    return push_maps(graph, _stacked_body)


def _stacked_body(body: Graph, captured: int, size: Size) -> Graph | None:
    """A map's body for a stack of elements: the body batched over them."""
    varies = tuple(k >= captured for k in range(len(body.parameters)))
    try:
        batched = batch_graph(body, varies)
    except NotBatchable:
        return None
    if any(feed.kind not in ("shared", "stacked") for feed in batched.feeds) or len(batched.graph.results) != 1:
        return None
    return renamed(batched.graph, batched.clients, size)


class _Parameters:
    """The parameters of the batched graph."""

    def __init__(self, batching: Batching, graph: Graph, varies: tuple[bool, ...], even: frozenset[Feed]) -> None:
        self.batching, self.graph, self.varies, self.even = batching, graph, varies, even
        self.types = graph.parameter_types()
        self.feeds: list[Feed] = []
        self.groups: dict[Grouping, tuple[int, int, int | None, Size, Size, Dim, bool]] = {}
        self.uniform = {
            a for t, v in zip(self.types, varies, strict=True) if not v for s in _sizes(t) for a in atoms_of(s)
        }

    def make(self) -> tuple[list[Known], tuple[Feed, ...]]:
        """The arguments of the local graph, made of new parameters, and the feeds of those."""
        self._lengths()
        arguments = [self._argument(k, type) for k, type in enumerate(self.types)]
        return arguments, tuple(self.feeds)

    def _parameter(self, type: LeafType, feed: Feed) -> int:
        self.feeds.append(feed)
        return self.batching.builder.parameter(type, name=self._name(feed))

    def _name(self, feed: Feed) -> str:
        own = self.graph.names[feed.parameter] if self.graph.names else f"x{feed.parameter}"
        return own if feed.kind in ("shared", "stacked", "store") else f"{own}.{feed.kind}"

    def _lengths(self) -> None:
        """A parameter of lengths for each size that differs, from the first parameter that has it."""
        for k, type in enumerate(self.types):
            if self.varies[k]:
                for axis, size in _shown(type):
                    self._length(k, axis, size)

    def _length(self, parameter: int, axis: int, size: Size) -> None:
        new = [atom for atom in atoms_of(size) if atom not in self.uniform and not self.batching.is_ragged(size)]
        if not new:
            return
        atom = size.atom if isinstance(size, Dim) else None
        if atom is None or isinstance(atom, Quotient):
            raise NotBatchable(f"a parameter's size {size} is known from nothing simpler")
        feed = Feed("length", parameter, axis)
        node = self._parameter(Tensor(INT, (self.batching.clients,)), feed)
        self.batching.bind(size, node, fresh_named(str(size)), filled=feed in self.even)

    def _argument(self, k: int, type: LeafType) -> Known:
        if not self.varies[k]:
            return Value(self._parameter(type, Feed("shared", k)), False)
        if isinstance(type, Sequence):
            return self._items(k, type)
        batched = Tensor(type.dtype, self.batching.full(type.shape))
        return Value(
            self._parameter(batched, Feed("stacked", k)), True, self.batching.pad_of(type.shape, self.batching.packed)
        )

    def _items(self, k: int, type: Sequence) -> Items:
        split = is_split(self.graph, type)
        rest = type.element.shape[1:] if split else type.element.shape
        if any(atom not in self.uniform for size in rest for atom in atoms_of(size)):
            raise NotBatchable("elements whose inner sizes differ")
        key = grouping(self.graph, type)
        if key not in self.groups:
            self.groups[key] = self._group(k, type, split)
        rows, length, counts, steps, width, total, full = self.groups[key]
        store = self._parameter(Tensor(type.element.dtype, (total, *rest)), Feed("store", k))
        return Items(store, rows, length, counts, type, steps, width, full)

    def _group(self, k: int, type: Sequence, split: bool) -> tuple[int, int, int | None, Size, Size, Dim, bool]:
        """Numbers of rows, lengths and counts, which sequences of a group share."""
        batching = self.batching
        steps, length = batching.pad_size(type.length), batching.length_of(type.length)
        shape: tuple[Size, ...] = (steps, batching.clients)
        if not split:
            rows = self._parameter(Tensor(INT, shape), Feed("rows", k))
            return rows, length, None, steps, 1, fresh_named("rows"), False
        width = fresh_named("width")
        rows = self._parameter(Tensor(INT, (*shape, width)), Feed("rows", k))
        feed = Feed("counts", k)
        counts = self._parameter(Tensor(INT, shape), feed)
        return rows, length, counts, steps, width, fresh_named("rows"), feed in self.even


def _sizes(type: LeafType) -> tuple[Size, ...]:
    return type.shape if isinstance(type, Tensor) else (type.length, *type.element.shape)


def _shown(type: LeafType) -> list[tuple[int, Size]]:
    return list(enumerate(type.shape)) if isinstance(type, Tensor) else [(-1, type.length)]


def is_split(graph: Graph, type: Sequence) -> bool:
    """Whether a parameter's elements may have different first sizes: no tensor has the size, and it is no sequence's
    length."""
    if not type.element.shape or isinstance(type.element.shape[0], int):
        return False
    known: set[Atom] = set()
    for other in graph.parameter_types():
        for _, size in _shown(other):
            known.update(atoms_of(size))
    return not known.issuperset(atoms_of(type.element.shape[0]))


def grouping(graph: Graph, type: Sequence) -> Grouping:
    """What sequence parameters have in common whose rows are numbered alike: their length and, where elements are
    ranges of rows, how many rows each has."""
    return type.length, type.element.shape[0] if is_split(graph, type) else None


def _results(
    batching: Batching, graph: Graph, results: list[Known]
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The results with the axis of clients, then the clients' own sizes of their ragged axes."""
    outputs: list[int] = []
    for known in results:
        if not isinstance(known, Value):
            raise NotBatchable("a result that is a sequence")
        outputs.append(batching.up(known))
    sizes = []
    for type in graph.result_types():
        axes = []
        for size in type.shape if isinstance(type, Tensor) else ():
            axes.append(len(outputs) if batching.is_ragged(size) else -1)
            if batching.is_ragged(size):
                outputs.append(batching.length_of(size))
        sizes.append(tuple(axes))
    return tuple(outputs), tuple(sizes)


def _run(batching: Batching, graph: Graph, arguments: list[Known]) -> list[Known]:
    """The values of a graph's results."""
    values: list[list[Known]] = []
    outer = batching.span
    for index, node in enumerate(graph.nodes):
        batching.span = batching.builder.span = (graph.spans[index] if graph.spans else None) or outer
        try:
            values.append(_node(batching, graph, node, arguments, values))
        except NotBatchable as reason:
            if reason.node is None:
                raise NotBatchable(reason.reason, node, batching.span) from None
            raise NotBatchable(reason.reason, reason.node, reason.span or batching.span) from None
    batching.span = batching.builder.span = outer
    return [values[index][0] for index in graph.results]


def _node(
    batching: Batching, graph: Graph, node: Node, arguments: list[Known], values: list[list[Known]]
) -> list[Known]:
    if node.op == "parameter":
        index = node.attribute("index")
        assert isinstance(index, int)
        return [arguments[index]]
    if node.op == "get":
        index = node.attribute("index")
        assert isinstance(index, int)
        return [values[node.inputs[0]][index]]
    inputs = [values[i][0] for i in node.inputs]
    types = [graph.nodes[i].leaf for i in node.inputs]
    group = OPERATIONS[node.op].group
    if group in GROUPS:
        return GROUPS[group](batching, node, inputs, types)
    rule = batch_rules.RULES.get(node.op) or batch_rules.CLASSES.get(group)
    if rule is None:
        raise NotBatchable(f"`{node.op}` is not run for all clients at once", node)
    tensors = [value for value in inputs if isinstance(value, Value)]
    return [rule(batching, node, tensors, [type for type in types if isinstance(type, Tensor)])]


def _sequence(batching: Batching, node: Node, inputs: list[Known], types: list[LeafType]) -> list[Known]:
    if node.op == "map":
        return [_map(batching, node, inputs)]
    if node.op == "stack":
        return [batch_sequences.stack(batching, node, inputs[0])]
    if node.op in ("count_to", "unstack"):
        assert isinstance(inputs[0], Value)
        make = batch_sequences.count_to if node.op == "count_to" else batch_sequences.unstack
        return [make(batching, node, inputs[0])]
    return [batch_sequences.sequence_rule(batching, node, inputs)]


def _map(batching: Batching, node: Node, inputs: list[Known]) -> Known:
    captured, body = node.attribute("captured"), node.attribute("body")
    assert isinstance(captured, int)
    assert isinstance(body, Graph)
    if all(isinstance(each, Value) and not each.batched for each in inputs):
        return batch_sequences.shared_sequence(batching, node, tuple(e for e in inputs if isinstance(e, Value)))
    return Mapped(body, tuple(inputs[:captured]), tuple(inputs[captured:]), batch_sequences.sequence_type(node))


def _control(batching: Batching, node: Node, inputs: list[Known], types: list[LeafType]) -> list[Known]:
    if node.op == "fold":
        return list(batch_control.Fold(batching, _run, node, inputs, types).batch())
    return list(batch_control.choose(batching, _run, node, inputs))


def _effect(batching: Batching, node: Node, inputs: list[Known], types: list[LeafType]) -> list[Known]:
    if node.op != "check":
        raise NotBatchable(f"`{node.op}` is done client by client", node)
    assert isinstance(inputs[0], Value)
    assert isinstance(types[0], Tensor)
    batch_control.check(batching, node, inputs[0], types[0])
    return []


GROUPS = {"sequence": _sequence, "control": _control, "effect": _effect, "extern": batch_externs.extern}
