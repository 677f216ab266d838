"""Sums and means over clients told by doubles alone, where the values of all clients lie in one array.

In: float32 arrays `[clients, …]`, with weights or without. Out: what `exact.py` gives for them, the nearest float32,
for half the passes over the data: they need not be cut into slices that add up exactly.

A product of a vector and a matrix in doubles gives every coordinate's sum, and another one the sum of the sizes, which
bounds what the first may have lost (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1: any
order of adding, contracted or not). Where both ends of that interval round to one float32, so does the exact sum. The
coordinates for which they do not, one in a million where little cancels, are summed exactly, and so are those close to
zero. (Subnormals count as zeros there and not here: the interval is wider by what they may come to.) That takes the
clients' values again, so they must still be there: nothing of this is for cohorts in several chunks.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.run.exact import ELEMENTS, ExactSum, room
from fedlang.run.factors import masked
from fedlang.run.quotients import QUOTIENTS, enclosed, middles, middles_are_exact, nearer
from fedlang.run.rounding import TINY, Doubles, Floats, flush, two_sum

LIGHT, HEAVY = 2.0**-64, 2.0**64  # no product with weights between these is too small or too large for a double
LOST = 2.0**-52  # more than twice what rounding once loses
WIDTH = 256


class Estimate:
    """Sums of finite float32 values, `[clients, …]`, each client's times its weight where there are weights."""

    def __init__(self, values: Floats, weights: NDArray[Any] | None = None) -> None:
        self.shape, self.given = values.shape[1:], weights
        self.flat = np.ascontiguousarray(values).reshape(len(values), math.prod(self.shape))
        self.weights = np.ones(len(values)) if weights is None else weights.astype(np.float64)
        self.sums, self.sizes = self._added()

    @staticmethod
    def suits(values: Floats, weights: NDArray[Any] | None) -> bool:
        """Whether doubles have room for all products."""
        if values.dtype != np.float32 or not len(values):
            return False
        return weights is None or bool(weights.min() >= LIGHT and weights.max() <= HEAVY)

    @cached_property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite: the sum of sizes would be, too."""
        return bool(np.isfinite(self.sizes).all())

    def sum(self) -> Floats:
        """The rounded sum; infinite where it is beyond float32."""
        return self._rounded(None)

    def mean(self, total: Fraction) -> Floats:
        """The sum divided by that of the weights, rounded once."""
        return self._rounded(total)

    def _added(self) -> tuple[Doubles, Doubles]:
        """The sums, and those of the sizes, tile by tile, in memory that is kept."""
        rows, columns = self.flat.shape
        sums, sizes = np.empty(columns), np.empty(columns)
        width = max(WIDTH, ELEMENTS // rows)
        with np.errstate(all="ignore"):
            for left in range(0, columns, width):
                tile = self.flat[:, left : left + width]
                wide = room(tile.shape)
                wide[...] = tile
                np.matmul(self.weights, wide, out=sums[left : left + width])
                np.abs(wide, out=wide)
                np.matmul(self.weights, wide, out=sizes[left : left + width])
        return sums, sizes

    def _rounded(self, total: Fraction | None) -> Floats:
        weight = 1.0 if total is None else float(total)
        loss = (len(self.flat) + 8) * LOST / weight  # adding, weights of more than 53 bits, their sum, the division
        crumbs = float(self.weights.sum()) / weight * float(TINY)
        least = crumbs + 2 * float(TINY)
        result, open_ones, above = np.empty(len(self.sums), np.float32), [], []
        with np.errstate(over="ignore", under="ignore"):
            for start in range(0, len(result), QUOTIENTS):
                block = slice(start, start + QUOTIENTS)
                sizes = self.sizes[block]
                slack = sizes * loss
                slack += crumbs
                result[block], high, unclear = enclosed(self.sums[block] / weight, slack, sizes, least)
                open_ones.append(unclear + start)
                above.append(high[unclear])
            columns = np.concatenate([*open_ones, np.empty(0, np.intp)])
            if len(columns):
                result[columns] = self._exactly(columns, result[columns], np.concatenate(above), total)
        return result.reshape(self.shape)

    def _exactly(
        self, columns: NDArray[np.intp], low: NDArray[np.float32], high: NDArray[np.float32], total: Fraction | None
    ) -> Floats:
        """Some coordinates' sums or means, which are between `low` and `high`."""
        values, weight = flush(self.flat[:, columns]), 1.0 if total is None else float(total)
        if (total is None or total == weight) and self._products_are_exact() and middles_are_exact(weight, low, high):
            sums, rest, lost = _with_errors(values * self.weights[:, np.newaxis])
            side = (sums - middles(low, high, weight)) + rest
            if (np.abs(side) >= lost * len(values) * LOST).all():
                return nearer(low, high, side)
        exact = ExactSum((len(columns),), np.dtype(np.float32))
        exact.add(values, self.given)
        return exact.sum() if total is None else exact.mean(total)

    def _products_are_exact(self) -> bool:
        """Whether weights and float32 values, which have 24 bits, have no more than 53 together."""
        if self.given is not None and self.given.dtype.kind in "iu":
            return bool(self.given.max() < 2**29)
        return bool((masked(self.weights, 53 - 29) == self.weights).all())


def _with_errors(terms: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Sums over rows, added two by two, their errors' sums (rounded), and those of the errors' sizes."""
    rows = 1 << (len(terms) - 1).bit_length()
    sums, found = np.zeros((rows, terms.shape[1])), np.zeros((rows, terms.shape[1]))
    sums[: len(terms)] = terms
    while rows > 1:
        rows //= 2
        sums, found[rows : 2 * rows] = two_sum(sums[:rows], sums[rows:])
    return sums[0], found.sum(axis=0), np.abs(found).sum(axis=0)
