"""A client's examples cut into batches: ranges of the examples, or of numbers of them where they are shuffled or gone
over several times. No example is copied.

A shuffle's order is that of random words, of a stream that seed, client and epoch are the key and the place of. The
stream is NumPy's Philox, whose words are the same in all its versions (NEP 19), unlike what it makes of them.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedlang.data.trees import Examples, Sequences, count_examples, map_leaves
from fedlang.run.random import identity_of
from fedlang.run.sequences import Rows, fix

Numbers = NDArray[np.int64]


def cut_batches(
    client: str, examples: Examples, *, size: int, epochs: int, shuffle_seed: int | None, drop_last: bool
) -> Sequences:
    """The batches: a sequence for each leaf, all with the same splits, and the same order where there is one."""
    count = count_examples(examples)
    kept = count - count % size if drop_last else count
    splits = _splits(kept, size, epochs)
    if shuffle_seed is None and epochs == 1:
        return map_leaves(lambda leaf: Rows(leaf, splits), examples)
    orders = [_order(client, count, epoch, shuffle_seed)[:kept] for epoch in range(epochs)]
    order = orders[0] if epochs == 1 else fix(np.concatenate(orders))
    return map_leaves(lambda leaf: Rows(leaf, splits, order), examples)


@lru_cache(maxsize=4096)
def _splits(count: int, size: int, epochs: int) -> Numbers:
    """Where batches begin and end; clients of as many examples share them."""
    starts = np.arange(0, count, size, dtype=np.int64)
    return fix(np.append((np.arange(epochs)[:, None] * count + starts).ravel(), epochs * count))


def _order(client: str, count: int, epoch: int, seed: int | None) -> Numbers:
    """The order of the examples in an epoch."""
    if seed is None:
        return fix(np.arange(count, dtype=np.int64))
    words = _stream.words(seed % 2**64, int(identity_of(client)), epoch, count)
    return fix(np.argsort(words, kind="stable"))


class _Stream(threading.local):
    """A thread's generator, which goes to any place of any stream: making one takes five times as long."""

    def __init__(self) -> None:
        self._generator = np.random.Philox(0)
        self._place = self._generator.state

    def words(self, seed: int, client: int, epoch: int, count: int) -> NDArray[np.uint64]:
        """The first words of `Philox(key=[seed, client], counter=[0, epoch, 0, 0])`."""
        self._place["state"]["key"][:] = seed, client
        self._place["state"]["counter"][:] = 0, epoch, 0, 0
        self._generator.state = self._place
        words: NDArray[np.uint64] = self._generator.random_raw(count)
        return words


_stream = _Stream()
