"""Which way of cutting clients into blocks is fastest on this machine now: by estimates at first, then by what rounds
took.

How clients are cut changes no bit of any result, so ways may be tried. An estimate knows what blocks compute, but not
how much two threads slow each other down here, with this work: where it finds ways about as fast, they have a few
rounds in turn, once the process has warmed up, and what those took says which goes on. After long, all are tried again:
what a way took once says little of a machine on which something else runs now. What counts is how many times as long as
estimated rounds were, since cohorts differ from round to round, and the least of a way's rounds, since others disturb
some; in time that went by, and in time of all cores, to equal parts. Cohorts of another size are tried for themselves,
since much of a small round is no block's work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .cutting import Costs, Way, ways

WARM, TRIES, HELD = 5, 5, 200  # first rounds, rounds that a way is tried for, rounds for which what was found holds
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
        """It has ended, and took so long: the mean of the time that went by and of that of all cores, so that another
        one is taken where it saves more than it costs. A round that fails does not end."""
        ...


@dataclass(slots=True)
class _Comparison:
    """The way that is the best, by its kind, if that is known, and the rounds that are left for it. Then, for ways that
    are tried, seconds over those estimated of each round."""

    best: int | None = None
    left: int = WARM
    found: dict[int, list[float]] = field(default_factory=dict)

    def way(self, close: list[Way]) -> Way:
        """Of ways that are about as fast, the first of them the fastest by its estimate, the one to take now."""
        if self.left <= 0:
            next_one = min(close, key=lambda way: len(self.found.get(way.kind, ())))
            if len(self.found.get(next_one.kind, ())) < TRIES:
                return next_one
            fastest = min(close, key=lambda way: way.seconds * min(self.found[way.kind]))
            self.best, self.left, self.found = fastest.kind, HELD, {}
        return next((way for way in close if way.kind == self.best), close[0])

    def end(self, way: Way, seconds: float) -> None:
        """A round of this way took so long."""
        if self.left <= 0 and way.seconds > 0:
            self.found.setdefault(way.kind, []).append(seconds / way.seconds)
        self.left -= 1


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
        if len(close) < 2:
            return close[0].sizes
        compared = self._compared.setdefault(math.frexp(close[0].seconds)[1], _Comparison())
        way = compared.way(close)
        self._asked.append((compared, way))
        return way.sizes

    def begin(self) -> None:
        """Begins anew to count cuts."""
        self._asked.clear()

    def end(self, seconds: float) -> None:
        """Remembers what a round took that was one cut. Of a round of several, nobody knows what each took."""
        if len(self._asked) == 1:
            ((compared, way),) = self._asked
            compared.end(way, seconds)

    def _ways(self, steps: NDArray[np.int32], most: int) -> list[Way]:
        asked, last = steps.tobytes(), self._last
        if last[:2] != (asked, most):
            last = self._last = asked, most, ways(steps, self._costs(most), self._threads)
        return last[2]
