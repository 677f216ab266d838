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
        self._found: dict[int, deque[float]] = {}  # by a way's place: seconds over those estimated
        self._asked: list[tuple[int, Way]] = []  # in this round

    def __call__(self, steps: NDArray[np.int32], most: int) -> list[int]:
        """The sizes of the blocks of the way that is fastest, or that has yet to be tried."""
        open_ways = self._ways(steps, most)
        place = self._untried(open_ways)
        if place is None:
            place = min(range(len(open_ways)), key=lambda k: open_ways[k].weighed(self._expected(k, open_ways[k])))
        self._asked.append((place, open_ways[place]))
        return open_ways[place].sizes

    def took(self, seconds: float) -> None:
        """Remembers what a round took. One of several cuts says nothing of either."""
        if len(self._asked) == 1:
            ((place, way),) = self._asked
            if way.seconds > 0:
                self._found.setdefault(place, deque(maxlen=KEPT)).append(seconds / way.seconds)
        self._asked.clear()

    def _ways(self, steps: NDArray[np.int32], most: int) -> list[Way]:
        asked = steps.tobytes()
        if self._last[:2] != (asked, most):
            self._last = asked, most, ways(steps, self._costs(most), self._threads)
        return self._last[2]

    def _untried(self, open_ways: list[Way]) -> int | None:
        """A way to try: one after the other, that of the least estimate first, and none that is hopeless."""
        order = sorted(range(len(open_ways)), key=lambda k: open_ways[k].weighed(open_ways[k].seconds))
        close = [k for k in order if open_ways[k].seconds <= CLOSE * open_ways[order[0]].seconds]
        return next((k for k in close if len(self._found.get(k, ())) < TRIES), None) if len(close) > 1 else None

    def _expected(self, place: int, way: Way) -> float:
        """The seconds of a way. What is not known of one is taken for what is known of others."""
        known = self._found.get(place) or [ratio for found in self._found.values() for ratio in found] or [1.0]
        return way.seconds * min(known)
