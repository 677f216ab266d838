"""The normal form: a federated graph cut into pieces that are local, with as few trips to the clients as can be.

In: a federated graph without `call` and `gradient`. Out: a `Program`, whose pieces compute the same; what moves is
a part of what moved in the graph.

How a graph is cut. The *level* of a value is the number of aggregates on the longest path to it. All aggregates of
values at level p travel in phase p, with everything that has to be sent for them; so there are as many phases as the
longest chain of aggregates, and no plan has fewer (rule 13). The pieces are then made by demand, in the order in which
they will run:

    work p      what its aggregates take, the clients' results of level p, the clients' effects of level p
    prepare p   what work p was sent, what the aggregates themselves need (an `otherwise`), the server's effects
    finish      the server's results, the rest of its effects

A piece that wants a value takes it from where it is: an input, an aggregate, a broadcast (once sent, it stays known at
the clients), or an earlier piece at the same place, which then gives it as one more result. At the clients that is what
a client keeps between phases. Unplaced and shared values, derived keys and rearranged sequences are cheap, so they are
computed again instead. Otherwise a value is computed in the first piece that wants it, and only there.

A piece that mentions a size also takes something at its place that tells it (`ir/sizes.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fedlang.ir.graph import Builder, Graph, LeafType, Node, Tensor
from fedlang.ir.operations import OPERATIONS
from fedlang.ir.program import Aggregate, Phase, Program, Sent, Slot
from fedlang.ir.sizes import leaves_of, mentioned_atoms, shown_atoms, tells_sizes
from fedlang.source import Span
from fedlang.types.dims import Atom

from .dead import remove_dead
from .rewrite import index_of, number_of

SENDS = {"federated_broadcast": "broadcast", "federated_keys": "keys", "federated_select": "select"}
CLIENT_PLACES = ("shared", "clients")
IDENTITY = Slot("identity", 0)


def to_program(graph: Graph, names: Sequence[str] | None = None) -> Program:
    """The normal form of a federated graph. `names` are the inputs' paths, the graph's own when left out."""
    given = tuple(names) if names is not None else graph.names or ("",) * len(graph.parameters)
    return _Planner(replace(remove_dead(graph), names=given)).program()


@dataclass(slots=True, eq=False)
class _Piece:
    """One graph being made. `values` are the new indices of the whole graph's nodes, `results` their positions."""

    at_clients: bool
    number: int
    builder: Builder = field(default_factory=Builder)
    values: dict[int, int] = field(default_factory=dict)
    slots: dict[Slot, int] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)

    def slot(self, slot: Slot, type: LeafType, name: str = "") -> int:
        """The parameter for a slot."""
        if slot not in self.slots:
            self.slots[slot] = self.builder.parameter(type, name=name)
        return self.slots[slot]

    def result(self, index: int) -> int:
        """The position of a value among the results; it becomes one if it is none yet."""
        return self.results.setdefault(index, len(self.results))

    def finish(self) -> Graph:
        """The graph."""
        return self.builder.finish(tuple(self.values[index] for index in self.results))


