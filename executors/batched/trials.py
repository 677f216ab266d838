"""Which way of cutting clients into blocks is fastest on this machine now: by estimates at first, then by what rounds
took.

How clients are cut changes no bit of any result, so ways may be tried. An estimate knows what blocks compute, but not
how much two threads slow each other down here, with this work: where it finds two ways about as fast, each of them has
a few rounds, and what they took says which goes on. What is remembered of a way is how many times as long as estimated
its rounds were, since cohorts differ from round to round; for cohorts of about one size, since much of a small round is
no block's work; the least of the last few, since others disturb a round at times; and not for ever.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .cutting import Costs, Way, ways

TRIES, KEPT = 3, 5  # rounds that a way is tried for, and rounds that are remembered of it
CLOSE = 1.5  # a factor between two estimates that trying may turn round
LONG_AGO = 256  # rounds after which a way that was slower may be tried again


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


class Trials:
    """Cuts by estimated costs (for blocks of so many clients at most), corrected by what rounds took."""

    def __init__(self, costs: Callable[[int], Costs], threads: int) -> None:
        self._costs, self._threads = costs, threads
        self._last: tuple[bytes, int, list[Way]] = (b"", 0, [])  # cohorts often come again
        self._found: dict[tuple[int, int], deque[tuple[int, float]]] = {}  # rounds, and seconds over those estimated
        self._asked: list[tuple[tuple[int, int], Way]] = []  # in this round
        self._round = 0

    def __call__(self, steps: NDArray[np.int32], most: int) -> list[int]:
        """The sizes of the blocks of the way that is fastest, or that has yet to be tried."""
        open_ways = self._ways(steps, most)
        size = _magnitude(open_ways[0].seconds)
        way = self._untried(open_ways, size)
        if way is None:
            way = min(open_ways, key=lambda way: way.weighed(self._expected(way, size)))
        self._asked.append(((way.kind, size), way))
        return way.sizes

    def begin(self) -> None:
        """Begins anew to count cuts."""
        self._asked.clear()
        self._round += 1

    def end(self, seconds: float) -> None:
        """Remembers what a round took that was one cut. Of a round of several, nobody knows what each took."""
        if len(self._asked) == 1:
            ((key, way),) = self._asked
            if way.seconds > 0:
                self._found.setdefault(key, deque(maxlen=KEPT)).append((self._round, seconds / way.seconds))

    def _ways(self, steps: NDArray[np.int32], most: int) -> list[Way]:
        asked, last = steps.tobytes(), self._last
        if last[:2] != (asked, most):
            last = self._last = asked, most, ways(steps, self._costs(most), self._threads)
        return last[2]

    def _untried(self, open_ways: list[Way], size: int) -> Way | None:
        """A way to try, that of the least estimate first; none where there is one way only that is not hopeless."""
        order = sorted(open_ways, key=lambda way: way.weighed(way.seconds))
        close = [way for way in order if way.seconds <= CLOSE * order[0].seconds]
        return next((w for w in close if len(self._known(w.kind, size)) < TRIES), None) if len(close) > 1 else None

    def _expected(self, way: Way, size: int) -> float:
        """The seconds of a way. What is not known of one is taken for what is known of others."""
        others = [ratio for kind, about in list(self._found) if about == size for ratio in self._known(kind, size)]
        return way.seconds * min(self._known(way.kind, size) or others or [1.0])

    def _known(self, kind: int, size: int) -> list[float]:
        """What was found of a way, for cohorts about as large, not too long ago."""
        found = self._found.get((kind, size), ())
        return [ratio for when, ratio in found if when > self._round - LONG_AGO]


def _magnitude(seconds: float) -> int:
    """A number for all cohorts that are estimated to take about as long."""
    return math.frexp(seconds)[1]
