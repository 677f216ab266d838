"""What becomes of the clients' results: one accumulator for each aggregate of a phase.

An accumulator is asked twice about each chunk. `offenders` looks at the values and says which clients break its
rules, so that a client can be left out of every aggregate of the phase or of none; `add` then takes the others. The
result does not depend on how clients were put into chunks, nor on the order of chunks.

float32 subnormals become zero of their sign here, because they do in TensorFlow, and a value must not depend on where
it was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Sequence as SequenceType
from fedlang.ir.graph import Tensor
from fedlang.ir.program import Aggregate
from fedlang.run.errors import (
    bad_weight,
    no_clients,
    no_weight,
    not_finite,
    out_of_bounds,
    overflow,
    shapes_differ,
)
from fedlang.run.estimates import Estimate
from fedlang.run.exact import ExactSum, Scan
from fedlang.run.executor import LocalWork, Sink, value_of
from fedlang.run.parts import Numbers, Offenders, Part
from fedlang.run.rounding import flush
from fedlang.run.sequences import LeafValue
from fedlang.run.trees import Tree
from fedlang.run.values import numpy_dtype, sequence_of
from fedlang.types.dtypes import FLOATS, INTEGERS, integer_range


class Accumulator(Protocol):
    """Takes chunks, gives the leaves that the server gets."""

    def offenders(self, part: Part) -> Offenders:
        """The clients (by row) that break the aggregate's rules, each with the error that says so."""
        ...

    def add(self, part: Part) -> None:
        """Takes a chunk none of whose clients offends."""
        ...

    def leave_out(self, position: int) -> None:
        """A client that will not contribute."""
        ...

    def results(self) -> list[LeafValue]:
        """What the server gets. `DiagnosticError` where there is nothing to give."""
        ...


@dataclass(slots=True, eq=False)
class Numeric:
    """What sums, means and extremes share: arrays of one shape, which the first client decides."""

    aggregate: Aggregate
    empty_shape: tuple[int, ...]
    otherwise: LeafValue | None = None
    cohort: int = 0
    first: tuple[str, tuple[int, ...]] | None = None

    @property
    def dtype(self) -> str:
        """The dtype of the values."""
        assert isinstance(self.aggregate.type, Tensor), "numbers are aggregated one tensor at a time"
        return self.aggregate.type.dtype

    def leave_out(self, position: int) -> None:
        """Nothing depends on who is missing."""

    def stacked(self, part: Part) -> Numbers:
        """The values as one array. `DiagnosticError` FED0615 where two clients' shapes differ."""
        value = part.values[0]
        arrays = [np.asarray(each) for each in value] if isinstance(value, list) else []
        shapes = [each.shape for each in arrays] if isinstance(value, list) else [value.shape[1:]]
        for client, shape in zip(part.ids, shapes, strict=False):
            self.first = self.first or (client, shape)
            if shape != self.first[1]:
                raise shapes_differ(*self.first, client, shape, self.aggregate.path, self.aggregate.span)
        return np.stack(arrays) if isinstance(value, list) else value

    def instead(self, error: DiagnosticError) -> list[LeafValue]:
        """`otherwise`, or the error where there is none."""
        if self.otherwise is None:
            raise error
        return [self.otherwise]


