"""How operations on sequences batch: arithmetic on the numbers of rows. No row is copied before it is read.

A sequence that all clients share stays a sequence while the operation on it is the same for all; otherwise it becomes
`Items`. An operation on a `Mapped` sequence works on what is mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fedlang.ir.graph import Node, Sequence, Tensor
from fedlang.types.dims import Size, add, divide, multiply

from .batch_rules import permutation
from .batch_values import INT, Batching, Items, Known, Mapped, NotBatchable, Value

Rule = Callable[[Batching, Node, Known, Value | None], Known]


def sequence_type(node: Node) -> Sequence:
    """The type of a node that gives a sequence."""
    assert isinstance(node.type, Sequence), node.op
    return node.type


def items_of(batching: Batching, known: Known, type: Sequence) -> Items:
    """A sequence as numbers of rows, also where all clients share it."""
    if isinstance(known, Items):
        return known
    if isinstance(known, Mapped):
        raise NotBatchable("a mapped sequence is taken apart")
    if any(not isinstance(size, int) for size in type.element.shape):
        raise NotBatchable("a shared sequence of unequal elements is gone through in each client's own way")
    length = batching.pad_size(type.length)
    stacked = batching.add("stack", (known.id,), Tensor(type.element.dtype, (length, *type.element.shape)))
    return rows_of(batching, stacked, type, clients=False)


def rows_of(batching: Batching, tensor: int, type: Sequence, *, clients: bool) -> Items:
    """The rows of a tensor, `[L, …]` or with the axis of clients in front, as a sequence at each client."""
    length = batching.length_of(type.length)
    steps = batching.pad_size(type.length)
    full = (steps, batching.clients)
    place = batching.iota(full, 0)
    if clients:
        rest = batching.tensor(tensor).shape[2:]
        tensor = batching.reshape(tensor, (multiply(batching.clients, steps), *rest))
        client = batching.elementwise(
            "multiply", batching.iota(full, 1), batching.spread(batching.size(steps), full, ())
        )
        place = batching.elementwise("add", client, place)
    store = with_zero_row(batching, tensor)
    numbers = batching.elementwise("add", place, batching.constant(1, INT, full))
    return Items(store, within(batching, numbers, length), length, None, type, steps, 1)


def with_zero_row(batching: Batching, tensor: int) -> int:
    """The tensor as a store: row 0 is zero."""
    type = batching.tensor(tensor)
    count, *rest = type.shape
    return batching.add("pad", (tensor,), Tensor(type.dtype, (add(count, 1), *rest)), axis=0, before=1, after=0)


def within(batching: Batching, rows: int, length: int) -> int:
    """Numbers of rows [L, C(, B)], 0 from each client's length on."""
    shape = batching.tensor(rows).shape
    inside = batching.elementwise("less", batching.iota(shape, 0), batching.spread(length, shape, (1,)), dtype="bool")
    return batching.elementwise("select", inside, rows, batching.constant(0, INT, shape), dtype=INT)


def at_places(batching: Batching, items: Items, places: int, length: int, type: Sequence) -> Items:
    """The elements at `places`, int32 [L', C]; `length` of them are each client's."""
    steps = batching.tensor(places).shape[0]
    counts = None if items.counts is None else _taken(batching, items.counts, places)
    numbers = _taken(batching, items.rows, places)
    counts = None if counts is None else within(batching, counts, length)
    return Items(items.store, within(batching, numbers, length), length, counts, type, steps, items.width)


def _taken(batching: Batching, x: int, places: int) -> int:
    """`x[places[l, c], c]`, places out of range moved inside."""
    shape = batching.tensor(x).shape
    steps, clients = batching.tensor(places).shape
    last = batching.elementwise("subtract", batching.size(shape[0]), batching.constant(1, INT))
    below = batching.elementwise("minimum", places, batching.spread(last, (steps, clients), ()))
    inside = batching.elementwise("maximum", below, batching.constant(0, INT, (steps, clients)))
    spread = batching.spread(inside, (steps, *shape[1:]), (0, 1))
    return batching.add("take_along", (x, spread), Tensor(INT, (steps, *shape[1:])), axis=0)


def _number(batching: Batching, value: Value | None) -> int:
    """A number that is the same at all clients."""
    assert value is not None
    if value.batched:
        raise NotBatchable("a number of elements that differs between clients")
    return value.id


