"""How an executor ran a program's client work, and why so: what `--explain` and `-v` show.

An executor that can tell has a method `watched`: a context in which programs run, and after which the explanation of
what ran in it can be had.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class OperationCost:
    """An operation of a work: seconds as estimated and as measured, over all threads; None where there is no figure."""

    operation: str
    device: str
    calls: int
    estimated: float | None
    measured: float | None


@dataclass(frozen=True, slots=True)
class WorkExplanation:
    """The client work of one phase.

    `strategies` has the seconds that a usual cohort was estimated to take by each strategy. `chunks` are the numbers
    of clients in the chunks of the last run. `useful` is the share of steps that were some client's own and not
    padding, `seconds` the time that chunks took, added up.
    """

    strategy: str
    reason: str
    strategies: dict[str, float]
    chunks: tuple[int, ...]
    useful: float
    seconds: float
    operations: tuple[OperationCost, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """All works that ran, the devices there are, and the figures that the choice was made by.

    `rest` has the seconds, over all threads, of what is too small to be measured by itself.
    """

    executor: str
    devices: tuple[str, ...]
    figures: dict[str, float]
    works: tuple[WorkExplanation, ...]
    rest: float


@runtime_checkable
class Watched(Protocol):
    """An executor that can explain itself."""

    def watched(self, *, measured: bool = True) -> AbstractContextManager[Callable[[], Explanation]]:
        """Whatever runs inside is watched; afterwards the function tells of it. Measuring operations takes time."""
        ...