@dataclass(slots=True, eq=False)
class Summed(Numeric):
    """What sums and means share: values added up exactly as they come; or those of a whole cohort, where they come at
    once, rounded at once."""

    total: ExactSum | None = None
    whole: Numbers | None = None
    scanned: tuple[Part, Scan | Estimate] | None = None

    def scan(self, kept: Part, clients: int) -> Scan | Estimate:
        """The values of the clients who count, of so many in a chunk, looked through; once, where `offenders` and `add`
        get the same."""
        if self.scanned is None or self.scanned[0] is not kept:
            values, weights = self.stacked(kept), None if kept.weights is None else kept.weights.values
            is_whole = clients == self.cohort and Estimate.suits(values, weights)
            self.scanned = kept, Estimate(values, weights) if is_whole else Scan(values)
        return self.scanned[1]

    def not_finite_rows(self, kept: Part, clients: int, rows: Sequence[int]) -> Offenders:
        """Rows that have NaN or an infinity, of the clients who are counted; `rows` are their places in the chunk."""
        if self.scan(kept, clients).is_finite:
            return {}
        bad = [k for k, row in enumerate(self.stacked(kept)) if not np.isfinite(row).all()]
        return {rows[k]: not_finite(kept.ids[k], self.aggregate.path, self.aggregate.span) for k in bad}

    def take(self, kept: Part, clients: int, rounded: Callable[[Estimate], Numbers]) -> None:
        """Adds the values of the clients who count, of so many in a chunk; or rounds what they come to, all of them."""
        found, self.scanned = self.scan(kept, clients), None
        if isinstance(found, Estimate):
            self.whole = rounded(found)
            return
        if self.total is None:
            self.total = ExactSum(self.stacked(kept).shape[1:], numpy_dtype(self.dtype))
        self.total.add(found, None if kept.weights is None else kept.weights.factors)


@dataclass(slots=True, eq=False)
class FloatSum(Summed):
    """The rounded exact sum."""

    def offenders(self, part: Part) -> Offenders:
        """Values that are not finite."""
        return self.not_finite_rows(part, len(part.ids), range(len(part.ids)))

    def add(self, part: Part) -> None:
        """Takes the values."""
        self.take(part, len(part.ids), Estimate.sum)

    def results(self) -> list[LeafValue]:
        """The sum; zeros over no clients."""
        found = self.whole if self.total is None else self.total.sum()
        if found is None:
            return [np.zeros(self.empty_shape, numpy_dtype(self.dtype))]
        return [_in_range(found, "sum", self.aggregate, self.dtype)]


def _in_range(values: Numbers, kind: str, aggregate: Aggregate, dtype: str) -> Numbers:
    if not np.isfinite(values).all():
        raise overflow(kind, dtype, aggregate.path, aggregate.span)
    return values


@dataclass(slots=True, eq=False)
class Mean(Summed):
    """The rounded quotient of exact sums. A client of weight zero is not looked at."""

    weights: Fraction = Fraction(0)
    clients: int = 0
    counting: tuple[Part, Part] | None = None  # a chunk, and of it the clients who count

    def offenders(self, part: Part) -> Offenders:
        """Bad weights, then values that are not finite where the weight counts."""
        weights, kept = part.weights, self._kept(part)
        rows = range(len(part.ids)) if weights is None else weights.counting
        found: Offenders = {}
        if weights is not None:
            for k in weights.wrong():
                found[k] = bad_weight(part.ids[k], weights.values[k].item(), self.aggregate.span)
        return found | (self.not_finite_rows(kept, len(part.ids), rows) if rows else {})

    def add(self, part: Part) -> None:
        """Takes products and weights."""
        self.clients += len(part.ids)
        kept = self._kept(part)
        if not kept.ids:
            return
        self.weights += len(kept.ids) if kept.weights is None else kept.weights.total
        self.take(kept, len(part.ids), lambda estimate: estimate.mean(self.weights))
        self.counting = None

    def results(self) -> list[LeafValue]:
        """The mean, or `otherwise` where there is no client or no weight."""
        path, span = self.aggregate.path, self.aggregate.span
        found = self.whole if self.total is None else self.total.mean(self.weights)
        if found is None:
            return self.instead(no_weight(path, span) if self.clients else no_clients("mean", path, span))
        return [_in_range(found, "mean", self.aggregate, self.dtype)]

    def _kept(self, part: Part) -> Part:
        """The clients who count; found once, where `offenders` and `add` get the same."""
        if part.weights is None:
            return part
        if self.counting is None or self.counting[0] is not part:
            self.counting = part, part.kept(part.weights.counting)
        return self.counting[1]


