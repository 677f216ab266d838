"""Matrix products and convolutions.

Some kernels of TensorFlow's depend on how many rows or images there are: those of a product by a transposed matrix, and
of the convolution of a single image. In a chunk of clients others are taken, so that bits do not depend on the chunk.
Where all do (`ALIKE`), rows and images of all clients are taken client by client. The convolution of no image has the
images' shape instead of its own.

Clients' gradients by a matrix of few columns, of a classifier's last layer say, are computed as rows: columns that fill
no vector are slow to write, unless the processor's vectors have masks.
"""

from __future__ import annotations

from typing import Any

from fedlang.ir.graph import Node

from .attributes import flag
from .lanes import ALIKE, MASKED, NARROW
from .scope import Scope, extent
from .start import has_gpu, tf
from .structural import Lowered, at_least, stride_options


def matmul(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    """The product; leading axes may be of size 1 where they stand for repeated values."""
    a, b = inputs
    if scope.multiples and len(a.shape) == 2 and not flag(node, "transpose_a"):
        clients = None if a.dtype in ALIKE else scope.clients_in(node.tensor.shape[0])
        if clients is not None:
            return _merged(_by_client(scope, node, _of_each(a, clients), b, clients))
        if flag(node, "transpose_b"):
            return tf.squeeze(matmul(scope, node, [a[None], b[None]]), 0)
    if not a.dtype.is_floating and a.dtype != tf.int32 and a.dtype != tf.int64:
        return tf.cast(_matmul(node, tf.cast(a, tf.int64), tf.cast(b, tf.int64)), a.dtype)
    return _matmul(node, a, b)


LARGE = 1 << 16  # elements of a matrix from which a loop over clients costs less than a copy for each of them


def _by_client(scope: Scope, node: Node, rows: Any, matrix: Any, clients: Any) -> Any:
    """Products of each client's rows with one matrix. TensorFlow would make one product of them where it sees that."""
    if matrix.shape.num_elements() is None or matrix.shape.num_elements() < LARGE:
        return matmul(scope, node, [rows, tf.broadcast_to(matrix, [clients, *(extent(matrix, k) for k in (0, 1))])])
    return tf.map_fn(lambda own: matmul(Scope(), node, [own, matrix]), rows)


def _of_each(x: Any, clients: Any) -> Any:
    """The rows of each client, of the rows of all."""
    return tf.reshape(x, [clients, -1, *(extent(x, axis) for axis in range(1, len(x.shape)))])


def _merged(x: Any) -> Any:
    """The rows of all clients, of the rows of each."""
    return tf.reshape(x, [-1, *(extent(x, axis) for axis in range(2, len(x.shape)))])


def _matmul(node: Node, a: Any, b: Any) -> Any:
    transposed = flag(node, "transpose_a"), flag(node, "transpose_b")
    if transposed == (True, False) and _are_columns(a, b):
        return tf.transpose(tf.matmul(b, a, transpose_a=True), [0, 2, 1])
    return tf.matmul(a, b, transpose_a=transposed[0], transpose_b=transposed[1])


SLOW = frozenset(range(2, NARROW + NARROW // 2 + 1)) - {NARROW}  # columns that products have faster as rows
LONG = 64  # rows from which they do


def _are_columns(a: Any, b: Any) -> bool:
    """Whether products of the transposed `a` and `b` have many rows of few columns, which come faster transposed."""
    rows, columns = a.shape[-1], b.shape[-1]
    suits = not MASKED and not has_gpu() and a.dtype == tf.float32 and len(a.shape) == len(b.shape) == 3
    return suits and rows is not None and rows >= LONG and columns in SLOW


def _conv2d(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    x, kernel = inputs
    clients = None if x.dtype in ALIKE else scope.clients_in(node.tensor.shape[0])
    if clients is not None:
        return _merged(tf.map_fn(lambda own: _convolved(own, kernel, node, 1), _of_each(x, clients)))
    return _convolved(x, kernel, node, 2 if scope.multiples and x.shape[0] is None else 1)


def _convolved(x: Any, kernel: Any, node: Node, least: int) -> Any:
    """The convolution of so many images at least, less those that are not there."""
    whole = tf.raw_ops.Conv2D(input=at_least(least, x), filter=kernel, **stride_options(node))
    return whole[: extent(x, 0)]


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
