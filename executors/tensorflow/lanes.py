"""What keeps the bits of a client apart from how many others are in its chunk.

TensorFlow computes `exp`, `log` and their like by the vector, and the last few elements of a tensor, where they fill
none, by another code path, which may round differently. A vector has 8 floats in the builds that are installed by
pip, and 16 in builds for wider machines: which it is here is tried. So a tensor is filled up to whole vectors before
such an operation, unless its type says that it has them: chunks of clients have a multiple of `LANES`, because matrix
products take rows by the four, and a function from Python that is called for all clients needs chunks of whole vectors,
since nobody sees its operations.

Where TensorFlow does not multiply matrices by oneDNN, what a row of a product comes out as depends on how many follow
it, whatever they are a multiple of. For which dtypes it does not is tried too (`ALIKE`): of others, clients' rows are
not put into one product.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from .scope import extent
from .start import tf

NARROW, WIDE = 8, 16
TRIED = 128  # of these values, two in five have another logarithm outside of vectors
LANES = 4


def _rounds_alike(count: int) -> bool:
    """Whether a tensor of `count` elements has them computed as a long one has."""
    values = np.linspace(0.01, 30, TRIED, dtype=np.float32)
    whole = tf.math.log(values).numpy()
    parts = [tf.math.log(part).numpy() for part in np.split(values, TRIED // count)]
    return np.array_equal(whole, np.concatenate(parts))


VECTOR = NARROW if _rounds_alike(NARROW) else WIDE


def _multiplies_alike(dtype: Any) -> bool:
    """Whether products of few rows, a multiple of `LANES`, have the same rows as one of many."""
    values = np.linspace(-1, 1, TRIED * 60, dtype=dtype) ** 3
    rows, matrix = values.reshape(-1, 60), values[: 60 * 7].reshape(60, 7)
    whole = tf.matmul(rows, matrix).numpy()
    return all(np.array_equal(tf.matmul(rows[:n], matrix).numpy(), whole[:n]) for n in range(LANES, 10 * LANES, LANES))


ALIKE = frozenset(
    {tf.int32, tf.int64, *(dtype for dtype in (tf.float32, tf.float64) if _multiplies_alike(dtype.as_numpy_dtype))}
)
"""The dtypes of which they have."""


def _has_masks() -> bool:
    """Whether the processor's vectors have masks; NumPy knows. Where it does not say, they are taken to have."""
    try:
        features: dict[str, bool] = import_module("numpy._core._multiarray_umath").__cpu_features__
    except (ImportError, AttributeError):
        return True
    return features.get("AVX512F", False) or not features.get("AVX2", False)


MASKED = _has_masks()

PERIOD = 12  # row counts that leave the same remainder are computed in the same way


def _widths() -> frozenset[int]:
    """The remainders by `PERIOD` of even row counts whose products have, for each client, the rows of wide ones."""
    values = np.linspace(-1, 1, 4 * PERIOD * 60, dtype=np.float32) ** 3
    rows, matrices = values.reshape(2, -1, 60), np.stack([values[: 60 * 7], values[-60 * 7 :]]).reshape(2, 60, 7)
    whole = tf.matmul(rows, matrices).numpy()
    counts = range(PERIOD, 2 * PERIOD, 2)
    return frozenset(
        n % PERIOD for n in counts if np.array_equal(tf.matmul(rows[:, :n], matrices).numpy(), whole[:, :n])
    )


WIDTHS = _widths() or frozenset(range(PERIOD))


def filled(count: int, multiple: int) -> int:
    """The width of batches of at most `count` rows: a multiple of `multiple`, and such that the products of a client's
    rows do not depend on it. Where TensorFlow has no such widths, its products may have other last bits."""
    width = -(-count // multiple) * multiple
    while width and width % PERIOD not in WIDTHS:
        width += multiple
    return width


def in_vectors(function: Callable[..., Any], inputs: list[Any], multiple: int, *, row: int = 0) -> Any:
    """A function of elements, or of rows of `row` axes, no result of which is computed outside of vectors.

    `multiple`: a number that the number of elements, or of rows, is a multiple of in any chunk.
    """
    if multiple % VECTOR == 0 or all(x.shape.is_fully_defined() for x in inputs):
        return function(*inputs)
    if len(inputs) > 1:
        shape = tf.broadcast_dynamic_shape(*map(tf.shape, inputs))
        inputs = [tf.broadcast_to(x, shape) for x in inputs]
    own = [extent(inputs[0], axis) for axis in range(-row, 0)]
    flat = [tf.reshape(x, [-1, *own]) for x in inputs]
    count = tf.shape(flat[0])[0]
    filled = [tf.pad(x, [[0, -count % VECTOR], *[[0, 0]] * row]) for x in flat]
    found = tf.reshape(function(*filled)[:count], tf.shape(inputs[0]))
    return tf.ensure_shape(found, inputs[0].shape)
