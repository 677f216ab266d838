"""How folds, choices and checks batch.

A fold becomes one fold over time for all clients. Its body is batched once; which carries have the axis of clients is
found by trying: a carry that starts shared and that the body leaves shared is never repeated. Where clients have
different numbers of steps, `live`, bool [T, C], goes with the elements, and a carry of a client that has none left
keeps its value, chosen by select.

A choice on a shared predicate stays a choice. On a predicate that differs, both sides are made and their results
selected; checks inside count for the clients whose side it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fedlang.ir.graph import Builder, Graph, LeafType, Node, Sequence, Tensor
from fedlang.types.dims import Atom, Dim, Size, atoms_of

from .batch_values import Batching, Items, Known, Mapped, NotBatchable, Value

Run = Callable[[Batching, Graph, list[Known]], list[Known]]


# Handing values to a body: each becomes some nodes outside, and as many parameters inside.


@dataclass(frozen=True, slots=True)
class Handed:
    """Nodes outside and, for each, the type of its parameter; `rebuild` makes the value inside from the parameters."""

    nodes: tuple[int, ...]
    types: tuple[LeafType, ...]
    rebuild: Callable[[tuple[int, ...]], Known]


def hand(batching: Batching, known: Known) -> Handed:
    """A captured value."""
    if isinstance(known, Mapped):
        return _hand_mapped(batching, known)
    if isinstance(known, Value):
        return Handed((known.id,), (batching.builder.nodes[known.id].leaf,), lambda new: replace(known, id=new[0]))
    nodes = (known.store, known.rows, known.length, *(() if known.counts is None else (known.counts,)))

    def rebuild(new: tuple[int, ...]) -> Items:
        return replace(known, store=new[0], rows=new[1], length=new[2], counts=new[3] if len(new) > 3 else None)

    return Handed(nodes, tuple(batching.tensor(node) for node in nodes), rebuild)


def _hand_mapped(batching: Batching, mapped: Mapped) -> Handed:
    parts = [hand(batching, each) for each in (*mapped.captured, *mapped.sequences)]

    def rebuild(new: tuple[int, ...]) -> Mapped:
        made, rest = [], list(new)
        for part in parts:
            made.append(part.rebuild(tuple(rest[: len(part.nodes)])))
            del rest[: len(part.nodes)]
        count = len(mapped.captured)
        return replace(mapped, captured=tuple(made[:count]), sequences=tuple(made[count:]))

    return Handed(
        tuple(node for part in parts for node in part.nodes), tuple(t for part in parts for t in part.types), rebuild
    )


@dataclass(frozen=True, slots=True)
class Element:
    """What a fold goes over, one of its inputs: nodes along time, nodes captured, and how an element is read inside."""

    over: tuple[int, ...]
    captured: tuple[int, ...]
    read: Callable[[Batching, Run, tuple[int, ...], tuple[int, ...]], Known]


def element(batching: Batching, known: Known, type: LeafType) -> Element:
    """How the elements of a fold's input are read."""
    if isinstance(known, Items):
        return _element_of_items(known)
    if isinstance(known, Mapped):
        return _element_of_mapped(batching, known)
    shape = type.shape[1:] if isinstance(type, Tensor) else type.element.shape
    over = batching.swap(known.id) if known.batched else known.id

    def read(inner: Batching, run: Run, items: tuple[int, ...], captured: tuple[int, ...]) -> Known:
        return Value(items[0], known.batched, inner.pad_of(shape))

    return Element((over,), (), read)


def _element_of_items(items: Items) -> Element:
    shape = items.type.element.shape

    def read(inner: Batching, run: Run, numbers: tuple[int, ...], captured: tuple[int, ...]) -> Known:
        if items.counts is not None:
            inner.bind(shape[0], numbers[1], items.width, filled=items.full)
        type = Tensor(items.type.element.dtype, inner.full(shape))
        row = inner.add("gather", (captured[0], numbers[0]), type, in_range=True)
        return Value(row, True, inner.pad_of(shape, inner.packed))

    return Element((items.rows, *(() if items.counts is None else (items.counts,))), (items.store,), read)


