"""Programs run: the phases of a compiled program driven for any executor.

In: a program in normal form, the values of its inputs, an executor. Out: its results, all of them or an error;
nothing is kept of a run that fails.

For each phase the server prepares, every client works (the executor decides how), and what the clients send is
accumulated chunk by chunk, so no more than a chunk of results is alive at once. Exceptions are what a program itself
keeps: the clients' results it gives back, and those that a later phase reads at the same client.

A client takes part in all aggregates of a phase or in none. One that fails ends the run with an error that names it,
unless the policy allows dropouts; then it is out of that phase's aggregates and of all later phases, and is told of
in the results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import overload

import numpy as np

from fedlang.ir.graph import Graph, LeafType
from fedlang.ir.graph import Sequence as SequenceType
from fedlang.ir.program import Aggregate, Phase, Program, Slot
from fedlang.run.accumulators import Accumulator, Surroundings, accumulator_of
from fedlang.run.agreement import Verify, agreement
from fedlang.run.clients import ClientData, in_order
from fedlang.run.errors import faulty_executor, missing_input
from fedlang.run.executor import (
    Chunk,
    ClientFailure,
    ClientTask,
    ClientWork,
    Effects,
    Executor,
    LocalWork,
    Printed,
    Sink,
    value_of,
)
from fedlang.run.externs import Called
from fedlang.run.parts import Part, Weights
from fedlang.run.random import identity_of
from fedlang.run.sequences import Elements, LeafValue, Rows
from fedlang.types.dims import Atom, Size, evaluate


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens to clients that cannot be counted in.

    `drop_failed`: a client whose work fails, or whose data cannot be read, is dropped. `drop_invalid`: so is one that
    sends what an aggregate refuses (a value that is not finite, a bad weight, a value out of bounds). Otherwise each
    is an error.
    """

    drop_failed: bool = False
    drop_invalid: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The values of a program's inputs.

    `values` has one for each input leaf, None for those at the clients. `clients` gives for each client of the cohort
    the leaves of the inputs at the clients, in their order.
    """

    values: tuple[LeafValue | None, ...]
    clients: ClientData[Sequence[LeafValue]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ClientValues:
    """A result at the clients: one value for each client that finished, in the order of the cohort as given."""

    ids: tuple[str, ...]
    values: tuple[LeafValue, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What a run gives: a leaf for each result, the clients that dropped out, and what clients probed (by name)."""

    leaves: tuple[LeafValue | ClientValues, ...]
    failures: tuple[ClientFailure, ...] = ()
    probes: tuple[tuple[str, str, LeafValue], ...] = ()


@dataclass(slots=True, eq=False)
class _Run:
    """One run's facts so far. `ids` are in the order of client ids: a client's position is its place there."""

    inputs: Inputs
    ids: tuple[str, ...]
    policy: Policy
    sink: Sink
    sizes: dict[Atom, int]
    prepared: list[list[LeafValue]] = field(default_factory=list)
    aggregated: list[list[LeafValue]] = field(default_factory=list)
    kept: list[dict[int, dict[int, LeafValue]]] = field(default_factory=list)
    finished: list[LeafValue] = field(default_factory=list)
    failures: dict[int, ClientFailure] = field(default_factory=dict)
    effects: dict[int, Effects] = field(default_factory=dict)
    probes: list[tuple[str, str, LeafValue]] = field(default_factory=list)

    def server_value(self, slot: Slot) -> LeafValue:
        """A leaf that the server holds."""
        match slot.kind:
            case "input":
                value = self.inputs.values[slot.index]
                assert value is not None, "inputs are checked before the run"
                return value
            case "server":
                return self.prepared[slot.phase][slot.index]
            case "aggregate":
                return self.aggregated[slot.phase][slot.index]
            case _:
                assert slot.kind == "finish", f"the server has nothing of kind {slot.kind}"
                return self.finished[slot.index]


