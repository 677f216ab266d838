"""Numbers held as several doubles whose exact sum they are, and rounded once.

Components are settled by two-sums until each is no more than half a unit in the last place of the one before. Then the
first, moved to its odd neighbour if anything follows (rounding to odd: Boldo, Melquiond, "Emulation of FMA and
correctly rounded sums", IEEE Trans. Comput. 2008), rounds to float32, float16 and bfloat16 as the exact number would.

float32 (and bfloat16, which has its exponents) subnormals are zeros, because TensorFlow flushes them on CPUs.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Doubles: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLUSHED = (np.dtype(np.float32), BFLOAT16)
TINY = np.float32(2.0**-126)


def two_sum(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """The rounded sum, and its error, exactly."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def two_product(a: Doubles, b: float) -> tuple[Doubles, Doubles]:
    """The rounded product and its error, exactly (Dekker 1971), for factors and products of modest exponents."""
    product = a * b
    a_high, b_high = _upper(a), float(_upper(np.float64(b)))
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _upper(a: Any) -> Any:
    stretched = 134217729.0 * a  # 2 ** 27 + 1
    return stretched - (stretched - a)


def settle(components: list[Doubles]) -> list[Doubles]:
    """The same exact sum, each component at most half a unit in the last place of the one before; zeros at the end."""
    parts = list(components)
    while True:
        moved = False
        for k in range(len(parts) - 1, 0, -1):
            total, error = two_sum(parts[k - 1], parts[k])
            moved = moved or not np.array_equal(total, parts[k - 1])
            parts[k - 1], parts[k] = total, error
        if not moved:
            return parts


def to_odd(value: Doubles, rest: Doubles) -> Doubles:
    """`value + rest` rounded to odd: where the rest is not zero, the one of the two neighbours whose last bit is 1."""
    bits = np.ascontiguousarray(value).view(np.int64)
    step = np.where((rest > 0) == (value > 0), 1, -1)
    return (bits + np.where((rest != 0) & (bits & 1 == 0), step, 0)).view(np.float64)


def narrow(value: Doubles, rest: Doubles, dtype: np.dtype[Any]) -> Floats:
    """`value + rest` (the rest less than a unit in the last place) rounded once to float32, float16 or bfloat16."""
    odd = to_odd(value, rest)
    if dtype == BFLOAT16:
        single = odd.astype(np.float32)
        left = odd - single
        even = np.ascontiguousarray(single).view(np.int32) & 1 == 0
        toward = np.nextafter(single, np.copysign(np.float32(np.inf), left).astype(np.float32))
        odd = np.where((left != 0) & even & np.isfinite(single), toward, single)
    return flush(odd.astype(dtype))


def flush(values: Floats) -> Floats:
    """float32 and bfloat16 subnormals as zeros of their sign; other values as they are."""
    if values.dtype not in FLUSHED:
        return values
    wide = values.astype(np.float32)
    small = (np.abs(wide) < TINY) & (wide != 0)
    return np.where(small, np.copysign(np.float32(0), wide), wide).astype(values.dtype) if small.any() else values


def round_fraction(value: Fraction, dtype: np.dtype[Any]) -> Any:
    """The nearest number of the dtype, ties to even; infinite beyond its range. The slow, plain definition."""
    precision, least = {2: (11, -24), 4: (24, -149), 8: (53, -1074)}[dtype.itemsize]
    if dtype == BFLOAT16:
        precision, least = 8, -133
    if not value:
        return dtype.type(0)
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= Fraction(2) ** exponent > size
    unit = max(exponent - precision + 1, least)
    whole = round(size / Fraction(2) ** unit)
    try:
        near = math.ldexp(whole, unit)
    except OverflowError:
        near = math.inf
    with np.errstate(over="ignore"):
        return flush(np.array([near if value > 0 else -near]).astype(dtype))[0]


def to_nearest(parts: list[Doubles]) -> Doubles:
    """The leading component of a settled sum, corrected where what follows it breaks a tie."""
    value, rest = parts[0], parts[1]
    beside = np.nextafter(value, np.copysign(np.inf, rest))
    tie = (rest != 0) & (beside - value == 2 * rest)
    if len(parts) < 3 or not tie.any():
        return value
    return np.where(tie & (parts[2] != 0) & ((parts[2] > 0) == (rest > 0)), beside, value)
