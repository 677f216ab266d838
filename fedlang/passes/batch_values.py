"""Values while batching: what a node of the local graph has become in the graph for all clients, and the masks
between them.

`Batching` holds the graph being made and what is known of sizes. A size that may differ from client to client is
ragged: in the new graph its axis is as long as the longest client's (`padded`), and an int32[C] node says how much of
it is each client's (`lengths`). Values stand left-aligned; what lies behind a client's length is padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from fedlang.ir.graph import Attribute, Builder, Graph, Node, Sequence, Tensor
from fedlang.source import Span
from fedlang.types.dims import (
    Atom,
    Dim,
    Quotient,
    Size,
    atoms_of,
    fresh_named,
    multiply,
    of_atom,
    substitute,
)
from fedlang.types.dtypes import FLOATS, integer_range

from .rewrite import numbers_of

INT = "int32"


class NotBatchable(Exception):
    """A graph that cannot run for all clients at once: why, at which node, and where that is in the text."""

    def __init__(self, reason: str, node: Node | None = None, span: Span | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.node = node
        self.span = span


@dataclass(frozen=True, slots=True)
class Value:
    """A node of the new graph. `batched`: whether it has the axis of clients, in front. `pad`: what its padding holds.

    "none"   it has no ragged axis
    "zero"   zeros
    "dirty"  anything, NaN too
    """

    id: int
    batched: bool
    pad: str = "none"


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence that differs from client to client: numbers of rows in a store that all share.

    `rows` is int32 [L, C], or [L, C, B] where an element is a range of rows (then `counts`, [L, C], says how many of
    the B are its own); padding is numbers of zero rows, and costs no mask. `length` is int32 [C]. Time comes first: a
    fold takes slices of it. `full`: all B are, of every element that is there.
    """

    store: int
    rows: int
    length: int
    counts: int | None
    type: Sequence
    steps: Size
    width: Size
    full: bool = False


@dataclass(frozen=True, slots=True)
class Mapped:
    """A graph applied to the elements of sequences, one at a time, where they are read."""

    body: Graph
    captured: tuple[Known, ...]
    sequences: tuple[Known, ...]
    type: Sequence


Known = Value | Items | Mapped

Apart: TypeAlias = Callable[[str], str]
"""Why the function from Python of that name is called client by client; "" where it may be called for all at once."""


def one_by_one(handle: str) -> str:
    """What holds of a function that nothing else is known of."""
    return f"`{handle}` from Python is called for one client at a time"


