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

How it ends: the components are settled and rounded once (`rounding.py`); means are divided before (`quotients.py`).
A sum that is exactly zero is 0.0.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from fedlang.run.factors import Factors, factors_of, masked
from fedlang.run.quotients import PARTS, divide, expand, single_quotients
from fedlang.run.rounding import Doubles, Floats, flush, narrow, round_fraction, settle, to_nearest, two_sum

CLASS = 1024  # the exponents of one cascade lie within CLASS / 2 of a multiple of it
COLUMNS, ELEMENTS, ROWS = (256, 4096), 65536, 4096  # a tile's least and greatest width, its size, its greatest height

ALIKE = 32  # bits between the greatest weight and the unit of all, up to which elements are cut, and not products
LEAST = Fraction(1, 2**300)


class _Rooms(threading.local):
    """A thread's memory for working on a tile: memory asked for anew is cleared by the system first, which takes longer
    than the sum does."""

    def __init__(self) -> None:
        self.tile, self.coarse = np.empty(ELEMENTS), np.empty(ELEMENTS)
        self.bits = np.empty(ELEMENTS, np.uint64)


_rooms = _Rooms()


def room(shape: tuple[int, ...]) -> Doubles:
    """Room for a tile in doubles, which whoever asks for it next in this thread writes over."""
    return _room(_rooms.tile, shape)


def _room(memory: Floats, shape: tuple[int, ...], dtype: Any = np.float64) -> Floats:
    """Room for an array, which whoever asks for the same memory next writes over."""
    count = math.prod(shape)
    return memory.view(dtype)[:count].reshape(shape) if count <= ELEMENTS else np.empty(shape, dtype)


class Scan:
    """A chunk looked through: `[clients, elements]`, and for each tile the bounds of its elements."""

    def __init__(self, values: Floats) -> None:
        flat = np.ascontiguousarray(values).reshape(len(values), -1 if values.size else math.prod(values.shape[1:]))
        self.flat = flat.astype(np.float32) if flat.dtype.itemsize == 2 else flat
        self.bounds = [_bounds(self.flat[tile]) for tile in tiles(*self.flat.shape)]

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
            for (rows, columns), (most, low) in zip(tiles(*scan.flat.shape), scan.bounds, strict=True):
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
            return to_nearest(parts).reshape(self.shape)
        with np.errstate(over="ignore", under="ignore"):
            return narrow(parts[0], parts[1], self.dtype).reshape(self.shape)

    def mean(self, total: Fraction) -> Floats:
        """The sum divided by a positive number, rounded once."""
        modest = LEAST < total < 2**300
        parts, weights = self.cascades.get(0, []), expand(total) if modest else []
        if self.cascades.keys() - {0} or not modest or max(len(parts), len(weights)) >= PARTS:
            return self._slowly(total)
        if self.dtype == np.float32:
            return single_quotients(parts, self.size, weights).reshape(self.shape)
        parts = settle(self._parts())
        with np.errstate(over="ignore", under="ignore"):
            quotient, rest = divide(parts, weights)
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
        if tile.dtype == np.float32 and (factors is None or factors.is_modest):
            if low < -149:  # there are subnormals
                tile, low = flush(tile), -149
            self._add_exact(_widened(tile), columns, most, low, factors=factors)
        elif factors is None and low > -CLASS // 2 and most < 2.0 ** (CLASS // 2 - 1):
            self._add_exact(_widened(tile), columns, most, low)
        else:
            tile = flush(tile).astype(np.float64)
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


def tiles(rows: int, columns: int) -> Iterator[tuple[slice, slice]]:
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
    wide = room(tile.shape)
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