def _element_of_mapped(batching: Batching, mapped: Mapped) -> Element:
    parts = [
        element(batching, each, each.type if not isinstance(each, Value) else _leaf(batching, each))
        for each in mapped.sequences
    ]
    outer = [hand(batching, each) for each in mapped.captured]

    def read(inner: Batching, run: Run, items: tuple[int, ...], captured: tuple[int, ...]) -> Known:
        rest, kept = list(items), list(captured)
        values = []
        for part in outer:
            values.append(part.rebuild(_pop(kept, len(part.nodes))))
        for each in parts:
            values.append(each.read(inner, run, _pop(rest, len(each.over)), _pop(kept, len(each.captured))))
        return run(inner, mapped.body, values)[0]

    captured = (*(n for part in outer for n in part.nodes), *(n for part in parts for n in part.captured))
    return Element(tuple(n for part in parts for n in part.over), captured, read)


def _leaf(batching: Batching, value: Value) -> LeafType:
    return batching.builder.nodes[value.id].leaf


def _pop(values: list[int], count: int) -> tuple[int, ...]:
    taken = tuple(values[:count])
    del values[:count]
    return taken


# Folds


def ragged_atoms(batching: Batching, graph: Graph) -> tuple[Atom, ...]:
    """The sizes of the graph around that a body speaks of and that differ between clients."""
    found: dict[Atom, None] = {}
    for node in graph.nodes:
        leaves = node.type if isinstance(node.type, tuple) else (node.type,)
        sizes: list[Size] = [size for leaf in leaves for size in _sizes(leaf)]
        for _, value in node.attributes:
            if isinstance(value, Dim):
                sizes.append(value)
            if isinstance(value, Graph):
                found |= dict.fromkeys(ragged_atoms(batching, value))
        found |= dict.fromkeys(atom for size in sizes for atom in atoms_of(size) if atom in batching.lengths)
    return tuple(found)


def _sizes(leaf: LeafType) -> tuple[Size, ...]:
    return leaf.shape if isinstance(leaf, Tensor) else (leaf.length, *leaf.element.shape)


def _own_sizes(known: Known) -> tuple[Atom, ...]:
    """The sizes that differ from one element of a sequence to the next."""
    if isinstance(known, Mapped):
        return tuple(atom for each in known.sequences for atom in _own_sizes(each))
    return atoms_of(known.type.element.shape[0]) if isinstance(known, Items) and known.counts is not None else ()


