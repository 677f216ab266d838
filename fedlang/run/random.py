"""Random bits from keys: Philox 4x32-10 in NumPy, the definition every executor reproduces bit for bit.

A key is two uint32 words; arrays of keys are `uint32[..., 2]`. Nothing here has a state: a draw depends on its key and
its place in the result (counted row-major over the result's own, unpadded shape) and on nothing else.

Philox (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter of four
words under a key of two into four words: ten rounds of two 32x32-bit products. It is TensorFlow's own generator:

    random_bits(key, [n]) == StatelessRandomUniformFullIntV2([n], key=[k0 | k1 << 32], counter=[0, 0], alg=1)
    random_at(key, i)     == StatelessRandomUniformFullIntV2([2], key=[k0 | k1 << 32], counter=[i, 1 << 32], alg=1)

Counters, as (word 0, word 1, word 2, word 3):

    draws      (block, block >> 32, 0, 0)   block b gives words 4b to 4b + 3 of the stream
    derivation (i, i >> 32, 0, 1)           the first two words are the new key, so derived keys never meet draws

How draws are made of the stream's words w:

    bits         w[k]
    float32      the 23 low bits of w[k] as the fraction of a number in [1, 2), minus 1; float16 takes 10, bfloat16 7
    float64      20 low bits of w[2k], then all of w[2k + 1], as the fraction of a number in [1, 2), minus 1
    normal       Box-Muller in float64 from u[k] = (w[k] + 1) / 2**32, rounded once to the dtype: draws 2p and 2p + 1
                 are sqrt(-2 log u[2p]) times the cosine and the sine of 2 pi u[2p + 1]. For float64,
                 u[k] = (z[k] + 1) / 2**53 with z[k] the 53 high bits of w[2k] | w[2k + 1] << 32
    permutation  indices stably sorted by the 64-bit numbers w[2k] | w[2k + 1] << 32
"""

from __future__ import annotations

import hashlib
import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedlang.run.sequences import Array
from fedlang.run.values import numpy_dtype

Words: TypeAlias = NDArray[np.uint32]
Pair: TypeAlias = tuple[ArrayLike, ArrayLike]
Four: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox(key: Pair, counter: Four) -> tuple[Words, ...]:
    """Four words for each counter; words of keys and counters broadcast against each other."""
    keys, counters = [np.asarray(word, np.uint64) for word in key], [np.asarray(word, np.uint64) for word in counter]
    shape = np.broadcast_shapes(*(word.shape for word in (*keys, *counters)))
    even, odd = np.empty((2, 2, *shape), np.uint64)  # words 0 and 2, and words 1 and 3: a round does the same to both
    even[0], odd[0], even[1], odd[1] = counters
    column = (2, *[1] * len(shape))
    multipliers, steps = (np.array(each, np.uint64).reshape(column) for each in (MULTIPLIERS, KEY_STEPS))
    own = np.stack(np.broadcast_arrays(*keys))
    own = own.reshape(2, *[1] * (len(shape) - own.ndim + 1), *own.shape[1:])
    number = np.arange(ROUNDS, dtype=np.uint64).reshape(ROUNDS, 1, *column[1:])
    product = np.empty_like(even)
    other = product[::-1]
    for own_key in (own + number * steps) & _LOW:
        np.multiply(even, multipliers, out=product)
        np.right_shift(other, _32, out=even)
        np.bitwise_xor(even, odd, out=even)
        np.bitwise_xor(even, own_key, out=even)
        np.bitwise_and(other, _LOW, out=odd)
    return tuple(word.astype(np.uint32) for word in (even[0], odd[0], even[1], odd[1]))


def _philox_of_numbers(k0: int, k1: int, c0: int, c1: int, c2: int, c3: int) -> tuple[int, int, int, int]:
    """The same for one counter, in Python's integers: NumPy takes longer to begin than this to end."""
    for number in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        a, b = (k0 + number * KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + number * KEY_STEPS[1]) & 0xFFFFFFFF
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ a, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c3 ^ b, p0 & 0xFFFFFFFF
    return c0, c1, c2, c3


def _halves(number: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    return number & _LOW, number >> _32


def _as_uint64(i: int | ArrayLike) -> NDArray[np.uint64]:
    """Any integer as 64 bits: negative ones in two's complement, so that -1 is the same at every width."""
    whole = i & 0xFFFFFFFFFFFFFFFF if isinstance(i, int) else i
    return np.asarray(whole).astype(np.uint64)


def random_at(key: ArrayLike, i: int | ArrayLike) -> Words:
    """The key derived from `key[..., 2]` with the integers `i[...]`; leading axes broadcast."""
    key = np.asarray(key, np.uint32)
    if isinstance(i, int) and key.ndim == 1:
        k0, k1 = key.tolist()
        found = _philox_of_numbers(k0, k1, i & 0xFFFFFFFF, (i >> 32) & 0xFFFFFFFF, 0, 1)
        return np.array(found[:2], np.uint32)
    low, high = _halves(_as_uint64(i))
    words = philox((key[..., 0], key[..., 1]), (low, high, 0, 1))
    return np.stack(np.broadcast_arrays(words[0], words[1]), axis=-1)


def key_of_seed(seed: int) -> Words:
    """The key of a run's seed: `random_at` of the key (0, 0). A seed has 64 bits; `ValueError` for others."""
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"a seed has 64 bits; {seed} has more")
    return random_at((0, 0), seed)