@dataclass(slots=True, eq=False)
class IntegerSum(Numeric):
    """An integer sum in two halves of 32 bits, so that overflow is seen and not met on the way."""

    high: NDArray[np.int64] | None = None
    low: NDArray[np.int64] | None = None

    def offenders(self, part: Part) -> Offenders:
        """None: what counts is whether the sum fits."""
        self.stacked(part)
        return {}

    def add(self, part: Part) -> None:
        """Adds the halves; the low one is carried into the high one."""
        high, low = _halves(self.stacked(part))
        low = low if self.low is None else low + self.low
        self.high = high + (low >> 32) if self.high is None else high + self.high + (low >> 32)
        self.low = low & 0xFFFFFFFF

    def results(self) -> list[LeafValue]:
        """The sum; zeros over no clients. `DiagnosticError` FED0614 where it does not fit."""
        dtype = numpy_dtype(self.dtype)
        if self.high is None or self.low is None:
            return [np.zeros(self.empty_shape, dtype)]
        least, most = integer_range(self.dtype)
        fits = _at_least(self.high, self.low, least) & ~_at_least(self.high, self.low, most + 1)
        if not np.all(fits):
            raise overflow("sum", self.dtype, self.aggregate.path, self.aggregate.span)
        return [np.asarray((self.high.astype(np.uint64) << 32) + self.low.astype(np.uint64)).astype(dtype)]


def _halves(values: Numbers) -> tuple[Any, Any]:
    """The sums of the values' high and low 32 bits. Values of 32 bits or fewer are summed whole, which is faster."""
    if values.dtype.itemsize < 8:
        total = values.sum(axis=0, dtype=np.int64)
        return total >> 32, total & 0xFFFFFFFF
    return (values >> 32).astype(np.int64).sum(axis=0), (values & 0xFFFFFFFF).astype(np.int64).sum(axis=0)


def _at_least(high: NDArray[np.int64], low: NDArray[np.int64], bound: int) -> Any:
    return (high > bound >> 32) | ((high == bound >> 32) & (low >= bound & 0xFFFFFFFF))


@dataclass(slots=True, eq=False)
class SecureSum(Numeric):
    """A sum whose values lie in a declared range. Computed as the plain sum is, so it equals it."""

    bounds: tuple[Any, Any] = (0, 0)
    inner: FloatSum | IntegerSum = field(init=False)

    def __post_init__(self) -> None:
        kind = FloatSum if self.dtype in FLOATS else IntegerSum
        self.inner = kind(self.aggregate, self.empty_shape, cohort=self.cohort)

    def offenders(self, part: Part) -> Offenders:
        """Values outside the range; NaN is outside of every range."""
        values = flush(self.inner.stacked(part))
        inside = (values >= self.bounds[0]) & (values <= self.bounds[1])
        wrong = np.flatnonzero(~inside.reshape(len(values), -1).all(axis=1)).tolist()
        return self.inner.offenders(part) | {k: self._outside(part.ids[k]) for k in wrong}

    def add(self, part: Part) -> None:
        """As the plain sum."""
        self.inner.add(part)

    def results(self) -> list[LeafValue]:
        """As the plain sum."""
        return self.inner.results()

    def _outside(self, client: str) -> DiagnosticError:
        low, high = (np.asarray(bound).tolist() for bound in self.bounds)
        return out_of_bounds(client, low, high, self.aggregate.path, self.aggregate.span)


