"""What a work's last run did: its chunks, and which of their steps were of use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """Numbers of a run. `add` is told of each chunk; `times` are what chunks took.

    Chunks of clients that run together have a multiple of `lanes` places, clients that run one by one have one each.
    `steps` has for each number of places how many steps were made by so many, and `counts` how often they began.
    """

    lanes: int
    chunks: list[int] = field(default_factory=list)
    steps: Counter[int] = field(default_factory=Counter)
    counts: Counter[int] = field(default_factory=Counter)
    useful: int = 0
    times: list[float] = field(default_factory=list)

    def add(self, lengths: Sequence[int]) -> None:
        """A chunk of clients with so many steps."""
        self.chunks.append(len(lengths))
        self.useful += sum(lengths)
        if self.lanes == 1:
            self.steps[1] += sum(lengths)
            self.counts[1] += len(lengths)
            return
        places = max(1, -(-len(lengths) // self.lanes)) * self.lanes
        self.steps[places] += max(lengths, default=0)
        self.counts[places] += 1

    @property
    def share(self) -> float:
        """The useful share of all steps."""
        all_steps = sum(places * steps for places, steps in self.steps.items())
        return self.useful / all_steps if all_steps else 1.0