def _batch(batching: Batching, node: Node, known: Known, value: Value | None) -> Known:
    type = sequence_type(node)
    items = items_of(batching, known, replace(type, element=replace(type.element, shape=type.element.shape[1:])))
    if items.counts is not None:
        raise NotBatchable("batches of batches", node)
    size = batching.elementwise("maximum", _number(batching, value), batching.constant(1, INT))
    known_size = batching.known_number(_number(batching, value))
    width, column = batching.counted(size if not isinstance(known_size, int) else batching.constant(known_size, INT))
    steps = divide(items.steps, width, "ceil") if width != 0 else 0
    clients = batching.clients
    places = batching.elementwise(
        "add",
        batching.elementwise("multiply", batching.iota((steps, width), 0), batching.spread(size, (steps, width), ())),
        batching.spread(column, (steps, width), (1,)),
    )
    last = batching.elementwise("subtract", batching.size(items.steps), batching.constant(1, INT))
    inside = batching.elementwise("minimum", places, batching.spread(last, (steps, width), ()))
    taken = batching.add("gather", (items.rows, inside), Tensor(INT, (steps, width, clients)), in_range=True)
    full = (steps, width, clients)
    own = batching.elementwise(
        "less", batching.spread(places, full, (0, 1)), batching.spread(items.length, full, (2,)), dtype="bool"
    )
    rows = batching.elementwise("select", own, taken, batching.constant(0, INT, full), dtype=INT)
    size_c = batching.spread(size, (clients,), ())
    length = _quotient(batching, items.length, size_c)
    counts = _counts(batching, items.length, size, (steps, clients))
    made = Items(items.store, batching.transpose(rows, (0, 2, 1)), length, counts, type, steps, width)
    batching.bind(type.length, length, steps)
    return made


def _quotient(batching: Batching, length: int, size: int) -> int:
    """Rounded up."""
    one = batching.constant(1, INT, (batching.clients,))
    more = batching.elementwise("subtract", batching.elementwise("add", length, size), one)
    return batching.elementwise("floor_divide", more, size)


def _counts(batching: Batching, length: int, size: int, shape: tuple[Size, ...]) -> int:
    """How many of a batch's places are a client's own: what is left of its length, 0 to `size`."""
    width = batching.spread(size, shape, ())
    start = batching.elementwise("multiply", batching.iota(shape, 0), width)
    left = batching.elementwise("subtract", batching.spread(length, shape, (1,)), start)
    return batching.elementwise(
        "maximum", batching.elementwise("minimum", left, width), batching.constant(0, INT, shape)
    )


def _limited(batching: Batching, value: Value | None, most: int) -> int:
    """int32 [C]: a number of elements, 0 to `most`."""
    assert value is not None
    number = batching.up(value)
    below = batching.elementwise("minimum", number, most)
    return batching.elementwise("maximum", below, batching.constant(0, INT, (batching.clients,)))


def _take(batching: Batching, node: Node, known: Known, value: Value | None) -> Known:
    type = sequence_type(node)
    items = items_of(batching, known, type)
    length = _limited(batching, value, items.length)
    steps, places = _longest(batching, length)
    spread = batching.spread(places, (steps, batching.clients), (0,))
    return _bound(batching, at_places(batching, items, spread, length, type))


def _longest(batching: Batching, length: int) -> tuple[Size, int]:
    """The greatest length as a size, and 0, 1, 2 … up to it."""
    most = batching.add("reduce_max", (length,), Tensor(INT), axes=(0,))
    return batching.counted(batching.elementwise("maximum", most, batching.constant(0, INT)))


def _bound(batching: Batching, items: Items) -> Items:
    batching.bind(items.type.length, items.length, items.steps)
    return items


def _skip(batching: Batching, node: Node, known: Known, value: Value | None) -> Known:
    type = sequence_type(node)
    items = items_of(batching, known, type)
    start = _limited(batching, value, items.length)
    length = batching.elementwise("subtract", items.length, start)
    steps, places = _longest(batching, length)
    shape = (steps, batching.clients)
    shifted = batching.elementwise("add", batching.spread(places, shape, (0,)), batching.spread(start, shape, (1,)))
    return _bound(batching, at_places(batching, items, shifted, length, type))


def _repeat(batching: Batching, node: Node, known: Known, value: Value | None) -> Known:
    type = sequence_type(node)
    items = items_of(batching, known, type)
    times = batching.elementwise("maximum", _number(batching, value), batching.constant(0, INT))
    constant = batching.known_number(_number(batching, value))
    clients = (batching.clients,)
    length = batching.elementwise("multiply", items.length, batching.spread(times, clients, ()))
    if isinstance(constant, int):
        steps: Size = multiply(items.steps, constant)
        places = batching.iota((steps,), 0)
    else:
        steps, places = batching.counted(batching.elementwise("multiply", batching.size(items.steps), times))
    shape = (steps, batching.clients)
    period = batching.elementwise("maximum", items.length, batching.constant(1, INT, clients))
    wrapped = batching.elementwise(
        "remainder", batching.spread(places, shape, (0,)), batching.spread(period, shape, (1,))
    )
    return _bound(batching, at_places(batching, items, wrapped, length, type))


