"""A program in normal form: what an executor runs.

Any federated computation becomes some number of phases, each

    prepare at the server -> broadcast -> work at the clients -> aggregate

and a last piece of server work, `finish`. Every graph here is local (all places ""). The leaves between the pieces are
told by name: a `Slot` says where a graph's parameter comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedlang.ir.graph import Graph, LeafType
from fedlang.source import Span


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a parameter of a piece comes from.

    kind         what `index` counts
    "input"      the program's inputs (leaves of its arguments and settings, in order)
    "server"     the results of phase `phase`'s `prepare`: the first `broadcasts` of them are sent to the clients
    "aggregate"  what phase `phase` aggregated, in order
    "client"     the results of phase `phase`'s `work`, at the same client (outputs, and what a client keeps between phases)
    "identity"   the client itself: a uint64 number from its id (`index` is 0)
    "finish"     the results of the program's `finish`
    """

    kind: str
    index: int
    phase: int = 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One leaf that goes from the clients to the server.

    `kind`: "sum", "mean", "min", "max", "collect", "secure_sum", "aggregate" (`body` says how). `value` and `weight` are indices of results of the
    phase's work (`weight` is -1 where there is none). `otherwise` is an index of `prepare`'s results for a mean, min or max
    over no clients, or -1. `options` are the movement's own (the bounds of a secure sum). `span` is the movement's place in
    the text, `path` the field it carries.
    """

    kind: str
    value: int
    type: LeafType
    weight: int = -1
    otherwise: int = -1
    options: tuple[tuple[str, object], ...] = ()
    path: str = ""
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Phase:
    """One trip to the clients and back.

    `prepare` runs at the server; its first `broadcasts` results are sent to the clients, all of them may be read by later
    server work. `work` runs at each client; its results are what `aggregates` refer to by index, what the program gives back
    at the clients, and what a client keeps for later phases. A work parameter that comes from an unplaced input or from
    a broadcast is the same for all clients; any other differs from client to client.
    """

    prepare: Graph
    prepare_slots: tuple[Slot, ...]
    broadcasts: int
    work: Graph
    work_slots: tuple[Slot, ...]
    aggregates: tuple[Aggregate, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled computation.

    `inputs` are the leaves of its arguments with their places ("" for settings), `input_names` their paths for messages.
    `results` says of each result leaf where it is found (a slot of kind "finish", or of kind "client").
    """

    inputs: tuple[tuple[LeafType, str], ...]
    input_names: tuple[str, ...]
    phases: tuple[Phase, ...]
    finish: Graph
    finish_slots: tuple[Slot, ...]
    results: tuple[Slot, ...]
