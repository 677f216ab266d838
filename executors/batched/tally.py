"""What a work's last run did: its chunks, its blocks, and which of their steps were of use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Tally:
    """Numbers of a run. `add` is told of each chunk; `times` are what chunks took.

    `steps` has for each size of blocks how many steps blocks of that size made, and `counts` how many they were.
    """

    strategy: str
    size: Callable[[NDArray[np.int32]], int] | None
    chunks: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    steps: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)
    useful: int = 0
    all: int = 0
    times: list[float] = field(default_factory=list)

    def add(self, lengths: list[int], lanes: int) -> None:
        """A chunk of clients with so many steps; a vectorised one has a multiple of `lanes`."""
        steps = np.array(sorted(lengths, reverse=True), np.int32)
        block = self._block(steps, lanes)
        longest = steps[::block].astype(int)
        self.chunks.append(len(lengths))
        self.blocks.append(block)
        self.steps[block] = self.steps.get(block, 0) + int(longest.sum())
        self.counts[block] = self.counts.get(block, 0) + len(longest)
        self.useful += int(steps.sum())
        self.all += block * int(longest.sum())

    def _block(self, steps: NDArray[np.int32], lanes: int) -> int:
        if self.strategy == "sequential":
            return 1
        if self.size is not None:
            return self.size(steps)
        return max(1, -(-len(steps) // lanes)) * lanes

    @property
    def share(self) -> float:
        """The useful share of all steps."""
        return self.useful / self.all if self.all else 1.0
