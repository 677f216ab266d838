"""Which rows of a store the elements of clients' sequences are, where elements are ranges of rows or of an order.

Numbers of rows are made of the clients' own splits and orders. They are all that a shuffle or another epoch changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedlang.run.sequences import Rows, SequenceValue

from .kept import Numbers
from .places import Place

Splits = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Numbering:
    """`lengths[c]` elements of client c: element t has the rows `rows[splits[first[c] + t]:splits[first[c] + t + 1]]`
    of the store."""

    lengths: Numbers
    first: Numbers
    splits: Numbers
    rows: Numbers


def alike(leaves: tuple[SequenceValue, ...]) -> tuple[SequenceValue, ...]:
    """Leaves whose elements have rows of the same numbers, as in one store: laid out, where their orders differ."""
    orders = [leaf.order if isinstance(leaf, Rows) else None for leaf in leaves]
    if all(order is None for order in orders):
        return leaves
    sizes = {len(leaf.rows) for leaf in leaves if isinstance(leaf, Rows)}
    if len(sizes) == 1 and all(order is orders[0] for order in orders):
        return leaves
    return tuple(leaf.laid_out() if isinstance(leaf, Rows) else leaf for leaf in leaves)


def numbered(places: Sequence[Place], leaves: Sequence[SequenceValue]) -> Numbering:
    """The numbers of one leaf of each client, whose rows are at these places."""
    orders = [leaf.order if isinstance(leaf, Rows) else None for leaf in leaves]
    own = [_splits_of(leaf) for leaf in leaves]
    counts = np.array([p.rows if o is None else len(o) for p, o in zip(places, orders, strict=True)], np.int64)
    before = np.array([0 if o is not None else s[0] for o, s in zip(orders, own, strict=True)], np.int64)
    lengths = np.array([len(splits) - 1 for splits in own], np.int64)
    offsets = np.cumsum(counts) - counts
    rows = np.arange(counts.sum(), dtype=np.int32) - np.repeat(offsets.astype(np.int32), counts)
    for order, offset in zip(orders, offsets.tolist(), strict=True):
        if order is not None:
            rows[offset : offset + len(order)] = order
    rows = _in_store(rows, places, counts)
    splits = np.concatenate(own) + np.repeat(offsets - before, lengths + 1)
    first = np.cumsum(lengths + 1) - (lengths + 1)
    return Numbering(lengths.astype(np.int32), first.astype(np.int32), splits.astype(np.int32), rows)


def _in_store(rows: Numbers, places: Sequence[Place], counts: Splits) -> Numbers:
    """The numbers in the store of rows that clients number by themselves; `counts` says how many of each there are."""
    starts = np.repeat(np.array([place.start for place in places], np.int32), counts)
    if all(place.table is None for place in places):
        return rows + starts
    batch = np.repeat(np.array([place.batch for place in places], np.int32), counts)
    apart = np.repeat(np.array([place.apart for place in places], np.int32), counts)
    found: Numbers = starts + rows // batch * apart + rows % batch
    return found


def _splits_of(leaf: SequenceValue) -> Splits:
    if isinstance(leaf, Rows) and leaf.splits is not None:
        return leaf.splits
    return np.cumsum([0, *(len(element) for element in leaf)], dtype=np.int64)
