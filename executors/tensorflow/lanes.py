"""How many clients a vectorised chunk is filled up to a multiple of.

TensorFlow computes `exp`, `log` and their like by the vector, and the last few elements of a tensor, where they fill
none, by another code path, which may round differently. A vector has 8 floats in the builds that are installed by
pip, and 16 in builds for wider machines: which it is here is tried.
"""

from __future__ import annotations

import numpy as np

from .start import tf

NARROW, WIDE = 8, 16
TRIED = 128  # of these values, two in five have another logarithm outside of vectors


def _rounds_alike(count: int) -> bool:
    """Whether a tensor of `count` elements has them computed as a long one has."""
    values = np.linspace(0.01, 30, TRIED, dtype=np.float32)
    whole = tf.math.log(values).numpy()
    parts = [tf.math.log(part).numpy() for part in np.split(values, TRIED // count)]
    return np.array_equal(whole, np.concatenate(parts))


LANES = NARROW if _rounds_alike(NARROW) else WIDE
