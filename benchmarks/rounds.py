"""Rounds of a workload by all contenders, in turn: A B C A B C. What else the machine does falls on all alike."""

from __future__ import annotations

import statistics
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contenders import Contender, Runner, Turn
from benchmarks.rows import Row, judged, with_ratios, with_strays
from benchmarks.workloads import Workload


@dataclass(frozen=True)
class Effort:
    """How much is measured: turns for each contender, the least seconds of a turn, the most seconds for a contender.

    A turn runs rounds until it has taken `least` seconds. A contender that has used up `most` has no more turns, but
    has had one. Where a round takes less than `short` seconds, the first of a turn is not counted: its data have left
    the processor while others ran, maybe for minutes, and rounds follow each other elsewhere.
    """

    rounds: int = 5
    least: float = 1.0
    most: float = 60.0
    short: float = 1.0


def measure(workload: Workload, contenders: Sequence[Contender], effort: Effort) -> list[Row]:
    """A row for each contender; those that do not take part, or fail, say why."""
    rows: dict[str, Row] = {}
    runners: dict[str, Runner] = {}
    firsts: dict[str, Turn] = {}
    try:
        for contender in contenders:
            name, reason = contender.name, contender.missing(workload)
            rows[name] = Row(workload.name, name, note=reason or "")
            if reason is None:
                _start(contender, workload, runners, firsts, rows, effort)
        turns = interleaved(runners, effort)
        for name, taken in turns.items():
            rows[name] = _row(workload.name, name, runners[name].version, firsts[name], taken)
    finally:
        for runner in runners.values():
            runner.close()
    return judged(with_strays(with_ratios(rows.values())), workload.targets)


def _start(
    contender: Contender,
    workload: Workload,
    runners: dict[str, Runner],
    firsts: dict[str, Turn],
    rows: dict[str, Row],
    effort: Effort,
) -> None:
    """The first round, and a second one: what is kept from round to round is there after it."""
    name = contender.name
    print(f"  {workload.name}: {name} starts", file=sys.stderr)
    try:
        runner = contender.prepare(workload)
    except Exception as error:
        rows[name] = _failed(workload, name, error)
        return
    try:
        firsts[name] = runner.run_round()
        if firsts[name].wall < effort.most / 4:
            runner.run_round()
        runners[name] = runner
    except Exception as error:
        runner.close()
        rows[name] = _failed(workload, name, error)


def _failed(workload: Workload, name: str, error: Exception) -> Row:
    traceback.print_exception(error, file=sys.stderr)
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Row(workload.name, name, note=f"failed: {first[:200]}")


def interleaved(runners: dict[str, Runner], effort: Effort) -> dict[str, list[Turn]]:
    """Each runner's turns; a turn is the mean of its rounds."""
    turns: dict[str, list[Turn]] = {name: [] for name in runners}
    spent = dict.fromkeys(runners, 0.0)
    for _ in range(effort.rounds):
        for name, runner in runners.items():
            if turns[name] and spent[name] + turns[name][-1].wall > effort.most:
                continue
            taken = [runner.run_round()]
            if taken[0].wall < effort.short:
                spent[name] += taken.pop().wall
                taken.append(runner.run_round())
            while sum(turn.wall for turn in taken) < effort.least:
                taken.append(runner.run_round())
            spent[name] += sum(turn.wall for turn in taken)
            turns[name].append(mean_of(taken))
    return turns


def mean_of(taken: Sequence[Turn]) -> Turn:
    """One turn of several rounds."""
    wall, cpu = statistics.fmean(turn.wall for turn in taken), statistics.fmean(turn.cpu for turn in taken)
    return Turn(wall, cpu, taken[-1].norm)


def _row(workload: str, name: str, version: str, first: Turn, turns: Sequence[Turn]) -> Row:
    cpu = [turn.cpu for turn in turns]
    return Row(
        workload,
        name,
        version,
        first=first.wall,
        wall=statistics.median(turn.wall for turn in turns),
        cpu=statistics.median(cpu),
        cpu_least=min(cpu),
        rounds=len(turns),
        turns=tuple((turn.cpu, turn.wall) for turn in turns),
        norm=turns[-1].norm,
    )
