"""Sums and means over clients told by doubles alone, where the values of a whole cohort come at once.

In: float32 arrays `[clients, …]`, with weights or without. Out: what `exact.py` gives for them, the nearest float32,
for half the passes over the data: they need not be cut into slices that add up exactly.

A product of a vector and a matrix in doubles gives every coordinate's sum, and another one the sum of the sizes, which
bounds what the first may have lost (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1: any
order of adding, contracted or not). Where both ends of that interval round to one float32, so does the exact sum.

The others are open. Most are means in the very middle of two float32 numbers: of a hundred clients' one coordinate in
three hundred, of ten clients' one in twenty. What the sum lost is told without error by two-sums there, and so on which
side of the middle it is; what is not told so, sums near zero and few others, is summed exactly. (Subnormals count as
zeros there and not here: the interval is wider by what they may come to.)
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.run.exact import ELEMENTS, ExactSum, room, tiles
from fedlang.run.factors import masked
from fedlang.run.quotients import QUOTIENTS, enclosed, middles, middles_are_exact, nearer
from fedlang.run.rounding import TINY, Doubles, Floats, flush, two_sum

CLIENTS = 8  # of fewer, too many coordinates are open
OPEN, FEW = 0.25, 8  # the share of open coordinates from which on all are summed exactly, and how many are no matter
LIGHT, HEAVY = 2.0**-64, 2.0**64  # no product with weights between these is too small or too large for a double
SHORT = 53 - 24  # bits of a weight whose products with float32 values, of 24 bits, are doubles
LOST = 2.0**-52  # more than twice what rounding once loses


class Estimate:
    """Sums of float32 values, `[clients, …]`, each client's times its weight where there are weights."""

    def __init__(self, values: Floats, weights: NDArray[Any] | None = None) -> None:
        self.shape, self.given = values.shape[1:], weights
        self.flat = np.ascontiguousarray(values).reshape(len(values), math.prod(self.shape))
        self.weights = np.ones(len(values)) if weights is None else weights.astype(np.float64)
        self.sums, self.sizes = self._added()

    @staticmethod
    def suits(values: Floats, weights: NDArray[Any] | None) -> bool:
        """Whether doubles have room for all products, and there are clients enough to gain something."""
        if values.dtype != np.float32 or len(values) < CLIENTS:
            return False
        return weights is None or (float(weights.min()) >= LIGHT and float(weights.max()) <= HEAVY)

    @cached_property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite: the sum of sizes would be, too. Sums and means are for these only."""
        return bool(np.isfinite(self.sizes).all())

    def sum(self) -> Floats:
        """The rounded sum; infinite where it is beyond float32."""
        return self._rounded(None)

    def mean(self, total: Fraction) -> Floats:
        """The sum divided by that of the weights, rounded once."""
        return self._rounded(total)

    def _added(self) -> tuple[Doubles, Doubles]:
        """The sums, and those of the sizes, tile by tile, in memory that is kept."""
        sums, sizes = np.zeros(self.flat.shape[1]), np.zeros(self.flat.shape[1])
        with np.errstate(all="ignore"):
            for rows, columns in tiles(*self.flat.shape):
                tile, weights = self.flat[rows, columns], self.weights[rows]
                wide = room(tile.shape)
                wide[...] = tile
                sums[columns] += weights @ wide
                np.abs(wide, out=wide)
                sizes[columns] += weights @ wide
        return sums, sizes

    def _rounded(self, total: Fraction | None) -> Floats:
        weight = _as_double(total)
        loss = (len(self.flat) + 8) * LOST / weight  # adding, weights of more than 53 bits, their sum, the division
        crumbs = float(self.weights.sum()) / weight * float(TINY)
        result, open_ones, above = np.empty(len(self.sums), np.float32), [], []
        with np.errstate(over="ignore", under="ignore"):
            for start in range(0, len(result), QUOTIENTS):
                block = slice(start, start + QUOTIENTS)
                sizes = self.sizes[block]
                slack = sizes * loss
                slack += crumbs
                low, high, unclear = enclosed(self.sums[block] / weight, slack, sizes, crumbs + 2 * float(TINY))
                if len(unclear) > max(OPEN * len(low), FEW):
                    return self._exactly(slice(None), total).reshape(self.shape)
                result[block] = low
                open_ones.append(unclear + start)
                above.append(high[unclear])
            columns = np.concatenate([*open_ones, np.empty(0, np.intp)])
            tops = np.concatenate([*above, np.empty(0, np.float32)])
            width = max(1, ELEMENTS // len(self.flat))
            for start in range(0, len(columns), width):
                some = columns[start : start + width]
                result[some] = self._told(some, result[some], tops[start : start + width], total)
        return result.reshape(self.shape)

    def _told(
        self, columns: NDArray[np.intp], low: NDArray[np.float32], high: NDArray[np.float32], total: Fraction | None
    ) -> Floats:
        """Some coordinates' sums or means, which are between `low` and `high`."""
        weight = _as_double(total)
        if (total is None or total == weight) and self._products_are_exact and middles_are_exact(weight, low, high):
            values = flush(self.flat[:, columns])
            sums, rest, lost = _with_errors(values * self.weights[:, np.newaxis])
            side = (sums - middles(low, high, weight)) + rest
            if (np.abs(side) >= lost * len(values) * LOST).all():
                return nearer(low, high, side)
        return self._exactly(columns, total)

    def _exactly(self, columns: NDArray[np.intp] | slice, total: Fraction | None) -> Floats:
        values = self.flat[:, columns]
        exact = ExactSum(values.shape[1:], np.dtype(np.float32))
        exact.add(values, self.given)
        return exact.sum() if total is None else exact.mean(total)

    @cached_property
    def _products_are_exact(self) -> bool:
        """Whether weights are so short that their products with values are doubles."""
        if self.given is not None and self.given.dtype.kind in "iu":
            return bool(self.given.max() < 2**SHORT)
        return bool((masked(self.weights, 53 - SHORT) == self.weights).all())


def _as_double(total: Fraction | None) -> float:
    """What a sum is divided by."""
    return 1.0 if total is None else float(total)


def _with_errors(terms: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Sums over rows, added two by two, their errors' sums (rounded), and those of the errors' sizes."""
    rows = 1 << (len(terms) - 1).bit_length()
    sums, found = np.zeros((rows, terms.shape[1])), np.zeros((rows, terms.shape[1]))
    sums[: len(terms)] = terms
    while rows > 1:
        rows //= 2
        sums, found[rows : 2 * rows] = two_sum(sums[:rows], sums[rows:])
    return sums[0], found.sum(axis=0), np.abs(found).sum(axis=0)
