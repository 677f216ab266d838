"""Reductions, and what sorts or sums along an axis.

Sums over axes in the middle are a matrix product with ones: TensorFlow's own sum there depends on where a row lies in
its tensor, so a client's bits would depend on its place in a chunk. The product costs the same. Over axes that are as
long as the chunk's longest client has them, terms are added one by one: TensorFlow's own sum adds them in another order
where more zeros follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedlang.ir.graph import Node
from fedlang.types.dims import Size

from .attributes import integer, integers
from .lanes import in_vectors
from .scope import Scope, extent, product_of
from .start import tf


def reduce_sum(x: Any, axes: tuple[int, ...], *, padded: bool = False) -> Any:
    """The sum over some axes, each result's bits depending on its own terms alone: not on zeros that follow, where
    terms are `padded` with them."""
    rank = len(x.shape)
    if not axes:
        return x
    start, stop = axes[0], axes[-1] + 1
    contiguous = stop - start == len(axes)
    if not contiguous:
        kept = [axis for axis in range(rank) if axis not in axes]
        return reduce_sum(tf.transpose(x, [*kept, *axes]), tuple(range(len(kept), rank)), padded=padded)
    if start == 0 or (stop == rank and not padded) or not x.dtype.is_floating:
        return tf.reduce_sum(x, axes)
    if x.dtype.size == 2:
        return tf.cast(reduce_sum(tf.cast(x, tf.float32), axes, padded=padded), x.dtype)
    return _one_by_one(tf.cumsum, tf.reduce_sum, x, start) if stop == rank else _middle_sum(x, start, stop)


def _one_by_one(scan: Callable[..., Any], reduce: Callable[..., Any], x: Any, start: int) -> Any:
    """The last of a scan's results over the axes from `start` on; what the reduction gives where there is none."""
    sizes = [extent(x, axis) for axis in range(start)]
    flat = (
        x
        if start == len(x.shape) - 1
        else tf.reshape(x, [*sizes, product_of([extent(x, axis) for axis in range(start, len(x.shape))])])
    )
    return reduce(scan(flat, start)[..., -1:], start)


def _middle_sum(x: Any, start: int, stop: int) -> Any:
    sizes = [extent(x, axis) for axis in range(len(x.shape))]
    before, after = sizes[:start], sizes[stop:]
    count, width = product_of(sizes[start:stop]), product_of(after)
    is_flat = (len(before), stop - start, len(after)) == (1, 1, 1)
    flat = x if is_flat else tf.reshape(x, [product_of(before), count, width])
    ones = tf.ones([extent(flat, 0), count, 1], x.dtype)
    total = tf.matmul(ones, flat, transpose_a=True)
    return tf.squeeze(total, 1) if is_flat else tf.reshape(total, [*before, *after])


def _is_padded(scope: Scope, x: Any, axes: tuple[int, ...]) -> bool:
    """Whether some of the axes are as long as the chunk's longest client has them."""
    return bool(scope.multiples) and any(x.shape[axis] is None for axis in axes)


