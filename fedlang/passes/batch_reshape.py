"""How reshapes batch: padding stays behind each client's values, or they are gathered to where they stand together."""

from __future__ import annotations

from dataclasses import replace

from fedlang.ir.graph import Node, Tensor
from fedlang.types.dims import Dim, Size, multiply

from .batch_values import INT, Batching, NotBatchable, Value, again, copied, own_rows, product


def reshape(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """Padding stays behind the values where a ragged axis is the outermost of those that are merged or split. Where it
    is not, as in the rows of all times of a batch, values are gathered to the places where they stand together."""
    before, after = types[0].shape, node.tensor.shape
    if batching.ragged_axes(before) or batching.ragged_axes(after):
        groups = _groups(before, after)
        inner = [k for k, group in enumerate(groups) if _moves_padding(batching, *group)]
        rest = tuple(size for left, _ in groups[1:] for size in left)
        if inner == [0] and not batching.ragged_axes(rest):
            return _regathered(batching, node, values[0], *groups[0], rest)
        if inner:
            raise NotBatchable("a reshape merges an axis whose size differs between clients")
    if not values[0].batched:
        return replace(copied(batching, node, values), pad=values[0].pad)
    return again(batching, node, (values[0].id,), values[0].pad)


def _moves_padding(batching: Batching, left: tuple[Size, ...], right: tuple[Size, ...]) -> bool:
    """Whether the values of a client may stand elsewhere afterwards: also where sizes are equal by a check only, since
    what has them may be padded to another size."""
    if left == right:
        return False
    return product(left) != product(right) or any(batching.is_ragged(size) for size in (*left[1:], *right[1:]))


def _regathered(
    batching: Batching,
    node: Node,
    value: Value,
    left: tuple[Size, ...],
    right: tuple[Size, ...],
    rest: tuple[Size, ...],
) -> Value:
    """The first axes merged or split, from sizes `left` to `right`, by the numbers that places have at each client."""
    type, wide = node.tensor, batching.pad_shape(left)
    before, after = product(wide), product(batching.pad_shape(right))
    shape = (batching.clients, after)
    number, place = batching.reshape(_ravelled(batching, right), shape), batching.constant(0, INT, shape)
    step: Size = 1
    for size, padded in zip(reversed(left), reversed(wide), strict=True):
        own, width = _own_size(batching, size, shape), batching.spread(batching.size(step), shape, ())
        along = batching.elementwise("multiply", batching.elementwise("remainder", number, own), width)
        place, number = batching.elementwise("add", place, along), batching.elementwise("floor_divide", number, own)
        step = multiply(step, padded)
    flat = batching.reshape(batching.up(value), (multiply(batching.clients, before), *rest))
    places = own_rows(batching, place, before)
    taken = batching.add("gather", (flat, places), Tensor(type.dtype, (*shape, *rest)))
    return Value(batching.reshape(taken, batching.full(type.shape)), True, batching.pad_of(type.shape))


def _ravelled(batching: Batching, sizes: tuple[Size, ...]) -> int:
    """int32 [C, sizes…]: the number of each place, counted over the client's own sizes."""
    full = batching.full(sizes)
    number = batching.constant(0, INT, full)
    for axis, size in enumerate(sizes):
        number = batching.elementwise("multiply", number, _own_size(batching, size, full))
        number = batching.elementwise("add", number, batching.iota(full, axis + 1))
    return number


def _own_size(batching: Batching, size: Size, shape: tuple[Size, ...]) -> int:
    """A size at each client, spread to a shape [C, …]; at least 1, to divide by."""
    spread = batching.spread(batching.length_of(size), shape, (0,))
    return batching.elementwise("maximum", spread, batching.constant(1, INT, shape))


def _groups(before: tuple[Size, ...], after: tuple[Size, ...]) -> list[tuple[tuple[Size, ...], tuple[Size, ...]]]:
    """Runs of axes with equal products, as short as they come; axes of size 1 are left out."""
    left, right = [s for s in before if s != 1], [s for s in after if s != 1]
    groups: list[tuple[tuple[Size, ...], tuple[Size, ...]]] = []
    while left or right:
        a, b = left[:1], right[:1]
        while product(tuple(a)) != product(tuple(b)):
            grow_left = len(a) < len(left) and (len(b) == len(right) or _smaller(product(tuple(a)), product(tuple(b))))
            if grow_left:
                a = left[: len(a) + 1]
            elif len(b) < len(right):
                b = right[: len(b) + 1]
            else:
                return [*groups, *_checked(left, right)]
        groups.append((tuple(a), tuple(b)))
        left, right = left[len(a) :], right[len(b) :]
    return groups


def _checked(left: list[Size], right: list[Size]) -> list[tuple[tuple[Size, ...], tuple[Size, ...]]]:
    """Runs of axes of which only a check beside the reshape says that they have equal products: as many axes behind as
    are the same on both sides are runs of their own."""
    same: list[Size] = []
    while left and right and left[-1] == right[-1]:
        same, left, right = [left[-1], *same], left[:-1], right[:-1]
    return [(tuple(left), tuple(right)), *(((size,), (size,)) for size in same)]


def _smaller(a: Size, b: Size) -> bool:
    """Whether one product lacks factors that another has."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    return isinstance(a, int) or (isinstance(b, Dim) and _factors(a) < _factors(b))


def _factors(size: Dim) -> tuple[int, int]:
    return max(len(atoms) for atoms, _ in size.terms), max(abs(number) for _, number in size.terms)