class Fold:
    """One fold being batched."""

    def __init__(self, batching: Batching, run: Run, node: Node, values: list[Known], types: list[LeafType]) -> None:
        self.batching, self.run, self.node = batching, run, node
        body, captured, carries = (dict(node.attributes)[name] for name in ("body", "captured", "carries"))
        assert isinstance(body, Graph)
        assert isinstance(captured, int)
        assert isinstance(carries, int)
        self.body = body
        self.captured = [hand(batching, each) for each in values[:captured]]
        self.start = [_value(each) for each in values[captured : captured + carries]]
        over = captured + carries
        self.elements = [element(batching, v, t) for v, t in zip(values[over:], types[over:], strict=True)]
        first = types[over]
        self.length = first.shape[0] if isinstance(first, Tensor) else sequence_length(first)
        own = {atom for each in values[over:] for atom in _own_sizes(each)}
        if own & batching.lengths.keys():
            raise NotBatchable("a loop over batches inside a loop over the same", node)
        for given in body.result_types()[carries:]:
            if own.intersection(atom for size in _sizes(given) for atom in atoms_of(size)):
                raise NotBatchable("a loop gives values of a size that each step has for itself", node)
        self.trips = _trips(batching, values[over:], self.length)
        self.is_filled = self.trips is not None and batching.is_filled(self.length)  # all clients take all steps
        self.trips = None if self.is_filled else self.trips
        self.steps = _steps(batching, values[over], self.length)
        self.atoms = ragged_atoms(batching, body)
        self.reverse = bool(dict(node.attributes).get("reverse", False))

    def batch(self) -> list[Value]:
        """The last carries, and the outputs."""
        batched = [value.batched for value in self.start]
        while True:
            graph, found = self._body(batched)
            if found[: len(batched)] == batched:
                break
            batched = [old or new for old, new in zip(batched, found, strict=False)]
        return self._fold(graph, batched, found[len(batched) :])

    def _nodes(self) -> tuple[int, ...]:
        """What the body captures, each once: captured values, lengths, who is live at all, and stores."""
        batching = self.batching
        live = () if batching.live is None else (batching.live,)
        lengths = tuple(batching.lengths[atom] for atom in self.atoms)
        stores = tuple(n for each in self.elements for n in each.captured)
        return _once((*(n for each in self.captured for n in each.nodes), *lengths, *live, *stores))

    def _over(self) -> tuple[int, ...]:
        """What the fold goes over, each once."""
        live = () if self.trips is None else (self._live(),)
        return _once((*(n for each in self.elements for n in each.over), *live))

    def _live(self) -> int:
        """bool [T, C]: who has a step at each time."""
        assert self.trips is not None
        shape = (self.steps, self.batching.clients)
        trips = self.batching.spread(self.trips, shape, (1,))
        return self.batching.elementwise("less", self.batching.iota(shape, 0), trips, dtype="bool")

    def _body(self, batched: list[bool]) -> tuple[Graph, list[bool]]:
        """The body with these carries batched, and which of its results are."""
        builder = Builder()
        inner = self.batching.inner(builder)
        outside = _parameters(self.batching, builder, self._nodes())
        carries = [self._carry_parameter(builder, k, flag) for k, flag in enumerate(batched)]
        over = {node: builder.parameter(_row(self.batching, node)) for node in self._over()}
        values = [_rebuilt(each, outside) for each in self.captured]
        _tell(self.batching, inner, self.atoms, outside)
        live = None if self.trips is None else over[self._live()]
        elements = [
            each.read(inner, self.run, tuple(over[n] for n in each.over), tuple(outside[n] for n in each.captured))
            for each in self.elements
        ]
        start = [
            Value(parameter, flag, inner.pad_of(self._carry(k).shape))
            for k, (parameter, flag) in enumerate(zip(carries, batched, strict=True))
        ]
        results = [_value(each) for each in self._run(inner, live, [*values, *start, *elements])]
        kept = [self._kept(inner, live, old, new) for old, new in zip(start, results, strict=False)]
        found = [value.batched for value in (*kept, *results[len(kept) :])]
        # A carry found batched now is tried again as such; one tried as batched stays so.
        whole = [inner.up(value) if flag else value.id for value, flag in zip(kept, batched, strict=True)]
        found[: len(batched)] = [old or new for old, new in zip(batched, found, strict=False)]
        return builder.finish((*whole, *(value.id for value in results[len(kept) :]))), found

    def _run(self, inner: Batching, live: int | None, arguments: list[Known]) -> list[Known]:
        if live is None:
            return self.run(inner, self.body, arguments)
        with inner.only(live):
            return self.run(inner, self.body, arguments)

    def _carry(self, place: int) -> Tensor:
        type = self.body.result_types()[place]
        assert isinstance(type, Tensor)
        return type

    def _carry_parameter(self, builder: Builder, place: int, flag: bool) -> int:
        type = self._carry(place)
        shape = self.batching.full(type.shape) if flag else self.batching.pad_shape(type.shape)
        return builder.parameter(Tensor(type.dtype, shape))

    def _kept(self, inner: Batching, live: int | None, old: Value, new: Value) -> Value:
        """The new carry where the client is live, else the old one."""
        if old.id == new.id or (live is None and not self.is_filled):
            return new
        if live is None:
            return Value(inner.up(new), True, "dirty")
        shape = inner.tensor(inner.up(new)).shape
        chosen = inner.elementwise(
            "select", inner.spread(live, shape, (0,)), inner.up(new), inner.up(old), dtype=inner.tensor(new.id).dtype
        )
        return Value(chosen, True, "dirty")

    def _fold(self, body: Graph, batched: list[bool], outputs: list[bool]) -> list[Value]:
        batching = self.batching
        start = tuple(batching.up(value) if flag else value.id for value, flag in zip(self.start, batched, strict=True))
        nodes = self._nodes()
        results = body.result_types()
        carried = results[: len(batched)]
        stacked = [Tensor(t.dtype, (self.steps, *t.shape)) for t in results[len(batched) :] if isinstance(t, Tensor)]
        made = batching.builder.add(
            "fold",
            (*nodes, *start, *self._over()),
            (*carried, *stacked),
            body=body,
            captured=len(nodes),
            carries=len(batched),
            reverse=self.reverse,
        )
        parts = [batching.builder.get(made, k) for k in range(len(results))]
        local = self.body.result_types()
        after = [
            Value(part, flag, batching.pad_of(self._carry(k).shape))
            for k, (part, flag) in enumerate(zip(parts, batched, strict=False))
        ]
        for part, flag, type in zip(parts[len(batched) :], outputs, local[len(batched) :], strict=True):
            assert isinstance(type, Tensor)
            pad = batching.pad_of((self.length, *type.shape))
            after.append(Value(batching.swap(part) if flag else part, flag, pad))
        return after