def _sum(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    axes = tuple(sorted(integers(node, "axes")))
    return reduce_sum(inputs[0], axes, padded=_is_padded(scope, inputs[0], axes))


def _product(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    x, axes = inputs[0], tuple(sorted(integers(node, "axes")))
    if not _is_padded(scope, x, axes):
        return tf.reduce_prod(x, axes)
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    return _one_by_one(tf.math.cumprod, tf.reduce_prod, tf.transpose(x, [*kept, *axes]), len(kept))


def _reduction(function: Callable[..., Any]) -> Callable[[Scope, Node, list[Any]], Any]:
    def run(scope: Scope, node: Node, inputs: list[Any]) -> Any:
        axes = tuple(sorted(integers(node, "axes")))
        return function(inputs[0], axes) if axes else inputs[0]

    return run


def _arg(function: Callable[..., Any]) -> Callable[[Scope, Node, list[Any]], Any]:
    def run(scope: Scope, node: Node, inputs: list[Any]) -> Any:
        x = tf.cast(inputs[0], tf.int32) if inputs[0].dtype == tf.bool else inputs[0]
        return function(x, axis=integer(node, "axis"), output_type=tf.int32)

    return run


def _cumulative_sum(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.cumsum(inputs[0], axis=integer(node, "axis"))


def _softmax(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    x, rows = inputs[0], node.tensor.shape[:-1]
    if not _is_padded(scope, x, (-1,)):
        return in_vectors(tf.nn.softmax, [x], scope.multiple(rows), row=1)
    powers = in_vectors(tf.exp, [x - tf.reduce_max(x, -1, keepdims=True)], scope.multiple(node.tensor.shape))
    return powers / _sum_of_rows(powers)


def log_softmax(scope: Scope, x: Any, rows: tuple[Size, ...]) -> Any:
    """The logarithm of the softmax over the last axis, for so many rows."""
    if not _is_padded(scope, x, (-1,)):
        return in_vectors(tf.nn.log_softmax, [x], scope.multiple(rows), row=1)
    below = x - tf.reduce_max(x, -1, keepdims=True)
    total = _sum_of_rows(in_vectors(tf.exp, [below], scope.multiple(rows)))
    return below - in_vectors(tf.math.log, [total], scope.multiple(rows))


def _sum_of_rows(x: Any) -> Any:
    return reduce_sum(x, (len(x.shape) - 1,), padded=True)[..., None]


def _log_softmax(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return log_softmax(scope, inputs[0], node.tensor.shape[:-1])


def _cross_entropy(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    logits, labels = inputs
    depth = extent(logits, -1)
    inside = tf.logical_and(labels >= 0, labels < depth)
    losses = -tf.gather(
        log_softmax(scope, logits, node.tensor.shape), tf.where(inside, labels, 0), batch_dims=len(labels.shape)
    )
    return tf.where(inside, losses, tf.constant(float("nan"), logits.dtype))


def _ordered(x: Any) -> Any:
    """Integers in the order of the values: -0 equal to 0, NaN last. Integers stay as they are."""
    if not x.dtype.is_floating:
        return tf.cast(x, tf.int64) if x.dtype != tf.uint64 else tf.bitcast(_flip(x), tf.int64)
    wide = tf.cast(x, tf.float64)
    bits = tf.bitcast(tf.where(tf.equal(wide, 0), tf.zeros_like(wide), wide), tf.int64)
    keyed = tf.where(bits < 0, tf.bitwise.bitwise_xor(bits, tf.constant(2**63 - 1, tf.int64)), bits)
    return tf.where(tf.math.is_nan(wide), tf.constant(2**63 - 1, tf.int64), keyed)


def _flip(x: Any) -> Any:
    return tf.bitwise.bitwise_xor(x, tf.constant(2**63, tf.uint64))


def arg_sort(x: Any, axis: int) -> Any:
    """Places of the elements in ascending order, int32; equal ones keep their order."""
    last = len(x.shape) - 1
    swap = [*range(last + 1)]
    swap[axis], swap[last] = last, axis
    keys = tf.transpose(_ordered(x), swap) if axis != last else _ordered(x)
    # Complement turns descending into ascending without overflow; `top_k` puts the first of equals first.
    order = tf.math.top_k(tf.bitwise.invert(keys), k=extent(keys, last)).indices
    return tf.transpose(order, swap) if axis != last else order


def _arg_sort(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return arg_sort(inputs[0], int(node.attribute("axis")))  # type: ignore[arg-type]


def _sort(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    axis = integer(node, "axis")
    return take_along(inputs[0], arg_sort(inputs[0], axis), axis)


def take_along(x: Any, index: Any, axis: int) -> Any:
    """As NumPy's `take_along_axis`."""
    last = len(x.shape) - 1
    if axis == last:
        return tf.gather(x, index, batch_dims=last)
    swap = [*range(last + 1)]
    swap[axis], swap[last] = last, axis
    return tf.transpose(tf.gather(tf.transpose(x, swap), tf.transpose(index, swap), batch_dims=last), swap)


TABLE: dict[str, Callable[[Scope, Node, list[Any]], Any]] = {
    "reduce_sum": _sum,
    "reduce_max": _reduction(tf.reduce_max),
    "reduce_min": _reduction(tf.reduce_min),
    "reduce_product": _product,
    "reduce_all": _reduction(tf.reduce_all),
    "reduce_any": _reduction(tf.reduce_any),
    "arg_max": _arg(tf.argmax),
    "arg_min": _arg(tf.argmin),
    "cumulative_sum": _cumulative_sum,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "sparse_softmax_cross_entropy": _cross_entropy,
    "sort": _sort,
    "arg_sort": _arg_sort,
}
