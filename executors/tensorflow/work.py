"""Client work on TensorFlow: tasks in, chunks of finished clients out. What the TensorFlow executors share.

`read_chunks` groups tasks into chunks and reads their values, `Packed` is a chunk ready to run, and `finish` turns a
program's outputs into what the driver takes. Failures of one client (its data, its checks) are that client's alone.
"""

# ruff: noqa: TID252 (executors import each other relatively: installed, they lie inside `fedlang`)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedlang.diagnostics import DiagnosticError
from fedlang.run.errors import check_failed, client_failed, operation_failed, unreadable_client
from fedlang.run.executor import Chunk, ClientFailure, ClientTask, Effects, Stacked
from fedlang.run.sequences import Elements, LeafValue, Rows

from ..reference.effects import fill, show
from .lanes import VECTOR
from .scope import Site
from .sequential import Note, is_free

Outputs = list[NDArray[Any]]
STEP, USEFUL = VECTOR, 0.8  # clients by which blocks grow, and the share of their steps that must be of use


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Readable:
    """Clients whose data were read, with their values, and those whose data could not be."""

    tasks: tuple[ClientTask, ...]
    values: tuple[tuple[LeafValue, ...], ...]
    failures: tuple[ClientFailure, ...]
    lengths: tuple[int, ...]  # of each client's longest sequence

    @staticmethod
    def of(
        tasks: Sequence[ClientTask], values: Sequence[tuple[LeafValue, ...]], failures: Sequence[ClientFailure] = ()
    ) -> Readable:
        """With the lengths of these values."""
        return Readable(tuple(tasks), tuple(values), tuple(failures), tuple(map(_longest, values)))

    def take(self, rows: Sequence[int], failures: tuple[ClientFailure, ...]) -> Readable:
        """Some of the clients, and these failures."""
        tasks, values = tuple(self.tasks[k] for k in rows), tuple(self.values[k] for k in rows)
        return Readable(tasks, values, failures, tuple(self.lengths[k] for k in rows))


def read_chunks(clients: Iterable[ClientTask], size: int) -> Iterator[Readable]:
    """Chunks of at most `size` clients, read when they are asked for."""
    remaining = iter(clients)
    while tasks := list(islice(remaining, size)):
        yield _read(tasks)


def alike(window: Readable, size: int) -> Iterator[Readable]:
    """The window's clients in chunks of clients with sequences about as long, so that little is padded.

    A chunk grows by `STEP` clients as long as it has room and `USEFUL` of what it computes is used. Ties go by
    position, and inside a chunk clients are in their order; what a client computes is the same in any chunk.
    """
    order = sorted(range(len(window.tasks)), key=lambda k: (window.lengths[k], window.tasks[k].position))
    failures, start = window.failures, 0
    for count in alike_sizes([window.lengths[k] for k in order], size) or [0]:
        yield window.take(sorted(order[start : start + count]), failures)
        failures, start = (), start + count


def alike_sizes(lengths: Sequence[int], size: int) -> list[int]:
    """The sizes of such chunks, for clients of these lengths, the shortest first."""
    sizes: list[int] = []
    step, steps = min(STEP, size), 0  # steps of the last chunk's clients
    for start in range(0, len(lengths), step):
        more = lengths[start : start + step]
        count, steps = (sizes[-1] if sizes else 0) + len(more), steps + sum(more)
        if sizes and count <= size and steps >= USEFUL * max(1, more[-1]) * count:
            sizes[-1] = count
        else:
            sizes.append(len(more))
            steps = sum(more)
    return sizes


def _longest(values: tuple[LeafValue, ...]) -> int:
    longest = 0
    for value in values:  # of every client in every round: `max` of a list takes twice as long
        if isinstance(value, (Rows, Elements)) and (length := len(value)) > longest:
            longest = length
    return longest


