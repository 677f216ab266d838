"""Sequences while tracing: a store of rows, and index arithmetic on top of it. No example is ever copied to make a
sequence.

    Rows        every row of a tensor is an element
    Splits      element t is rows splits[t] … splits[t + 1] of a tensor, or the rows of these numbers
    Counted     0, 1, 2 …
    Batches     element t is a stack of `size` elements of another sequence, the last maybe of fewer
    Part        take and skip: the elements from a start
    Repeated    the elements again and again
    Chosen      shuffle and filter: the elements at places given by an index
    Mapped      a graph applied to the elements of others

Each gives one element (`at`), a stack of neighbours (`span`) and a stack of elements at given places (`pick`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .scope import Scope, Unsupported, extent, sum_of
from .start import tf


@dataclass(frozen=True, slots=True)
class Elements:
    """A sequence of `length` elements (an int32 scalar, or an int)."""

    length: Any

    def at(self, scope: Scope, place: Any) -> Any:
        """One element."""
        raise NotImplementedError

    def span(self, scope: Scope, start: Any, stop: Any) -> Any:
        """The elements from `start` up to `stop`, stacked."""
        return self.pick(scope, tf.range(start, stop))

    def pick(self, scope: Scope, places: Any) -> Any:
        """The elements at the places of an int32 vector, stacked."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Rows(Elements):
    """Every row of `rows` from `start` on is an element."""

    rows: Any
    start: Any = 0

    def at(self, scope: Scope, place: Any) -> Any:
        return row_of(self.rows, sum_of([self.start, place]))

    def span(self, scope: Scope, start: Any, stop: Any) -> Any:
        return self.rows[self.start + start : self.start + stop]

    def pick(self, scope: Scope, places: Any) -> Any:
        return tf.gather(self.rows, self.start + places)


def _the_size(sizes: Any) -> Any:
    """The size that elements have which are stacked. TensorFlow fails where they have several."""
    found = tf.maximum(tf.reduce_max(sizes), 0)  # 0 where there is no element
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(sizes == found), ["elements differ in size"])]):
        return tf.identity(found)


@dataclass(frozen=True, slots=True)
class Splits(Elements):
    """Element t is the rows from `splits[start + t]` to `splits[start + t + 1]`; with `numbers`, the rows that have the
    numbers there."""

    rows: Any
    splits: Any
    start: Any = 0
    numbers: Any = None

    def at(self, scope: Scope, place: Any) -> Any:
        first = self.start + place
        part = slice(self.splits[first], self.splits[first + 1])
        return self.rows[part] if self.numbers is None else tf.gather(self.rows, self.numbers[part])

    def pick(self, scope: Scope, places: Any) -> Any:
        first = self.start + places
        starts = tf.gather(self.splits, first)
        found = starts[:, None] + tf.range(_the_size(tf.gather(self.splits, first + 1) - starts))
        return tf.gather(self.rows, found if self.numbers is None else tf.gather(self.numbers, found))


@dataclass(frozen=True, slots=True)
class Counted(Elements):
    """0, 1, 2 …"""

    def at(self, scope: Scope, place: Any) -> Any:
        return place

    def pick(self, scope: Scope, places: Any) -> Any:
        return places


@dataclass(frozen=True, slots=True)
class Batches(Elements):
    """Stacks of `size` elements of `inner`."""

    inner: Elements
    size: Any

    def at(self, scope: Scope, place: Any) -> Any:
        start = place * self.size
        return self.inner.span(scope, start, tf.minimum(start + self.size, self.inner.length))

    def span(self, scope: Scope, start: Any, stop: Any) -> Any:
        flat = self.inner.span(scope, start * self.size, tf.minimum(stop * self.size, self.inner.length))
        each = tf.where(stop - start == 1, tf.shape(flat)[0], self.size)  # the last may be smaller
        return tf.reshape(flat, tf.concat([[stop - start, each], tf.shape(flat)[1:]], 0))

    def pick(self, scope: Scope, places: Any) -> Any:
        first = places * self.size
        each = first[:, None] + tf.range(_the_size(tf.minimum(self.size, self.inner.length - first)))
        flat = self.inner.pick(scope, tf.reshape(each, [-1]))
        return tf.reshape(flat, tf.concat([tf.shape(each), tf.shape(flat)[1:]], 0))


@dataclass(frozen=True, slots=True)
class Part(Elements):
    """The elements of `inner` from `start` on."""

    inner: Elements
    start: Any

    def at(self, scope: Scope, place: Any) -> Any:
        return self.inner.at(scope, self.start + place)

    def span(self, scope: Scope, start: Any, stop: Any) -> Any:
        return self.inner.span(scope, self.start + start, self.start + stop)

    def pick(self, scope: Scope, places: Any) -> Any:
        return self.inner.pick(scope, self.start + places)


@dataclass(frozen=True, slots=True)
class Repeated(Elements):
    """The elements of `inner` again and again."""

    inner: Elements

    def at(self, scope: Scope, place: Any) -> Any:
        return self.inner.at(scope, place % self._period())

    def pick(self, scope: Scope, places: Any) -> Any:
        return self.inner.pick(scope, places % self._period())

    def _period(self) -> Any:
        return tf.maximum(self.inner.length, 1)


@dataclass(frozen=True, slots=True)
class Chosen(Elements):
    """The elements of `inner` at the places that `index` says."""

    inner: Elements
    index: Any

    def at(self, scope: Scope, place: Any) -> Any:
        return self.inner.at(scope, row_of(self.index, place))

    def span(self, scope: Scope, start: Any, stop: Any) -> Any:
        return self.inner.pick(scope, self.index[start:stop])

    def pick(self, scope: Scope, places: Any) -> Any:
        return self.inner.pick(scope, tf.gather(self.index, places))


def row_of(rows: Any, place: Any) -> Any:
    """`rows[place]`, in fewer operations.

    The end of the slice is its start: TensorFlow reads no end of an axis that is taken out.
    """
    start = tf.reshape(place, [1])
    return tf.raw_ops.StridedSlice(input=rows, begin=start, end=start, strides=[1], shrink_axis_mask=1)


def sequence_of(value: Any) -> Elements:
    """A sequence as it is; a tensor as the sequence of its rows."""
    return value if isinstance(value, Elements) else Rows(extent(value, 0), value)


def same_length(sequences: list[Elements]) -> Any:
    """The length of sequences that are gone through together."""
    if not sequences:
        raise Unsupported("a fold over nothing")
    return sequences[0].length
