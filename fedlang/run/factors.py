"""Weights as factors of exact products: pieces of at most 24 bits, and bounds that say how many bits products have.

Counts of examples, which most weights are, are one piece, and their unit is read off their common bits.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]
Wholes: TypeAlias = NDArray[np.int64]

BITS = 24


class Factors:
    """One piece of clients' weights: `BITS` significant bits at most, none above `most`, all multiples of 2 ** low."""

    __slots__ = ("low", "most", "parts", "values", "wholes")

    def __init__(self, values: Doubles, wholes: Wholes | None = None) -> None:
        """`wholes`: the same values, where they are small whole numbers."""
        self.values, self.wholes = values, wholes
        self.parts: dict[tuple[int, int], Factors] = {}
        self.most = float(values.max(initial=0.0))
        self.low = _unit(values) if wholes is None else _unit_of_wholes(wholes)

    @property
    def bits(self) -> int:
        """How many the values have together, from the greatest's first to the last of all."""
        return math.frexp(self.most)[1] - self.low

    @property
    def is_modest(self) -> bool:
        """Whether no product of a float32 value and one of them is too large or too small for a double."""
        return self.most < 2.0**800 and self.low > -800

    def of(self, rows: slice) -> Factors:
        """The factors of some rows."""
        place = rows.start, rows.stop
        if place not in self.parts:
            self.parts[place] = Factors(self.values[rows], None if self.wholes is None else self.wholes[rows])
        return self.parts[place]


def factors_of(weights: NDArray[Any]) -> list[Factors]:
    """Pieces whose exact sum is the weights: finite numbers that are not negative."""
    if weights.dtype.kind not in "iu":
        weights = weights.astype(np.float64)
    wholes = _small_wholes(weights)
    if wholes is not None:
        return [Factors(wholes.astype(np.float64), wholes)]
    if weights.dtype.kind in "iu":
        bits = weights.astype(np.uint64)
        high, low = bits >> np.uint64(32), bits & np.uint64(2**32 - 1)
        halves = [high.astype(np.float64) * 2.0**32, low.astype(np.float64)]
    else:
        halves = [weights]
    pieces: list[Factors] = []
    for rest in halves:
        while rest.any():
            piece = masked(rest, 53 - BITS)
            if not piece.any():  # subnormal numbers: what is left has few bits
                piece = rest
            pieces.append(Factors(piece))
            rest = rest - piece
    return pieces


def masked(values: Doubles, dropped: int) -> Doubles:
    """The values without so many of their last bits."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    return (bits & np.uint64((2**64 - 1) ^ (2**dropped - 1))).view(np.float64)


def _small_wholes(weights: NDArray[Any]) -> Wholes | None:
    """The weights, where all are whole numbers of at most `BITS` bits."""
    if not weights.size or weights.max() >= 2**BITS:
        return None
    wholes = weights.astype(np.int64)
    return wholes if weights.dtype.kind in "iu" or (wholes == weights).all() else None


def _unit(values: Doubles) -> int:
    """The greatest `low` with all values multiples of 2 ** low."""
    fractions, places = np.frexp(values[values != 0])
    if not len(places):
        return 0
    whole = (fractions * 2.0**53).astype(np.int64)
    last = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    return int((places - 53 + last).min())


def _unit_of_wholes(wholes: Wholes) -> int:
    bits = int(np.bitwise_or.reduce(wholes))
    return max(0, (bits & -bits).bit_length() - 1)