class _Planner:
    """Makes the pieces of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inputs = {index: position for position, index in enumerate(graph.parameters)}
        self.levels = _levels(graph)
        self.aggregates = _aggregates_by_phase(graph, self.levels)
        self.roots = _roots(graph)
        self.phases = self._count_phases()
        self.works = [_Piece(True, number) for number in range(self.phases)]
        self.servers = [_Piece(False, number) for number in range(self.phases + 1)]  # the last is `finish`
        self.home: dict[tuple[bool, int], int] = {}  # the piece that computes a value first
        self.sent: dict[int, tuple[int, int]] = {}  # the phase and position of each broadcast
        self.sources: list[dict[int, Sent]] = [{} for _ in self.works]
        self.leaves = _aggregate_slots(self.aggregates, graph)
        self.tellers = _tellers(graph)

    def _count_phases(self) -> int:
        at_clients = (i for i in (*self.graph.results, *self.roots) if self.graph.nodes[i].place in CLIENT_PLACES)
        return max([*(1 + self.levels[i] for i in at_clients), *(1 + phase for phase in self.aggregates)], default=0)

    def program(self) -> Program:
        """Makes every piece, in the order in which they run, and puts them together."""
        made = [self._phase(number) for number in range(self.phases)]
        finish = self.servers[-1]
        self._effects(finish)
        results = tuple(self._result(index) for index in self.graph.results)
        phases = tuple(
            Phase(
                prepare.finish(),
                tuple(prepare.slots),
                len(sent),
                work.finish(),
                tuple(work.slots),
                aggregates,
                tuple(sent.values()),
            )
            for prepare, work, sent, aggregates in zip(self.servers, self.works, self.sources, made, strict=False)
        )
        types = [(self.graph.nodes[i].leaf, self.graph.nodes[i].place) for i in self.graph.parameters]
        return Program(tuple(types), self.graph.names, phases, finish.finish(), tuple(finish.slots), results)

    def _result(self, index: int) -> Slot:
        if self.graph.nodes[index].place in CLIENT_PLACES:
            number = self.levels[index]
            return Slot("client", self.works[number].results[index], number)
        self._make(self.servers[-1], (index,))
        return Slot("finish", self.servers[-1].result(index))

    def _phase(self, number: int) -> tuple[Aggregate, ...]:
        work, prepare = self.works[number], self.servers[number]
        movements = self.aggregates.get(number, [])
        given = [i for index in movements for i in _client_inputs(self.graph.nodes[index])]
        own = [i for i in self.graph.results if self.graph.nodes[i].place in CLIENT_PLACES and self.levels[i] == number]
        self._effects(work, (*given, *own))
        for index in (*given, *own):
            work.result(index)
        self._make(prepare, tuple(self.sources[number]))
        for index in self.sources[number]:
            prepare.result(index)
        self._effects(prepare)
        return tuple(self._aggregate(work, prepare, index) for index in movements)

    def _effects(self, piece: _Piece, more: tuple[int, ...] = ()) -> None:
        """Makes the effects of a piece, and `more` with them, in the order of the graph."""

        def is_here(index: int) -> bool:
            here = (self.graph.nodes[index].place in CLIENT_PLACES) == piece.at_clients
            return here and self.levels[index] == piece.number

        self._make(piece, (*more, *filter(is_here, self.roots)))

    def _aggregate(self, work: _Piece, prepare: _Piece, index: int) -> Aggregate:
        node = self.graph.nodes[index]
        values = tuple(work.result(i) for i in _client_inputs(node))
        server = _server_inputs(node)
        self._make(prepare, server)
        prepared = tuple(prepare.result(i) for i in server)
        has_otherwise = node.op in ("federated_mean", "federated_min", "federated_max") and bool(prepared)
        weighted = node.op == "federated_mean"
        return Aggregate(
            node.op.removeprefix("federated_"),
            values[0],
            node.type,
            values[1] if weighted else -1,
            prepared[0] if has_otherwise else -1,
            values[:1] if weighted else values,
            () if has_otherwise else prepared,
            tuple((name, value) for name, value in node.attributes if name not in ("path", "captured")),
            _path(node),
            self._span(index),
        )

    def _span(self, index: int) -> Span | None:
        return self.graph.spans[index] if self.graph.spans else None

    # Making values in a piece.

    def _make(self, piece: _Piece, wanted: Iterable[int]) -> None:
        """Computes values in a piece, with all they need and all that tells their sizes, in the order of the graph."""
        pending, needed = list(wanted), dict[int, Slot | None]()
        while pending:
            index = pending.pop()
            if index in piece.values or index in needed:
                continue
            needed[index] = self._slot(piece, index)
            if needed[index] is None:
                pending += self._inputs(piece, index)
            if not pending:
                pending += self._missing_sizes(piece, needed)
        for index in sorted(needed):
            piece.builder.span = self._span(index)
            slot = needed[index]
            if slot is not None:
                piece.values[index] = self._parameter(piece, slot, index)
            else:
                self._compute(piece, index)

    def _slot(self, piece: _Piece, index: int) -> Slot | None:
        """Where the piece takes a value from; None when it computes it."""
        node = self.graph.nodes[index]
        if index in self.inputs:
            return Slot("input", self.inputs[index])
        if not piece.at_clients and index in self.leaves:
            return self.leaves[index]
        if _is_computed_again(node):
            return None
        return self._kept(piece, index)

    def _kept(self, piece: _Piece, index: int) -> Slot | None:
        node, at_clients = self.graph.nodes[index], piece.at_clients
        first = self.home.get((at_clients, index))
        if first is None and node.op == "get":
            first = self.home.get((at_clients, node.inputs[0]))
        if first is None or first >= piece.number or isinstance(node.type, tuple):
            return None
        earlier = (self.works if at_clients else self.servers)[first]
        self._make(earlier, (index,))
        return Slot("client" if at_clients else "server", earlier.result(index), first)

    def _inputs(self, piece: _Piece, index: int) -> tuple[int, ...]:
        """What a piece computes a value from: for something sent, what the clients do not have already is sent."""
        node = self.graph.nodes[index]
        if node.op not in SENDS:
            return node.inputs
        moved, rest = node.inputs[-1], node.inputs[:-1]
        if not self.graph.nodes[moved].place:
            return node.inputs
        if moved not in self.sent:
            sources = self.sources[piece.number]
            self.sent[moved] = (piece.number, len(sources))
            sources[moved] = Sent(SENDS[node.op], _path(node), self._span(index))
        return rest

    def _parameter(self, piece: _Piece, slot: Slot, index: int) -> int:
        name = self.graph.names[slot.index] if slot.kind == "input" else ""
        return piece.slot(slot, self.graph.nodes[index].leaf, name)

    def _compute(self, piece: _Piece, index: int) -> None:
        node, builder = self.graph.nodes[index], piece.builder
        self.home.setdefault((piece.at_clients, index), piece.number)
        if node.op in SENDS:
            piece.values[index] = self._received(piece, node)
            return
        moved = replace(node, inputs=tuple(piece.values[i] for i in node.inputs), place="")
        if OPERATIONS[node.op].is_effect:
            piece.values[index] = builder.add_effect_node(moved)
        else:
            piece.values[index] = builder.add_node(moved)

    def _received(self, piece: _Piece, node: Node) -> int:
        """What the clients make of something sent: it itself, a key of their own, or chosen rows."""
        moved = self.graph.nodes[node.inputs[-1]]
        if not moved.place:
            sent = piece.values[node.inputs[-1]]
        else:
            phase, position = self.sent[node.inputs[-1]]
            sent = piece.slot(Slot("server", position, phase), moved.leaf)
        if node.op == "federated_keys":
            identity = piece.slot(IDENTITY, Tensor("uint64"))
            return piece.builder.add("random_at", (sent, identity), node.type)
        if node.op == "federated_select":
            return _select(piece.builder, sent, piece.values[node.inputs[0]])
        return sent

    # Sizes.

    def _missing_sizes(self, piece: _Piece, needed: dict[int, Slot | None]) -> list[int]:
        """Values at the piece's place that tell sizes which it mentions and nothing in it tells."""
        nodes = self.graph.nodes
        here = {*needed, *piece.values}
        mentioned = {atom for i in here for atom in mentioned_atoms(nodes[i])}
        told = {atom for i in here if self._tells(piece, i, needed) for atom in shown_atoms(nodes[i].type)}
        told |= {atom for slot in piece.slots for atom in self._slot_atoms(piece, slot)}
        found = (self._teller(piece, atom) for atom in sorted(mentioned - told, key=str))
        return [index for index in found if index is not None and index not in here]

    def _tells(self, piece: _Piece, index: int, needed: dict[int, Slot | None]) -> bool:
        return needed.get(index) is not None or tells_sizes(self.graph.nodes[index]) or index in self.inputs

    def _slot_atoms(self, piece: _Piece, slot: Slot) -> frozenset[Atom]:
        return shown_atoms(piece.builder.nodes[piece.slots[slot]].type)

    def _teller(self, piece: _Piece, atom: Atom) -> int | None:
        places = ("", *CLIENT_PLACES) if piece.at_clients else ("", "server")

        def is_here(index: int) -> bool:
            return self.graph.nodes[index].place in places and self.levels[index] <= piece.number

        return next(filter(is_here, self.tellers.get(atom, ())), None)


