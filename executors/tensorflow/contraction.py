"""Matrix products.

TensorFlow's kernel for a product by a transposed matrix depends on how many rows there are. In a chunk of clients
another is taken, so that bits do not depend on the chunk. Where all do (`ALIKE`), rows of all clients are taken client
by client.

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
from .structural import merged, of_each


def matmul(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    """The product; leading axes may be of size 1 where they stand for repeated values."""
    a, b = inputs
    if scope.multiples and len(a.shape) == 2 and not flag(node, "transpose_a"):
        clients = None if a.dtype in ALIKE else scope.clients_in(node.tensor.shape[0])
        if clients is not None:
            return merged(_by_client(scope, node, of_each(a, clients), b, clients))
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
