"""Operations that move values about: shapes, slices, rows chosen by index, pooling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedlang.ir.graph import Node
from fedlang.run.random import key_of_seed

from .attributes import integer, integers, pair, size, text
from .dtypes import TF_DTYPES
from .memory import is_read_in_place
from .reductions import take_along
from .scope import Scope, extent, product_of
from .start import tf

Lowered = Callable[[Scope, Node, list[Any]], Any]


def is_key(node: Node) -> bool:
    """Whether the node's tensor has a key's own axis."""
    return node.tensor.dtype == "Key"


def broadcast(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    """The input with axes of size 1 put in: small, to be repeated only where an operation needs it whole."""
    x, axes = inputs[0], integers(node, "axes")
    rank = len(node.tensor.shape)
    if axes == tuple(range(rank)):
        return x
    if x.shape.as_list().count(None) > 1:  # put in one by one, no size need be read
        for axis in range(rank):
            x = x if axis in axes else tf.expand_dims(x, axis)
        return x
    sizes = [1] * rank
    for k, axis in enumerate(axes):
        sizes[axis] = -1 if x.shape[k] is None else x.shape[k]
    return tf.reshape(x, [*sizes, 2] if is_key(node) else sizes)


def iota(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    """0, 1, 2 … along one axis, the other axes of size 1."""
    axis, shape = integer(node, "axis"), node.tensor.shape
    row = tf.range(scope.size(shape[axis]), dtype=tf.int32)
    return tf.reshape(row, [-1 if k == axis else 1 for k in range(len(shape))])


def _transpose(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    permutation = integers(node, "permutation")
    return tf.transpose(inputs[0], [*permutation, len(permutation)] if is_key(node) else permutation)


def _reshape(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.reshape(inputs[0], scope.shape(node.tensor.shape, node.tensor.dtype))


def _reverse(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.reverse(inputs[0], [integer(node, "axis")])


def _slice(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    bounds = slice(scope.size(size(node, "start")), scope.size(size(node, "stop")))
    return inputs[0][(*[slice(None)] * integer(node, "axis"), bounds)]


def _pad(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    x, axis = inputs[0], integer(node, "axis")
    widths: list[Any] = [[0, 0] for _ in x.shape]
    widths[axis] = [scope.size(size(node, "before")), scope.size(size(node, "after"))]
    return _padded_as_such(x, widths) if len(widths) == 4 and axis in (0, 3) else tf.pad(x, widths)


def _padded_as_such(images: Any, widths: list[Any]) -> Any:
    """Zeros around. `tf.pad` behind which a convolution stands is made part of it by TensorFlow's oneDNN operations,
    which forget what is not height or width."""
    return tf.raw_ops.PadV2(input=images, paddings=widths, constant_values=tf.zeros([], images.dtype))


def _concat(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.concat(inputs, integer(node, "axis"))


def _one_hot(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.one_hot(inputs[0], scope.size(node.tensor.shape[-1]), dtype=TF_DTYPES[node.tensor.dtype])


def _size(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.convert_to_tensor(scope.size(size(node, "dimension")), tf.int32)


def _constant(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    value = node.attribute("value")
    if is_key(node) and isinstance(value, int):
        value = tuple(int(word) for word in key_of_seed(value))
    constant = tf.constant(value, TF_DTYPES[node.tensor.dtype])
    return constant if len(constant.shape) else tf.reshape(constant, [1] * len(node.tensor.shape))


def _gather(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    x, index = inputs
    if dict(node.attributes).get("in_range"):
        return _rows_at(x, index)
    return tf.gather(x, tf.clip_by_value(index, 0, tf.maximum(extent(x, 0) - 1, 0)))


def _rows_at(x: Any, index: Any) -> Any:
    """The rows of these numbers. Large ones that follow each other are read where they lie."""
    row = x.shape[1:].num_elements()
    if row is None or not is_read_in_place(row * x.dtype.size):
        return tf.gather(x, index)
    flat = tf.reshape(index, [-1])
    count, start = tf.size(flat), tf.reduce_sum(flat[:1])  # of no numbers 0
    inner = x.shape.as_list()[1:]

    def in_place() -> Any:
        part = tf.slice(x, [start, *[0] * len(inner)], [count, *inner])
        return tf.reshape(part, tf.concat([tf.shape(index), inner], 0))

    follow = tf.reduce_all(tf.equal(flat[1:], flat[:-1] + 1))
    found = tf.cond(follow, in_place, lambda: tf.gather(x, index))
    return tf.ensure_shape(found, index.shape.concatenate(x.shape[1:]))


def _scatter_add(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    index, updates = inputs
    shape = scope.shape(node.tensor.shape)
    flat = tf.reshape(updates, [extent_of(index), *shape[1:]])
    return tf.ensure_shape(
        tf.math.unsorted_segment_sum(flat, tf.reshape(index, [-1]), shape[0]),
        [n if isinstance(n, int) else None for n in node.tensor.shape],
    )


def extent_of(x: Any) -> Any:
    """The number of elements."""
    return product_of([extent(x, axis) for axis in range(len(x.shape))])


def _take_along(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return take_along(inputs[0], inputs[1], integer(node, "axis"))


def _put_along(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    index, updates = inputs
    axis, shape = integer(node, "axis"), scope.shape(node.tensor.shape)
    last = len(shape) - 1
    order = [*(k for k in range(last + 1) if k != axis), axis]
    rows, moved = tf.transpose(index, order), tf.transpose(updates, order)
    count, width = product_of([shape[k] for k in order[:-1]]), shape[axis]
    places = tf.reshape(rows, [count, -1]) + tf.range(count)[:, None] * width
    flat = tf.math.unsorted_segment_sum(tf.reshape(moved, [-1]), tf.reshape(places, [-1]), count * width)
    back = [order.index(k) for k in range(last + 1)]
    return tf.transpose(tf.reshape(flat, [shape[k] for k in order]), back)


def _window(node: Node) -> dict[str, Any]:
    height, width = pair(node, "size")
    return {"ksize": [1, height, width, 1], **stride_options(node)}


def stride_options(node: Node) -> dict[str, Any]:
    """Strides and padding as TensorFlow's raw operations take them."""
    down, across = pair(node, "strides")
    return {"strides": [1, down, across, 1], "padding": text(node, "padding").upper()}