def _shuffle(batching: Batching, node: Node, known: Known, value: Value | None) -> Known:
    type = sequence_type(node)
    items = items_of(batching, known, type)
    assert value is not None
    order = permutation(batching, batching.up(value), type.length)
    return at_places(batching, items, batching.swap(order), items.length, type)


def _filter(batching: Batching, node: Node, known: Known, value: Value | None) -> Known:
    """Kept places first, in their order: a stable sort of what is dropped."""
    type = sequence_type(node)
    assert value is not None
    items = items_of(batching, known, type)
    shape = batching.tensor(items.rows).shape[:2]
    kept = batching.swap(batching.up(value))
    inside = batching.elementwise(
        "less", batching.iota(shape, 0), batching.spread(items.length, shape, (1,)), dtype="bool"
    )
    kept = batching.elementwise("logical_and", kept, inside)
    ones = batching.elementwise("cast", kept, dtype=INT)
    length = batching.add("reduce_sum", (ones,), Tensor(INT, (batching.clients,)), axes=(0,))
    dropped = batching.elementwise("cast", batching.elementwise("logical_not", kept), dtype=INT)
    order = batching.add("arg_sort", (dropped,), Tensor(INT, shape), axis=0)
    return _bound(batching, at_places(batching, items, order, length, type))


RULES: dict[str, Rule] = {
    "batch": _batch,
    "take": _take,
    "skip": _skip,
    "repeat": _repeat,
    "shuffle": _shuffle,
    "filter": _filter,
}


def sequence_rule(batching: Batching, node: Node, values: list[Known]) -> Known:
    """The value of a node that makes a sequence of one."""
    known, rest = values[0], values[1:]
    number = rest[0] if rest else None
    assert number is None or isinstance(number, Value)
    if isinstance(known, Mapped):
        return _of_mapped(batching, node, known, number)
    if isinstance(known, Value) and not known.batched and (number is None or not number.batched):
        return shared_sequence(batching, node, (known, *([number] if number else [])))
    return RULES[node.op](batching, node, known, number)


def shared_sequence(batching: Batching, node: Node, values: tuple[Value, ...]) -> Value:
    """A sequence that all clients share."""
    made = replace(node, inputs=tuple(value.id for value in values))
    return Value(batching.builder.add_node(made), False)


def _of_mapped(batching: Batching, node: Node, mapped: Mapped, number: Value | None) -> Known:
    if node.op == "batch":
        raise NotBatchable("batches of a mapped sequence", node)
    type = sequence_type(node)
    inner = tuple(
        sequence_rule(
            batching,
            replace(node, type=replace(type, element=_element(each))),
            [each, *([number] if number is not None else [])],
        )
        for each in mapped.sequences
    )
    return Mapped(mapped.body, mapped.captured, inner, type)


def _element(known: Known) -> Tensor:
    if isinstance(known, Value):
        raise NotBatchable("a map over a sequence that all clients share and one of their own")
    return known.type.element


def count_to(batching: Batching, node: Node, number: Value) -> Known:
    """0, 1, 2 … up to each client's own number."""
    if not number.batched:
        return shared_sequence(batching, node, (number,))
    type = sequence_type(node)
    zero = batching.constant(0, INT, (batching.clients,))
    length = batching.elementwise("maximum", number.id, zero)
    steps, places = _longest(batching, length)
    batching.bind(type.length, length, steps)
    shape = (steps, batching.clients)
    numbers = batching.elementwise("add", places, batching.constant(1, INT, (steps,)))
    rows = within(batching, batching.spread(numbers, shape, (0,)), length)
    return Items(with_zero_row(batching, places), rows, length, None, type, steps, 1)


def unstack(batching: Batching, node: Node, value: Value) -> Known:
    """The rows of a tensor as a sequence."""
    type = sequence_type(node)
    if not value.batched and not batching.is_ragged(type.length):
        return shared_sequence(batching, node, (value,))
    return rows_of(batching, value.id, type, clients=value.batched)


def stack(batching: Batching, node: Node, known: Known) -> Value:
    """A sequence as a tensor."""
    type = node.tensor
    if isinstance(known, Value):
        made = replace(node, inputs=(known.id,), type=Tensor(type.dtype, batching.pad_shape(type.shape)))
        return Value(batching.builder.add_node(made), known.batched, batching.pad_of(type.shape))
    if isinstance(known, Mapped):
        raise NotBatchable("a mapped sequence is stacked", node)
    if known.counts is not None:
        raise NotBatchable("batches are stacked", node)
    rows = batching.swap(known.rows)
    rest = batching.pad_shape(known.type.element.shape)
    full = Tensor(type.dtype, (batching.clients, known.steps, *rest))
    gathered = batching.add("gather", (known.store, rows), full, in_range=True)
    return Value(gathered, True, batching.pad_of(type.shape, batching.packed))
