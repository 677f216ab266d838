"""Elementwise operations. Inputs may be smaller than their types: an axis of size 1 stands for repeated values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedlang.ir.graph import Node
from fedlang.types.dims import Size

from .dtypes import TF_DTYPES
from .lanes import in_vectors
from .scope import Scope
from .start import tf


def _negate(x: Any) -> Any:
    # Written as 0 - x it is rewritten by TensorFlow to a negation that unsigned integers do not have.
    return tf.bitwise.invert(x) + tf.ones_like(x) if x.dtype.is_unsigned else tf.negative(x)


def _sign(x: Any) -> Any:
    if x.dtype.is_unsigned:
        return tf.cast(x > tf.zeros_like(x), x.dtype)
    return tf.sign(x)


def _safe_divisor(b: Any) -> tuple[Any, Any]:
    """Where an integer divisor is 0, and the divisor with 1 there: dividing by 0 stops a process."""
    zero = tf.equal(b, tf.zeros_like(b))
    return zero, tf.where(zero, tf.ones_like(b), b)


def _float_remainder(a: Any, b: Any) -> Any:
    """As NumPy and Python: the sign of the divisor, a zero of the divisor's sign."""
    if a.dtype.size == 2:  # TensorFlow has none; NumPy computes it in float32, too
        return tf.cast(_float_remainder(tf.cast(a, tf.float32), tf.cast(b, tf.float32)), a.dtype)
    raw = tf.truncatemod(a, b)
    moved = tf.where(tf.not_equal(raw < 0, b < 0), raw + b, raw)
    return tf.where(tf.equal(raw, 0), tf.where(b < 0, -tf.zeros_like(raw), tf.zeros_like(raw)), moved)


def _remainder(a: Any, b: Any) -> Any:
    if a.dtype.is_floating:
        return _float_remainder(a, b)
    zero, safe = _safe_divisor(b)
    return tf.where(zero, tf.zeros_like(a), _integer_remainder(a, safe))


def _is_minus_one(b: Any) -> Any:
    return tf.equal(b, tf.bitwise.invert(tf.zeros_like(b)))


def _integer_remainder(a: Any, b: Any) -> Any:
    if a.dtype.is_unsigned:
        return tf.math.floormod(a, b)
    least = _is_minus_one(b)  # the least integer divided by -1 stops a process
    return tf.where(least, tf.zeros_like(a), tf.math.floormod(a, tf.where(least, tf.ones_like(b), b)))


def _floor_divide(a: Any, b: Any) -> Any:
    if a.dtype.is_floating:
        return _float_floor_divide(a, b)
    zero, safe = _safe_divisor(b)
    return tf.where(zero, tf.zeros_like(a), _integer_floor_divide(a, safe))


def _integer_floor_divide(a: Any, b: Any) -> Any:
    if a.dtype.is_unsigned:
        return tf.math.floordiv(a, b)
    least = _is_minus_one(b)
    return tf.where(least, tf.zeros_like(a) - a, tf.math.floordiv(a, tf.where(least, tf.ones_like(b), b)))


def _float_floor_divide(a: Any, b: Any) -> Any:
    """As NumPy: the quotient of what the remainder leaves, rounded to the nearest whole number."""
    if a.dtype.size == 2:
        return tf.cast(_float_floor_divide(tf.cast(a, tf.float32), tf.cast(b, tf.float32)), a.dtype)
    raw = tf.truncatemod(a, b)
    quotient = (a - raw) / b
    quotient = tf.where(tf.logical_and(tf.not_equal(raw, 0), tf.not_equal(raw < 0, b < 0)), quotient - 1, quotient)
    down = tf.floor(quotient)
    whole = tf.where(quotient - down > 0.5, down + 1, down)
    return tf.where(tf.equal(b, 0), a / b, whole)


def _add(a: Any, b: Any) -> Any:
    """The sum.

    TensorFlow makes one operation of a product and a row that is added to it, and of what follows. Where the product's
    first factor is transposed, its operation fails for rows of two axes, and for most of what may follow.
    """
    for product, row in ((a, b), (b, a)):
        if _is_transposed(product) and row.shape.rank == 2 and row.shape[0] == 1:
            return tf.add_n([product, row if product.shape[0] == 1 else tf.broadcast_to(row, tf.shape(product))])
    return tf.add(a, b)


def _is_transposed(x: Any) -> bool:
    """Whether it is a product whose first factor is transposed."""
    op = getattr(x, "op", None)  # what is computed at once has none
    return bool(op is not None and op.type == "MatMul" and op.get_attr("transpose_a"))


def _power(a: Any, b: Any) -> Any:
    if a.dtype.is_unsigned:
        return tf.cast(tf.pow(tf.cast(a, tf.int64), tf.cast(b, tf.int64)), a.dtype)
    return tf.pow(a, b)


def cast(x: Any, dtype: Any) -> Any:
    """To another dtype: bool to 0 and 1, floats to integers truncated, saturated, NaN to 0."""
    if dtype == tf.bool and x.dtype != tf.bool:
        return tf.not_equal(x, tf.zeros_like(x))
    if x.dtype.is_floating and dtype.is_integer:
        return _float_to_integer(x, dtype)
    return tf.cast(x, dtype)


def _float_to_integer(x: Any, dtype: Any) -> Any:
    wide = tf.cast(x, tf.float64)
    low, high = float(dtype.min), float(dtype.max)  # `high` may round up to the first number that does not fit
    above, below = wide >= high, wide <= low
    inside = tf.cast(tf.where(above | below | tf.math.is_nan(wide), tf.zeros_like(wide), wide), dtype)
    limited = tf.where(below, tf.constant(dtype.min, dtype), inside)
    return tf.where(above, tf.constant(dtype.max, dtype), limited)


