"""Random draws: the bits that `fedlang.run.random` defines.

One key: TensorFlow's own Philox, which gives the same words. Many keys (the clients of a chunk): the rounds written
in integer operations, each client's words drawn from its own key.
"""

from __future__ import annotations

import math
from typing import Any

from fedlang.ir.graph import Node
from fedlang.run.random import KEY_STEPS, MULTIPLIERS, ROUNDS

from .dtypes import TF_DTYPES
from .lanes import in_vectors
from .reductions import arg_sort
from .scope import Scope, extent, product_of
from .start import tf
from .structural import Lowered

_WORD = 0xFFFFFFFF
_FRACTION = {
    "float16": (10, 0x3C00, tf.uint16),
    "bfloat16": (7, 0x3F80, tf.uint16),
    "float32": (23, 0x3F800000, tf.uint32),
}


def _u32(value: int) -> Any:
    return tf.constant(value, tf.uint32)


def _product(word: Any, multiplier: int) -> tuple[Any, Any]:
    """The high and the low word of a product."""
    whole = tf.cast(word, tf.uint64) * tf.constant(multiplier, tf.uint64)
    high = tf.bitwise.right_shift(whole, tf.constant(32, tf.uint64))
    return tf.cast(high, tf.uint32), word * _u32(multiplier)


def _philox(k0: Any, k1: Any, counter: list[Any]) -> list[Any]:
    xor = tf.bitwise.bitwise_xor
    c0, c1, c2, c3 = counter
    for _ in range(ROUNDS):
        (h0, l0), (h1, l1) = _product(c0, MULTIPLIERS[0]), _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = xor(xor(h1, c1), k0), l1, xor(xor(h0, c3), k1), l0
        k0, k1 = k0 + _u32(KEY_STEPS[0]), k1 + _u32(KEY_STEPS[1])
    return [c0, c1, c2, c3]


def random_at(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    """The keys derived with integers."""
    key, i = inputs
    wide = tf.cast(tf.cast(i, tf.int64) if i.dtype != tf.uint64 else i, tf.uint64)
    low = tf.cast(tf.bitwise.bitwise_and(wide, tf.constant(_WORD, tf.uint64)), tf.uint32)
    high = tf.cast(tf.bitwise.right_shift(wide, tf.constant(32, tf.uint64)), tf.uint32)
    zero = tf.zeros_like(low)
    words = _philox(key[..., 0], key[..., 1], [low, high, zero, zero + _u32(1)])
    return tf.stack([words[0] + tf.zeros_like(words[1]), words[1]], -1)


def stream(key: Any, count: Any) -> Any:
    """The first words of each key's stream."""
    if len(key.shape) == 1:
        return tf.raw_ops.StatelessRandomUniformFullIntV2(
            shape=tf.reshape(count, [1]),
            key=tf.reshape(tf.bitcast(key, tf.uint64), [1]),
            counter=tf.constant([0, 0], tf.uint64),
            alg=1,
            dtype=tf.uint32,
        )
    blocks = -(-count // 4)
    low = tf.cast(tf.range(blocks), tf.uint32)
    zero = tf.zeros_like(low)
    words = _philox(key[..., :1], key[..., 1:], [low, zero, zero, zero])
    whole = tf.stack([word + tf.zeros_like(words[3]) for word in words], -1)
    leading = [extent(key, axis) for axis in range(len(key.shape) - 1)]
    return tf.reshape(whole, [*leading, blocks * 4])[..., :count]


def _uniform_from(words: Any, dtype: str) -> Any:
    if dtype == "float64":
        high = tf.cast(tf.bitwise.bitwise_and(words[..., 0::2], _u32(0xFFFFF)), tf.uint64)
        low = tf.cast(words[..., 1::2], tf.uint64)
        bits = (
            tf.bitwise.left_shift(high, tf.constant(32, tf.uint64)) + low + tf.constant(0x3FF0000000000000, tf.uint64)
        )
        return tf.bitcast(bits, tf.float64) - 1.0
    fraction, one, unsigned = _FRACTION[dtype]
    bits32 = tf.bitwise.bitwise_and(words, _u32((1 << fraction) - 1)) + _u32(one)
    real = TF_DTYPES[dtype]
    return tf.bitcast(tf.cast(bits32, unsigned), real) - tf.constant(1, real)


def _pairs(words: Any) -> Any:
    high = tf.bitwise.left_shift(tf.cast(words[..., 1::2], tf.uint64), tf.constant(32, tf.uint64))
    return tf.cast(words[..., 0::2], tf.uint64) + high


def _unit(words: Any, dtype: str) -> Any:
    """Numbers in (0, 1]."""
    if dtype == "float64":
        top = tf.bitwise.right_shift(_pairs(words), tf.constant(11, tf.uint64)) + tf.constant(1, tf.uint64)
        return tf.cast(top, tf.float64) * tf.constant(2.0**-53, tf.float64)
    return (tf.cast(words, tf.float64) + 1.0) * tf.constant(2.0**-32, tf.float64)


def _normal_from(words: Any, dtype: str, keys: int) -> Any:
    """`keys`: a number that the number of keys is a multiple of."""
    unit = _unit(words, dtype)
    pairs = in_vectors(_box_muller, [tf.reshape(unit, [-1, 2])], keys * ((unit.shape[-1] or 2) // 2), row=1)
    return tf.cast(tf.reshape(pairs, tf.shape(unit)), TF_DTYPES[dtype])


def _box_muller(unit: Any) -> Any:
    """Pairs [n, 2] of normal numbers, from pairs of uniform ones (Box, Muller 1958)."""
    radius = tf.sqrt(-2.0 * tf.math.log(unit[:, 0]))
    angle = (2.0 * math.pi) * unit[:, 1]
    return tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], -1)


def _drawn(scope: Scope, node: Node, key: Any) -> tuple[list[Any], Any]:
    """The shape of the result, and how many numbers each key gives."""
    shape = scope.shape(node.tensor.shape)
    return shape, product_of(shape[len(key.shape) - 1 :])


def _bits(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    shape, count = _drawn(scope, node, inputs[0])
    return tf.reshape(stream(inputs[0], count), shape)


def _uniform(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    shape, count = _drawn(scope, node, inputs[0])
    dtype = node.tensor.dtype
    return tf.reshape(_uniform_from(stream(inputs[0], count * 2 if dtype == "float64" else count), dtype), shape)


def _normal(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    shape, count = _drawn(scope, node, inputs[0])
    dtype, pairs = node.tensor.dtype, -(-count // 2)
    words = stream(inputs[0], pairs * (4 if dtype == "float64" else 2))
    keys = scope.multiple(node.tensor.shape[: len(inputs[0].shape) - 1])
    return tf.reshape(_normal_from(words, dtype, keys)[..., :count], shape)


def permutation(key: Any, count: Any) -> Any:
    """Permutations of 0 … count - 1, one for each key."""
    return arg_sort(_pairs(stream(key, count * 2)), len(key.shape) - 1)


def _permutation(scope: Scope, node: Node, inputs: list[Any]) -> Any:
    return permutation(inputs[0], scope.size(node.tensor.shape[-1]))


TABLE: dict[str, Lowered] = {
    "random_at": random_at,
    "random_bits": _bits,
    "random_uniform": _uniform,
    "random_normal": _normal,
    "random_permutation": _permutation,
}
