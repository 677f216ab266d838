"""Which way of cutting clients into blocks is fastest on this machine now: by estimates at first, then by what rounds
took.

How clients are cut changes no bit of any result, so ways may be tried. An estimate knows what blocks compute, but not
how much two threads slow each other down here, with this work: where it finds ways about as fast, they have a few
rounds in turn, once the process has warmed up, and what those took says which goes on. Then, now and again, one of the
others has a round: what a way took once says little of a machine on which something else runs now. What counts is how
many times as long as estimated rounds were, since cohorts differ from round to round, and the least of what a way has
lately taken, since others disturb some rounds; in time that went by, and in time of all cores, to equal parts. Cohorts
of another size are tried for themselves, since much of a small round is no block's work.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .cutting import Costs, Way, ways

WARM, TRIES = 5, 5  # first rounds; rounds of a way, or rows of rounds, that are remembered
AGAIN, SELDOM = 40, 5  # every so many rounds another way has one; a far slower one so many times as seldom
CLOSE = 1.5  # a factor between two ways that trying may turn round


class Cut(Protocol):
    """How clients are cut."""

    def __call__(self, steps: NDArray[np.int32], most: int) -> list[int]:
        """The sizes of the blocks, in order and none above `most`, for clients with so many steps, longest first."""
        ...

    def begin(self) -> None:
        """A round begins. In it clients are cut once, or several times where there are too many to be read at once."""
        ...

    def end(self, waited: float, worked: float) -> None:
        """It has ended: so many seconds went by, and all cores together worked so many. A round that fails does not
        end."""
        ...


@dataclass(slots=True)
class _Comparison:
    """What the ways have taken of late, by their kinds, in seconds over those estimated; when each was last taken; and
    which of them was last."""

    rounds: int = 0
    found: dict[int, deque[float]] = field(default_factory=dict)
    taken: dict[int, int] = field(default_factory=dict)
    last: int | None = None

    def way(self, close: list[Way]) -> Way:
        """Of ways that are about as fast, the first of them the fastest by its estimate, the one to take now."""
        if self.rounds < WARM:
            return close[0]
        least_known = min(close, key=self._known)
        if self._known(least_known) < TRIES:
            return least_known
        fastest = min(close, key=self._seconds)
        if self.rounds % AGAIN:
            return fastest
        most = math.inf if self.rounds % (SELDOM * AGAIN) == 0 else CLOSE * self._seconds(fastest)
        others = [way for way in close if way is not fastest and self._seconds(way) <= most]
        return min(others, key=lambda way: self.taken[way.kind], default=fastest)

    def end(self, way: Way, seconds: float) -> None:
        """A round of this way took so long. Once enough is known, the least is remembered of rounds that follow each
        other, up to `AGAIN` of them."""
        self.rounds += 1
        if self.rounds <= WARM or way.seconds <= 0:
            return
        ratio, found = seconds / way.seconds, self.found.setdefault(way.kind, deque(maxlen=TRIES))
        if self.last == way.kind and len(found) == TRIES and self.rounds % AGAIN:
            found[-1] = min(found[-1], ratio)
        else:
            found.append(ratio)
        self.last, self.taken[way.kind] = way.kind, self.rounds

    def _seconds(self, way: Way) -> float:
        """What it may take now."""
        return way.seconds * min(self.found[way.kind])

    def _known(self, way: Way) -> int:
        return len(self.found.get(way.kind, ()))


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

    def end(self, waited: float, worked: float) -> None:
        """Remembers what a round took that was one cut. Of a round of several, nobody knows what each took."""
        if len(self._asked) == 1:
            ((compared, way),) = self._asked
            compared.end(way, (waited + worked) / 2)  # another core must save more than it costs

    def _ways(self, steps: NDArray[np.int32], most: int) -> list[Way]:
        asked, last = steps.tobytes(), self._last
        if last[:2] != (asked, most):
            last = self._last = asked, most, ways(steps, self._costs(most), self._threads)
        return last[2]
