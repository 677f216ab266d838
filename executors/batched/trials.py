"""Which way of cutting clients into blocks is fastest on this machine now: by estimates at first, then by what rounds
took.

How clients are cut changes no bit of any result, so ways may be tried. An estimate knows what blocks compute, but not
how much two threads slow each other down here, with this work: where it finds two ways about as fast, each of them has
a few rounds, and what they took says which goes on. Cohorts differ from round to round, so what is remembered of a way
is how many times as long as estimated its rounds were; others disturb a round at times, so the least of the last few.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .cutting import Costs, Way, ways

TRIES, KEPT = 3, 5  # rounds that a way is tried for, and rounds that are remembered of it
CLOSE = 1.5  # a factor between two estimates that trying may turn round


class Cut(Protocol):
    """How clients are cut."""

    def __call__(self, steps: NDArray[np.int32], most: int) -> list[int]:
        """The sizes of the blocks, in order and none above `most`, for clients with so many steps, longest first."""
        ...

    def took(self, seconds: float) -> None:
        """A round has ended, which took so long."""
        ...


class Trials:
    """Cuts by estimated costs (for blocks of so many clients at most), corrected by what rounds took."""

    def __init__(self, costs: Callable[[int], Costs], threads: int) -> None:
        self._costs, self._threads = costs, threads
        self._last: tuple[bytes, int, list[Way]] = (b"", 0, [])  # cohorts often come again
        self._found: dict[int, deque[float]] = {}  # by a way's kind: seconds over those estimated
        self._asked: list[Way] = []  # in this round

    def __call__(self, steps: NDArray[np.int32], most: int) -> list[int]:
        """The sizes of the blocks of the way that is fastest, or that has yet to be tried."""
        open_ways = self._ways(steps, most)
        way = self._untried(open_ways) or min(open_ways, key=lambda way: way.weighed(self._expected(way)))
        self._asked.append(way)
        return way.sizes

    def took(self, seconds: float) -> None:
        """Remembers what a round took. One of several cuts says nothing of either."""
        if len(self._asked) == 1:
            (way,) = self._asked
            if way.seconds > 0:
                self._found.setdefault(way.kind, deque(maxlen=KEPT)).append(seconds / way.seconds)
        self._asked.clear()

    def _ways(self, steps: NDArray[np.int32], most: int) -> list[Way]:
        asked = steps.tobytes()
        if self._last[:2] != (asked, most):
            self._last = asked, most, ways(steps, self._costs(most), self._threads)
        return self._last[2]

    def _untried(self, open_ways: list[Way]) -> Way | None:
        """A way to try: one after the other, that of the least estimate first, and none that is hopeless."""
        order = sorted(open_ways, key=lambda way: way.weighed(way.seconds))
        close = [way for way in order if way.seconds <= CLOSE * order[0].seconds]
        return next((w for w in close if len(self._found.get(w.kind, ())) < TRIES), None) if len(close) > 1 else None

    def _expected(self, way: Way) -> float:
        """The seconds of a way. What is not known of one is taken for what is known of others."""
        known = self._found.get(way.kind) or [ratio for found in self._found.values() for ratio in found] or [1.0]
        return way.seconds * min(known)
