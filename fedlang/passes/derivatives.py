"""Derivatives of the operations that move, choose, add up and multiply: those whose rules depend on sizes.

A row's rule gets the builder, the node (its inputs are in the builder), its result `y` and the cotangent `dy` of that,
and gives a cotangent for each input, None where it has none. The cotangent of a sequence is its elements' stacked.
All other operations have their rule in the language, in the prelude.
"""

from __future__ import annotations

from collections.abc import Callable

from fedlang.ir.graph import Builder, Node, Tensor
from fedlang.types.dims import Dim, Size, add, subtract

from . import emit
from .rewrite import number_of, numbers_of

Cotangents = tuple[int | None, ...]
Rule = Callable[[Builder, Node, int, int], Cotangents]


def _broadcast(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    """The sum over the axes that are new, and over those of size 1 that were widened."""
    shape, axes = emit.tensor_of(b, node.inputs[0]).shape, numbers_of(node, "axes")
    same = {axis for size, axis in zip(shape, axes, strict=True) if size != 1 or size == node.tensor.shape[axis]}
    summed = tuple(axis for axis in range(len(node.tensor.shape)) if axis not in same)
    return (emit.reshape(b, emit.reduce_sum(b, dy, summed), shape),)


def _others(node: Node, rank: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(rank) if axis not in numbers_of(node, "axes"))


def _reduce_sum(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    shape = emit.tensor_of(b, node.inputs[0]).shape
    return (emit.broadcast(b, dy, shape, _others(node, len(shape))),)


def _reduce_extreme(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    """Equal extremes share the cotangent equally, as in TensorFlow."""
    x = node.inputs[0]
    type, axes = emit.tensor_of(b, x), numbers_of(node, "axes")
    kept = _others(node, len(type.shape))
    chosen = emit.equal(b, x, emit.broadcast(b, y, type.shape, kept))
    count = emit.reduce_sum(b, emit.cast(b, chosen, type.dtype), axes)
    share = emit.broadcast(b, emit.binary(b, "divide", dy, count), type.shape, kept)
    return (emit.select(b, chosen, share, emit.full(b, 0, type)),)


def _reshape(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    return (emit.reshape(b, dy, emit.tensor_of(b, node.inputs[0]).shape),)


def _transpose(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    order = numbers_of(node, "permutation")
    back = tuple(order.index(axis) for axis in range(len(order)))
    return (b.add("transpose", (dy,), b.nodes[node.inputs[0]].type, permutation=back),)


def _reverse(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    return (b.add("reverse", (dy,), node.type, axis=number_of(node, "axis")),)


def _cumulative_sum(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    axis = number_of(node, "axis")
    turned = b.add("reverse", (dy,), node.type, axis=axis)
    return (b.add("reverse", (b.add("cumulative_sum", (turned,), node.type, axis=axis),), node.type, axis=axis),)


def _size_of(node: Node, name: str) -> Size:
    value = node.attribute(name)
    assert isinstance(value, int | Dim), f"{name} is a size"
    return value


def _slice(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    axis, type = number_of(node, "axis"), emit.tensor_of(b, node.inputs[0])
    after = subtract(type.shape[axis], _size_of(node, "stop"))
    return (b.add("pad", (dy,), type, axis=axis, before=_size_of(node, "start"), after=after),)


def _part(b: Builder, dy: int, type: Tensor, axis: int, start: Size) -> int:
    return b.add("slice", (dy,), type, axis=axis, start=start, stop=add(start, type.shape[axis]))


def _pad(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    type = emit.tensor_of(b, node.inputs[0])
    return (_part(b, dy, type, number_of(node, "axis"), _size_of(node, "before")),)


def _concat(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    axis, parts = number_of(node, "axis"), list[int]()
    at: Size = 0
    for each in node.inputs:
        type = emit.tensor_of(b, each)
        parts.append(_part(b, dy, type, axis, at))
        at = add(at, type.shape[axis])
    return tuple(parts)


def _cast(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    return (emit.cast(b, dy, emit.tensor_of(b, node.inputs[0]).dtype),)


def _select(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    condition, zero = node.inputs[0], emit.full(b, 0, node.tensor)
    return None, emit.select(b, condition, dy, zero), emit.select(b, condition, zero, dy)


def _gather(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    x, index = node.inputs
    return b.add("scatter_add", (index, dy), b.nodes[x].type), None


def _scatter_add(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    index, updates = node.inputs
    return None, b.add("gather", (dy, index), b.nodes[updates].type)


def _take_along(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    x, index = node.inputs
    return b.add("put_along", (index, dy), b.nodes[x].type, axis=number_of(node, "axis")), None


def _put_along(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    index, updates = node.inputs
    return None, b.add("take_along", (dy, index), b.nodes[updates].type, axis=number_of(node, "axis"))


def _sort(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    axis, x = number_of(node, "axis"), node.inputs[0]
    order = b.add("arg_sort", (x,), Tensor("int32", node.tensor.shape), axis=axis)
    return (b.add("put_along", (order, dy), node.type, axis=axis),)


def _matmul(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    """For C = A B: dA = dC B', dB = A' dC; what is transposed already is read the other way round."""
    left, right = node.inputs
    ta, tb = bool(node.attribute("transpose_a")), bool(node.attribute("transpose_b"))
    first, second = emit.tensor_of(b, left), emit.tensor_of(b, right)
    if ta:
        d_left = emit.matmul(b, right, dy, transpose_a=tb, transpose_b=True, type=first)
    else:
        d_left = emit.matmul(b, dy, right, transpose_a=False, transpose_b=not tb, type=first)
    if tb:
        d_right = emit.matmul(b, dy, left, transpose_a=True, transpose_b=ta, type=second)
    else:
        d_right = emit.matmul(b, left, dy, transpose_a=not ta, transpose_b=False, type=second)
    return d_left, d_right


def _like(b: Builder, node: Node, op: str, inputs: tuple[int, int], like: int) -> int:
    return b.add_node(Node(op, inputs, node.attributes, b.nodes[like].type))


def _conv2d(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    x, kernel = node.inputs
    return _like(b, node, "conv2d_input", (dy, kernel), x), _like(b, node, "conv2d_kernel", (dy, x), kernel)


def _conv2d_input(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    """The adjoint of a convolution by its input is that convolution of the cotangent."""
    below, kernel = node.inputs
    return _like(b, node, "conv2d", (dy, kernel), below), _like(b, node, "conv2d_kernel", (below, dy), kernel)


def _conv2d_kernel(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    below, x = node.inputs
    return _like(b, node, "conv2d", (x, dy), below), _like(b, node, "conv2d_input", (below, dy), x)


def _max_pool(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    x = node.inputs[0]
    return (b.add_node(Node("max_pool_gradient", (x, y, dy), node.attributes, b.nodes[x].type)),)


def _average_pool(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    x = b.nodes[node.inputs[0]].type
    return (b.add_node(Node("average_pool_gradient", (dy,), node.attributes, x)),)


def _average_pool_gradient(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    return (b.add_node(Node("average_pool", (dy,), node.attributes, b.nodes[node.inputs[0]].type)),)


def _itself(b: Builder, node: Node, y: int, dy: int) -> Cotangents:
    """Stacking and its inverse: a sequence's cotangent is stacked already."""
    return (dy,)


RULES: dict[str, Rule] = {
    "broadcast": _broadcast,
    "reduce_sum": _reduce_sum,
    "reduce_max": _reduce_extreme,
    "reduce_min": _reduce_extreme,
    "reshape": _reshape,
    "transpose": _transpose,
    "reverse": _reverse,
    "cumulative_sum": _cumulative_sum,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "cast": _cast,
    "select": _select,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "take_along": _take_along,
    "put_along": _put_along,
    "sort": _sort,
    "matmul": _matmul,
    "conv2d": _conv2d,
    "conv2d_input": _conv2d_input,
    "conv2d_kernel": _conv2d_kernel,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "average_pool_gradient": _average_pool_gradient,
    "stack": _itself,
    "unstack": _itself,
}
