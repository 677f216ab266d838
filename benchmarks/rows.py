"""What a run finds: rows, the targets they are held to, the table and the JSON file."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

CENTRAL = "centralised"
OTHER_STEPS = frozenset({CENTRAL, "jax", "batched, shuffled"})  # end with other weights than all that average do
FEW = 3  # turns that a ratio of turns needs
ALIKE = 1e-4  # how far norms may be from each other, of their size


@dataclass(frozen=True)
class Target:
    """A bound on a contender's CPU seconds a round, or on their ratio to those of `over`."""

    contender: str
    over: str | None = None
    at_most: float | None = None
    at_least: float | None = None

    def describe(self) -> str:
        """The bound in words."""
        relation, bound = ("<=", self.at_most) if self.at_most is not None else (">=", self.at_least)
        return f"{relation} {bound:g} x {self.over}" if self.over else f"{relation} {bound:g} s"

    def met(self, value: float) -> bool:
        """Whether the value is within the bound."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)


@dataclass(frozen=True)
class Verdict:
    """A target, the value that was found for it, and whether that is within the bound."""

    target: str
    value: float
    met: bool


@dataclass(frozen=True)
class Row:
    """A contender on a workload. Times are seconds: of the first round, and medians of those after it.

    `cpu` and `cpu_least` are of all its processes, user and system; `turns` has the CPU and wall time of each turn.
    `over_cpu` and `over_wall` are ratios to the centralised loop; `norm` is that of the weights after a round; `note`
    says, for one, why there are no times.
    """

    workload: str
    contender: str
    version: str = ""
    first: float | None = None
    wall: float | None = None
    cpu: float | None = None
    cpu_least: float | None = None
    rounds: int = 0
    turns: tuple[tuple[float, float], ...] = ()
    norm: float | None = None
    over_cpu: float | None = None
    over_wall: float | None = None
    note: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()


def with_ratios(rows: Iterable[Row]) -> list[Row]:
    """The rows of one workload with their ratios to the centralised loop, where it ran."""
    found = list(rows)
    central = next((row for row in found if row.contender == CENTRAL and row.turns), None)
    if central is None:
        return found
    return [
        replace(row, over_cpu=ratio(row, central), over_wall=ratio(row, central, of=1)) if row.turns else row
        for row in found
    ]


def ratio(row: Row, over: Row, *, of: int = 0) -> float:
    """How many times as much CPU (or wall, `of` 1) time: the median over turns, since what the machine does to one turn
    of all contenders, it does to both sides. Of medians, where one of them had too few turns."""
    ours, others = [turn[of] for turn in row.turns], [turn[of] for turn in over.turns]
    if min(len(ours), len(others)) < FEW:
        return statistics.median(ours) / statistics.median(others)
    return statistics.median(one / other for one, other in zip(ours, others, strict=False))


def with_strays(rows: Iterable[Row]) -> list[Row]:
    """The rows of one workload; those whose weights are not those that most end with are said to be."""
    found = list(rows)
    norms = [row.norm for row in found if row.norm is not None and row.contender not in OTHER_STEPS]
    if not norms:
        return found
    usual = statistics.median_low(norms)
    return [
        row
        if row.norm is None or row.contender in OTHER_STEPS or abs(row.norm - usual) <= ALIKE * usual
        else replace(row, note=f"its weights are others: their norm is {row.norm:.6g}, and {usual:.6g} is usual")
        for row in found
    ]


def judged(rows: Iterable[Row], targets: Iterable[Target]) -> list[Row]:
    """The rows of one workload with the targets that could be tried."""
    found = {row.contender: row for row in rows}
    for target in targets:
        row, over = found.get(target.contender), found.get(target.over or "")
        if row is None or row.cpu is None or (target.over and (over is None or not over.turns)):
            continue
        value = row.cpu if over is None else ratio(row, over)
        verdict = Verdict(target.describe(), value, target.met(value))
        found[row.contender] = replace(row, verdicts=(*row.verdicts, verdict))
    return list(found.values())


def verdict(text: str, value: float, *, met: bool) -> tuple[Verdict, ...]:
    """A verdict by itself."""
    return (Verdict(text, value, met),)


def table(rows: Iterable[Row]) -> Table:
    """One table of all rows."""
    made = Table(title="Seconds of CPU and wall time a round, and over the centralised loop", title_justify="left")
    for name in ("workload", "contender"):
        made.add_column(name, overflow="fold")
    for name in ("CPU, ms", "wall, ms", "over CPU", "over wall", "first, s"):
        made.add_column(name, justify="right")
    for name in ("target, and what was found", "met"):
        made.add_column(name, overflow="fold")
    last = ""
    for row in rows:
        if last and row.workload != last:
            made.add_section()
        made.add_row("" if row.workload == last else row.workload, *_cells(row))
        last = row.workload
    return made


def _cells(row: Row) -> tuple[str, ...]:
    found = [f"{each.target}: {each.value:.3g}" for each in row.verdicts]
    if row.note:
        found.append(row.note)
    met = "\n".join("yes" if each.met else "NO" for each in row.verdicts)
    times = (_number(row.cpu, 1e3, 1), _number(row.wall, 1e3, 1), _number(row.over_cpu, 1, 2))
    return (row.contender, *times, _number(row.over_wall, 1, 2), _number(row.first, 1, 2), "\n".join(found), met)


def _number(value: float | None, scale: float, digits: int) -> str:
    return "" if value is None else f"{value * scale:.{digits}f}"


def show(rows: Iterable[Row]) -> None:
    """Prints the table."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    console.print(table(rows))


def as_json(rows: Iterable[Row]) -> str:
    """The rows, and the versions of what ran here."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in ("numpy",)}
    return json.dumps({"format": 1, "versions": versions, "rows": [asdict(row) for row in rows]}, indent=1)


def write_json(path: Path, rows: Iterable[Row]) -> None:
    """Writes the rows to a file."""
    path.write_text(as_json(rows) + "\n", encoding="utf-8")
