"""Partial sums as bytes, to be sent from where they were added up to where they are merged.

An integer for each coordinate, in balanced digits of 40 bits on an absolute grid: it is canonical, so equal sums are
equal bytes however they came about.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from fedlang.run.exact import CLASS, ExactSum
from fedlang.run.rounding import BFLOAT16, Doubles

DIGIT = 40


def sum_to_bytes(total: ExactSum) -> bytes:
    """The wire form; equal bytes for equal sums."""
    low, digits = digits_of(total)
    header = {"dtype": total.dtype.name, "shape": total.shape, "low": low, "digits": len(digits)}
    return json.dumps(header).encode() + b"\n" + digits.astype("<i8").tobytes()


def sum_from_bytes(data: bytes) -> ExactSum:
    """The sum that `sum_to_bytes` wrote."""
    line, _, body = data.partition(b"\n")
    header = json.loads(line)
    dtype = BFLOAT16 if header["dtype"] == "bfloat16" else np.dtype(header["dtype"])
    result = ExactSum(tuple(header["shape"]), dtype)
    digits = np.frombuffer(body, "<i8").reshape(header["digits"], result.size)
    for k, digit in enumerate(digits):
        place = DIGIT * (header["low"] + k)
        scale = (place + CLASS // 2) // CLASS * CLASS
        result.add_term(np.ldexp(digit.astype(np.float64), place - scale), scale)
    return result


def digits_of(total: ExactSum) -> tuple[int, NDArray[np.int64]]:
    """`low` and balanced digits `[k, size]`; the sum is that of digit[k] * 2 ** (40 (low + k))."""
    terms = [(part, scale) for scale, parts in sorted(total.cascades.items()) for part in parts if part.any()]
    if not terms:
        return 0, np.zeros((0, total.size), np.int64)
    split = [_split(part, scale) for part, scale in terms]
    low = min(int(place.min()) for _, place in split) // DIGIT
    high = max(int(place.max()) for _, place in split) // DIGIT + 4
    digits = np.zeros((high - low + 1, total.size), np.int64)
    for whole, place in split:
        _spread(digits, whole, place - DIGIT * low)
    _balance(digits)
    used = np.flatnonzero(digits.any(axis=1))
    return (low + int(used[0]), digits[used[0] : used[-1] + 1]) if len(used) else (0, digits[:0])


def _split(part: Doubles, scale: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Whole numbers and the places of their last bits; zeros stand at the place of the greatest."""
    fractions, places = np.frexp(part)
    live = places[fractions != 0]
    places = np.where(fractions != 0, places, live.max()).astype(np.int64)
    return (fractions * 2.0**53).astype(np.int64), places - 53 + scale


def _spread(digits: NDArray[np.int64], whole: NDArray[np.int64], place: NDArray[np.int64]) -> None:
    """Adds whole * 2 ** place to digits counted from bit 0."""
    row, shift = place // DIGIT, place % DIGIT
    column = np.arange(len(whole))
    room = DIGIT - shift
    digits[row, column] += (whole & ((np.int64(1) << room) - 1)) << shift
    rest = whole >> room
    digits[row + 1, column] += rest & ((1 << DIGIT) - 1)
    digits[row + 2, column] += rest >> DIGIT


def _balance(digits: NDArray[np.int64]) -> None:
    """Carries upward, so that every digit is in [-2 ** 39, 2 ** 39): each number has one such form."""
    for k in range(len(digits) - 1):
        carry = (digits[k] + (1 << (DIGIT - 1))) >> DIGIT
        digits[k] -= carry << DIGIT
        digits[k + 1] += carry
