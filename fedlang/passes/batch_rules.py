"""How tensor operations batch: one function for each class of operations, and the few that need their own.

A rule gets the batching, the local node, its inputs' values and the types they have in the local graph, and gives the
node's value. Where no input has the axis of clients and no padding matters, nodes are copied as they are: weights
that all clients share stay one matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fedlang.ir.graph import Builder, Graph, Node, Tensor
from fedlang.types.dims import Dim, Size, multiply

from .batch_reshape import reshape
from .batch_values import (
    INT,
    Batching,
    NotBatchable,
    Value,
    again,
    any_batched,
    copied,
    greatest,
    least,
    own_rows,
    product,
)

Rule = Callable[[Batching, Node, list[Value], list[Tensor]], Value]

# f(0) = 0, and f of anything finite or not is no concern: padding that is zero stays zero.
KEEP_ZERO = frozenset(
    {
        *("negate", "abs", "sign", "floor", "ceil", "round", "expm1", "log1p", "sqrt", "sin", "tanh", "relu", "erf"),
        *("square", "cast", "stop_gradient"),
    }
)
JOIN_ZERO = frozenset(["add", "subtract", "maximum", "minimum", "select", "logical_and", "logical_or"])


def _elementwise(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    zeros = all(value.pad == "zero" for value in (values[1:] if node.op == "select" else values))
    pad = "zero" if zeros and (node.op in KEEP_ZERO or node.op in JOIN_ZERO) else "dirty"
    if not any_batched(values):
        return copied(batching, node, values)
    return again(batching, node, tuple(batching.up(value) for value in values), pad)


def _integers(node: Node, name: str) -> tuple[int, ...]:
    value = node.attribute(name)
    assert isinstance(value, tuple)
    return tuple(each for each in value if isinstance(each, int))


def _axis(node: Node) -> int:
    axis = node.attribute("axis")
    assert isinstance(axis, int)
    return axis


IDENTITY: dict[str, Callable[[str], bool | int | float]] = {
    "reduce_sum": lambda dtype: 0,
    "reduce_product": lambda dtype: 1,
    "reduce_max": least,
    "reduce_min": greatest,
    "reduce_all": lambda dtype: True,
    "reduce_any": lambda dtype: False,
    "arg_max": least,
    "arg_min": greatest,
}


def _reduction(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """Padding on the axes that go takes no part: it holds the operation's identity."""
    shape, value = types[0].shape, values[0]
    several = dict(node.attributes).get("axes")
    axes = _integers(node, "axes") if several is not None else (_axis(node),)
    if any(batching.is_ragged(shape[axis]) for axis in axes):
        value = batching.clean(value, shape, IDENTITY[node.op](types[0].dtype))
    if not value.batched:
        return copied(batching, node, [value])
    pad = "zero" if node.op == "reduce_sum" and value.pad == "zero" else "dirty"
    if several is None:
        return again(batching, node, (value.id,), axis=axes[0] + 1)
    return again(batching, node, (value.id,), pad, axes=tuple(axis + 1 for axis in axes))


