"""Matrix products and convolutions."""

from __future__ import annotations

from typing import Any

from fedlang.ir.graph import Node

from .attributes import flag
from .scope import Scope
from .start import tf
from .structural import Lowered, stride_options


def matmul(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    """The product; leading axes may be of size 1 where they stand for repeated values."""
    a, b = inputs
    if not a.dtype.is_floating and a.dtype != tf.int32 and a.dtype != tf.int64:
        return tf.cast(_matmul(node, tf.cast(a, tf.int64), tf.cast(b, tf.int64)), a.dtype)
    return _matmul(node, a, b)


def _matmul(node: Node, a: Any, b: Any) -> Any:
    return tf.matmul(a, b, transpose_a=flag(node, "transpose_a"), transpose_b=flag(node, "transpose_b"))


def _conv2d(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return tf.raw_ops.Conv2D(input=inputs[0], filter=inputs[1], **stride_options(node))


def _conv2d_input(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    dy, kernel = inputs
    shape = tf.stack(scope.shape(node.tensor.shape))
    return tf.raw_ops.Conv2DBackpropInput(input_sizes=shape, filter=kernel, out_backprop=dy, **stride_options(node))


def _conv2d_kernel(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    dy, x = inputs
    shape = tf.stack(scope.shape(node.tensor.shape))
    return tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=shape, out_backprop=dy, **stride_options(node))


TABLE: dict[str, Lowered] = {
    "conv2d": _conv2d,
    "conv2d_input": _conv2d_input,
    "conv2d_kernel": _conv2d_kernel,
}