def _levels(graph: Graph) -> list[int]:
    """The level of each node. What tells a size comes before what mentions it."""
    tellers = _tellers(graph)
    levels: list[int] = []
    for node in graph.nodes:
        level = max((levels[i] for i in node.inputs), default=0)
        for atom in mentioned_atoms(node) if node.op != "parameter" else ():
            first = next((i for i in tellers.get(atom, ()) if i < len(levels) and _reads(node, graph.nodes[i])), None)
            level = max(level, 0 if first is None else levels[first])
        levels.append(level + (1 if _is_aggregate(node) else 0))
    return levels


def _reads(node: Node, other: Node) -> bool:
    return not other.place or (bool(node.place) and (other.place in CLIENT_PLACES) == (node.place in CLIENT_PLACES))


def _tellers(graph: Graph) -> dict[Atom, list[int]]:
    """Every node that tells a size, parameters first."""
    found: dict[Atom, list[int]] = {}
    born = (index for index, node in enumerate(graph.nodes) if tells_sizes(node))
    for index in (*graph.parameters, *born):
        for atom in shown_atoms(graph.nodes[index].type):
            if not isinstance(graph.nodes[index].type, tuple):
                found.setdefault(atom, []).append(index)
    return found


def _is_aggregate(node: Node) -> bool:
    return OPERATIONS[node.op].is_movement and node.op not in SENDS


