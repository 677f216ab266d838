"""Two small evaluators, to compare: a federated graph node by node, and a program phase by phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from executors.reference.plan import evaluate_graph
from fedlang.ir.graph import Builder, Graph, Node, Tensor
from fedlang.ir.program import Aggregate, Program, Slot
from fedlang.ir.verify import verify_program
from fedlang.run.executor import Collected

Clients = list[Any]
IDENTITIES = np.arange(100, 200, dtype=np.uint64)


def _sum(values: Clients, *_: Any) -> Any:
    return np.sum(values, axis=0, dtype=np.asarray(values[0]).dtype)


def _mean(values: Clients, weights: Clients, *_: Any) -> Any:
    return (sum(v * w for v, w in zip(values, weights, strict=True)) / np.sum(weights)).astype(values[0].dtype)


REDUCE: dict[str, Callable[..., Any]] = {
    "sum": _sum,
    "mean": _mean,
    "min": lambda values, *_: np.min(values, axis=0),
    "max": lambda values, *_: np.max(values, axis=0),
    "secure_sum": _sum,
}


def _one(graph: Graph, arguments: Sequence[Any], sink: Collected) -> list[Any]:
    return list(evaluate_graph(graph, arguments, sink))


def _single(node: Node, types: Sequence[Any]) -> Graph:
    """A graph of one node."""
    b = Builder()
    inputs = tuple(b.parameter(type) for type in types)
    moved = replace(node, inputs=inputs, place="")
    if node.type == ():
        b.add_effect_node(moved)
        return b.finish(())
    return b.finish((b.add_node(moved),))


def run_federated(graph: Graph, arguments: Sequence[Any], clients: int, sink: Collected) -> list[Any]:
    """The results of a federated graph: a list for each value at the clients. Only nodes with one result."""
    values: list[Any] = []

    def at(index: int, client: int | None) -> Any:
        return values[index] if graph.nodes[index].place != "clients" or client is None else values[index][client]

    for node in graph.nodes:
        if node.op == "parameter":
            values.append(arguments[node.attribute("index")])  # type: ignore[index]
            continue
        if node.op.startswith("federated_"):
            values.append(_moved(graph, node, at, clients))
            continue
        one = _single(node, [graph.nodes[i].type for i in node.inputs])
        each_client = node.place == "clients" or (node.place == "shared" and node.type == ())
        rounds: Sequence[int | None] = range(clients) if each_client else (None,)
        results = [_one(one, [at(i, client) for i in node.inputs], sink) for client in rounds]
        found = [each[0] if each else None for each in results]
        values.append(found if node.place == "clients" else found[0])
    return [values[index] for index in graph.results]


def _moved(graph: Graph, node: Node, at: Callable[..., Any], clients: int) -> Any:
    kind = node.op.removeprefix("federated_")
    if kind == "broadcast":
        return at(node.inputs[0], None)
    if kind == "keys":
        key, one = (
            at(node.inputs[0], None),
            _single(Node("random_at", (), (), node.type), (Tensor("Key"), Tensor("uint64"))),
        )
        return [evaluate_graph(one, (key, IDENTITIES[client]))[0] for client in range(clients)]
    if kind == "select":
        return [at(node.inputs[1], None)[at(node.inputs[0], client)] for client in range(clients)]
    return REDUCE[kind](*([at(i, client) for client in range(clients)] for i in node.inputs))


def run_program(program: Program, arguments: Sequence[Any], clients: int, sink: Collected) -> list[Any]:
    """The results of a program; a list for each result at the clients."""
    verify_program(program)
    prepared: list[list[Any]] = []
    worked: list[list[list[Any]]] = []
    aggregated: list[list[Any]] = []

    def read(slot: Slot, client: int | None = None) -> Any:
        match slot.kind:
            case "input":
                value = arguments[slot.index]
                return value[client] if program.inputs[slot.index][1] == "clients" and client is not None else value
            case "server":
                return prepared[slot.phase][slot.index]
            case "aggregate":
                return aggregated[slot.phase][slot.index]
            case "identity":
                assert client is not None
                return IDENTITIES[client]
            case _:
                assert client is not None
                return worked[slot.phase][client][slot.index]

    for phase in program.phases:
        prepared.append(_one(phase.prepare, [read(slot) for slot in phase.prepare_slots], sink))
        worked.append([_one(phase.work, [read(slot, c) for slot in phase.work_slots], sink) for c in range(clients)])
        aggregated.append([leaf for each in phase.aggregates for leaf in _aggregate(each, worked[-1], prepared[-1])])
    finished = _one(program.finish, [read(slot) for slot in program.finish_slots], sink)
    return [
        finished[slot.index] if slot.kind == "finish" else [read(slot, client) for client in range(clients)]
        for slot in program.results
    ]


def _aggregate(aggregate: Aggregate, work: list[list[Any]], prepared: list[Any]) -> list[Any]:
    values = [results[aggregate.value] for results in work]
    if aggregate.kind == "aggregate":
        return _folded(aggregate, work, prepared)
    weights = [results[aggregate.weight] for results in work] if aggregate.weight >= 0 else []
    return [REDUCE[aggregate.kind](values, weights)]


def _folded(aggregate: Aggregate, work: list[list[Any]], prepared: list[Any]) -> list[Any]:
    graphs: dict[str, Any] = dict(aggregate.options)
    captured = [prepared[i] for i in aggregate.captured]
    state = evaluate_graph(graphs["zero"], captured)
    for results in work:
        state = evaluate_graph(graphs["accumulate"], [*captured, *state, *(results[i] for i in aggregate.values)])
    return list(evaluate_graph(graphs["report"], [*captured, *state]))