def _read(tasks: Sequence[ClientTask]) -> Readable:
    good: list[tuple[ClientTask, tuple[LeafValue, ...]]] = []
    failures = []
    for task in tasks:
        try:
            good.append((task, task.read()))
        except DiagnosticError as error:
            failures.append(ClientFailure(task.position, task.id, client_failed(task.id, error)))
        except Exception as error:
            reason = unreadable_client(task.id, f"{type(error).__name__}: {error}")
            failures.append(ClientFailure(task.position, task.id, client_failed(task.id, reason)))
    return Readable.of([task for task, _ in good], [values for _, values in good], failures)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """What a program gave for a chunk: a `Stacked` for each result, each note's values, and flags [C, sites]."""

    results: tuple[Stacked, ...]
    notes: tuple[tuple[Stacked, ...], ...]
    flags: NDArray[np.bool_]


def split_outputs(arrays: Sequence[NDArray[Any]], types: Sequence[Any]) -> list[Stacked]:
    """The outputs of a sequential program: stacked, or one by one where clients' shapes may differ."""
    rest = list(arrays)
    found: list[Stacked] = []
    for type in types:
        if not is_free(type):
            found.append(rest.pop(0))
            continue
        flat, sizes = rest.pop(0), rest.pop(0)
        parts = np.split(flat, np.cumsum(np.prod(sizes, axis=1, dtype=np.int64))[:-1])
        found.append([np.asarray(part.reshape(size)) for part, size in zip(parts, sizes, strict=True)])
    return found


def finish(read: Readable, finished: Finished, sites: Sequence[Site], notes: Sequence[Note]) -> Chunk:
    """The chunk for the driver; clients whose checks failed become failures."""
    count = len(read.tasks)
    if not notes and finished.flags.all():
        positions, ids = tuple([task.position for task in read.tasks]), tuple([task.id for task in read.tasks])
        return Chunk(positions, ids, tuple([stacked[:count] for stacked in finished.results]), read.failures)
    bad = ~finished.flags[:count].all(axis=1)
    failed = [_failure(read.tasks[k], sites[int(np.argmin(finished.flags[k]))]) for k in np.flatnonzero(bad)]
    kept = np.flatnonzero(~bad)
    failures = tuple(sorted([*read.failures, *failed], key=lambda failure: failure.position))
    effects = tuple(_effects(finished.notes, notes, int(k)) for k in kept) if notes else ()
    return Chunk(
        tuple(read.tasks[k].position for k in kept),
        tuple(read.tasks[k].id for k in kept),
        tuple(_kept(stacked, kept, count) for stacked in finished.results),
        failures,
        effects,
    )


def _kept(stacked: Stacked, kept: NDArray[np.intp], count: int) -> Stacked:
    if isinstance(stacked, list):
        return [stacked[k] for k in kept]
    return stacked[:count] if len(kept) == count else stacked[kept]


def _failure(task: ClientTask, site: Site) -> ClientFailure:
    error = check_failed if site.kind == "check" else None
    cause = error(site.text, site.span) if error else operation_failed(site.kind, site.text, site.span)
    return ClientFailure(task.position, task.id, client_failed(task.id, cause))


def _effects(values: tuple[tuple[Stacked, ...], ...], notes: Sequence[Note], client: int) -> Effects:
    shown = [(note, [each[client] for each in inputs]) for note, inputs in zip(notes, values, strict=True)]
    lines = [
        fill(note.text.split("{}"), [show(value) for value in given]) for note, given in shown if note.kind == "print"
    ]
    return Effects(tuple(lines), tuple((note.text, given[0]) for note, given in shown if note.kind == "probe"))


def nothing(read: Readable, results: int) -> Chunk:
    """The chunk in which no client's data could be read."""
    return Chunk((), (), tuple([] for _ in range(results)), read.failures)


def as_sequences(results: Sequence[Stacked], sequences: Sequence[bool]) -> tuple[Stacked, ...]:
    """Results that are sequences, held as sequences again."""
    return tuple(
        [Rows(np.asarray(rows)) for rows in stacked] if is_sequence else stacked
        for stacked, is_sequence in zip(results, sequences, strict=True)
    )