def _along(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """Padding comes after all that is summed up to a place, so that it changes nothing before it."""
    if not any_batched(values):
        return copied(batching, node, values)
    return again(batching, node, (values[0].id,), axis=_axis(node) + 1)


def _sort(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """Padding is sorted last: NaN, or the greatest integer (equal ones keep their order)."""
    dtype, axis, value = types[0].dtype, _axis(node), values[0]
    if batching.is_ragged(types[0].shape[axis]):
        fill = greatest(dtype)
        value = batching.clean(value, types[0].shape, float("nan") if isinstance(fill, float) else fill)
    return _along(batching, node, [value], types)


def _softmax(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    shape, value = types[0].shape, values[0]
    if batching.is_ragged(shape[-1]):
        value = batching.clean(value, shape, float("-inf"))
    if not any_batched([value, *values[1:]]):
        return copied(batching, node, [value, *values[1:]])
    rest = [batching.clean(other, type.shape) for other, type in zip(values[1:], types[1:], strict=True)]
    return again(batching, node, tuple(batching.up(each) for each in (value, *rest)))


def _broadcast(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    axes = _integers(node, "axes")
    if not values[0].batched:
        return copied(batching, node, values)
    return again(batching, node, (values[0].id,), axes=(0, *(axis + 1 for axis in axes)))


def _transpose(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    if not values[0].batched:
        return replace(copied(batching, node, values), pad=values[0].pad)
    order = (0, *(axis + 1 for axis in _integers(node, "permutation")))
    return again(batching, node, (values[0].id,), values[0].pad, permutation=order)


def _slice(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    axis, start, stop = _axis(node), node.attribute("start"), node.attribute("stop")
    assert isinstance(start, int | Dim)
    assert isinstance(stop, int | Dim)
    if batching.is_ragged(start):
        raise NotBatchable("a slice starts at a place that differs between clients")
    attributes: dict[str, object] = {"axis": axis + 1, "stop": batching.pad_size(stop)}
    if not values[0].batched:
        kept = replace(
            node, attributes=tuple(sorted({**dict(node.attributes), "stop": batching.pad_size(stop)}.items()))
        )
        return copied(batching, kept, values)
    return again(batching, node, (values[0].id,), values[0].pad if values[0].pad == "zero" else "dirty", **attributes)


def _pad(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """Zeros after a ragged axis stand where padding stands: they are there when the padding is zero."""
    axis, value = _axis(node), values[0]
    widths = [node.attribute(name) for name in ("before", "after")]
    if any(isinstance(width, Dim) and batching.is_ragged(width) for width in widths):
        raise NotBatchable("a tensor is padded by a size that differs between clients")
    if batching.is_ragged(types[0].shape[axis]):
        value = batching.clean(value, types[0].shape)
    if not value.batched:
        return copied(batching, node, [value])
    return again(batching, node, (value.id,), value.pad if value.pad == "zero" else "dirty", axis=axis + 1)


def _concat(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    axis = _axis(node)
    if any(batching.is_ragged(type.shape[axis]) for type in types[:-1]):
        raise NotBatchable("tensors are joined along an axis whose size differs between clients")
    if not any_batched(values):
        return copied(batching, node, values)
    pad = "zero" if all(value.pad == "zero" for value in values) else "dirty"
    return again(batching, node, tuple(batching.up(value) for value in values), pad, axis=axis + 1)


def _reverse(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    axis, shape = _axis(node), types[0].shape
    if not batching.is_ragged(shape[axis]):
        return _along(batching, node, values, types)
    full = batching.full(shape)
    last = batching.elementwise(
        "subtract", batching.length_of(shape[axis]), batching.constant(1, INT, (batching.clients,))
    )
    back = batching.elementwise("subtract", batching.spread(last, full, (0,)), batching.iota(full, axis + 1))
    index = batching.elementwise("maximum", back, batching.constant(0, INT, full))
    taken = batching.add("take_along", (batching.up(values[0]), index), Tensor(types[0].dtype, full), axis=axis + 1)
    return Value(taken, True, "dirty")


def _iota(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    return copied(batching, node, values)


def _size(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    dimension = node.attribute("dimension")
    assert isinstance(dimension, int | Dim)
    if batching.is_ragged(dimension):
        return Value(batching.length_of(dimension), True)
    return copied(batching, node, values)


def _one_hot(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    return copied(batching, node, values) if not values[0].batched else again(batching, node, (values[0].id,))


def _gather(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    x, index = values
    index = batching.clean(index, types[1].shape)
    type = node.tensor
    if not x.batched:
        made = batching.full(type.shape) if index.batched else batching.pad_shape(type.shape)
        gathered = batching.add("gather", (x.id, index.id), Tensor(type.dtype, made))
        return Value(gathered, index.batched, batching.pad_of(type.shape))
    rows, *rest = batching.pad_shape(types[0].shape)
    flat = batching.reshape(x.id, (multiply(batching.clients, rows), *rest))
    places = own_rows(batching, batching.up(index), rows)
    gathered = batching.add("gather", (flat, places), Tensor(type.dtype, batching.full(type.shape)))
    return Value(gathered, True, batching.pad_of(type.shape))


def _scatter_add(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    ragged = batching.ragged_axes(types[0].shape)
    index = batching.clean(values[0], types[0].shape)
    updates = batching.clean(values[1], types[1].shape) if ragged else values[1]
    if not any_batched([index, updates]):
        return copied(batching, node, [index, updates])
    type = node.tensor
    rows, *rest = batching.pad_shape(type.shape)
    places = own_rows(batching, batching.up(index), rows)
    flat = Tensor(type.dtype, (multiply(batching.clients, rows), *rest))
    added = batching.add("scatter_add", (places, batching.up(updates)), flat)
    return Value(batching.reshape(added, batching.full(type.shape)), True, batching.pad_of(type.shape))


def _take_along(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    values = [values[0], batching.clean(values[1], types[1].shape)]
    if not any_batched(values):
        return copied(batching, node, values)
    return again(batching, node, tuple(batching.up(value) for value in values), axis=_axis(node) + 1)


def _put_along(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    if batching.ragged_axes(types[0].shape):
        values = [batching.clean(value, type.shape) for value, type in zip(values, types, strict=True)]
    if not any_batched(values):
        return copied(batching, node, values)
    return again(batching, node, tuple(batching.up(value) for value in values), axis=_axis(node) + 1)


def _matmul(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    a_shape, b_shape = types[0].shape, types[1].shape
    inner = a_shape[-2 if node.attribute("transpose_a") else -1]
    a, b = values
    if batching.is_ragged(inner):
        a, b = batching.clean(a, a_shape), batching.clean(b, b_shape)
    if not any_batched([a, b]):
        return copied(batching, node, [a, b])
    pad = "zero" if all(value.pad != "dirty" for value in (a, b)) else "dirty"
    if not b.batched and len(a_shape) == 2 and not node.attribute("transpose_a"):
        return _shared_right(batching, node, a, b, pad)
    return again(batching, node, (batching.up(a), batching.up(b)), pad)


def _shared_right(batching: Batching, node: Node, a: Value, b: Value, pad: str) -> Value:
    """All clients' rows times one matrix: one large product."""
    type, (clients, rows, inner) = node.tensor, batching.tensor(a.id).shape
    flat = batching.reshape(a.id, (multiply(clients, rows), inner))
    columns = batching.pad_size(type.shape[1])
    made = Node(node.op, (flat, b.id), node.attributes, Tensor(type.dtype, (multiply(clients, rows), columns)))
    result = batching.reshape(batching.builder.add_node(made), batching.full(type.shape))
    return Value(result, True, batching.pad_of(type.shape, pad))


def _images(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """Images of all clients as one longer batch."""
    shapes = [*(type.shape for type in types), node.tensor.shape]
    if any(batching.ragged_axes(shape[1:]) for shape in shapes):
        raise NotBatchable("images whose size differs between clients", node)
    if not any_batched(values):
        return copied(batching, node, values)
    flat = tuple(_merged(batching, batching.up(value)) for value in values)
    return _split(batching, node, flat)


def _merged(batching: Batching, images: int) -> int:
    clients, count, *rest = batching.tensor(images).shape
    return batching.reshape(images, (multiply(clients, count), *rest))


def _split(batching: Batching, node: Node, inputs: tuple[int, ...]) -> Value:
    type = node.tensor
    count, *rest = batching.pad_shape(type.shape)
    flat = replace(node, inputs=inputs, type=Tensor(type.dtype, (multiply(batching.clients, count), *rest)))
    made = batching.reshape(batching.builder.add_node(flat), batching.full(type.shape))
    return Value(made, True, batching.pad_of(type.shape))


def _convolution(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """With a kernel that all share, one longer batch of images; else client by client, this node alone."""
    shapes = [*(type.shape for type in types), node.tensor.shape]
    if any(batching.ragged_axes(shape[1:]) for shape in shapes):
        raise NotBatchable("images whose size differs between clients", node)
    if not any_batched(values):
        return copied(batching, node, values)
    images, kernel = values
    if node.op != "conv2d_kernel" and not kernel.batched:
        return _split(batching, node, (_merged(batching, images.id), kernel.id))
    if node.op == "conv2d_kernel":
        values = [batching.clean(value, type.shape) for value, type in zip(values, types, strict=True)]
    return _each(batching, node, values, types)


def _each(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """The node in a fold over the clients."""
    body = Builder()
    padded = [Tensor(type.dtype, batching.pad_shape(type.shape)) for type in types]
    parameters = tuple(body.parameter(type) for type in padded)
    result = Tensor(node.tensor.dtype, batching.pad_shape(node.tensor.shape))
    made = body.add_node(replace(node, inputs=parameters, type=result))
    graph: Graph = body.finish((made,))
    full = Tensor(result.dtype, (batching.clients, *result.shape))
    inputs = tuple(batching.up(value) for value in values)
    folded = batching.builder.add("fold", inputs, (full,), body=graph, captured=0, carries=0, reverse=False)
    return Value(batching.builder.get(folded, 0), True, batching.pad_of(node.tensor.shape))


def _random(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    """Draws are counted over each client's own shape: padding shifts none of them."""
    key, shape = values[0], node.tensor.shape
    ragged = batching.ragged_axes(shape)
    if node.op == "random_permutation" and ragged:
        return Value(permutation(batching, batching.up(key), shape[0]), True, "dirty")
    if not ragged or ragged == (0,):
        return again(batching, node, (key.id,)) if key.batched else copied(batching, node, values)
    return _scattered_draw(batching, node, batching.up(key))


def permutation(batching: Batching, key: int, length: Size) -> int:
    """int32 [C, L]: each client's permutation of its own length, padding last. The rule is that of
    `fedlang.run.random`."""
    (count,) = batching.pad_shape((length,))
    clients = batching.clients
    if not batching.is_ragged(length):
        return batching.add("random_permutation", (key,), Tensor(INT, (clients, count)))
    words = batching.add("random_bits", (key,), Tensor("uint32", (clients, multiply(count, 2))))
    pairs = batching.reshape(words, (clients, count, 2))
    low, high = (_word(batching, pairs, k, (clients, count)) for k in (0, 1))
    shift = batching.constant(1 << 32, "uint64", (clients, count))
    order = batching.elementwise("add", low, batching.elementwise("multiply", high, shift))
    last = batching.constant((1 << 64) - 1, "uint64", (clients, count))
    masked = batching.elementwise("select", batching.mask((length,), (0,)), order, last, dtype="uint64")
    return batching.add("arg_sort", (masked,), Tensor(INT, (clients, count)), axis=1)


def _word(batching: Batching, pairs: int, place: int, shape: tuple[Size, ...]) -> int:
    one = batching.add("slice", (pairs,), Tensor("uint32", (*shape, 1)), axis=2, start=place, stop=place + 1)
    flat = batching.reshape(one, shape)
    return batching.add("cast", (flat,), Tensor("uint64", shape))


def _scattered_draw(batching: Batching, node: Node, key: int) -> Value:
    """Draws in a row, taken from where each client's own shape counts them."""
    type, full = node.tensor, batching.full(node.tensor.shape)
    count = product(full[1:])
    drawn = batching.add(node.op, (key,), Tensor(type.dtype, (batching.clients, count)))
    place = batching.constant(0, INT, full)
    for axis, size in enumerate(type.shape):
        width = batching.spread(batching.length_of(size), full, (0,))
        place = batching.elementwise("multiply", place, width)
        place = batching.elementwise("add", place, batching.iota(full, axis + 1))
    kept = batching.clean(Value(place, True, "dirty"), type.shape).id
    flat = batching.reshape(kept, (batching.clients, count))
    taken = batching.add("take_along", (drawn, flat), Tensor(type.dtype, (batching.clients, count)), axis=1)
    return Value(batching.reshape(taken, full), True, "dirty")


def _constant(batching: Batching, node: Node, values: list[Value], types: list[Tensor]) -> Value:
    return copied(batching, node, values)


CLASSES: dict[str, Rule] = {"elementwise": _elementwise, "contraction": _matmul, "random": _random}
RULES: dict[str, Rule] = {
    **dict.fromkeys(IDENTITY, _reduction),
    **dict.fromkeys(("sort", "arg_sort"), _sort),
    **dict.fromkeys(("softmax", "log_softmax", "sparse_softmax_cross_entropy"), _softmax),
    **dict.fromkeys(("max_pool", "max_pool_gradient", "average_pool", "average_pool_gradient"), _images),
    **dict.fromkeys(("conv2d", "conv2d_input", "conv2d_kernel"), _convolution),
    "constant": _constant,
    "size": _size,
    "iota": _iota,
    "cumulative_sum": _along,
    "broadcast": _broadcast,
    "transpose": _transpose,
    "reshape": reshape,
    "reverse": _reverse,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "one_hot": _one_hot,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "take_along": _take_along,
    "put_along": _put_along,
}
