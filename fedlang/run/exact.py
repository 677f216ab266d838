"""Exact sums and means over clients: rounded once, at the very end, so that nothing depends on order, chunks or merges.

In: clients' float arrays, `[clients, …]`, all of them finite, with weights or without. Out: RN(sum of w x), or RN(sum
of w x / sum of w), each coordinate the nearest number of its dtype to the real number that the formula names.

How the sum is held. Every coordinate has a cascade of float64 components whose exact sum is the sum so far. A number
is added by the error-free two-sum (Knuth, TAOCP 2, 4.2.2, theorem B): the first component takes the rounded sum, the
next one takes the rounding error, and so on until no coordinate has an error left. A component is added to the
cascade when an error falls out of the last one, so no bit is ever lost; two components (106 bits) are nearly always
enough.

How a chunk is added. Two-sums for each client would cost a dozen passes over the data. A tile of the chunk is summed
over its rows in plain float64 instead, where that is exact: its greatest element, and the unit that all are multiples
of, say how many bits the sum needs. If more than 53, the tile is first cut into slices by Rump's extraction (Rump,
Ogita, Oishi: "Accurate floating-point summation I", SIAM J. Sci. Comput. 2008): q = (v + M) - M is v rounded to a grid
so coarse that the q's of a tile add up exactly, v - q is exact, and is cut again. Only the slices' sums meet the
cascade. With weights, a slice's sum is a product of a vector and a matrix.

Products w x are exact too. A float32 times a float32 has 48 bits. Weights of more than 24 bits are split in pieces of
24, and float64 values in two of at most 27, and each pair of pieces is added by itself. The invariant every path here
keeps is that each product fits 53 bits: error-free transforms survive compilers that contract a * b + c only because
of it. float64 values too large or too small for that are scaled by powers of 2 ** 1024 and held in cascades of their
own.

How it ends. The components are swept by two-sums until each is no more than half a unit in the last place of the one
before. Then the first, moved to its odd neighbour if anything follows (rounding to odd: Boldo, Melquiond, "Emulation
of FMA and correctly rounded sums", IEEE Trans. Comput. 2008), rounds to float32, float16 and bfloat16 as the exact
sum would. A mean is the quotient q of leading parts, corrected once, with the sign of the exact remainder S - q W in
place of what follows. Nearly all float32 means are told by doubles alone, with a bound on what those lose.

float32 (and bfloat16, which has its exponents) subnormals are zero on the way in and on the way out, because TensorFlow
flushes them on CPUs. A sum that is exactly zero is 0.0.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from fedlang.run.factors import Factors, factors_of, masked

Doubles: TypeAlias = NDArray[np.float64]
Floats: TypeAlias = NDArray[Any]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLUSHED = (np.dtype(np.float32), BFLOAT16)
TINY = np.float32(2.0**-126)
CLASS = 1024  # the exponents of one cascade lie within CLASS / 2 of a multiple of it
COLUMNS, ELEMENTS, ROWS = (256, 4096), 65536, 4096  # a tile's least and greatest width, its size, its greatest height

ALIKE = 32  # bits between the greatest weight and the unit of all, up to which elements are cut, and not products
QUOTIENTS = 16384  # coordinates that are divided at once
PARTS = 10  # components of a sum; more come of weights that differ by hundreds of powers of two
LEAST = Fraction(1, 2**300)
SLACK = 2.0**-49  # more than what doubles lose in a quotient of sums of fewer than that


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


class _Rooms(threading.local):
    """A thread's memory for working on a tile: memory asked for anew is cleared by the system first, which takes longer
    than the sum does."""

    def __init__(self) -> None:
        self.tile, self.coarse = np.empty(ELEMENTS), np.empty(ELEMENTS)
        self.bits = np.empty(ELEMENTS, np.uint64)


_rooms = _Rooms()


def _room(memory: Floats, shape: tuple[int, ...], dtype: Any = np.float64) -> Floats:
    """Room for an array, which whoever asks for the same memory next writes over."""
    count = math.prod(shape)
    return memory.view(dtype)[:count].reshape(shape) if count <= ELEMENTS else np.empty(shape, dtype)


class Scan:
    """A chunk looked through: `[clients, elements]`, and for each tile the bounds of its elements."""

    def __init__(self, values: Floats) -> None:
        flat = np.ascontiguousarray(values).reshape(len(values), -1 if values.size else math.prod(values.shape[1:]))
        self.flat = flat.astype(np.float32) if flat.dtype.itemsize == 2 else flat
        self.bounds = [_bounds(self.flat[tile]) for tile in _tiles(*self.flat.shape)]

    @property
    def is_finite(self) -> bool:
        """Whether no element is NaN or infinite."""
        return all(math.isfinite(most) for most, _ in self.bounds)


class ExactSum:
    """The exact sum of arrays of one shape and float dtype, or of their products with weights.

    `add` takes finite values only: the caller refuses others first. Sums of equal shape and dtype `merge`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.size = math.prod(shape)
        self.cascades: dict[int, list[Doubles]] = {}
        self._filled: dict[int, int] = {}  # the columns of a cascade that were added to, from the left

    def add(self, values: Floats | Scan, weights: Floats | list[Factors] | None = None) -> None:
        """Adds `values[clients, …]`, each client's times its weight where there are weights."""
        scan = values if isinstance(values, Scan) else Scan(values)
        pieces: Sequence[Factors | None] = [None]
        if weights is not None:
            pieces = weights if isinstance(weights, list) else factors_of(flush(weights))
        with np.errstate(all="ignore"):
            for (rows, columns), (most, low) in zip(_tiles(*scan.flat.shape), scan.bounds, strict=True):
                for piece in pieces if most else ():
                    own = None if piece is None else piece.of(rows)
                    if own is None or own.most:
                        self._add_tile(scan.flat[rows, columns], own, columns, most, low)

    def merge(self, other: ExactSum) -> None:
        """Adds what another sum has."""
        assert (self.shape, self.dtype) == (other.shape, other.dtype), "sums of one kind"
        for scale, parts in other.cascades.items():
            for part in parts:
                self.add_term(part, scale)

    def add_term(self, term: Doubles, scale: int) -> None:
        """Adds `term * 2 ** scale`, a number for each coordinate; `scale` is a multiple of `CLASS`."""
        self._push(term, slice(0, self.size), scale)

    def sum(self) -> Floats:
        """The rounded sum; infinite where it is beyond the dtype."""
        if self.cascades.keys() - {0}:
            return self._slowly(Fraction(1))
        parts = settle(self._parts())
        if self.dtype == np.float64:
            return _to_nearest(parts).reshape(self.shape)
        with np.errstate(over="ignore", under="ignore"):
            return narrow(parts[0], parts[1], self.dtype).reshape(self.shape)

    def mean(self, total: Fraction) -> Floats:
        """The sum divided by a positive number, rounded once."""
        modest = LEAST < total < 2**300
        parts, weights = self.cascades.get(0, []), _expand(total) if modest else []
        if self.cascades.keys() - {0} or not modest or max(len(parts), len(weights)) >= PARTS:
            return self._slowly(total)
        if self.dtype == np.float32:
            return _single_quotients(parts, self.size, weights).reshape(self.shape)
        parts = settle(self._parts())
        with np.errstate(over="ignore", under="ignore"):
            quotient, rest = _divide(parts, weights)
            if self.dtype != np.float64:
                return narrow(quotient, rest, self.dtype).reshape(self.shape)
        return self._mean_of_doubles(quotient, rest, parts[0], total)

    def fraction(self, column: int) -> Fraction:
        """The exact sum of one coordinate (counted in the flattened shape)."""
        return sum(
            (
                Fraction(float(part[column])) * Fraction(2) ** scale
                for scale, all in self.cascades.items()
                for part in all
            ),
            Fraction(0),
        )

    def _add_tile(self, tile: Floats, factors: Factors | None, columns: slice, most: float, low: int) -> None:
        if tile.dtype == np.float32:
            if low < -149:  # there are subnormals
                tile, low = flush(tile), -149
            self._add_exact(_widened(tile), columns, most, low, factors=factors)
        elif factors is None and low > -CLASS // 2 and most < 2.0 ** (CLASS // 2 - 1):
            self._add_exact(_widened(tile), columns, most, low)
        else:
            self._add_doubles(tile, np.ones(len(tile)) if factors is None else factors.values, columns)

    def _add_doubles(self, tile: Doubles, weights: Doubles, columns: slice) -> None:
        """By classes of exponents, so that every product of pieces is exact and in range."""
        fractions, places = np.frexp(tile)
        factors, more = np.frexp(weights)
        places = places.astype(np.int64) + more[:, None]
        classes = np.floor_divide(places + CLASS // 2, CLASS)
        live = (fractions != 0) & (factors[:, None] != 0)
        for each in np.unique(classes[live]).tolist():
            here = live & (classes == each)
            scaled = np.where(here, np.ldexp(fractions, np.where(here, places - CLASS * each, 0)), 0.0)
            for piece in _value_pieces(scaled):
                product = piece * factors[:, None]
                most, low = _bounds(product)
                if most:
                    self._add_exact(product, columns, most, low, CLASS * each)

    def _add_exact(
        self, tile: Doubles, columns: slice, most: float, low: int, scale: int = 0, factors: Factors | None = None
    ) -> None:
        """Adds the rows of a tile whose elements are at most `most` and multiples of 2 ** low, times their factors.

        Sums of up to 53 bits are exact: no order of adding, no contraction of a * b + c rounds anything. Overwrites
        the tile.
        """
        count, factor, unit = len(tile), 1.0, 0
        if factors is not None and factors.bits <= ALIKE:
            factor, unit = factors.most, factors.low
        elif factors is not None:
            tile *= factors.values[:, None]
            most, low, factors = most * factors.most, low + factors.low, None
        while count > 1 and (top := _exponent(most * factor * count)) - unit - low > 53:
            grid = max(top - unit - 52, _exponent(most) - 50)  # one bit to spare: most may be rounded up
            magic = np.float64(math.ldexp(1.5, grid + 52))
            coarse = np.add(tile, magic, out=_room(_rooms.coarse, tile.shape))
            coarse -= magic
            tile -= coarse
            self._push(_summed(coarse, factors), columns, scale)
            most = math.ldexp(0.5, grid)
        self._push(_summed(tile, factors), columns, scale)

    def _push(self, value: Doubles, columns: slice, scale: int) -> None:
        parts = self.cascades.setdefault(scale, [])
        filled = self._filled.get(scale, 0)
        if columns.start >= filled:  # nothing is there yet
            parts = parts or self._component(parts)
            parts[0][columns] = value
            self._filled[scale] = columns.stop
            return
        for part in parts:
            part[columns], value = two_sum(part[columns], value)
            if not value.any():
                return
        self._component(parts)[-1][columns] = value

    def _component(self, parts: list[Doubles]) -> list[Doubles]:
        """The cascade with one component more."""
        parts.append(np.zeros(self.size))
        return parts

    def _parts(self) -> list[Doubles]:
        """The components of the cascade, at least two."""
        parts = self.cascades.get(0, [])
        return [*parts, *(np.zeros(self.size) for _ in range(2 - len(parts)))]

    def _mean_of_doubles(self, quotient: Doubles, rest: Doubles, leading: Doubles, total: Fraction) -> Floats:
        """float64 results are the nearest already, but where the remainder is close to half a unit or out of range."""
        beside = np.nextafter(quotient, np.copysign(np.inf, rest))
        gap = np.abs(beside - quotient)
        close = np.abs(np.abs(rest) - gap / 2) <= gap * 2.0**-40
        far = (np.abs(leading) > 2.0**300) | ((np.abs(leading) < 2.0**-300) & (leading != 0))
        result = quotient.copy()
        for column in np.flatnonzero(((rest != 0) & close) | far).tolist():
            result[column] = round_fraction(self.fraction(column) / total, self.dtype)
        return result.reshape(self.shape)

    def _slowly(self, total: Fraction) -> Floats:
        values = [round_fraction(self.fraction(column) / total, self.dtype) for column in range(self.size)]
        return np.array(values, self.dtype).reshape(self.shape)


def _tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
    """Tiles, column by column; of all rows where they are not too many."""
    least, most = COLUMNS
    width = max(1, min(columns, most, max(least, ELEMENTS // max(rows, 1))))
    height = max(1, min(ROWS, ELEMENTS // width))
    for left in range(0, columns, width):
        for top in range(0, rows, height):
            yield slice(top, min(top + height, rows)), slice(left, min(left + width, columns))


def _bounds(tile: Floats) -> tuple[float, int]:
    """`most` and `low`: no element is more than `most`, all are multiples of 2 ** low. Zeros have no part in it."""
    double = tile.dtype == np.float64
    fraction, bias = (52, 1023) if double else (23, 127)
    unsigned: type[np.unsignedinteger] = np.uint64 if double else np.uint32
    bits = _room(_rooms.bits, tile.shape, unsigned)
    np.left_shift(tile.view(unsigned), unsigned(1), out=bits)  # without the sign
    greatest = int(bits.max(initial=0)) >> 1
    if not greatest:
        return 0.0, 0
    bits -= unsigned(2)  # zeros wrap around to the top
    least = (int(bits.min()) >> 1) + 1
    return float(unsigned(greatest).view(tile.dtype)), (least >> fraction) - bias - fraction


def _widened(tile: Floats) -> Doubles:
    """The tile in doubles, to be worked on."""
    wide = _room(_rooms.tile, tile.shape)
    wide[...] = tile
    return wide


def _exponent(size: float) -> int:
    """The least k with size < 2 ** k, though the size may be short of the product it stands for by its rounding."""
    return math.frexp(size * (1 + 2.0**-50))[1]


def _summed(tile: Doubles, factors: Factors | None) -> Doubles:
    return np.add.reduce(tile, axis=0) if factors is None else factors.values @ tile


def _value_pieces(values: Doubles) -> list[Doubles]:
    """Two arrays of at most 27 significant bits whose exact sum is the values."""
    high = masked(values, 27)
    return [high, values - high]


def _to_nearest(parts: list[Doubles]) -> Doubles:
    """The leading component of a settled sum, corrected where what follows it breaks a tie."""
    value, rest = parts[0], parts[1]
    beside = np.nextafter(value, np.copysign(np.inf, rest))
    tie = (rest != 0) & (beside - value == 2 * rest)
    if len(parts) < 3 or not tie.any():
        return value
    return np.where(tie & (parts[2] != 0) & ((parts[2] > 0) == (rest > 0)), beside, value)


def _expand(total: Fraction) -> list[float]:
    """Floats whose exact sum is the number, each the nearest to what is left."""
    if total.denominator == 1 and total.numerator < 2**53:  # counts of examples, mostly
        return [float(total.numerator)]
    floats = []
    while total:
        floats.append(float(total))
        total -= Fraction(floats[-1])
    return floats


def _single_quotients(parts: list[Doubles], size: int, weights: list[float]) -> NDArray[np.float32]:
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
        slack = size * (SLACK / weights[0])
        low, high = (total - slack).astype(np.float32), (total + slack).astype(np.float32)
        unclear = (low != high) | (np.abs(low) < 2 * TINY)
        low += np.float32(0)  # a sum that is exactly zero is 0.0
        open_ones = np.flatnonzero(unclear & (size > 0)) if unclear.any() else ()
        if len(open_ones):
            near = [part[open_ones] for part in (parts if len(parts) > 1 else (*parts, np.zeros_like(total)))]
            low[open_ones] = _nearest_single(settle(near), weights, low[open_ones], high[open_ones])
    return low


def _nearest_single(
    parts: list[Doubles], weights: list[float], low: NDArray[np.float32], high: NDArray[np.float32]
) -> NDArray[np.float32]:
    """S / W as float32, which is between `low` and `high`, of a settled S.

    Of two neighbours it is told by the sign of S - m W, m being the middle between them: m has 25 bits and W mostly no
    more than 28, so m W is exact, and so is its difference to the first part, which is near it. Means of few clients
    are such a middle often enough.
    """
    neighbours = (np.nextafter(low, np.float32(np.inf)) == high) & (np.abs(low) >= 2 * TINY)
    neighbours &= np.isfinite(low) & np.isfinite(high)
    if len(parts) > 2 or len(weights) > 1 or not _has_bits(weights[0], 28) or not neighbours.all():
        return narrow(*_divide(parts, weights), np.dtype(np.float32))
    middle = (low.astype(np.float64) + high) / 2
    side = (parts[0] - middle * weights[0]) + parts[1]
    is_even = low.view(np.uint32) & np.uint32(1) == 0
    return np.where((side < 0) | ((side == 0) & is_even), low, high)


def _has_bits(value: float, count: int) -> bool:
    """Whether a number has so many significant bits at most."""
    return math.ldexp(math.frexp(value)[0], count).is_integer()


def _divide(parts: list[Doubles], weights: list[float]) -> tuple[Doubles, Doubles]:
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