class CompiledProgram:
    """A program made ready for an executor; runs as often as one likes."""

    def __init__(self, program: Program, executor: Executor) -> None:
        self.program, self.executor = program, executor
        self._local: dict[int, tuple[Graph, LocalWork]] = {}
        self._works = [(Called.by(phase.work), _compile_work(program, phase, executor)) for phase in program.phases]
        self._agree = [_agreement(program, phase) for phase in program.phases]
        self._kept = [_kept_indices(program, phase) for phase in range(len(program.phases))]
        for graph in (*(phase.prepare for phase in program.phases), program.finish):
            self._compile_local(graph)

    def run(self, inputs: Inputs, *, policy: Policy | None = None, sink: Sink | None = None) -> Results:
        """The results. `DiagnosticError` where an input, a client or an aggregate is at fault."""
        run = _start(self.program, inputs, Policy() if policy is None else policy, sink or Printed())
        for index in range(len(self.program.phases)):
            self._run_phase(index, run)
        values = [run.server_value(slot) for slot in self.program.finish_slots]
        run.finished = self._compile_local(self.program.finish)(values, run.sink)
        failures = tuple(run.failures[position] for position in sorted(run.failures))
        return Results(tuple(self._result(slot, run) for slot in self.program.results), failures, tuple(run.probes))

    def _compile_local(self, graph: Graph) -> LocalWork:
        if id(graph) not in self._local:
            self._local[id(graph)] = (graph, self.executor.compile_local(graph))
        return self._local[id(graph)][1]

    def _work(self, index: int) -> ClientWork:
        """A phase's work; compiled again where a function from Python that it calls was registered anew."""
        called, work = self._works[index]
        if not called.are_registered():
            phase = self.program.phases[index]
            called, work = self._works[index] = Called.by(phase.work), _compile_work(self.program, phase, self.executor)
        return work

    def _run_phase(self, index: int, run: _Run) -> None:
        phase = self.program.phases[index]
        values = [run.server_value(slot) for slot in phase.prepare_slots]
        run.prepared.append(self._compile_local(phase.prepare)(values, run.sink))
        run.kept.append({result: {} for result in self._kept[index]})
        accumulators = [self._accumulator(aggregate, run) for aggregate in phase.aggregates]
        for position in run.failures:
            _leave_out(accumulators, position)
        for chunk in self._chunks(index, run):
            _take_chunk(chunk, phase, accumulators, run)
        _show_effects(run)
        run.aggregated.append([leaf for each in accumulators for leaf in each.results()])

    def _accumulator(self, aggregate: Aggregate, run: _Run) -> Accumulator:
        shape = _empty_shape(aggregate, run.sizes)
        return accumulator_of(
            aggregate, Surroundings(run.prepared[-1], len(run.ids), self._compile_local, run.sink, shape)
        )

    def _chunks(self, index: int, run: _Run) -> Iterator[Chunk]:
        """The chunks of all clients that are still there. Checks that each comes once."""
        phase, work = self.program.phases[index], self._work(index)
        shared = [run.server_value(slot) for slot in phase.work_slots if not varies(self.program, slot)]
        missing = set(range(len(run.ids))) - run.failures.keys()
        if not missing:
            return
        reader = _reader(self.program, phase, run, self._agree[index])
        tasks = _Tasks(sorted(missing), run.ids, reader)
        name, count = self.executor.name, len(phase.work.results)
        for chunk in work.run(shared, tasks):
            if wrong := _fault(chunk, missing, run.ids, count):
                raise faulty_executor(name, wrong)
            missing.difference_update(chunk.positions, (failure.position for failure in chunk.failures))
            yield chunk
        if missing:
            lost = ", ".join(f"`{run.ids[position]}`" for position in sorted(missing)[:3])
            raise faulty_executor(name, f"gives nothing for client {lost}{', …' if len(missing) > 3 else ''}")

    def _result(self, slot: Slot, run: _Run) -> LeafValue | ClientValues:
        if slot.kind != "client":
            return run.server_value(slot)
        found = run.kept[slot.phase][slot.index]
        place = {client: position for position, client in enumerate(run.ids)}
        given = () if run.inputs.clients is None else run.inputs.clients.client_ids
        there = tuple(client for client in given if place[client] in found and place[client] not in run.failures)
        return ClientValues(there, tuple(found[place[client]] for client in there))


