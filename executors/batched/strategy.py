"""How the clients of a chunk run: decided for each work by its cost on this machine.

    vectorised   as many clients at once as fit: an operation is called once for all of them
    blocks       the same in smaller chunks, the longest clients first, several at the same time: each is as long as its
                 longest client, and its weights stay nearer to the processor
    sequential   one by one in the graph, a chunk on each thread: nothing is padded, weights stay near the processor

What a client computes is the same, to the bit, in any cohort and any chunk; between sequential and the other two the
last bits may differ. So the choice may depend on the work and on the machine, but never on who takes part: it is made
for a usual cohort, `usual_steps`. How large blocks are changes no bit: it is decided from the clients' lengths, and by
trying (`trials.py`).
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

from ..tensorflow.work import STEP
from .costs import Cost, batched_cost, cost_of
from .cutting import BlockCost, costs_up_to, cut
from .figures import FIXED, Figures
from .trials import Cut, Trials

BLOCKS = (8, 16, 32, 64, 128)  # clients in a block, for which costs are estimated
SEQUENTIAL, RESULTS = 32, 256 << 20  # clients in a chunk that runs them one by one, and bytes of what they send
AHEAD, WAITING = 8, 32 << 20  # chunks that are read and not yet taken, and bytes of what their clients send
CLEAR = 2.0  # a factor between two estimates that no measuring turns round
CLIENT = 35  # calls that a client takes of Python in any case: its data are read and found
AROUND = 100  # calls that one takes that runs by itself, beside its own operations: its data are cut out, results kept
BLOCK = 300  # calls that a block takes beside its operations: masks are made, loops begin and end
HANDED = 1000  # calls that it takes of Python: its data are packed, the program called, its results added up
LONG = 5e-5  # seconds that an operation takes, on average, where threads of TensorFlow's own are worth it
GAIN = 1.1  # how much faster than one by one blocks must be


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of a usual cohort in both ways, and of blocks, by how many clients they have."""

    sequential: float
    blocks: float
    costs: dict[int, BlockCost]
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
    own, steps = cost_of(work), usual_steps()
    step, around = own.seconds(figures, looped=True), own.seconds(figures, looped=False)
    common = len(steps) * CLIENT * figures.call
    alone = float(steps.sum() * step + len(steps) * (around + AROUND * figures.call))
    sequential = alone if threads == 1 else alone * figures.crowd / threads
    costs = {size: _block_cost(batched_cost(batched, size), figures) for size in BLOCKS}
    blocks = cut(steps, costs_up_to(costs, BLOCKS[-1], figures.crowd), threads).seconds
    return Estimate(common + sequential, common + blocks, costs, figures)


def _block_cost(cost: Cost, figures: Figures) -> BlockCost:
    once = cost.seconds(figures, looped=False) + BLOCK * figures.call
    return BlockCost(cost.seconds(figures, looped=True), once, HANDED * figures.call)


def usual_steps(clients: int = 128) -> NDArray[np.int32]:
    """The steps of a usual cohort's clients, longest first: log-normal, as sizes of clients mostly are."""
    places = (NormalDist().inv_cdf((k + 0.5) / clients) for k in reversed(range(clients)))
    return np.array([max(1, round(4 * exp(0.7 * place))) for place in places], np.int32)


def cutting(found: Estimate, threads: int) -> Cut:
    """How clients are cut into blocks."""
    return Trials(lambda most: costs_up_to(found.costs, most, found.figures.crowd), threads)


def chunk_size(batched: Batched, budget: int, most: int) -> int:
    """The most clients whose weights (three times: old, new, gradient) and results fit, a multiple of `STEP`."""
    cost = batched_cost(batched, STEP)
    each = max((cost.touched + cost.results) / STEP, 1.0)
    return max(STEP, min(most, int(budget / each) // STEP * STEP))


def spreads(cost: Cost) -> bool:
    """Whether operations that do not wait for each other gain from threads of their own, where those have nothing else
    to do: convolutions and large products do, small ones lose more by going from one core to another."""
    loads = [load for load in cost.loads if load.looped] or cost.loads
    calls, seconds = sum(load.calls for load in loads), sum(load.seconds(FIXED, cost.touched) for load in loads)
    return seconds > LONG * calls


def sequential_size(work: Graph) -> int:
    """The most clients in a chunk that runs them one by one: what they send waits in memory until all are done."""
    return max(1, min(SEQUENTIAL, int(RESULTS / max(cost_of(work).results, 1.0))))


def chunks_ahead(work: Graph, chunk: int, threads: int) -> int:
    """How many chunks there are that are not yet taken: one for each thread and one more, and where clients send little
    some that have ended, so that no thread waits for the chunk of the longest clients, which is the first to be taken.
    """
    each = max(chunk * cost_of(work).results, 1.0)
    return max(threads + 1, min(AHEAD, int(WAITING / each)))