@dataclass(frozen=True, slots=True)
class Longer:
    """A result of `count` rows that has more behind them, which are to be cut off."""

    whole: Any
    count: Any

    def cut(self) -> Any:
        """The result."""
        known = isinstance(self.count, int) and self.whole.shape[0] == self.count
        return self.whole if known else self.whole[: self.count]


def at_least(least: int, images: Any) -> Any:
    """The images; black ones behind them where there are fewer. Where there are not, nothing is copied."""
    there = extent(images, 0)
    if isinstance(there, int) and there >= least:
        return images
    missing = tf.maximum(least - there, 0)
    return _padded_as_such(images, [[0, missing], [0, 0], [0, 0], [0, 0]])


def of_each(x: Any, clients: Any) -> Any:
    """The rows of each client, of the rows of all."""
    return tf.reshape(x, [clients, -1, *(extent(x, axis) for axis in range(1, len(x.shape)))])


def merged(x: Any) -> Any:
    """The rows of all clients, of the rows of each."""
    return tf.reshape(x, [-1, *(extent(x, axis) for axis in range(2, len(x.shape)))])


def _max_pool(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.raw_ops.MaxPool(input=inputs[0], **_window(node))


def _max_pool_gradient(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    x, _, dy = inputs
    return slopes_of_pooled(x, dy, **_window(node))


def slopes_of_pooled(x: Any, dy: Any, **window: Any) -> Any:
    """The derivative of max pooling, with a pooling of its own.

    TensorFlow puts its fast kernel (oneDNN's, ten times as fast) in the place of a gradient only where it met the
    pooling before. It goes from each operation on to those that use its result, and in a loop it may come to a gradient
    through `dy` first. Here it comes to both through one operation that has all that they need, and so in the right
    order. Over no image that kernel ends the process.
    """
    images, slopes = tf.identity_n([at_least(1, x), at_least(1, dy)])
    y = tf.raw_ops.MaxPool(input=images, **window)
    dx = tf.raw_ops.MaxPoolGrad(orig_input=images, orig_output=y, grad=slopes, **window)
    return dx[: extent(x, 0)]


def _average_pool(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.raw_ops.AvgPool(value=inputs[0], **_window(node))


def _average_pool_gradient(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    shape = tf.stack(scope.shape(node.tensor.shape))
    return tf.raw_ops.AvgPoolGrad(orig_input_shape=shape, grad=inputs[0], **_window(node))


TABLE: dict[str, Lowered] = {
    "constant": _constant,
    "size": _size,
    "transpose": _transpose,
    "reshape": _reshape,
    "reverse": _reverse,
    "slice": _slice,
    "pad": _pad,
    "concat": _concat,
    "one_hot": _one_hot,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "take_along": _take_along,
    "put_along": _put_along,
    "max_pool": _max_pool,
    "max_pool_gradient": _max_pool_gradient,
    "average_pool": _average_pool,
    "average_pool_gradient": _average_pool_gradient,
}