def identity_of(client_id: str | int) -> np.uint64:
    """A client's number, from its id alone: 8 bytes of BLAKE2b of the id, little-endian. 7 and "7" are one client."""
    digest = hashlib.blake2b(str(client_id).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def stream(key: ArrayLike, count: int) -> Words:
    """The first `count` words of each key's stream: `uint32[..., count]`."""
    key = np.asarray(key, np.uint32)
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    words = philox((key[..., :1], key[..., 1:]), (*_halves(blocks), 0, 0))
    joined = np.stack(words, axis=-1)
    flat: Words = joined.reshape(*joined.shape[:-2], -1)[..., :count]
    return flat


def words_at(key: ArrayLike, index: ArrayLike) -> Words:
    """Word `index` of each key's stream; leading axes broadcast. For padded draws, whose places do not run on."""
    key = np.asarray(key, np.uint32)
    place = _as_uint64(index)
    words = philox((key[..., 0], key[..., 1]), (*_halves(place >> np.uint64(2)), 0, 0))
    return np.choose((place & np.uint64(3)).astype(np.intp), np.broadcast_arrays(*words))


def _shaped(flat: Array, shape: tuple[int, ...]) -> Array:
    return flat.reshape((*flat.shape[:-1], *shape))


def random_bits(key: ArrayLike, shape: tuple[int, ...]) -> Words:
    """uint32 words, `[..., *shape]` for keys `[..., 2]`."""
    return np.asarray(_shaped(stream(key, math.prod(shape)), shape), np.uint32)


def random_uniform(key: ArrayLike, shape: tuple[int, ...], dtype: str = "float32") -> Array:
    """Numbers in [0, 1), `[..., *shape]` for keys `[..., 2]`."""
    count = math.prod(shape)
    words = stream(key, 2 * count if dtype == "float64" else count)
    return _shaped(uniform_from_words(words, dtype), shape)


# The fraction's bits, the bits of 1.0 and the unsigned integer of the same width.
_UNIFORM: dict[str, tuple[int, int, type[np.unsignedinteger]]] = {
    "float16": (10, 0x3C00, np.uint16),
    "bfloat16": (7, 0x3F80, np.uint16),
    "float32": (23, 0x3F800000, np.uint32),
}


def uniform_from_words(words: Words, dtype: str) -> Array:
    """The uniform numbers that these words make; float64 takes two words for each, along the last axis."""
    if dtype == "float64":
        high = words[..., 0::2].astype(np.uint64) & np.uint64(0xFFFFF)
        bits = (high << _32) | words[..., 1::2] | np.uint64(0x3FF0000000000000)
        return bits.view(np.float64) - 1.0
    fraction, one, unsigned = _UNIFORM[dtype]
    bits32 = (words & np.uint32((1 << fraction) - 1)) | np.uint32(one)
    real = numpy_dtype(dtype)
    return np.asarray(bits32.astype(unsigned).view(real) - np.ones((), real), real)


def random_normal(key: ArrayLike, shape: tuple[int, ...], dtype: str = "float32") -> Array:
    """Standard normal numbers, `[..., *shape]` for keys `[..., 2]`."""
    count = math.prod(shape)
    pairs = -(-count // 2)
    words = stream(key, (4 if dtype == "float64" else 2) * pairs)
    return _shaped(normal_from_words(words, dtype)[..., :count], shape)


def normal_from_words(words: Words, dtype: str) -> Array:
    """The normal numbers that whole pairs of words (of 64-bit words for float64) make, along the last axis."""
    unit = _units(words, wide=dtype == "float64")
    radius = np.sqrt(-2.0 * np.log(unit[..., 0::2]))
    angle = (2.0 * np.pi) * unit[..., 1::2]
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return both.reshape(unit.shape).astype(numpy_dtype(dtype))


def _units(words: Words, *, wide: bool) -> NDArray[np.float64]:
    """Numbers in (0, 1]."""
    if wide:
        return ((_pairs(words) >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53
    return (words.astype(np.float64) + 1.0) * 2.0**-32


def _pairs(words: Words) -> NDArray[np.uint64]:
    return words[..., 0::2] | (words[..., 1::2].astype(np.uint64) << _32)


def random_permutation(key: ArrayLike, count: int) -> NDArray[np.int32]:
    """Permutations of 0 … count - 1, `int32[..., count]` for keys `[..., 2]`."""
    order = np.argsort(_pairs(stream(key, 2 * count)), axis=-1, kind="stable")
    return order.astype(np.int32)
