"""What accumulators see of a chunk: its clients, the values that they send to one aggregate, and their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedlang.diagnostics import DiagnosticError
from fedlang.run.exact import ExactSum
from fedlang.run.executor import Stacked
from fedlang.run.factors import Factors, factors_of
from fedlang.run.rounding import flush

Numbers: TypeAlias = NDArray[Any]
Offenders: TypeAlias = dict[int, DiagnosticError]  # by their rows in a chunk, clients that break an aggregate's rules


class Weights:
    """The weights of a chunk's clients, looked at once for all aggregates that have them."""

    def __init__(self, values: Numbers) -> None:
        self.values = values if values.dtype.kind in "iu" else flush(values)
        counts = np.isfinite(self.values) & (self.values > 0)
        self.counting: list[int] = np.flatnonzero(counts).tolist()  # the rows of those who count

    @cached_property
    def factors(self) -> list[Factors]:
        """The weights as factors, where all of them count."""
        return factors_of(self.values)

    @cached_property
    def total(self) -> Fraction:
        """Their exact sum, where all of them count."""
        if self.values.dtype.kind in "iu":
            return Fraction(sum(self.values.tolist()))
        wide = self.values.astype(np.float64)
        total = float(wide.sum())
        if total < 2.0**53 and np.array_equal(wide, np.rint(wide)):  # counts of examples, mostly
            return Fraction(int(total))
        exact = ExactSum((), np.dtype(np.float64))
        exact.add(wide)
        return exact.fraction(0)

    def wrong(self) -> list[int]:
        """The rows of weights that are none: no numbers, or negative."""
        if len(self.counting) == len(self.values):
            return []
        return np.flatnonzero(~(np.isfinite(self.values) & (self.values >= 0))).tolist()


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What an accumulator sees of a chunk: clients, in the order of their positions, and the leaves they send it."""

    positions: tuple[int, ...]
    ids: tuple[str, ...]
    values: tuple[Stacked, ...]
    weights: Weights | None = None

    def kept(self, rows: Sequence[int]) -> Part:
        """Some of the clients."""
        if len(rows) == len(self.ids):
            return self
        values = tuple([v[k] for k in rows] if isinstance(v, list) else v[list(rows)] for v in self.values)
        weights = None if self.weights is None else Weights(self.weights.values[list(rows)])
        return Part(tuple(self.positions[k] for k in rows), tuple(self.ids[k] for k in rows), values, weights)
