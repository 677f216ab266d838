"""What must hold of every graph and program, checked before and after each pass. A violation is our mistake, never a
user's: `InvariantError` names the invariant and shows the node.
"""

from __future__ import annotations

from fedlang.ir.graph import PLACES, Graph, LeafType, Node, Tensor
from fedlang.ir.operations import MOVEMENTS, OPERATIONS, Operation
from fedlang.ir.program import Aggregate, Phase, Program, Slot
from fedlang.ir.rules import RULES, agree, is_float
from fedlang.ir.sizes import leaves_of
from fedlang.ir.text import print_node

LEVELS = ("local", "federated")
# What joins: each place with the places that a node there may read.
READS: dict[str, tuple[str, ...]] = {
    "": ("",),
    "server": ("", "server"),
    "shared": ("", "shared"),
    "clients": ("", "shared", "clients"),
}


class InvariantError(Exception):
    """A graph or program that the compiler must never make."""


def join_places(places: tuple[str, ...]) -> str | None:
    """The place of what is computed from values at these places; None for the server's beside the clients'."""
    return next(
        (place for place in ("", "server", "shared", "clients") if all(p in READS[place] for p in places)), None
    )


def verify_graph(graph: Graph, *, level: str) -> None:
    """Raises `InvariantError` unless the graph is sound at its level, "local" or "federated", and so are its bodies."""
    assert level in LEVELS, f"no such level: {level}"
    _Verifier(graph, level, set()).verify()


class _Verifier:
    """One graph being verified; `seen` are the bodies that are known to be sound."""

    def __init__(self, graph: Graph, level: str, seen: set[int]) -> None:
        self.graph = graph
        self.level = level
        self.seen = seen

    def verify(self) -> None:
        self._frame()
        for index, node in enumerate(self.graph.nodes):
            row = OPERATIONS.get(node.op)
            if row is None:
                raise self._broken(index, "every operation has a row in ir/operations.py")
            self._shape(index, node, row)
            self._place(index, node, row)
            self._types(index, node, row)
            self._bodies(node)

    def _frame(self) -> None:
        """Parameters, results and effects point at nodes of their kind."""
        graph, count = self.graph, len(self.graph.nodes)
        pointed = (*graph.parameters, *graph.results, *graph.effects)
        self._holds(all(0 <= i < count for i in pointed), "parameters, results and effects are nodes of the graph")
        self._holds(sorted(graph.parameters) == self._all("parameter"), "the parameters are the parameter nodes")
        for position, index in enumerate(graph.parameters):
            if graph.nodes[index].attribute("index") != position:
                raise self._broken(index, "a parameter's index is its position")
        effects = tuple(i for i, node in enumerate(graph.nodes) if _is_effect(node))
        self._holds(sorted(graph.effects) == list(effects), "the effects are all nodes with an effect, each once")
        for index in graph.results:
            if isinstance(graph.nodes[index].type, tuple):
                raise self._broken(index, "a result is one leaf")
        lengths = (len(graph.spans) in (0, count), len(graph.names) in (0, len(graph.parameters)))
        self._holds(all(lengths), "spans go with nodes and names with parameters")

    def _all(self, op: str) -> list[int]:
        return [index for index, node in enumerate(self.graph.nodes) if node.op == op]

    def _shape(self, index: int, node: Node, row: Operation) -> None:
        """Inputs come earlier and are as many as the row says; attributes are those of the row, sorted."""
        if any(not 0 <= i < index for i in node.inputs):
            raise self._broken(index, "inputs are earlier than the node")
        if not row.least <= len(node.inputs) <= row.most:
            raise self._broken(index, "a node has as many inputs as its operation takes")
        names = [name for name, _ in node.attributes]
        if names != sorted(names) or set(names) - set(row.optional) != set(row.attributes):
            raise self._broken(index, "a node has the attributes of its operation, sorted")

    def _place(self, index: int, node: Node, row: Operation) -> None:
        if node.place not in PLACES:
            raise self._broken(index, "a place is one of the four")
        if self.level == "local":
            if row.is_movement:
                raise self._broken(index, "a local graph holds no movement")
            if node.place:
                raise self._broken(index, "a local graph holds no placed node")
            return
        places = tuple(self.graph.nodes[i].place for i in node.inputs)
        if row.is_movement:
            self._movement(index, node, places)
        elif any(place not in READS[node.place] for place in places):
            raise self._broken(index, "only a movement joins places")

    def _movement(self, index: int, node: Node, places: tuple[str, ...]) -> None:
        row = MOVEMENTS[node.op]
        sources = (*row.sources, *[row.sources[-1]] * len(places))
        captured = node.attribute("captured") if node.op == "federated_aggregate" else 0
        assert isinstance(captured, int), "captured is a number"
        wanted = ("server",) * captured + sources
        if node.place != row.target or any(p not in READS[w] for p, w in zip(places, wanted, strict=False)):
            raise self._broken(index, "a movement goes from and to its own places")

    def _types(self, index: int, node: Node, row: Operation) -> None:
        if node.op == "get":
            return self._get(index, node)
        types: list[LeafType] = []
        for i in node.inputs:
            type = self.graph.nodes[i].type
            if isinstance(type, tuple):
                raise self._broken(index, "only `get` reads a node with several results")
            types.append(type)
        wrong = RULES[row.rule](node, tuple(types))
        if wrong:
            raise self._broken(index, f"types agree: {wrong}")
        return None

    def _get(self, index: int, node: Node) -> None:
        parts, number = self.graph.nodes[node.inputs[0]].type, node.attribute("index")
        if not isinstance(parts, tuple) or not isinstance(number, int) or not 0 <= number < len(parts):
            raise self._broken(index, "`get` reads a result that there is")
        if not agree(parts[number], node.type):
            raise self._broken(index, "types agree: `get` has the type of the result it reads")

    def _bodies(self, node: Node) -> None:
        for _, value in node.attributes:
            if isinstance(value, Graph) and id(value) not in self.seen:
                self.seen.add(id(value))
                _Verifier(value, "local", self.seen).verify()

    def _holds(self, condition: bool, invariant: str) -> None:
        if not condition:
            raise InvariantError(invariant)

    def _broken(self, index: int, invariant: str) -> InvariantError:
        return InvariantError(f"{invariant}\n  {print_node(self.graph, index)}")


