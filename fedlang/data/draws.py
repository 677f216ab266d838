"""The random draws that partitions need, from keys: the same numbers for the same seed.

NumPy promises no stable stream for its distributions from one release to the next; `fedlang.run.random` does for bits,
uniform and normal numbers, and this builds on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedlang.run.random import Words, random_at, random_normal, random_uniform

Floats = NDArray[np.float64]


def gamma(key: Words, alpha: float, count: int) -> Floats:
    """Gamma(alpha, 1) numbers. Marsaglia and Tsang, "A simple method for generating gamma variables", 2000.

    Below 1 the shape is raised by one and the draw multiplied by a power of a uniform number (their section 6).
    """
    boosted = alpha + 1.0 if alpha < 1.0 else alpha
    draws = _gamma_above_one(random_at(key, 0), boosted, count)
    if alpha >= 1.0:
        return draws
    return draws * (1.0 - _uniform(random_at(key, 1), count)) ** (1.0 / alpha)


def _gamma_above_one(key: Words, alpha: float, count: int) -> Floats:
    """Draws all, then those refused again, until none is refused."""
    d = alpha - 1.0 / 3.0
    result = np.zeros(count)
    open_places = np.arange(count)
    attempt = 0
    while len(open_places):
        normal = _normal(random_at(key, 2 * attempt), count)[open_places]
        uniform = 1.0 - _uniform(random_at(key, 2 * attempt + 1), count)[open_places]
        v = np.maximum(1.0 + normal / np.sqrt(9.0 * d), 0.0) ** 3
        taken = (v > 0) & (np.log(uniform) < 0.5 * normal**2 + d - d * v + d * np.log(np.where(v > 0, v, 1.0)))
        result[open_places[taken]] = d * v[taken]
        open_places = open_places[~taken]
        attempt += 1
    return result


def dirichlet(key: Words, alpha: float, count: int) -> Floats:
    """One draw from the symmetric Dirichlet distribution: `count` shares that add up to 1."""
    draws = gamma(key, alpha, count)
    total = draws.sum()
    return draws / total if total > 0 else np.full(count, 1.0 / count)


def log_normal(key: Words, sigma: float, count: int) -> Floats:
    """Numbers whose logarithm is normal with mean 0 and deviation `sigma`."""
    return np.exp(sigma * _normal(key, count))


def apportion(shares: Floats, total: int) -> NDArray[np.int64]:
    """Whole numbers in proportion to the shares that add up to `total`, by largest remainders, the first of equals."""
    exact = shares / shares.sum() * total
    whole: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    neediest = np.argsort(-(exact - whole), kind="stable")
    whole[neediest[: total - int(whole.sum())]] += 1
    return whole


def _uniform(key: Words, count: int) -> Floats:
    return np.asarray(random_uniform(key, (count,), "float64"), np.float64)


def _normal(key: Words, count: int) -> Floats:
    return np.asarray(random_normal(key, (count,), "float64"), np.float64)
