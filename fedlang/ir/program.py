"""A program in normal form: what an executor runs.

Any federated computation becomes some number of phases, each

    prepare at the server -> broadcast -> work at the clients -> aggregate

and a last piece of server work, `finish`. Every graph here is local (all places ""). The leaves between the pieces are
told by name: a `Slot` says where a graph's parameter comes from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedlang.ir.graph import Attribute, Graph, LeafType, NodeType
from fedlang.source import Span


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a parameter of a piece comes from.

    kind         what `index` counts
    "input"      the program's inputs (leaves of its arguments and settings, in order)
    "server"     the results of phase `phase`'s `prepare`: the first `broadcasts` of them are sent to the clients
    "aggregate"  the leaves that phase `phase` aggregated, in order (an aggregate whose type is a tuple has several)
    "client"     the results of phase `phase`'s `work`, at the same client (outputs, and what it keeps between phases)
    "identity"   the client itself: a uint64 number from its id (`index` is 0)
    "finish"     the results of the program's `finish`
    """

    kind: str
    index: int
    phase: int = 0


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One movement from the clients to the server.

    `kind`: "sum", "mean", "min", "max", "collect", "secure_sum" or "aggregate". `value` and `weight` are indices of
    results of the phase's work (`weight` is -1 where there is none). `otherwise` is an index of `prepare`'s results for
    a mean, min or max over no clients, or -1. `type` is what the server gets: one leaf, or for "aggregate" a tuple of
    them. `path` is the field it carries, `span` its place in the text.

    `captured` are indices of `prepare`'s results: the bounds of a secure sum, or what the graphs of an "aggregate"
    capture. Those graphs are `options` "zero" (captured -> state), "accumulate" (captured, state, values -> state),
    "merge" (captured, state, state -> state) and "report" (captured, state -> the leaves of `type`); `values` are all
    that a client gives to it, `value` the first.
    """

    kind: str
    value: int
    type: NodeType
    weight: int = -1
    otherwise: int = -1
    values: tuple[int, ...] = ()
    captured: tuple[int, ...] = ()
    options: tuple[tuple[str, Attribute], ...] = ()
    path: str = ""
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What one broadcast leaf was in the text: `kind` is "broadcast", "keys" or "select", `path` its field."""

    kind: str
    path: str = ""
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Phase:
    """One trip to the clients and back.

    `prepare` runs at the server; its first `broadcasts` results are sent to the clients, all of them may be read by
    later server work. `work` runs at each client; its results are what `aggregates` refer to by index, what the program
    gives back at the clients, and what a client keeps for later phases. A work parameter that comes from an unplaced or
    shared input or from a broadcast (of this phase or an earlier one) is the same for all clients; any other differs
    from client to client. `sent` says of each broadcast what it was in the text.
    """

    prepare: Graph
    prepare_slots: tuple[Slot, ...]
    broadcasts: int
    work: Graph
    work_slots: tuple[Slot, ...]
    aggregates: tuple[Aggregate, ...]
    sent: tuple[Sent, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled computation.

    `inputs` are the leaves of its arguments with their places ("" for settings), `input_names` their paths.
    `results` says of each result leaf where it is found (a slot of kind "finish", or of kind "client").
    """

    inputs: tuple[tuple[LeafType, str], ...]
    input_names: tuple[str, ...]
    phases: tuple[Phase, ...]
    finish: Graph
    finish_slots: tuple[Slot, ...]
    results: tuple[Slot, ...]