def _is_effect(node: Node) -> bool:
    return node.op in OPERATIONS and OPERATIONS[node.op].is_effect


# Programs.


def verify_program(program: Program) -> None:
    """Raises `InvariantError` unless every slot points at something of its kind and type, in a piece that has run."""
    _require(len(program.inputs) == len(program.input_names), "every input has a name")
    for number, phase in enumerate(program.phases):
        _piece(program, phase.prepare, phase.prepare_slots, SERVER_READS, number)
        _piece(program, phase.work, phase.work_slots, CLIENT_READS, number)
        _require(phase.broadcasts <= len(phase.prepare.results), "what is broadcast is prepared")
        for aggregate in phase.aggregates:
            _aggregate(phase, aggregate)
    _piece(program, program.finish, program.finish_slots, SERVER_READS, len(program.phases))
    for slot in program.results:
        _require(slot.kind in ("finish", "client"), "a result is the finish's or the clients'")
        _slot_type(program, slot, len(program.phases))


IDENTITY = Tensor("uint64")
SERVER_READS = ("input", "server", "aggregate")
CLIENT_READS = ("input", "server", "client", "identity")


def _require(condition: bool, invariant: str) -> None:
    if not condition:
        raise InvariantError(invariant)


def _piece(program: Program, graph: Graph, slots: tuple[Slot, ...], kinds: tuple[str, ...], phase: int) -> None:
    verify_graph(graph, level="local")
    _require(len(slots) == len(graph.parameters), "every parameter of a piece has a slot")
    for slot, type in zip(slots, graph.parameter_types(), strict=True):
        _require(slot.kind in kinds, f"a piece reads only what is at its place, not {slot.kind}")
        found = _slot_type(program, slot, phase, at_clients=kinds is CLIENT_READS)
        _require(agree(found, type), "a slot has its parameter's type")


def _slot_type(program: Program, slot: Slot, now: int, *, at_clients: bool = False) -> LeafType:
    """The type of what a slot points at; it must be there when phase `now` runs."""
    match slot.kind:
        case "input":
            _require(slot.index < len(program.inputs), "an input slot points at an input")
            type, place = program.inputs[slot.index]
            _require(
                place in ("", "shared", "clients") if at_clients else place in ("", "server"),
                "a piece reads only inputs that are at its place",
            )
            return type
        case "identity":
            return IDENTITY
        case "finish":
            _require(slot.index < len(program.finish.results), "a result slot points at a result")
            return program.finish.result_types()[slot.index]
    _require(slot.phase < now + (slot.kind == "server" and at_clients), "a slot points at a piece that has run")
    phase = program.phases[slot.phase]
    leaves = _phase_leaves(phase, slot.kind)
    limit = phase.broadcasts if at_clients and slot.kind == "server" else len(leaves)
    _require(slot.index < limit, "a slot points at a leaf that is there")
    return leaves[slot.index]


def _phase_leaves(phase: Phase, kind: str) -> tuple[LeafType, ...]:
    if kind == "server":
        return phase.prepare.result_types()
    if kind == "client":
        return phase.work.result_types()
    return tuple(leaf for aggregate in phase.aggregates for leaf in leaves_of(aggregate.type))


def _aggregate(phase: Phase, aggregate: Aggregate) -> None:
    work, prepared = phase.work.result_types(), phase.prepare.result_types()
    _require(all(0 <= i < len(work) for i in (*aggregate.values, aggregate.value)), "an aggregate's values are work's")
    _require(-1 <= aggregate.weight < len(work), "a weight is a result of the work")
    _require(-1 <= aggregate.otherwise < len(prepared), "an `otherwise` is prepared")
    _require(all(0 <= i < len(prepared) for i in aggregate.captured), "what an aggregate captures is prepared")
    if aggregate.kind in ("sum", "mean", "min", "max", "secure_sum"):
        _require(agree(work[aggregate.value], aggregate.type), "an aggregate has the type of its values")
    if aggregate.kind == "mean":
        _require(is_float(work[aggregate.value]), "a mean is of floats")
