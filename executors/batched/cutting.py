"""Where clients, the longest first, are cut into blocks that run together.

A block takes as many steps as its longest client, and a step the longer the more clients there are, but less than in
proportion: few clients waste calls, many waste steps. The cut of least work is found by dynamic programming over
multiples of `STEP` clients; the block of the longest ones is the smaller by what is no multiple. Where one of its
blocks would keep a thread busy while others have nothing to do, smaller blocks are tried: first as many as there are
threads. And there are blocks of clients who are about alike, in which little is wasted. Another thread is asked only
where it makes the whole faster by a fifth (`WORTH`): what it takes to move data to it and back is work, too. Nor are
two threads twice as fast as one: cores share memory, or are halves of one core.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tensorflow.work import STEP, alike_sizes

WORTH = 1.2
ALIKE = -1


@dataclass(frozen=True, slots=True)
class BlockCost:
    """Seconds of a step of a block, of what TensorFlow does once for it, and of what Python does."""

    step: float
    once: float
    handed: float


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """What blocks of 1, 2, … times `STEP` clients cost, between the sizes for which it is known, and how many times as
    much what TensorFlow does takes while all threads work."""

    step: NDArray[np.float64]
    once: NDArray[np.float64]
    handed: float
    crowd: float

    def crowded(self, busy: int, threads: int) -> float:
        """The same while so many of the threads work."""
        return 1.0 + (self.crowd - 1.0) * (busy - 1) / max(threads - 1, 1)


def costs_up_to(known: Mapping[int, BlockCost], most: int, crowd: float = 1.0) -> Costs:
    """The costs of blocks of at most so many clients, and of `STEP` in any case."""
    sizes = sorted(known)
    wanted = STEP * np.arange(1, max(1, most // STEP) + 1)
    step = np.interp(wanted, sizes, [known[size].step for size in sizes])
    once = np.interp(wanted, sizes, [known[size].once for size in sizes])
    return Costs(step, once, known[sizes[0]].handed, crowd)


@dataclass(frozen=True, slots=True)
class Way:
    """Sizes of blocks, in order, and the seconds that they are estimated to take together. `kind`: 0 for blocks as
    large as they can be, 1 for the first smaller limit, and so on; or `ALIKE`."""

    kind: int
    sizes: list[int]
    seconds: float

    def weighed(self, seconds: float) -> float:
        """The seconds, or whatever else they take, as a choice counts them: more where other threads must help."""
        return seconds * (WORTH if len(self.sizes) > 1 else 1.0)


def cut(steps: NDArray[np.int32], costs: Costs, threads: int) -> Way:
    """The fastest way for clients with so many steps, longest first. Python does one thing at a time."""
    return min(ways(steps, costs, threads), key=lambda way: way.weighed(way.seconds))


def ways(steps: NDArray[np.int32], costs: Costs, threads: int) -> list[Way]:
    """Ways of smaller and smaller blocks, up to the first that gains nothing; and that of clients who are alike."""
    if not len(steps):
        return [Way(0, [0], 0.0)]
    longest, odd = longest_of(steps), len(steps) % STEP
    found: list[Way] = []
    for kind, limit in enumerate(_limits(len(longest), len(costs.step), threads)):
        units = _least(longest, costs, threads, limit)
        sizes = [STEP * units[0] - (STEP - odd if odd else 0), *(STEP * unit for unit in units[1:])]
        if not found or sizes != found[-1].sizes:
            found.append(Way(kind, sizes, duration(longest, units, costs, threads)))
        if len(found) > 1 and found[-1].weighed(found[-1].seconds) >= found[-2].weighed(found[-2].seconds):
            break
    alike = alike_sizes(steps[::-1].tolist(), STEP * len(costs.step))[::-1]
    if all(alike != way.sizes for way in found):
        found.append(Way(ALIKE, alike, duration(longest, [-(-size // STEP) for size in alike], costs, threads)))
    return found


def _limits(count: int, most: int, threads: int) -> Iterator[int]:
    """How many of `count` units a block may have at most: as many as it can, then as gives each thread 1, 2, 4 … of
    them."""
    limit = min(most, max(1, count))
    yield limit
    shares = threads
    while limit > 1:
        if -(-count // shares) < limit:
            limit = -(-count // shares)
            yield limit
        shares *= 2


def longest_of(steps: NDArray[np.int32]) -> NDArray[np.float64]:
    """The steps of the longest client of each unit of `STEP`; the first unit has the odd ones."""
    odd = len(steps) % STEP
    return np.concatenate([steps[: bool(odd)], steps[odd::STEP]]).astype(np.float64)


def _least(longest: NDArray[np.float64], costs: Costs, threads: int, limit: int) -> list[int]:
    """The blocks, in units of `STEP`, whose work on all threads together is least, each of at most `limit` units."""
    each = costs.crowded(threads, threads) / threads
    step, once = costs.step * each, costs.once * each + costs.handed
    count = len(longest)
    rest, taken = np.zeros(count + 1), np.zeros(count, np.int64)
    for start in reversed(range(count)):
        room = min(limit, count - start)
        seconds = longest[start] * step[:room] + once[:room] + rest[start + 1 : start + room + 1]
        taken[start] = np.flatnonzero(seconds <= seconds.min() * (1 + 1e-9))[-1]  # of equals the larger block first
        rest[start] = seconds[taken[start]]
    units, start = [], 0
    while start < count:
        units.append(int(taken[start]) + 1)
        start += units[-1]
    return units


def duration(longest: NDArray[np.float64], units: list[int], costs: Costs, threads: int) -> float:
    """Seconds of blocks of so many units, where `longest` has each unit's most steps: each on the first free thread."""
    sizes = np.array(units, np.int64)
    each = longest[np.cumsum(sizes) - sizes] * costs.step[sizes - 1] + costs.once[sizes - 1]
    until = [0.0] * threads
    for seconds in (each * costs.crowded(min(threads, len(units)), threads)).tolist():
        until[until.index(min(until))] += seconds
    return max(until) + len(units) * costs.handed
