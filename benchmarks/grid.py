"""Whether the batched executor chooses well: thirty programs, each run as it chooses and by each strategy.

Five models by three numbers of clients by two kinds of sizes, equal and log-normal. A choice counts as good where its
wall time is at most a tenth above the best; times are the least of twice as many turns as elsewhere, and shorter ones,
which other work on the machine disturbs least.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.contenders import Here, Runner
from benchmarks.models import PROGRAMS, Program
from benchmarks.rounds import Effort, interleaved
from benchmarks.rows import Row, verdict
from benchmarks.workloads import leaves, unequal
from fedlang.data.clients import ClientData
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.strategy import Strategy
from fedlang.run.sequences import Array

SLACK, SHARE = 1.1, 0.9
LEAST, MOST = 0.2, 20.0  # seconds of a turn, and of a way's turns
STRATEGIES = ("auto", "vectorised", "blocks", "sequential")


def _examples(shape: tuple[int, ...], classes: int) -> Callable[[np.random.Generator, int], tuple[Array, Array]]:
    return lambda random, count: (
        random.random((count, *shape), dtype=np.float32),
        random.integers(0, classes, count, dtype=np.int32),
    )


def _program(name: str, shape: tuple[int, ...], classes: int = 10) -> Program:
    return Program(name, PROGRAMS / "grid.fed", name, ("x", "y"), _examples(shape, classes))


MODELS: tuple[tuple[Program, tuple[int, ...]], ...] = (
    (_program("line", (20,), 2), (10, 100, 1000)),
    (_program("softmax", (784,)), (10, 100, 500)),
    (_program("hidden", (784,)), (10, 50, 100)),
    (_program("convolution", (14, 14, 1)), (10, 50, 100)),
    (_program("recurrent", (20, 8)), (10, 50, 100)),
)


@dataclass(frozen=True)
class Case:
    """One program of the grid."""

    program: Program
    sizes: tuple[int, ...]
    kind: str
    batch: int = 10

    @property
    def name(self) -> str:
        """Model, clients, kind of sizes."""
        return f"{self.program.name}, {len(self.sizes)} {self.kind}"

    def runners(self, executors: Mapping[str, BatchedExecutor]) -> dict[str, Runner]:
        """The case on each executor, on the same data."""
        random = np.random.default_rng(1)
        made = [dict(zip(self.program.fields, self.program.examples(random, n), strict=True)) for n in self.sizes]
        data, process = ClientData.from_list(made).batches(self.batch), self.program.load()
        state = process.initialize(0)

        def run(executor: BatchedExecutor) -> Runner:
            return Here(lambda: leaves(process.run_round(state, (data,), executor=executor).state.weights))

        return {strategy: run(executor) for strategy, executor in executors.items()}


def cases(most: int | None = None) -> Iterator[Case]:
    """The grid; with `most`, only cases of so many clients at most."""
    for program, counts in MODELS:
        for count in counts:
            if most is None or count <= most:
                yield Case(program, (40,) * count, "equal")
                yield Case(program, unequal(count, 40, 1.0), "unequal")


def measure(effort: Effort, most: int | None = None) -> list[Row]:
    """A row for each program, and one for all."""
    effort = replace(effort, rounds=2 * effort.rounds, least=min(LEAST, effort.least), most=MOST)
    rows = [_case(case, effort) for case in cases(most)]
    good = sum(row.verdicts[0].met for row in rows)
    share = verdict(f"good choices of {len(rows)} >= {SHARE:.0%}", good, met=good >= SHARE * len(rows))
    return [*rows, Row("grid", "all", figures={"good": good, "programs": len(rows)}, verdicts=share)]


def _case(case: Case, effort: Effort) -> Row:
    print(f"  grid: {case.name}", file=sys.stderr)
    executors = {strategy: BatchedExecutor(strategy=strategy) for strategy in STRATEGIES}
    runners = case.runners(executors)
    for runner in runners.values():
        runner.run_round()
        runner.run_round()
    turns = interleaved(runners, effort)
    least = {strategy: min(turn.wall for turn in taken) for strategy, taken in turns.items()}
    chosen, asked = (_decision(executors[name]) for name in ("auto", _decision(executors["auto"]).name))
    if (chosen.name, chosen.chunk) == (asked.name, asked.chunk):  # the same in all: two measurements of one thing
        least["auto"] = min(least["auto"], least[chosen.name])
    best = min(STRATEGIES, key=lambda strategy: least[strategy])
    over = least["auto"] / least[best]
    found = verdict(f"choice <= {SLACK:g} x {best}", over, met=over <= SLACK)
    cpu = min(turn.cpu for turn in turns["auto"])
    note, rounds = f"chose {chosen.name}: {chosen.reason}", len(turns["auto"])
    return Row("grid", case.name, wall=least["auto"], cpu=cpu, rounds=rounds, note=note, figures=least, verdicts=found)


def _decision(executor: BatchedExecutor) -> Strategy:
    (made,) = executor.made()
    return made.strategy
