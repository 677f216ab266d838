"""What an executor is: the one door between a compiled program and whatever runs its pieces.

An executor runs local graphs. It never aggregates: `fedlang.run.rounds` drives the phases, gives it the clients'
work, and adds up exactly what comes back, so that no result depends on chunks, threads or order.

Client work. `compile_work(work, varies)` is called once for each phase; `varies[k]` says that parameter `k` of the
graph differs from client to client. `ClientWork.run` then gets the values of the other parameters (`shared`) and the
clients, and gives chunks of finished clients. Every client is in exactly one chunk, as a result or as a failure;
chunks may hold any number of clients and may come in any order, and inside one clients keep the order in which they
were given. The iterator of clients is read as chunks are made, and chunks are used up as they come: an executor holds
a bounded number of them. What a client's work gives must not depend on the chunk it is in.

Server work and plain functions are compiled by `compile_local`, in every executor by the reference's evaluator unless
it says otherwise: then the server's bits are equal in all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Graph
from fedlang.run.sequences import Array, LeafValue


class Sink(Protocol):
    """Where effects go."""

    def print(self, text: str) -> None:
        """A line that the program prints."""
        ...

    def probe(self, name: str, value: LeafValue) -> None:
        """A value that the program shows under a name."""
        ...


class Printed:
    """Prints lines to standard output; probed values go nowhere."""

    def print(self, text: str) -> None:
        """Writes the line."""
        sys.stdout.write(f"{text}\n")

    def probe(self, name: str, value: LeafValue) -> None:
        """Does nothing."""


@dataclass(slots=True)
class Collected:
    """Keeps what is printed and probed, in order."""

    lines: list[str] = field(default_factory=list)
    probes: list[tuple[str, LeafValue]] = field(default_factory=list)

    def print(self, text: str) -> None:
        """Keeps the line."""
        self.lines.append(text)

    def probe(self, name: str, value: LeafValue) -> None:
        """Keeps the value under its name."""
        self.probes.append((name, value))


@dataclass(frozen=True, slots=True, eq=False)
class ClientTask:
    """One client's share of a phase.

    `position` is the client's place in the cohort, for the driver's own use. `read` gives the values of the
    parameters that vary, in the order of the graph's parameters; it is called once, when the client's turn comes, and
    a call that raises is that client's failure.
    """

    position: int
    id: str
    read: Callable[[], tuple[LeafValue, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class ClientFailure:
    """A client whose work failed, and why; the error names the client."""

    position: int
    id: str
    error: DiagnosticError


# One result leaf of a chunk: an array `[clients, ...]`, or a list with a value for each client where a stack will not
# do (sequences, and tensors of unequal shapes).
Stacked: TypeAlias = "Array | list[LeafValue]"


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What one client printed and probed."""

    lines: tuple[str, ...] = ()
    probes: tuple[tuple[str, LeafValue], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Clients that have finished: their positions and ids, and one `Stacked` for each result of the work graph.

    `effects` has one entry for each of the clients, or none at all where nothing was printed or probed.
    """

    positions: tuple[int, ...]
    ids: tuple[str, ...]
    results: tuple[Stacked, ...]
    failures: tuple[ClientFailure, ...] = ()
    effects: tuple[Effects, ...] = ()


@runtime_checkable
class ClientWork(Protocol):
    """A work graph made ready to run."""

    def run(self, shared: Sequence[LeafValue], clients: Iterable[ClientTask]) -> Iterator[Chunk]:
        """Chunks of finished clients; `shared` are the values of the parameters that do not vary, in their order."""
        ...


# A local graph made ready to run: argument leaves and a sink to result leaves.
LocalWork: TypeAlias = Callable[[Sequence[LeafValue], Sink], list[LeafValue]]


@runtime_checkable
class Executor(Protocol):
    """Runs local graphs: the work of clients, and whatever has one value."""

    @property
    def name(self) -> str:
        """What the registry calls it."""
        ...

    def compile_work(self, work: Graph, varies: tuple[bool, ...]) -> ClientWork:
        """The work of a phase made ready for many clients."""
        ...

    def compile_local(self, graph: Graph) -> LocalWork:
        """Server work, or a plain function, made ready."""
        ...


def value_of(stacked: Stacked, client: int) -> LeafValue:
    """One client's value of a result leaf; `client` counts within the chunk."""
    return stacked[client]


def merge_parameters(
    varies: tuple[bool, ...], shared: Sequence[LeafValue], own: Sequence[LeafValue]
) -> tuple[LeafValue, ...]:
    """All parameters of a work graph in order, from those that are shared and those of one client."""
    common, mine = iter(shared), iter(own)
    return tuple(next(mine) if differs else next(common) for differs in varies)
