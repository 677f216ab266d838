"""Operations on strings: object arrays of `str`, element by element."""

from __future__ import annotations

import hashlib

import numpy as np

from fedlang.ir.graph import Node
from fedlang.run.values import numpy_dtype
from fedlang.source import Span

from .kernel import Compile, Kernel, Maker, Numbers, plain


def hash_of(word: str, seed: int) -> int:
    """A number of 31 bits, the same everywhere:

    4 bytes (little-endian) of the word's BLAKE2b hash keyed with the seed.
    """
    key = (seed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
    digest = hashlib.blake2b(word.encode(), digest_size=4, key=key).digest()
    return int.from_bytes(digest, "little") & 0x7FFFFFFF


def _hash(node: Node, compile: Compile, span: Span | None) -> Kernel:
    dtype = numpy_dtype(node.tensor.dtype)

    def kernel(frame: object, word: Numbers, seed: Numbers) -> Numbers:
        words, seeds = np.broadcast_arrays(np.asarray(word, object), np.asarray(seed))
        pairs = zip(words.ravel(), seeds.ravel().tolist(), strict=True)
        return np.array([hash_of(str(w), s) for w, s in pairs], dtype).reshape(words.shape)

    return kernel


def _lookup(node: Node, compile: Compile, span: Span | None) -> Kernel:
    """The first place of each word in the vocabulary; -1 where it is not there."""
    dtype = numpy_dtype(node.tensor.dtype)

    def kernel(frame: object, vocabulary: Numbers, word: Numbers) -> Numbers:
        places: dict[str, int] = {}
        for place, each in enumerate(vocabulary):
            places.setdefault(str(each), place)
        words = np.asarray(word, object)
        return np.array([places.get(str(w), -1) for w in words.ravel()], dtype).reshape(words.shape)

    return kernel


def prefix(word: Numbers, n: Numbers) -> Numbers:
    """The first `n` characters; the whole word where it has fewer."""
    words, counts = np.broadcast_arrays(np.asarray(word, object), np.asarray(n))
    result = np.empty(words.shape, object)
    result.ravel()[:] = [str(w)[: max(c, 0)] for w, c in zip(words.ravel(), counts.ravel().tolist(), strict=True)]
    return result


KERNELS: dict[str, Maker] = {"hash": _hash, "lookup": _lookup, "prefix": plain(prefix)}
