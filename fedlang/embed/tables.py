"""The table of rounds that `fed train` shows, and `fl.utils.RoundTable` elsewhere: one line a round, as it ends.

What comes in is one mapping of names to numbers for each round, whatever the program calls its metrics; nested records
are shown by their path. On a terminal the table has colours and a line that counts the rounds; anywhere else it is
plain text, with nothing that moves, so that it can be piped and read again. In a notebook it is one table that grows,
under a bar. rich honours `NO_COLOR` and `FORCE_COLOR`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from fedlang.embed.notebook import Live, rounds_html

Metrics = Mapping[str, object]

NARROWEST = 9
FIRST = ("round", "loss", "accuracy")
LAST = ("examples", "clients", "seconds")


class RoundTable:
    """A context in which `add` shows a round.

        with RoundTable(rounds=30) as table:
            for number in range(30):
                state, metrics = process.next(state, data)
                table.add(metrics)

    The columns are those of the first round; a metric that first comes later is not shown, one that is missing is a
    dash. The column `seconds` is the time since the last round, unless the metrics have one of that name.
    """

    def __init__(self, rounds: int | None = None, *, start: int = 1, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._round = start
        self._rounds = rounds
        self._last = start + rounds - 1 if rounds is not None else None
        self._columns: tuple[str, ...] = ()
        self._rows: list[dict[str, str]] = []
        self._since = time.perf_counter()
        self._in_notebook = self._console.is_jupyter
        self._live: Live | None = None
        self._progress = self._bar() if self._console.is_terminal and not self._in_notebook else None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._since = time.perf_counter()
        if self._progress is not None:
            self._task = self._progress.add_task("training", completed=self._round - 1, total=self._last)
            self._progress.start()
        if self._in_notebook:
            self._live = Live(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def add(self, metrics: Metrics) -> None:
        """Shows the next round."""
        now = time.perf_counter()
        row = {"round": self._round, **flat_metrics(metrics)}
        row.setdefault("seconds", now - self._since)
        is_first = not self._columns
        self._columns = self._columns or ordered(row)
        self._rows.append({name: shown(row.get(name)) for name in self._columns})
        if self._live is not None:
            self._live.update()
        else:
            self._print(is_first=is_first)
        if self._progress is not None:
            self._progress.update(self._task, completed=self._round)
        self._round += 1
        self._since = now

    def _print(self, *, is_first: bool) -> None:
        if is_first:
            self._console.print(self._line({name: name for name in self._columns}, "bold"), soft_wrap=True)
        self._console.print(self._line(self._rows[-1]), soft_wrap=True)

    def __repr__(self) -> str:
        rows = [{name: name for name in self._columns}, *self._rows]
        return "\n".join(self._line(row).plain for row in rows)

    def _repr_html_(self) -> str:
        return rounds_html(self._columns, self._rows, len(self._rows), self._rounds)

    def _line(self, cells: Mapping[str, str], style: str = "") -> Text:
        words = [cells[name].rjust(max(NARROWEST, len(name))) for name in self._columns]
        return Text("  ".join(words), style=style)

    def _bar(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self._console, transient=True)


def flat_metrics(metrics: Metrics, path: str = "") -> dict[str, object]:
    """Metrics by path: `{"a": {"b": 1}}` gives `{"a.b": 1}`; what is no number is left out."""
    flat: dict[str, object] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= flat_metrics(value, f"{path}{name}.")
        elif (number := as_number(value)) is not None:
            flat[f"{path}{name}"] = number
    return flat


def as_number(value: object) -> int | float | None:
    """A Python number from a number, a NumPy scalar or an array without axes; None from anything else."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        value = item()
    return value if isinstance(value, (int, float)) else None


def ordered(names: Mapping[str, object]) -> tuple[str, ...]:
    """The columns: what is looked at first, the program's own in their order, what is looked at last."""
    own = (name for name in names if name not in FIRST and name not in LAST)
    return (*(name for name in FIRST if name in names), *own, *(name for name in LAST if name in names))


def shown(value: object) -> str:
    """A number in at most nine characters, most of the time; a dash for nothing."""
    number = as_number(value)
    if number is None:
        return "-"
    if isinstance(number, int):
        return str(number).lower()
    if number.is_integer() and abs(number) < 1e9:
        return f"{number:.0f}" if abs(number) >= 100 else f"{number:.4f}"
    return f"{number:.4f}" if 1e-3 <= abs(number) < 1e4 else f"{number:.3g}"