def _once(nodes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(nodes))


def _parameters(batching: Batching, builder: Builder, nodes: tuple[int, ...]) -> dict[int, int]:
    """A parameter of a body for each node outside."""
    return {node: builder.parameter(batching.builder.nodes[node].leaf) for node in nodes}


def _rebuilt(handed: Handed, outside: dict[int, int]) -> Known:
    return handed.rebuild(tuple(outside[node] for node in handed.nodes))


def _tell(batching: Batching, inner: Batching, atoms: tuple[Atom, ...], outside: dict[int, int]) -> None:
    """Tells a body of lengths around it, and of who is live."""
    for atom in atoms:
        inner.lengths[atom] = outside[batching.lengths[atom]]
        inner.padded[atom] = batching.padded[atom]
        inner.filled |= {atom} & batching.filled
    if batching.live is not None:
        inner.live = outside[batching.live]


def sequence_length(type: LeafType) -> Size:
    """The length of a sequence."""
    assert isinstance(type, Sequence)
    return type.length


def _value(known: Known) -> Value:
    if not isinstance(known, Value):
        raise NotBatchable("a sequence of a client's own is carried, chosen or given back")
    return known


def _row(batching: Batching, node: int) -> Tensor:
    """The type of an element of what a fold goes over."""
    leaf = batching.builder.nodes[node].leaf
    return leaf.element if isinstance(leaf, Sequence) else Tensor(leaf.dtype, leaf.shape[1:])


def _trips(batching: Batching, over: list[Known], length: Size) -> int | None:
    """int32 [C]: each client's number of steps; None where all have the same."""
    for known in over:
        while isinstance(known, Mapped):
            known = known.sequences[0]
        if isinstance(known, Items):
            return known.length
    return batching.length_of(length) if batching.is_ragged(length) else None


def _steps(batching: Batching, known: Known, length: Size) -> Size:
    while isinstance(known, Mapped):
        known = known.sequences[0]
    return known.steps if isinstance(known, Items) else batching.pad_size(length)


# Choices and checks


def choose(batching: Batching, run: Run, node: Node, values: list[Known]) -> list[Value]:
    """The results of a `cond`."""
    predicate = _value(values[0])
    then, otherwise = dict(node.attributes)["then"], dict(node.attributes)["otherwise"]
    assert isinstance(then, Graph)
    assert isinstance(otherwise, Graph)
    if predicate.batched:
        return _both(batching, run, predicate.id, (then, otherwise), values[1:])
    return _one(batching, run, predicate.id, (then, otherwise), values[1:])