def _fault(chunk: object, missing: set[int], ids: tuple[str, ...], results: int) -> str:
    """What is wrong with what an executor gives; "" where it is a chunk of clients that are waited for."""
    if not isinstance(chunk, Chunk):
        return f"gives `{type(chunk).__name__}`, which is no `Chunk`"
    places = [*chunk.positions, *(failure.position for failure in chunk.failures)]
    if len(set(places)) < len(places) or not missing.issuperset(places):
        return "gives a client twice, or one that it was not given"
    if tuple(chunk.ids) != tuple(ids[position] for position in chunk.positions):
        return "gives clients' ids that are not those of their positions"
    if len(chunk.results) != results and chunk.ids:
        return f"gives {len(chunk.results)} results in a chunk of work that has {results}"
    for k, stacked in enumerate(chunk.results if chunk.ids else ()):
        given = len(stacked) if isinstance(stacked, list) or np.shape(stacked) else -1
        if given != len(chunk.ids):
            return f"gives in result {k} of a chunk no list or array of {len(chunk.ids)}, one for each client"
    return ""


def run_program(
    program: Program, inputs: Inputs, executor: Executor, *, policy: Policy | None = None, sink: Sink | None = None
) -> Results:
    """Compiles and runs once; `CompiledProgram` is for programs that run again."""
    return CompiledProgram(program, executor).run(inputs, policy=policy, sink=sink)


def varies(program: Program, slot: Slot) -> bool:
    """Whether a work parameter differs from client to client."""
    if slot.kind == "input":
        return program.inputs[slot.index][1] == "clients"
    return slot.kind in ("client", "identity")


def _compile_work(program: Program, phase: Phase, executor: Executor) -> ClientWork:
    return executor.compile_work(phase.work, tuple(varies(program, slot) for slot in phase.work_slots))


def _kept_indices(program: Program, phase: int) -> frozenset[int]:
    """The results of a phase's work that are read later: by other phases, or as results."""
    slots = [slot for later in program.phases for slot in later.work_slots]
    return frozenset(slot.index for slot in (*slots, *program.results) if slot.kind == "client" and slot.phase == phase)


def _start(program: Program, inputs: Inputs, policy: Policy, sink: Sink) -> _Run:
    for k, (_, place) in enumerate(program.inputs):
        if place != "clients" and (k >= len(inputs.values) or inputs.values[k] is None):
            raise missing_input(program.input_names[k])
        if place == "clients" and inputs.clients is None:
            raise missing_input(program.input_names[k])
    ids = in_order(inputs.clients.client_ids) if inputs.clients is not None else ()
    return _Run(inputs, ids, policy, sink, _sizes(program, inputs))


def _sizes(program: Program, inputs: Inputs) -> dict[Atom, int]:
    """The named sizes that the server's inputs show."""
    sizes: dict[Atom, int] = {}
    for (type, place), value in zip(program.inputs, inputs.values, strict=False):
        if place != "clients" and value is not None:
            for size, number in _shown(type, value):
                if not isinstance(size, int) and size.atom is not None:
                    sizes.setdefault(size.atom, number)
    return sizes


def _shown(type: LeafType, value: LeafValue) -> list[tuple[Size, int]]:
    if isinstance(type, SequenceType):
        return [(type.length, len(value))]
    if isinstance(value, (Rows, Elements)):
        return []
    return list(zip(type.shape, getattr(value, "shape", ()), strict=False))


def _empty_shape(aggregate: Aggregate, sizes: dict[Atom, int]) -> tuple[int, ...]:
    """The shape of a sum over no clients; a size that only clients could tell is 0."""
    if isinstance(aggregate.type, (tuple, SequenceType)):
        return ()
    return tuple(_number(size, sizes) for size in aggregate.type.shape)


def _number(size: Size, sizes: dict[Atom, int]) -> int:
    try:
        return evaluate(size, sizes)
    except KeyError:
        return 0


@dataclass(frozen=True, slots=True, eq=False)
class _Tasks(Sequence[ClientTask]):
    """The clients of a phase, each made when it is asked for: executors may ask how many there are."""

    places: list[int]
    ids: tuple[str, ...]
    reader: Callable[[int], Callable[[], tuple[LeafValue, ...]]]

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> ClientTask: ...
    @overload
    def __getitem__(self, index: slice) -> _Tasks: ...
    def __getitem__(self, index: int | slice) -> ClientTask | _Tasks:
        if isinstance(index, slice):
            return _Tasks(self.places[index], self.ids, self.reader)
        place = self.places[index]
        return ClientTask(place, self.ids[place], self.reader(place))


