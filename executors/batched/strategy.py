"""How the clients of a chunk run: decided for each work by its cost on this machine.

    vectorised   all clients of a chunk at once: an operation is called once for all of them
    blocks       the same in blocks of clients, in a loop in the graph; a block is as long as its longest client
    sequential   one by one in the graph, several at the same time: nothing is padded, weights stay near the processor

What a client computes is the same, to the bit, in any cohort, any chunk and any block; between sequential and the
other two the last bits may differ. So the choice may depend on the work and on the machine, but never on who takes
part: it is made for a usual cohort, `usual_steps`. How large blocks are changes no bit, and is decided for each chunk
from its clients' lengths.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fedlang.ir.graph import Graph
from fedlang.passes.batch import Batched

from ..tensorflow.lanes import LANES
from .costs import Cost, batched_cost, cost_of
from .figures import FIXED, Figures

BLOCKS = (16, 32, 64, 128)
CLEAR = 2.0  # a factor between two estimates that no measuring turns round
AROUND = 40  # calls that a client, or a block, takes beside its own operations: its data are cut out, its results kept
GAIN = 1.1  # how much faster than one by one blocks must be


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds: of a usual cohort in both ways; of a step, one by one, and of a block's, by the size of the block."""

    sequential: float
    blocks: float
    step: float
    block_steps: dict[int, float]
    figures: Figures = field(repr=False)

    @property
    def ratio(self) -> float:
        """How many times faster blocks are."""
        return self.sequential / self.blocks


@dataclass(frozen=True, slots=True)
class Strategy:
    """A name, why, how many clients at most go into a chunk; and the estimate, where there was a choice."""

    name: str
    reason: str
    chunk: int
    estimate: Estimate | None = None


def choose(batched: Batched, work: Graph, threads: int, measured: Callable[[], Figures]) -> tuple[str, str, Estimate]:
    """The name and the reason of the faster way on a CPU. The machine is measured only where that may matter."""
    found = estimate(batched, work, threads, FIXED)
    if 1 / CLEAR < found.ratio / GAIN < CLEAR:
        found = estimate(batched, work, threads, measured())
    if found.ratio >= GAIN:
        return "blocks", f"in blocks a usual cohort takes {found.ratio:.1f} times less than one by one", found
    slower = 1 / found.ratio
    how = f"{slower:.1f} times as long as" if slower > 1.05 else "about as long as"
    return "sequential", f"in blocks a usual cohort would take {how} one by one", found


def estimate(batched: Batched, work: Graph, threads: int, figures: Figures) -> Estimate:
    """What both ways take."""
    own, blocks = cost_of(work), {size: batched_cost(batched, size) for size in BLOCKS}
    step, around = own.seconds(figures, looped=True), own.seconds(figures, looped=False)
    steps = usual_steps()
    sequential = float(steps.sum() * step + len(steps) * (around + AROUND * figures.call)) / threads
    table = {size: cost.seconds(figures, looped=True) for size, cost in blocks.items()}
    best = min(BLOCKS, key=lambda size: duration(steps, size, table[size], threads))
    once = _once(blocks[best], figures, best, len(steps)) / threads
    return Estimate(sequential, duration(steps, best, table[best], threads) + once, step, table, figures)


def _once(cost: Cost, figures: Figures, block: int, clients: int) -> float:
    return -(-clients // block) * (cost.seconds(figures, looped=False) + AROUND * figures.call)


def usual_steps(clients: int = 128) -> NDArray[np.int32]:
    """The steps of a usual cohort's clients, longest first: log-normal, as sizes of clients mostly are."""
    places = (NormalDist().inv_cdf((k + 0.5) / clients) for k in reversed(range(clients)))
    return np.array([max(1, round(4 * exp(0.7 * place))) for place in places], np.int32)


def duration(steps: NDArray[np.int32], block: int, seconds: float, threads: int) -> float:
    """Seconds for clients with so many steps, longest first, in blocks on so many threads."""
    longest = steps[::block].astype(np.float64)
    return seconds * float(max(longest.sum() / threads, longest.max(initial=0.0)))


def block_size(found: Estimate, threads: int) -> Callable[[NDArray[np.int32]], int]:
    """The fastest size of blocks for clients with so many steps, longest first."""

    def size(steps: NDArray[np.int32]) -> int:
        fitting = [block for block in BLOCKS if block < len(steps) + block // 2] or [BLOCKS[0]]
        return min(fitting, key=lambda block: duration(steps, block, found.block_steps[block], threads))

    return size


def chunk_size(batched: Batched, budget: int, most: int) -> int:
    """The most clients whose weights (three times: old, new, gradient) and results fit, a multiple of `LANES`."""
    cost = batched_cost(batched, LANES)
    each = max((cost.touched + cost.results) / LANES, 1.0)
    return max(LANES, min(most, int(budget / each) // LANES * LANES))
