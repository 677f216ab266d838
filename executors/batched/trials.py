"""Which way of cutting clients into blocks is fastest on this machine now: by estimates at first, then by what rounds
took.

How clients are cut changes no bit of any result, so ways may be tried. An estimate knows what blocks compute, but not
how much two threads slow each other down here, with this work: where it finds ways about as fast, each of them has a
few rounds, one after the other, and what they took says which goes on. After long, all are tried again: what a way took
once says little of a machine on which something else runs now. What counts is how many times as long as estimated
rounds were, since cohorts differ from round to round, and the least of a way's rounds, since others disturb some.
Cohorts of another size are tried for themselves, since much of a small round is no block's work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .cutting import Costs, Way, ways

TRIES, HELD = 3, 200  # rounds that a way is tried for, and rounds for which what was found holds
CLOSE = 1.5  # a factor between two estimates that trying may turn round


class Cut(Protocol):
    """How clients are cut."""

    def __call__(self, steps: NDArray[np.int32], most: int) -> list[int]:
        """The sizes of the blocks, in order and none above `most`, for clients with so many steps, longest first."""
        ...

    def begin(self) -> None:
        """A round begins. In it clients are cut once, or several times where there are too many to be read at once."""
        ...

    def end(self, seconds: float) -> None:
        """It has ended, and took so long. One that fails does not end."""
        ...


@dataclass(slots=True)
class _Comparison:
    """Of ways, by their kinds: seconds over those estimated, of each round that they were tried for; which is the best,
    once that is known, and for how many rounds it holds."""

    found: dict[int, list[float]] = field(default_factory=dict)
    best: int | None = None
    left: int = 0


class Trials:
    """Cuts by estimated costs (for blocks of so many clients at most), corrected by what rounds took."""

    def __init__(self, costs: Callable[[int], Costs], threads: int) -> None:
        self._costs, self._threads = costs, threads
        self._last: tuple[bytes, int, list[Way]] = (b"", 0, [])  # cohorts often come again
        self._compared: dict[int, _Comparison] = {}  # by the magnitude of cohorts
        self._asked: list[tuple[_Comparison, Way]] = []  # in this round

    def __call__(self, steps: NDArray[np.int32], most: int) -> list[int]:
        """The sizes of the blocks of the way that is fastest, or that has yet to be tried."""
        open_ways = sorted(self._ways(steps, most), key=lambda way: way.weighed(way.seconds))
        close = [way for way in open_ways if way.seconds <= CLOSE * open_ways[0].seconds]
        compared = self._compared.setdefault(math.frexp(open_ways[0].seconds)[1], _Comparison())
        way = _chosen(close, compared) if len(close) > 1 else open_ways[0]
        self._asked.append((compared, way))
        return way.sizes

    def begin(self) -> None:
        """Begins anew to count cuts."""
        self._asked.clear()

    def end(self, seconds: float) -> None:
        """Remembers what a round took that was one cut. Of a round of several, nobody knows what each took."""
        if len(self._asked) == 1:
            ((compared, way),) = self._asked
            if compared.best is None and way.seconds > 0:
                compared.found.setdefault(way.kind, []).append(seconds / way.seconds)
            compared.left -= 1

    def _ways(self, steps: NDArray[np.int32], most: int) -> list[Way]:
        asked, last = steps.tobytes(), self._last
        if last[:2] != (asked, most):
            last = self._last = asked, most, ways(steps, self._costs(most), self._threads)
        return last[2]


def _chosen(close: list[Way], compared: _Comparison) -> Way:
    """Of ways that are about as fast, the one that is the best by comparison, or that is to be tried next."""
    if compared.best is not None and compared.left <= 0:
        compared.found, compared.best = {}, None
    if compared.best is None:
        for way in close:
            if len(compared.found.get(way.kind, ())) < TRIES:
                return way
        fastest = min(close, key=lambda way: way.weighed(way.seconds * min(compared.found[way.kind])))
        compared.best, compared.left = fastest.kind, HELD
    return next((way for way in close if way.kind == compared.best), close[0])
