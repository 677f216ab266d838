"""Who takes part in a round: clients drawn by a seed and the round's number, whatever was drawn before."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from fedlang.data.errors import wrong_count
from fedlang.run.random import key_of_seed, random_at, random_permutation, random_uniform

T = TypeVar("T")


def build_uniform_sampling_fn(
    sample_range: Sequence[T], replace: bool = False, random_seed: int | None = None
) -> Callable[[int, int], list[T]]:
    """A function from a round's number and a size to that many entries, all equally likely.

    sample = build_uniform_sampling_fn(train.client_ids, random_seed=1)
    process.next(state, data.subset(sample(round, 10)))

    The same seed and round give the same draw, so a run can be taken up in its middle. `DiagnosticError` FED0709 for a
    size above the number of entries, unless they may come again (`replace`).
    """
    root = key_of_seed(secrets.randbits(32) if random_seed is None else random_seed)

    def sample(round_num: int, size: int) -> list[T]:
        if size < 0 or not sample_range or (size > len(sample_range) and not replace):
            most = "0 or more" if replace and sample_range else f"from 0 to {len(sample_range)}"
            raise wrong_count("the number of clients in a round", size, most)
        key = random_at(root, round_num)
        if not replace:
            return [sample_range[place] for place in random_permutation(key, len(sample_range))[:size]]
        places = np.floor(np.asarray(random_uniform(key, (size,), "float64")) * len(sample_range))
        return [sample_range[int(place)] for place in places]

    return sample
