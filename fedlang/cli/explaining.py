"""`--explain` and `-v`: how an executor ran what a command made it run, and which models that came from.

The explanation is on standard error, beside whatever the command shows; with `--json` it is part of the document. Of
training one round is watched: the second, in which nothing is compiled any more, or the only one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import click

from fedlang.embed.origins import Origin
from fedlang.run.executor import Executor
from fedlang.run.explanation import Explanation, OperationCost, Watched, WorkExplanation

T = TypeVar("T")

SHOWN, LEAST = 12, 5e-6  # operations in the table, and their seconds; the others are added up


class Watching:
    """Watches an executor where that was asked for, and shows what was seen."""

    def __init__(
        self, executor: Executor, origins: tuple[Origin, ...], *, explain: bool, verbose: bool, as_json: bool
    ) -> None:
        self._origins = origins
        self._executor, self._explain, self._verbose, self._as_json = executor, explain, verbose, as_json
        self._tell: Callable[[], Explanation] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Whatever runs inside is watched."""
        if not (self._explain or self._verbose) or not isinstance(self._executor, Watched):
            yield
            return
        with self._executor.watched(measured=self._explain) as tell:
            yield
        self._tell = tell

    def over(self, rounds: Iterator[T], count: int) -> Iterator[T]:
        """The rounds, of which there are `count`, one of them watched."""
        done = object()
        for number in range(count + 1):
            if number == min(1, count - 1):
                with self.running():
                    found = next(rounds, done)
            else:
                found = next(rounds, done)
            if found is done:
                return
            yield found  # type: ignore[misc]

    def document(self) -> dict[str, Any]:
        """What a JSON document has of it."""
        found = self._found() if self._explain else None
        told = models_document(self._origins) if self._explain or self._verbose else {}
        return told if found is None else {**told, "explanation": asdict(found)}

    def show(self) -> None:
        """For people, on standard error."""
        found = self._found()
        if self._explain and not self._as_json:
            for origin in self._origins:
                click.echo(str(origin), err=True)
            _show(found, self._executor.name)
        elif self._verbose:
            for origin in self._origins:
                click.echo(f"note: {origin}", err=True)
        if self._verbose and found is not None:
            for number, work in enumerate(found.works, 1):
                for note in work.notes:
                    click.echo(f"note: client work {number}: {note}", err=True)

    def _found(self) -> Explanation | None:
        return None if self._tell is None else self._tell()


def models_document(origins: tuple[Origin, ...]) -> dict[str, Any]:
    """What a JSON document has of the models that a program came from; nothing where it came from none."""
    told = [{"model": origin.model, "calls": origin.calls, "reason": origin.reason} for origin in origins]
    return {"models": told} if told else {}


def _show(found: Explanation | None, name: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if found is None:
        console.print(f"the executor `{name}` runs clients in one way: there is nothing to explain")
        console.print("`--executor batched` chooses between several, and says why")
        return
    if not found.works:
        console.print("no client did any work")
    for number, work in enumerate(found.works, 1):
        _show_work(console, number, work)
    console.print(f"devices: {', '.join(found.devices)}")
    if found.rest:
        console.print(f"small operations, loops and calls: {_milliseconds(found.rest)} ms")


def _show_work(console: Any, number: int, work: WorkExplanation) -> None:
    console.print(f"client work {number}: {work.strategy}, because {work.reason}")
    for line in _lines(work):
        console.print(f"  {line}")
    if work.operations:
        console.print(_table(work.operations))


def _lines(work: WorkExplanation) -> Iterator[str]:
    if work.strategies:
        told = ", ".join(f"{name} {_milliseconds(seconds)} ms" for name, seconds in work.strategies.items())
        yield f"estimated for a usual cohort: {told}"
    if work.chunks and work.seconds:
        what = "block" if work.strategy == "blocks" else "chunk"
        count = f"1 {what}" if len(work.chunks) == 1 else f"{len(work.chunks)} {what}s"
        yield f"{count} of {_sizes(work.chunks)} clients; {work.useful:.0%} of steps useful"
        yield f"{_milliseconds(work.seconds)} ms in {what}s, added up over threads"
    yield from work.notes


def _sizes(numbers: tuple[int, ...]) -> str:
    least, most = min(numbers), max(numbers)
    return str(most) if least == most else f"{least} to {most}"


def _table(operations: tuple[OperationCost, ...]) -> Any:
    from rich.table import Table

    table = Table("operation", "on", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("calls", "estimated, ms", "measured, ms"):
        table.add_column(name, justify="right")
    for row in _short(operations):
        calls = str(row.calls) if row.calls else "-"
        table.add_row(
            row.operation, row.device or "-", calls, _milliseconds(row.estimated), _milliseconds(row.measured)
        )
    return table


def _short(operations: tuple[OperationCost, ...]) -> Iterator[OperationCost]:
    """The costly ones, and the others together."""
    costly = [row for row in operations[:SHOWN] if max(row.estimated or 0.0, row.measured or 0.0) >= LEAST]
    yield from costly
    if rest := operations[len(costly) :]:
        estimated, measured = sum(row.estimated or 0.0 for row in rest), sum(row.measured or 0.0 for row in rest)
        yield OperationCost(f"{len(rest)} others", "", sum(row.calls for row in rest), estimated, measured)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.2f}"
