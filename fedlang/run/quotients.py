"""Quotients S / W of exact sums, for means: S is held as several arrays of doubles, W as several doubles.

A quotient q of leading parts is corrected once, with the sign of the exact remainder S - q W in place of what follows.
Nearly all float32 quotients are told by doubles alone, with a bound on what those lose.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedlang.run.rounding import TINY, Doubles, narrow, settle, two_product

QUOTIENTS = 16384  # coordinates that are divided at once
PARTS = 10  # components of a sum; more come of weights that differ by hundreds of powers of two
SLACK = 2.0**-49  # more than what doubles lose in a quotient of sums of fewer than that


def expand(total: Fraction) -> list[float]:
    """Floats whose exact sum is the number, each the nearest to what is left."""
    if total.denominator == 1 and total.numerator < 2**53:  # counts of examples, mostly
        return [float(total.numerator)]
    floats = []
    while total:
        floats.append(float(total))
        total -= Fraction(floats[-1])
    return floats


def single_quotients(parts: list[Doubles], size: int, weights: list[float]) -> NDArray[np.float32]:
    """S / W as float32, rounded once; block by block, so that what is worked on stays near the processor."""
    result = np.zeros(size, np.float32)
    for start in range(0, size if parts else 0, QUOTIENTS):
        block = slice(start, start + QUOTIENTS)
        result[block] = _single_quotient([part[block] for part in parts], weights)
    return result


def _single_quotient(parts: list[Doubles], weights: list[float]) -> NDArray[np.float32]:
    """In doubles, where none of their errors can matter; exactly elsewhere.

    Doubles leave less than `SLACK` of the sum of the parts' sizes in error: adding n parts n - 1 halves of a unit in
    the last place, the weight and the division one each. Where both ends of that interval round to the same number, so
    does the exact quotient; of a million coordinates all but a few, and those close to zero.
    """
    assert len(parts) < PARTS, "the bound is for a few parts"
    total, size = parts[-1].copy(), np.abs(parts[-1])
    for part in reversed(parts[:-1]):
        total += part
        size += np.abs(part)
    with np.errstate(over="ignore", under="ignore"):
        total /= weights[0]
        low, high, unclear = enclosed(total, size * (SLACK / weights[0]), size)
        if len(unclear):
            near = [part[unclear] for part in (parts if len(parts) > 1 else (*parts, np.zeros_like(total)))]
            low[unclear] = _nearest_single(settle(near), weights, low[unclear], high[unclear])
    return low


def enclosed(
    value: Doubles, slack: Doubles, size: Doubles, least: float = 2 * float(TINY)
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """Both ends of `value ± slack` as float32, and where they do not tell what all that is between them rounds to.

    Where the size of what was added up is zero, so is the value, 0.0; the slack must be less than `least` there. Other
    values whose size is below `least` are not told either. All values must be finite.
    """
    low, high = (value - slack).astype(np.float32), (value + slack).astype(np.float32)
    unclear, away = low != high, np.abs(low)
    if away.min(initial=np.inf) < least:
        unclear |= away < least
        unclear &= size > 0
        low[size == 0] = 0
    return low, high, np.flatnonzero(unclear)


def _nearest_single(
    parts: list[Doubles], weights: list[float], low: NDArray[np.float32], high: NDArray[np.float32]
) -> NDArray[np.float32]:
    """S / W as float32, which is between `low` and `high`, of a settled S."""
    if len(parts) > 2 or len(weights) > 1 or not middles_are_exact(weights[0], low, high):
        return narrow(*divide(parts, weights), np.dtype(np.float32))
    return nearer(low, high, (parts[0] - middles(low, high, weights[0])) + parts[1])


def middles_are_exact(weight: float, low: NDArray[np.float32], high: NDArray[np.float32]) -> bool:
    """Whether all are pairs of neighbours, and the middles between them times the weight are doubles.

    Of two neighbours S / W is told by the sign of S - m W, m being the middle between them: m has 25 bits and W mostly
    no more than 28, so m W is exact, and so is its difference to the first part of S, which is near it. Means of few
    clients are such a middle often enough.
    """
    neighbours = (np.nextafter(low, np.float32(np.inf)) == high) & (np.abs(low) >= 2 * TINY)
    return _has_bits(weight, 28) and bool((neighbours & np.isfinite(low) & np.isfinite(high)).all())


def middles(low: NDArray[np.float32], high: NDArray[np.float32], weight: float) -> Doubles:
    """What lies in the middle between neighbours, times the weight."""
    return (low.astype(np.float64) + high) / 2 * weight


def nearer(low: NDArray[np.float32], high: NDArray[np.float32], side: Doubles) -> NDArray[np.float32]:
    """One of two neighbours, by the sign of what lies between them less their middle; ties go to the even one."""
    is_even = low.view(np.uint32) & np.uint32(1) == 0
    return np.where((side < 0) | ((side == 0) & is_even), low, high)


def _has_bits(value: float, count: int) -> bool:
    """Whether a number has so many significant bits at most."""
    return math.ldexp(math.frexp(value)[0], count).is_integer()


def divide(parts: list[Doubles], weights: list[float]) -> tuple[Doubles, Doubles]:
    """The quotient within a unit in the last place, and a number of the sign (and about the size) of what it lacks."""
    quotient = parts[0] / weights[0]
    rest = _remainder(parts, quotient, weights) / weights[0]
    better = quotient + rest
    moved = np.flatnonzero(better != quotient)
    if len(moved):
        rest = rest.copy()
        rest[moved] = _remainder([part[moved] for part in parts], better[moved], weights) / weights[0]
    return better, rest


def _remainder(parts: list[Doubles], quotient: Doubles, weights: list[float]) -> Doubles:
    """The leading component of the exact S - q W."""
    terms = list(parts)
    for weight in weights:
        product, error = two_product(quotient, weight)
        terms += [-product, -error]
    return settle([terms[0] + terms[len(parts)], *terms[1 : len(parts)], *terms[len(parts) + 1 :]])[0]
