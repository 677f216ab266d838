"""Where clients' rows are in a store: one behind the other, or in a table, laid out step by step.

A table has the rows of a chunk in the order in which a batched program reads them: of all clients the first batch, of
all the second, and so on. A step then reads rows that lie one behind the other where they are, and copies none. There
is place for every batch to be as wide as the widest and for every client to take as many steps as the longest; what
nobody fills is zero, and lanes that fill up the chunk have the last client's rows again. Where a client's rows are in
it is arithmetic, so the clients of a table are found in other chunks, too, in other orders and in batches of other
sizes: those read row by row.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedlang.run.sequences import Array, Rows, SequenceValue

from .kept import Numbers
from .lanes import filled

FULL = 0.6  # the share of a table that clients must fill at least


@dataclass(frozen=True, slots=True)
class Form:
    """The sizes of a table: how many steps, clients with those that fill up the chunk, and rows of the widest batch;
    and how many rows each client's batches have, the last maybe fewer."""

    steps: int
    lanes: int
    width: int
    batches: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many the table has."""
        return self.steps * self.lanes * self.width


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table of this form, which starts at row `start` of a store."""

    start: int
    form: Form

    def numbers(self) -> Numbers:
        """The numbers of its rows, [steps, lanes, width]."""
        form = self.form
        found = np.arange(self.start, self.start + form.rows, dtype=np.int32)
        return found.reshape(form.steps, form.lanes, form.width)

    def write(self, array: Array, clients: Sequence[Array]) -> None:
        """Puts the clients' rows into the store's array, zero where there are none, and into the lanes that are left
        those of the last client."""
        form, sizes = self.form, array.shape[1:]
        table = array[self.start : self.start + form.rows].reshape(form.steps, form.lanes, form.width, *sizes)
        for lane, (rows, batch) in enumerate(zip(clients, form.batches, strict=True)):
            own, whole = table[:, lane], len(rows) // batch
            own[:whole, :batch] = rows[: whole * batch].reshape(whole, batch, *sizes)
            own[:whole, batch:] = 0
            own[whole:] = 0
            if len(rows) > whole * batch:
                own[whole, : len(rows) - whole * batch] = rows[whole * batch :]
        table[:, len(clients) :] = table[:, len(clients) - 1 : len(clients)]


@dataclass(slots=True)
class Place:
    """Where a client's rows are: `rows` from `start` on; or in a lane of a table, `batch` of them every `apart` rows.

    They are needed as long as what `alive` refers to is there.
    """

    start: int
    rows: int
    batch: int = 1
    apart: int = 1
    table: Table | None = None
    alive: list[weakref.ref[Any]] = field(default_factory=list)

    @staticmethod
    def within(table: Table, lane: int, rows: int) -> Place:
        """That of the client in this lane."""
        form = table.form
        return Place(table.start + lane * form.width, rows, form.batches[lane], form.lanes * form.width, table)

    @property
    def span(self) -> tuple[int, int]:
        """The start and the number of rows that are taken for it, and maybe for others with it."""
        return (self.start, self.rows) if self.table is None else (self.table.start, self.table.form.rows)

    def is_used(self) -> bool:
        """Whether anybody may need the rows."""
        return all(ref() is not None for ref in self.alive)

    def is_of(self, owners: list[Array]) -> bool:
        """Whether the rows are of memory of these very arrays, and not of some that were where these are now."""
        return all(ref() is owner for ref, owner in zip(self.alive, owners, strict=True))


def form_of(clients: Sequence[SequenceValue], lanes: int, columns: int) -> Form | None:
    """The form of a table for a chunk of clients with these batches: a multiple of `lanes` clients, and of `columns`
    rows. None where they are no batches of one size in their own order, or would leave too much of it empty."""
    batches, steps, rows = [], 0, 0
    for each in clients:
        batch = batch_of(each)
        if batch is None or not isinstance(each, Rows) or each.splits is None:
            return None
        batches.append(batch)
        steps, rows = max(steps, len(each)), rows + int(each.splits[-1] - each.splits[0])
    width = filled(max(batches, default=0), columns)
    form = Form(steps, -(-len(batches) // lanes) * lanes, width, tuple(batches))
    return form if rows and rows >= FULL * form.rows else None


def batch_of(leaf: SequenceValue) -> int | None:
    """How many rows a sequence's elements have, the last maybe fewer. None where they have other numbers of them, or
    are in an order of their own."""
    if not isinstance(leaf, Rows) or leaf.splits is None or leaf.order is not None:
        return None
    if len(leaf.splits) == 1:
        return 1
    sizes = np.diff(leaf.splits)
    first = int(sizes[0])
    return first if 0 < sizes[-1] <= first and np.all(sizes[:-1] == first) else None


def table_of(places: Sequence[Place], form: Form | None) -> Table | None:
    """The table that a chunk of clients at these places reads step by step, if they are to have one of this form; None
    where there is none."""
    table = places[0].table if places else None
    if table is None or table.form != form or any(place.table is not table for place in places):
        return None
    in_order = all(place.start == table.start + lane * table.form.width for lane, place in enumerate(places))
    return table if in_order else None