def _both(
    batching: Batching, run: Run, predicate: int, branches: tuple[Graph, Graph], values: list[Known]
) -> list[Value]:
    with batching.only(predicate):
        first = run(batching, branches[0], values)
    with batching.only(batching.elementwise("logical_not", predicate)):
        second = run(batching, branches[1], values)
    return [
        _selected(batching, predicate, _value(a), _value(b), type)
        for a, b, type in zip(first, second, branches[0].result_types(), strict=True)
    ]


def _selected(batching: Batching, predicate: int, a: Value, b: Value, type: LeafType) -> Value:
    if a.id == b.id:
        return a
    assert isinstance(type, Tensor)
    full = batching.full(type.shape)
    chosen = batching.elementwise(
        "select", batching.spread(predicate, full, (0,)), batching.up(a), batching.up(b), dtype=type.dtype
    )
    return Value(chosen, True, batching.pad_of(type.shape, "zero" if a.pad == b.pad == "zero" else "dirty"))


def _one(
    batching: Batching, run: Run, predicate: int, branches: tuple[Graph, Graph], values: list[Known]
) -> list[Value]:
    handed = [hand(batching, each) for each in values]
    atoms = tuple(dict.fromkeys(atom for branch in branches for atom in ragged_atoms(batching, branch)))
    lengths = (batching.lengths[atom] for atom in atoms)
    live = () if batching.live is None else (batching.live,)
    nodes = _once((*(n for each in handed for n in each.nodes), *lengths, *live))
    made = [_branch(batching, run, branch, handed, atoms, nodes, None) for branch in branches]
    flags = [a or b for a, b in zip(made[0][1], made[1][1], strict=True)]
    graphs = [_branch(batching, run, branch, handed, atoms, nodes, flags)[0] for branch in branches]
    node = batching.builder.add(
        "cond", (predicate, *nodes), graphs[0].result_types(), then=graphs[0], otherwise=graphs[1]
    )
    results = []
    for k, (flag, type) in enumerate(zip(flags, branches[0].result_types(), strict=True)):
        assert isinstance(type, Tensor)
        results.append(Value(batching.builder.get(node, k), flag, batching.pad_of(type.shape)))
    return results


def _branch(
    batching: Batching,
    run: Run,
    branch: Graph,
    handed: list[Handed],
    atoms: tuple[Atom, ...],
    nodes: tuple[int, ...],
    flags: list[bool] | None,
) -> tuple[Graph, list[bool]]:
    builder = Builder()
    inner = batching.inner(builder)
    outside = _parameters(batching, builder, nodes)
    _tell(batching, inner, atoms, outside)
    values = [_rebuilt(each, outside) for each in handed]
    results = [_value(each) for each in run(inner, branch, values)]
    found = [value.batched for value in results]
    raised = flags or found
    return builder.finish(tuple(inner.up(v) if flag else v.id for v, flag in zip(results, raised, strict=True))), found


def check(batching: Batching, node: Node, value: Value, type: Tensor) -> int:
    """A check for each client that is live; for all at once where nothing in it differs."""
    condition = batching.clean(value, type.shape, True)
    if not condition.batched and batching.live is None:
        return batching.builder.add_effect_node(Node("check", (condition.id,), node.attributes, ()))
    up = batching.up(condition)
    axes = tuple(range(1, len(batching.tensor(up).shape)))
    if axes:
        up = batching.add("reduce_all", (up,), Tensor("bool", (batching.clients,)), axes=axes)
    if batching.live is not None:
        up = batching.elementwise("logical_or", up, batching.elementwise("logical_not", batching.live))
    return batching.builder.add_effect_node(Node("check", (up,), node.attributes, ()))
