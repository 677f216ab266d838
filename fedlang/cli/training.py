"""Training, round by round: a cohort is drawn, the process runs, and now and then its state is tried on held-out data.

Everything drawn depends on the seed and the round alone, so training that is resumed goes on as if it had not stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fedlang.cli import errors
from fedlang.cli.fitting import Fitting, fitting_of
from fedlang.cli.sinks import Console
from fedlang.data import ClientData, ClientSequences
from fedlang.embed.computations import Computation, Process
from fedlang.embed.origins import Origin
from fedlang.embed.tables import flat_metrics
from fedlang.run.executor import Executor
from fedlang.run.random import key_of_seed, random_at, random_permutation
from fedlang.types.types import PlacedType, RecordType, Type, print_type, unplaced

EVALUATION_BATCH = 256
COHORTS = 1  # derives the key of cohorts from the seed's


@dataclass(frozen=True)
class Plan:
    """The options of training."""

    batch: int
    epochs: int
    clients: int
    seed: int
    executor: Executor
    sink: Console


@dataclass(frozen=True)
class Evaluation:
    """A function of parts of the state and of held-out data."""

    name: str
    computation: Computation
    parts: tuple[str, ...]
    data_name: str
    fitting: Fitting

    def run(self, state: Any, held_out: ClientData, plan: Plan) -> dict[str, object]:
        """The metrics; a number alone is called as the function is."""
        data = self.fitting.sequences(held_out, EVALUATION_BATCH, 1, None)
        given = {part: state if part == "state" else state[part] for part in self.parts}
        result = self.computation.run((), {**given, self.data_name: data}, executor=plan.executor, sink=plan.sink)
        if not isinstance(result, Mapping):
            return flat_metrics({self.name: result})
        return flat_metrics(result, f"{self.name}.")


@dataclass(frozen=True)
class Training:
    """A process with its data, and how it is evaluated."""

    process: Process
    train: ClientData
    held_out: ClientData
    fitting: Fitting
    evaluation: Evaluation | None
    plan: Plan

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The models that the process and its evaluation were made of."""
        judged = () if self.evaluation is None else self.evaluation.computation.origins
        return tuple(dict.fromkeys((*self.process.origins, *judged)))

    def first_state(self) -> Any:
        """What training starts from. The seed is the key of `initialize`, where it takes one."""
        takes_key = bool(self.process.method("initialize").type_signature.parameters)
        return self.process.initialize(self.plan.seed) if takes_key else self.process.initialize()

    def data(self, number: int) -> ClientSequences:
        """What the clients of a round train on, in the round's own order."""
        plan, cohort = self.plan, self.train.subset(self.cohort(number))
        return self.fitting.sequences(cohort, plan.batch, plan.epochs, (plan.seed << 32) % 2**63 + number)

    def run_round(
        self, state: Any, number: int, data: ClientSequences, *, evaluate: bool
    ) -> tuple[Any, dict[str, Any]]:
        """Round `number`, counted from 1: the next state and a row of metrics."""
        started, plan = time.perf_counter(), self.plan
        result = self.process.run_round(state, (data,), executor=plan.executor, sink=plan.sink)
        after, metrics = self.process.parts_of(result)
        metrics = metrics if isinstance(metrics, Mapping) else {"metrics": metrics}
        row: dict[str, Any] = {"round": number, **flat_metrics(metrics)}
        if evaluate and self.evaluation is not None:
            row |= self.evaluation.run(after, self.held_out, plan)
        return after, {**row, "clients": len(data), "seconds": time.perf_counter() - started}

    def cohort(self, number: int) -> tuple[str, ...]:
        """The clients of a round, in the order of the data."""
        ids = self.train.client_ids
        if self.plan.clients >= len(ids):
            return ids
        key = random_at(random_at(key_of_seed(self.plan.seed), COHORTS), number)
        return tuple(ids[place] for place in sorted(random_permutation(key, len(ids))[: self.plan.clients]))

    def rounds(self, state: Any, first: int, last: int, evaluate_every: int) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The state and the metrics of each round. The first and the last are evaluated, and every so many between.

        While a round's clients compute, those of the next are read.
        """
        coming = self.data(first) if first <= last else None
        for number in range(first, last + 1):
            assert coming is not None, "there is data for every round"
            data, coming = coming, self.data(number + 1).ahead() if number < last else None
            evaluate = number in (1, last) or number % evaluate_every == 0
            state, row = self.run_round(state, number, data, evaluate=evaluate)
            yield state, row


def training_fitting(process: Process, data: str) -> Fitting:
    """How the data goes into the process's `next`, which takes nothing else beside its state."""
    parameters = process.method("next").type_signature.parameters[1:]
    fitting = fitting_of(data, parameters[0].type) if len(parameters) == 1 else None
    if fitting is None:
        hint = "`fed train` wants `next(state, data: <T*>@CLIENTS)`; for other processes, write the loop in Python"
        raise errors.wrong_kind(process.name, "process that data trains", hint)
    return fitting


def evaluation_of(name: str, computation: Computation, process: Process, data: str) -> Evaluation:
    """The evaluation that a function is: parameters at the server are fields of the state, the other is the data."""
    fields = state_fields(process)
    parts, readers = [], {}
    for parameter in computation.type_signature.parameters:
        fitting = fitting_of(data, parameter.type)
        if fitting is not None:
            readers[parameter.name] = fitting
        elif parameter.name not in fields:
            raise errors.bad_evaluation(name, f"the state has {', '.join(fields)}, but no `{parameter.name}`")
        elif bare(fields[parameter.name]) != bare(parameter.type):
            found, wanted = bare(fields[parameter.name]), bare(parameter.type)
            raise errors.bad_evaluation(name, f"`{parameter.name}` is {found} in the state, and {wanted} here")
        else:
            parts.append(parameter.name)
    if len(readers) != 1:
        raise errors.bad_evaluation(name, f"it has {len(readers)} parameters of type <T*>@CLIENTS, not one")
    ((data_name, fitting),) = readers.items()
    return Evaluation(name, computation, tuple(parts), data_name, fitting)


def state_fields(process: Process) -> dict[str, Type]:
    """The fields of the state by name, and `state` itself."""
    state = process.method("next").type_signature.parameters[0].type
    inner = state.type if isinstance(state, PlacedType) else state
    return {**(dict(inner.fields) if isinstance(inner, RecordType) else {}), "state": state}


def bare(type: Type) -> str:
    """A type in words, without its place."""
    return print_type(unplaced(type))