@dataclass(slots=True)
class Batching:
    """The graph being made, and what holds in it.

    `live`: bool [C], the clients that take part here; None for all. `packed`: what the padding of parameters holds.
    `apart`: which functions from Python are called client by client, and why (`batch_externs.py`). `filled`: ragged
    sizes that all clients have the same of, so that no padding is along them. What they would be masked by is left out,
    and nothing else is other than it was: a value that a mask would give the axis of clients has it without, so that
    the same operations run on tensors of the same shapes, and give the same bits.
    """

    builder: Builder
    clients: Dim
    lengths: dict[Atom, int] = field(default_factory=dict)
    padded: dict[Atom, Size] = field(default_factory=dict)
    live: int | None = None
    span: Span | None = None
    packed: str = "zero"
    apart: Apart = one_by_one
    filled: set[Atom] = field(default_factory=set)

    # Nodes

    def add(self, op: str, inputs: tuple[int, ...], type: Tensor, **attributes: Attribute) -> int:
        """A node of the new graph."""
        return self.builder.add_node(Node(op, inputs, tuple(sorted(attributes.items())), type))

    def tensor(self, node: int) -> Tensor:
        """The type of a node of the new graph."""
        return self.builder.nodes[node].tensor

    def elementwise(self, op: str, *inputs: int, dtype: str = "") -> int:
        """An elementwise node; `dtype` is the result's where it is not the first input's."""
        first = self.tensor(inputs[0])
        return self.add(op, inputs, Tensor(dtype or first.dtype, first.shape))

    def constant(self, value: bool | int | float, dtype: str, shape: tuple[Size, ...] = ()) -> int:
        """A number, repeated to the shape."""
        scalar = self.add("constant", (), Tensor(dtype), value=value)
        return self.spread(scalar, shape, ())

    def spread(self, node: int, shape: tuple[Size, ...], axes: tuple[int, ...]) -> int:
        """The node broadcast to the shape."""
        type = self.tensor(node)
        if type.shape == shape:
            return node
        made = self.builder.nodes[node]
        if made.op == "broadcast":
            return self.spread(made.inputs[0], shape, tuple(axes[axis] for axis in numbers_of(made, "axes")))
        return self.add("broadcast", (node,), Tensor(type.dtype, shape), axes=axes)

    def reshape(self, node: int, shape: tuple[Size, ...]) -> int:
        """The node in another shape."""
        type = self.tensor(node)
        return node if type.shape == shape else self.add("reshape", (node,), Tensor(type.dtype, shape))

    def transpose(self, node: int, order: tuple[int, ...]) -> int:
        """The node with its axes in another order."""
        type = self.tensor(node)
        if order == tuple(range(len(order))):
            return node
        shape = tuple(type.shape[axis] for axis in order)
        return self.add("transpose", (node,), Tensor(type.dtype, shape), permutation=order)

    def swap(self, node: int) -> int:
        """The node with its first two axes exchanged: clients first to time first, and back."""
        return self.transpose(node, (1, 0, *range(2, len(self.tensor(node).shape))))

    def iota(self, shape: tuple[Size, ...], axis: int) -> int:
        """0, 1, 2 … along an axis."""
        return self.add("iota", (), Tensor(INT, shape), axis=axis)

    def size(self, size: Size) -> int:
        """A size of the new graph as a number."""
        return self.constant(size, INT) if isinstance(size, int) else self.add("size", (), Tensor(INT), dimension=size)

    def counted(self, number: int) -> tuple[Size, int]:
        """A size whose value is computed, and 0, 1, 2 … of that size. Where the numbers are not used, the size has no
        value."""
        known = self.known_number(number)
        if known is not None:
            return known, self.iota((known,), 0)
        length = fresh_named("length")
        sequence = self.builder.add("count_to", (number,), Sequence(Tensor(INT), length))
        return length, self.add("stack", (sequence,), Tensor(INT, (length,)))

    def known_number(self, node: int) -> Size | None:
        """The size that an int32 scalar is, where that can be said."""
        made = self.builder.nodes[node]
        if made.op == "constant":
            value = made.attribute("value")
            return value if isinstance(value, int) and value >= 0 else None
        dimension = made.attribute("dimension") if made.op == "size" else None
        return dimension if isinstance(dimension, Dim) else None

    # Sizes

    def is_ragged(self, size: Size) -> bool:
        """Whether a size may differ from client to client."""
        return any(atom in self.lengths for atom in atoms_of(size))

    def ragged_axes(self, shape: tuple[Size, ...]) -> tuple[int, ...]:
        """The axes of a local shape whose sizes may differ."""
        return tuple(axis for axis, size in enumerate(shape) if self.is_ragged(size))

    def is_filled(self, size: Size) -> bool:
        """Whether all clients have the same of a size."""
        return all(atom in self.filled for atom in atoms_of(size) if atom in self.lengths)

    def pad_size(self, size: Size) -> Size:
        """The size of an axis in the new graph: at least every client's. It must grow with its parts."""
        if not self.is_ragged(size):
            return size
        if not self._grows(size):
            raise NotBatchable(f"the size {size} shrinks as its parts grow")
        return substitute(size, lambda atom: self.padded.get(atom))

    def _grows(self, size: Size) -> bool:
        if isinstance(size, int):
            return True
        for atoms, number in size.terms:
            ragged = [atom for atom in atoms if self.is_ragged(of_atom(atom))]
            quotients = [atom for atom in ragged if isinstance(atom, Quotient)]
            if (ragged and number < 0) or any(
                self.is_ragged(q.divisor) or not self._grows(q.dividend) for q in quotients
            ):
                return False
        return True

    def pad_shape(self, shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """A local shape in the new graph, without the axis of clients."""
        return tuple(self.pad_size(size) for size in shape)

    def full(self, shape: tuple[Size, ...]) -> tuple[Size, ...]:
        """A local shape in the new graph, the axis of clients in front."""
        return (self.clients, *self.pad_shape(shape))

    def length_of(self, size: Size) -> int:
        """int32 [C]: a size at each client."""
        if not self.is_ragged(size):
            return self.spread(self.size(size), (self.clients,), ())
        if isinstance(size, Dim) and size.atom in self.lengths:
            return self.lengths[size.atom]
        assert isinstance(size, Dim)
        total = -1
        for atoms, number in size.terms:
            term = self.constant(number, INT, (self.clients,))
            for atom in atoms:
                term = self.elementwise("multiply", term, self._length_of_atom(atom))
            total = term if total < 0 else self.elementwise("add", total, term)
        return total

    def _length_of_atom(self, atom: Atom) -> int:
        if atom in self.lengths:
            return self.lengths[atom]
        if not isinstance(atom, Quotient) or not self.is_ragged(of_atom(atom)):
            return self.length_of(of_atom(atom))
        dividend, divisor = self.length_of(atom.dividend), self.length_of(atom.divisor)
        if atom.kind == "ceil":
            less_one = self.elementwise("subtract", divisor, self.constant(1, INT, (self.clients,)))
            dividend = self.elementwise("add", dividend, less_one)
        return self.elementwise("floor_divide", dividend, divisor)

    def bind(self, size: Size, length: int, padded: Size, *, filled: bool = False) -> None:
        """Learns of a ragged size that is one name; what is known already is left."""
        atom = size.atom if isinstance(size, Dim) else None
        if atom is not None and not isinstance(atom, Quotient) and atom not in self.lengths:
            self.lengths[atom] = length
            self.padded[atom] = padded
            self.filled |= {atom} if filled else set()

    # Values

    def pad_of(self, shape: tuple[Size, ...], pad: str = "dirty") -> str:
        """The state of padding of a value of this local shape."""
        return pad if self.ragged_axes(shape) else "none"

    def up(self, value: Value) -> int:
        """The value with the axis of clients."""
        if value.batched:
            return value.id
        shape = self.tensor(value.id).shape
        return self.spread(value.id, (self.clients, *shape), tuple(range(1, len(shape) + 1)))

    def mask(self, shape: tuple[Size, ...], axes: tuple[int, ...]) -> int:
        """bool [C, …]: what lies inside the clients' lengths along these axes of a local shape."""
        full, found = self.full(shape), -1
        for axis in axes:
            flat = (self.clients, full[axis + 1])
            place, length = self.iota(flat, 1), self.spread(self.length_of(shape[axis]), flat, (0,))
            inside = self.spread(self.elementwise("less", place, length, dtype="bool"), full, (0, axis + 1))
            found = inside if found < 0 else self.elementwise("logical_and", found, inside)
        return found

    def clean(self, value: Value, shape: tuple[Size, ...], fill: bool | int | float = 0) -> Value:
        """The value with `fill` in its padding, chosen and never multiplied: padding may be NaN."""
        ragged = self.ragged_axes(shape)
        if not ragged or (value.pad == "zero" and fill == 0):
            return value
        pad = "zero" if fill == 0 else "dirty"
        axes = tuple(axis for axis in ragged if not self.is_filled(shape[axis]))
        if not axes:
            return Value(self.up(value), True, pad)
        full = self.full(shape)
        dtype = self.tensor(value.id).dtype
        other = self.constant(_number(fill, dtype), dtype, full)
        chosen = self.elementwise("select", self.mask(shape, axes), self.up(value), other, dtype=dtype)
        return Value(chosen, True, pad)

    @contextmanager
    def only(self, clients: int) -> Iterator[None]:
        """Where only some clients take part: what is checked inside is checked for them."""
        before = self.live
        self.live = clients if before is None else self.elementwise("logical_and", before, clients)
        try:
            yield
        finally:
            self.live = before

    def inner(self, builder: Builder) -> Batching:
        """What holds in the body of a loop, before its parameters are there: nothing but the clients."""
        return Batching(builder, self.clients, span=self.span, packed=self.packed, apart=self.apart)


def _number(fill: bool | int | float, dtype: str) -> bool | int | float:
    if dtype == "bool":
        return bool(fill)
    return float(fill) if dtype in FLOATS else int(fill)


def least(dtype: str) -> bool | int | float:
    """The least number of a dtype."""
    return float("-inf") if dtype in FLOATS else False if dtype == "bool" else integer_range(dtype)[0]


def greatest(dtype: str) -> bool | int | float:
    """The greatest number of a dtype."""
    return float("inf") if dtype in FLOATS else True if dtype == "bool" else integer_range(dtype)[1]


def retyped(items: Items, type: Sequence) -> Items:
    """The same elements under another type."""
    return replace(items, type=type)


def product(sizes: tuple[Size, ...]) -> Size:
    """The product of sizes."""
    total: Size = 1
    for size in sizes:
        total = multiply(total, size)
    return total


def copied(batching: Batching, node: Node, values: list[Value]) -> Value:
    """The node on inputs that no client changes."""
    type = node.tensor
    made = replace(
        node, inputs=tuple(value.id for value in values), type=Tensor(type.dtype, batching.pad_shape(type.shape))
    )
    return Value(batching.builder.add_node(made), False, batching.pad_of(type.shape))


def any_batched(values: list[Value]) -> bool:
    """Whether some input has the axis of clients."""
    return any(value.batched for value in values)


def again(batching: Batching, node: Node, inputs: tuple[int, ...], pad: str = "dirty", **attributes: object) -> Value:
    """The node with the axis of clients in front, some attributes replaced."""
    type = node.tensor
    merged = tuple(sorted({**dict(node.attributes), **attributes}.items()))
    made = Node(node.op, inputs, merged, Tensor(type.dtype, batching.full(type.shape)))  # type: ignore[arg-type]
    return Value(batching.builder.add_node(made), True, batching.pad_of(type.shape, pad))


def _inside(batching: Batching, index: int, size: Size) -> int:
    """Numbers of rows kept among a client's own: one out of range must not reach another client's."""
    shape = batching.tensor(index).shape
    last = batching.elementwise("subtract", batching.size(size), batching.constant(1, INT))
    below = batching.elementwise("minimum", index, batching.spread(last, shape, ()))
    return batching.elementwise("maximum", below, batching.constant(0, INT, shape))


def own_rows(batching: Batching, index: int, size: Size) -> int:
    """Numbers of a client's rows, as numbers of rows of all clients' tensors one behind the other."""
    shape = batching.tensor(index).shape
    client = batching.iota((batching.clients,), 0)
    width = batching.spread(batching.size(size), (batching.clients,), ())
    first = batching.elementwise("multiply", client, width)
    return batching.elementwise("add", batching.spread(first, shape, (0,)), _inside(batching, index, size))