@dataclass(slots=True, eq=False)
class Extreme(Numeric):
    """The least or the greatest, by IEEE's totalOrder: -0.0 is below 0.0, and NaN beyond the infinity of its sign."""

    so_far: Numbers | None = None

    def offenders(self, part: Part) -> Offenders:
        """None: every value has its place in the order."""
        self.stacked(part)
        return {}

    def add(self, part: Part) -> None:
        """Takes the extreme of the chunk and of what came before."""
        keys = total_order(flush(self.stacked(part)))
        choose = np.minimum if self.aggregate.kind == "min" else np.maximum
        best: Numbers = choose.reduce(keys, axis=0)
        self.so_far = best if self.so_far is None else choose(self.so_far, best)

    def results(self) -> list[LeafValue]:
        """The extreme, or `otherwise` over no clients."""
        if self.so_far is None:
            return self.instead(no_clients(self.aggregate.kind, self.aggregate.path, self.aggregate.span))
        return [from_total_order(np.asarray(self.so_far), numpy_dtype(self.dtype))]


def total_order(values: Numbers) -> Numbers:
    """Integers in the order that IEEE 754 (5.10) gives floats; other values as they are."""
    if values.dtype.kind in "biu":
        return values
    signed = np.dtype(f"i{values.dtype.itemsize}")
    return _flip(np.ascontiguousarray(values).view(signed).reshape(values.shape))


def from_total_order(keys: Numbers, dtype: np.dtype[Any]) -> Numbers:
    """The values that `total_order` made integers of."""
    return keys if dtype.kind in "biu" else np.ascontiguousarray(_flip(keys)).view(dtype).reshape(keys.shape)


def _flip(bits: Numbers) -> Numbers:
    """Negative numbers, whose bits grow away from zero, upside down. Its own inverse."""
    return np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)


@dataclass(slots=True, eq=False)
class Collect:
    """Every client's value, in the order of client ids."""

    aggregate: Aggregate
    found: dict[int, LeafValue] = field(default_factory=dict)

    def offenders(self, part: Part) -> Offenders:
        """None: whatever a client has is collected."""
        return {}

    def leave_out(self, position: int) -> None:
        """The others move up."""

    def add(self, part: Part) -> None:
        """Keeps the values."""
        for row, position in enumerate(part.positions):
            self.found[position] = value_of(part.values[0], row)

    def results(self) -> list[LeafValue]:
        """The sequence of all values."""
        assert isinstance(self.aggregate.type, SequenceType), "collecting gives a sequence"
        element = self.aggregate.type.element
        items = [flush(np.asarray(self.found[position])) for position in sorted(self.found)]
        return [sequence_of(items, element.dtype, element.shape)]


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What an accumulator may need of the phase: prepared values, the size of the cohort, and how server work runs."""

    prepared: Sequence[LeafValue]
    cohort: int
    compile_local: Callable[[Any], LocalWork]
    sink: Sink
    empty_shape: tuple[int, ...]


def accumulator_of(aggregate: Aggregate, around: Surroundings) -> Accumulator:
    """The accumulator of an aggregate."""
    captured = tuple(around.prepared[index] for index in aggregate.captured)
    if aggregate.kind == "collect":
        return Collect(aggregate)
    if aggregate.kind == "aggregate":
        graphs = {name: around.compile_local(graph) for name, graph in aggregate.options if name in GRAPHS}
        return Tree(aggregate, captured, around.cohort, graphs, around.sink)
    assert isinstance(aggregate.type, Tensor), "numbers are aggregated one tensor at a time"
    otherwise = around.prepared[aggregate.otherwise] if aggregate.otherwise >= 0 else None
    if aggregate.kind == "secure_sum":
        return SecureSum(aggregate, around.empty_shape, cohort=around.cohort, bounds=(captured[0], captured[1]))
    if aggregate.kind == "sum" and aggregate.type.dtype in INTEGERS:
        return IntegerSum(aggregate, around.empty_shape)
    return NUMERIC[aggregate.kind](aggregate, around.empty_shape, otherwise, around.cohort)


GRAPHS = ("zero", "accumulate", "merge", "report")
NUMERIC: dict[str, type[FloatSum] | type[Mean] | type[Extreme]] = {
    "sum": FloatSum,
    "mean": Mean,
    "min": Extreme,
    "max": Extreme,
}
