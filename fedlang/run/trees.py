"""A program's own aggregate: `zero`, `accumulate`, `merge` and `report`, in one fixed order whatever the chunks.

In: clients' values chunk by chunk, in any order. Out: the report on all of them. It is an accumulator like those of
`accumulators.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fedlang.ir.program import Aggregate
from fedlang.run.executor import LocalWork, Sink, value_of
from fedlang.run.parts import Offenders, Part
from fedlang.run.rounding import flush
from fedlang.run.sequences import LeafValue

LEAF = 16


@dataclass(slots=True, eq=False)
class Tree:
    """A program's own aggregate, by one fixed tree whatever the chunks.

    Clients stand in the order of their ids. Each sixteen of them are a leaf, whose state `accumulate` makes from
    `zero`, one client after another; leaves are merged two by two, and so on up. A leaf is folded when all its
    clients have come or dropped out, and two neighbours are merged when both are there, so few states are alive. A
    leaf that nobody contributed to is passed over.
    """

    aggregate: Aggregate
    captured: tuple[LeafValue, ...]
    cohort: int
    graphs: dict[str, LocalWork]
    sink: Sink
    waiting: dict[int, dict[int, tuple[LeafValue, ...] | None]] = field(default_factory=dict)
    states: dict[tuple[int, int], list[LeafValue] | None] = field(default_factory=dict)
    root: list[LeafValue] | None = None

    def offenders(self, part: Part) -> Offenders:
        """None: the program's own checks say what is wrong."""
        return {}

    def leave_out(self, position: int) -> None:
        """Its leaf does not wait for it."""
        self._arrive(position, None)

    def add(self, part: Part) -> None:
        """Folds every leaf that is now complete."""
        for row, position in enumerate(part.positions):
            self._arrive(position, tuple(_flushed(value_of(value, row)) for value in part.values))

    def results(self) -> list[LeafValue]:
        """The report on everyone's state."""
        state = self._run("zero") if self.root is None else self.root
        return self._run("report", *state)

    def _run(self, graph: str, *arguments: LeafValue) -> list[LeafValue]:
        return self.graphs[graph]((*self.captured, *arguments), self.sink)

    def _arrive(self, position: int, values: tuple[LeafValue, ...] | None) -> None:
        leaf = position // LEAF
        present = self.waiting.setdefault(leaf, {})
        present[position] = values
        if len(present) == min(LEAF, self.cohort - leaf * LEAF):
            del self.waiting[leaf]
            self._rise(0, leaf, self._fold([present[each] for each in sorted(present)]))

    def _fold(self, clients: list[tuple[LeafValue, ...] | None]) -> list[LeafValue] | None:
        contributions = [values for values in clients if values is not None]
        if not contributions:
            return None
        state = self._run("zero")
        for values in contributions:
            state = self._run("accumulate", *state, *values)
        return state

    def _rise(self, level: int, index: int, state: list[LeafValue] | None) -> None:
        count = -(-self.cohort // (LEAF << level))
        if count == 1:
            self.root = state
        elif index ^ 1 >= count:
            self._rise(level + 1, index // 2, state)
        elif (level, index ^ 1) in self.states:
            other = self.states.pop((level, index ^ 1))
            self._rise(level + 1, index // 2, self._merge(*((state, other) if index % 2 == 0 else (other, state))))
        else:
            self.states[level, index] = state

    def _merge(self, left: list[LeafValue] | None, right: list[LeafValue] | None) -> list[LeafValue] | None:
        if left is None or right is None:
            return right if left is None else left
        return self._run("merge", *left, *right)


def _flushed(value: LeafValue) -> LeafValue:
    return flush(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value
