"""What training leaves behind: a table as it goes, lines of JSON, checkpoints, a picture and a document at the end."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, Self

import click
import numpy as np

from fedlang.cli import errors
from fedlang.cli.checkpoints import Checkpoint, program_hash, read_checkpoint, write_checkpoint
from fedlang.cli.explaining import models_document
from fedlang.cli.training import Training
from fedlang.cli.values import json_value
from fedlang.cli.writing import write_whole
from fedlang.embed.computations import Computation, Process, count_leaves
from fedlang.embed.tables import RoundTable
from fedlang.embed.values import decode, encode

SCHEMA = "fedlang.training/1"
MANY = 100  # numbers of a setting that are all written


class Recorder:
    """A context in which `add` records a round. `begin` comes before it, `finish` after."""

    def __init__(
        self,
        training: Training,
        data: str,
        plot: str | None,
        out: str | None,
        checkpoint: str | None,
        checkpoint_every: int,
        *,
        as_json: bool,
    ) -> None:
        self._plot, self._out, self._folder, self._every = plot, out, checkpoint, checkpoint_every
        self._as_json = as_json
        self._process = training.process.name
        self._training, self._options = training, options_of(training, data)
        self._told = {
            **self._options,
            "settings": brief(settings_of(training.process)),
            **models_document(training.origins),
        }
        self._ran = ""  # what the rounds before ran on
        self._history: list[dict[str, Any]] = []
        self._state: Any = None
        self._kept = 0  # rounds in the last checkpoint
        self._lines: IO[str] | None = None
        self._table = RoundTable()
        if plot is not None and importlib.util.find_spec("matplotlib") is None:
            raise errors.missing_package("`--plot`", "matplotlib", "viz")

    @property
    def next_round(self) -> int:
        """The round that comes next."""
        return len(self._history) + 1

    def begin(self, first: Any, rounds: int, *, resume: bool) -> Any:
        """The state to begin with: the first, or the checkpoint's."""
        self._state = first
        if resume and self._folder is not None:
            checkpoint = read_checkpoint(self._folder, self._options, first)
            self._state, self._history = checkpoint.state, checkpoint.history
            self._kept, self._ran = len(self._history), checkpoint.ran
        left = max(0, rounds - len(self._history))
        self._table = RoundTable(left, start=self.next_round, console=self._console())
        return self._state

    def _console(self) -> Any:
        from rich.console import Console

        return Console(stderr=self._as_json, highlight=False)

    def __enter__(self) -> Self:
        if self._out is not None:
            write_whole(self._out, "".join(_line(row) for row in self._history).encode())
            self._lines = open(self._out, "a", encoding="utf-8")
        self._table.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.__exit__(kind, error, trace)
        if self._lines is not None:
            self._lines.close()

    def add(self, state: Any, row: dict[str, Any]) -> None:
        """One round: it counts as done when its line is written."""
        row = {name: json_value(value) for name, value in row.items()}
        self._state = state
        self._history.append(row)
        self._compare()
        if self._lines is not None:
            self._lines.write(_line(row))
            self._lines.flush()
        self._table.add({name: value for name, value in row.items() if name != "round"})
        if len(self._history) % self._every == 0:
            self._keep()

    def _compare(self) -> None:
        """Says, once, where a resumed round ran in another way than those before."""
        before, now = self._ran, ran_on(self._training)
        self._ran = ""
        if before not in ("", now):
            text = f"the rounds before ran on {before}, this one on {now}: the last bits may differ"
            click.echo(f"note: {text} (`--executor` and `--strategy` choose)", err=True)

    def _keep(self) -> None:
        if self._folder is not None and len(self._history) > self._kept:
            write_checkpoint(
                self._folder, Checkpoint(self._state, self._history, self._options, ran_on(self._training))
            )
            self._kept = len(self._history)

    def finish(self, beside: dict[str, Any], *, interrupted: bool) -> None:
        """Writes the last checkpoint, the picture and the document, with what is beside the rounds."""
        self._keep()
        if self._plot is not None and self._history:
            self._draw(self._plot)
        if self._as_json:
            about = {"schema": SCHEMA, "process": self._process, **self._told, "interrupted": interrupted}
            click.echo(json.dumps({**about, "rounds": self._history, **beside}))

    def _draw(self, path: str) -> None:
        from fedlang.cli.plots import plot_history

        try:
            plot_history(self._history, path, title=self._process)
        except ValueError as error:
            click.echo(f"no picture: {error}", err=True)
        except OSError as error:
            raise errors.unwritable(path, error.strerror or "") from None
        else:
            click.echo(f"drew {path}", err=True)


def options_of(training: Training, data: str) -> dict[str, Any]:
    """What decides how training goes on, as JSON has it: of the settings, those that `next` reads."""
    read_by_next = settings_read(training.process.method("next"))
    chosen = {name: getattr(training.plan, name) for name in ("batch", "epochs", "clients", "seed")}
    return {
        "program": program_hash(training.process),
        "data": data,
        **chosen,
        "settings": brief(
            {name: value for name, value in settings_of(training.process).items() if name in read_by_next}
        ),
    }


def ran_on(training: Training) -> str:
    """The executor, and how it chose to run the clients' work of each phase where it has a choice."""
    executor = training.plan.executor
    decision = getattr(executor, "decision", None)
    if decision is None:
        return f"`{executor.name}`"
    works = [phase.work for phase in training.process.method("next").program.phases]
    return f"`{executor.name}` ({', '.join(decision(work).name for work in works) or 'no work'})"


def settings_of(process: Process) -> dict[str, Any]:
    """The settings as the program has them, each rounded to its type. `DiagnosticError` for one that is of another."""
    types = process.method("next").compiled.lowered.settings
    return {name: decode(type, iter(encode(type, process.settings[name], name))) for name, type in types}


def settings_read(computation: Computation) -> frozenset[str]:
    """The settings that a program's graphs read: first weights, which only `initialize` reads, are none of `next`'s."""
    program, lowered = computation.program, computation.compiled.lowered
    pieces = [slots for phase in program.phases for slots in (phase.prepare_slots, phase.work_slots)]
    read = {slot.index for slots in (*pieces, program.finish_slots) for slot in slots if slot.kind == "input"}
    owners = [name for name, type in lowered.settings for _ in range(count_leaves(type))]
    return frozenset(owner for place, owner in enumerate(owners) if place in read)


def brief(value: Any) -> Any:
    """As JSON; an array of many numbers as its type and what tells it from others."""
    if isinstance(value, Mapping):
        return {name: brief(part) for name, part in value.items()}
    array = np.asarray(value) if isinstance(value, np.ndarray) else None
    if array is None or array.size <= MANY:
        return json_value(value)
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:12]
    return f"{array.dtype}[{', '.join(map(str, array.shape))}] of sha256 {digest}"


def _line(row: dict[str, Any]) -> str:
    return f"{json.dumps(row)}\n"