def _is_computed_again(node: Node) -> bool:
    """Whether it is cheaper to compute a value again than to keep it between phases."""
    if node.has_effects:
        return False
    if node.place in ("", "shared") or node.op in SENDS:
        return True
    return node.place == "clients" and (node.op == "random_at" or OPERATIONS[node.op].group == "sequence")


def _roots(graph: Graph) -> tuple[int, ...]:
    """The nodes that are made though nobody reads them."""
    inside = {index for index, node in enumerate(graph.nodes) if node.attributes and node.has_effects}
    movements = {index for index in inside if _is_aggregate(graph.nodes[index])}
    return tuple(sorted({*graph.effects, *(inside - movements)}))


def _aggregates_by_phase(graph: Graph, levels: list[int]) -> dict[int, list[int]]:
    """The aggregates of each phase; of those that differ in nothing but their path only the first."""
    phases: dict[int, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        if _is_aggregate(node):
            phases.setdefault(levels[index] - 1, []).append(index)
    return {phase: _distinct(graph, those) for phase, those in phases.items()}


def _distinct(graph: Graph, movements: list[int]) -> list[int]:
    first: dict[Node, int] = {}
    for index in movements:
        first.setdefault(_without_path(graph.nodes[index]), index)
    return list(first.values())


def _without_path(node: Node) -> Node:
    return replace(node, attributes=tuple(pair for pair in node.attributes if pair[0] != "path"))


def _aggregate_slots(aggregates: dict[int, list[int]], graph: Graph) -> dict[int, Slot]:
    """The slot of every aggregated leaf: of a movement's node, or of the `get` nodes of one with several results."""
    first: dict[tuple[int, Node], int] = {}
    for phase, movements in aggregates.items():
        offset = 0
        for index in movements:
            first[phase, _without_path(graph.nodes[index])] = offset
            offset += len(leaves_of(graph.nodes[index].type))
    phase_of = {node: phase for phase, node in first}
    slots: dict[int, Slot] = {}
    for index, node in enumerate(graph.nodes):
        movement = graph.nodes[node.inputs[0]] if node.op == "get" else node
        if _is_aggregate(movement) and not isinstance(node.type, tuple):
            bare = _without_path(movement)
            position = index_of(node) if node.op == "get" else 0
            slots[index] = Slot("aggregate", first[phase_of[bare], bare] + position, phase_of[bare])
    return slots


def _client_inputs(node: Node) -> tuple[int, ...]:
    """What the clients give to a movement: its values, and the weight of a mean."""
    if node.op == "federated_aggregate":
        return node.inputs[number_of(node, "captured") :]
    return node.inputs[: 2 if node.op == "federated_mean" else 1]


def _server_inputs(node: Node) -> tuple[int, ...]:
    """What the server gives to a movement."""
    if node.op == "federated_aggregate":
        return node.inputs[: number_of(node, "captured")]
    return node.inputs[len(_client_inputs(node)) :]


def _path(node: Node) -> str:
    return str(dict(node.attributes).get("path", ""))


def _select(builder: Builder, rows: int, keys: int) -> int:
    """Chosen rows, with a check that the keys are in range."""
    table, index = builder.nodes[rows].tensor, builder.nodes[keys].tensor
    flags = Tensor("bool", index.shape)
    scalar = Tensor("int32")

    def bound(number: int) -> int:
        return number if not index.shape else builder.add("broadcast", (number,), index, axes=())

    zero = builder.add("constant", (), scalar, value=0)
    size = builder.add("size", (), scalar, dimension=table.shape[0])
    low = builder.add("greater_equal", (keys, bound(zero)), flags)
    high = builder.add("less", (keys, bound(size)), flags)
    both = builder.add("logical_and", (low, high), flags)
    axes = tuple(range(len(index.shape)))
    whole = builder.add("reduce_all", (both,), Tensor("bool"), axes=axes) if axes else both
    builder.add_effect("check", (whole,), message="a key of `federated_select` is out of range")
    return builder.add("gather", (rows, keys), Tensor(table.dtype, (*index.shape, *table.shape[1:])))