def _agreement(program: Program, phase: Phase) -> Verify:
    """What compares the sizes that a client's inputs to a phase share."""
    read = [slot.index for slot in phase.work_slots if slot.kind == "input" and varies(program, slot)]
    return agreement([program.inputs[index][0] for index in read], [program.input_names[index] for index in read])


def _reader(
    program: Program, phase: Phase, run: _Run, verify: Verify
) -> Callable[[int], Callable[[], tuple[LeafValue, ...]]]:
    """For a client's position, what reads the values of the work's own parameters."""
    own = [slot for slot in phase.work_slots if varies(program, slot)]
    rank = {k: n for n, k in enumerate(k for k, (_, place) in enumerate(program.inputs) if place == "clients")}
    reads_data = any(slot.kind == "input" for slot in own)
    places = [rank[slot.index] for slot in own if slot.kind == "input"]

    def read_data(position: int) -> tuple[LeafValue, ...]:
        assert run.inputs.clients is not None, "there are clients"
        data = run.inputs.clients.client(run.ids[position])
        values = tuple([data[place] for place in places])
        verify(values)
        return values

    def read(position: int) -> tuple[LeafValue, ...]:
        assert run.inputs.clients is not None, "there are clients"
        data = run.inputs.clients.client(run.ids[position]) if reads_data else ()
        verify([data[place] for place in places])
        return tuple(_own_value(slot, position, data, rank, run) for slot in own)

    return partial(partial, read_data if reads_data and len(places) == len(own) else read)


def _own_value(slot: Slot, position: int, data: Sequence[LeafValue], rank: dict[int, int], run: _Run) -> LeafValue:
    match slot.kind:
        case "input":
            return data[rank[slot.index]]
        case "client":
            return run.kept[slot.phase][slot.index][position]
        case _:
            return np.asarray(identity_of(run.ids[position]))


def _take_chunk(chunk: Chunk, phase: Phase, accumulators: list[Accumulator], run: _Run) -> None:
    for failure in chunk.failures:
        _drop(failure, accumulators, run, allowed=run.policy.drop_failed)
    if not chunk.ids:
        return
    indices = {aggregate.weight for aggregate in phase.aggregates if aggregate.weight >= 0}
    weights = {index: Weights(np.asarray(chunk.results[index])) for index in indices}
    parts = [_part(chunk, aggregate, weights) for aggregate in phase.aggregates]
    offenders = {k: e for a, part in zip(accumulators, parts, strict=True) for k, e in a.offenders(part).items()}
    for row in sorted(offenders):
        failure = ClientFailure(chunk.positions[row], chunk.ids[row], offenders[row])
        _drop(failure, accumulators, run, allowed=run.policy.drop_invalid)
    rows = [row for row in range(len(chunk.ids)) if row not in offenders]
    if rows:
        for accumulator, part in zip(accumulators, parts, strict=True):
            accumulator.add(part.kept(rows))
    _keep(chunk, rows, run)


def _part(chunk: Chunk, aggregate: Aggregate, weights: Mapping[int, Weights]) -> Part:
    values = tuple([chunk.results[index] for index in aggregate.values or (aggregate.value,)])
    return Part(chunk.positions, chunk.ids, values, weights.get(aggregate.weight))


def _drop(failure: ClientFailure, accumulators: list[Accumulator], run: _Run, *, allowed: bool) -> None:
    if not allowed:
        raise failure.error
    run.failures[failure.position] = failure
    _leave_out(accumulators, failure.position)


def _leave_out(accumulators: list[Accumulator], position: int) -> None:
    for accumulator in accumulators:
        accumulator.leave_out(position)


def _keep(chunk: Chunk, rows: list[int], run: _Run) -> None:
    for index, found in run.kept[-1].items():
        for row in rows:
            found[chunk.positions[row]] = value_of(chunk.results[index], row)
    for row, effects in enumerate(chunk.effects):
        run.effects[chunk.positions[row]] = effects


def _show_effects(run: _Run) -> None:
    """What clients printed, in the order of their ids whatever the chunks."""
    for position in sorted(run.effects):
        for line in run.effects[position].lines:
            run.sink.print(line)
        for name, value in run.effects[position].probes:
            run.probes.append((run.ids[position], name, value))
            run.sink.probe(name, value)
    run.effects.clear()