def select(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the condition holds, else `b`.

    Where the condition speaks of whole rows, they are copied as such; and not at all where it holds for every row, as
    it does in a loop over clients that all have a step left.
    """
    shared = a.shape[:1] == [1] or b.shape[:1] == [1]  # one row for all clients
    if shared or not _is_of_rows(condition, a, b):
        return _select_each(condition, a, b)
    rows = tf.reshape(condition, [-1])
    if a.shape[1:].num_elements() is None or a.shape[1:].num_elements() < LARGE:
        return tf.raw_ops.Select(condition=rows, x=a, y=b)
    return tf.cond(tf.reduce_all(rows), lambda: a, lambda: tf.raw_ops.Select(condition=rows, x=a, y=b))


def _select_each(condition: Any, a: Any, b: Any) -> Any:
    """Element by element. The operation that TensorFlow had before it repeated values in selections takes half the time
    of the newer one, so that a number is written out for it.

    Sizes that are not known are the same in all three, but for those that are known to be 1.
    """
    sizes = condition.shape.as_list()
    if all(x.shape.as_list() != sizes for x in (a, b)):
        return tf.where(condition, a, b)

    def written_out(x: Any) -> Any:
        if x.shape.as_list() == sizes:
            return x
        return tf.fill(tf.shape(condition), tf.reshape(x, [])) if x.shape.num_elements() == 1 else None

    a_whole, b_whole = written_out(a), written_out(b)
    if a_whole is None or b_whole is None:
        return tf.where(condition, a, b)
    return tf.raw_ops.Select(condition=condition, x=a_whole, y=b_whole)


LARGE = 1024  # elements of a row from which a branch costs less than a copy


def _is_of_rows(condition: Any, a: Any, b: Any) -> bool:
    """Whether the condition has one value for each row of two tensors that have all their values."""
    rank = len(a.shape)
    if rank < 2 or len(condition.shape) != rank or condition.shape[0] == 1:
        return False
    small = any(1 in x.shape[1:].as_list() for x in (a, b))
    return all(size == 1 for size in condition.shape[1:]) and not small


def one_hot(node: Node, index: Any, depth: Any) -> Any:
    return tf.one_hot(index, depth, dtype=TF_DTYPES[node.tensor.dtype])


UNARY: dict[str, Callable[[Any], Any]] = {
    "negate": _negate,
    "abs": lambda x: x if x.dtype.is_unsigned else tf.abs(x),
    "sign": _sign,
    "floor": lambda x: x if x.dtype.is_integer else tf.floor(x),
    "ceil": lambda x: x if x.dtype.is_integer else tf.math.ceil(x),
    "round": tf.round,
    "exp": tf.exp,
    "expm1": tf.math.expm1,
    "log": tf.math.log,
    "log1p": tf.math.log1p,
    "sqrt": tf.sqrt,
    "rsqrt": tf.math.rsqrt,
    "sin": tf.sin,
    "cos": tf.cos,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "softplus": tf.math.softplus,
    "relu": tf.nn.relu,
    "erf": tf.math.erf,
    "square": tf.square,
    "reciprocal": lambda x: tf.ones_like(x) / x,
    "logical_not": tf.logical_not,
    "is_finite": lambda x: tf.math.is_finite(x) if x.dtype.is_floating else tf.ones_like(x, tf.bool),
    "is_nan": lambda x: tf.math.is_nan(x) if x.dtype.is_floating else tf.zeros_like(x, tf.bool),
    "stop_gradient": tf.identity,
}

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": _add,
    "subtract": tf.subtract,
    "multiply": tf.multiply,
    "divide": tf.divide,
    "power": _power,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "equal": tf.equal,
    "not_equal": tf.not_equal,
    "less": tf.less,
    "less_equal": tf.less_equal,
    "greater": tf.greater,
    "greater_equal": tf.greater_equal,
    "logical_and": tf.logical_and,
    "logical_or": tf.logical_or,
}


HARD = frozenset(
    {
        "exp",
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "rsqrt",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "softplus",
        "erf",
        "relu",
        "power",
    }
)
"""What may give other bits outside of vectors: approximations, and relu of -0.0."""


def elementwise(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    """The result of an elementwise node."""
    if node.op in HARD:
        return in_vectors(UNARY.get(node.op) or BINARY[node.op], inputs, scope.multiple(_sizes(node, inputs)))
    if node.op == "select":
        return _select_node(node, inputs)
    if node.op == "cast":
        return cast(inputs[0], TF_DTYPES[node.tensor.dtype])
    if len(inputs) == 1:
        return UNARY[node.op](inputs[0])
    return BINARY[node.op](*inputs)


def _sizes(node: Node, inputs: list[Any]) -> list[Size]:
    """The sizes of a result that may be smaller than its type."""
    shape = tf.broadcast_static_shape(inputs[0].shape, inputs[-1].shape)
    return [1 if known == 1 else size for size, known in zip(node.tensor.shape, shape, strict=True)]


def _select_node(node: Node, inputs: list[Any]) -> Any:
    condition, a, b = inputs
    if node.tensor.dtype == "Key":
        return tf.where(condition[..., None], a, b)
    return select(condition, a, b)


NAMES = frozenset({*UNARY, *BINARY, "select", "cast"})
