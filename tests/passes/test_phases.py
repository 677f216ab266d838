"""The normal form: how many phases, what moves, and that the results are the same."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.diagnostics import DiagnosticError
from fedlang.ir.graph import Builder, Graph, Sequence, Tensor
from fedlang.ir.program import Program, Slot
from fedlang.ir.verify import verify_graph, verify_program
from fedlang.passes.certificate import Certificate, certificate
from fedlang.passes.order import PASSES, run_passes
from fedlang.passes.phases import to_program
from fedlang.run.executor import Collected
from fedlang.types.dims import named

from .programs import graph_of, real
from .rounds import run_federated, run_program

REAL, KEY, INT = real(), Tensor("Key"), Tensor("int32")


class Federated(Builder):
    """A builder that knows the places that operations join."""

    def op(self, name: str, *inputs: int, type: Any = REAL, **attributes: Any) -> int:
        places = {self.nodes[i].place for i in inputs}
        place = next((place for place in ("server", "clients", "shared") if place in places), "")
        return self.add(name, inputs, type, place=place, **attributes)

    def send(self, x: int, path: str = "") -> int:
        return self.add("federated_broadcast", (x,), self.nodes[x].type, place="shared", path=path)

    def sum(self, x: int, path: str = "") -> int:
        return self.add("federated_sum", (x,), self.nodes[x].type, place="server", path=path)


def one_phase(program: Program) -> Any:
    (phase,) = program.phases
    return phase


def results(graph: Graph, *arguments: Any, clients: int = 3) -> list[Any]:
    """The program's results, which must be those of the graph."""
    program, sinks = to_program(graph), (Collected(), Collected())
    found = run_program(program, arguments, clients, sinks[0])
    verify_graph(graph, level="federated")
    expected = run_federated(graph, arguments, clients, sinks[1])
    assert_same(found, expected, graph)
    return found


def assert_same(found: list[Any], expected: list[Any], graph: Graph) -> None:
    """Equal results; a shared one is given back for each client."""
    for a, b, index in zip(found, expected, graph.results, strict=True):
        for each in a if graph.nodes[index].place == "shared" else [a]:
            np.testing.assert_array_equal(each, b)


def test_without_clients_there_are_no_phases() -> None:
    b = Federated()
    x, rate = b.parameter(REAL, place="server"), b.parameter(REAL)
    graph = b.finish((b.op("multiply", x, rate), rate))
    assert to_program(graph).phases == ()
    assert results(graph, np.float64(3), np.float64(2)) == [6, 2]


def test_one_round_is_one_phase() -> None:
    b = Federated()
    model, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    sent = b.send(model)
    mean = b.add("federated_mean", (b.op("multiply", sent, data), data), REAL, place="server")
    other = b.add("federated_mean", (b.op("add", sent, data), data), REAL, place="server")
    graph = b.finish((b.op("subtract", model, mean), other, b.sum(b.op("multiply", sent, data))))
    phase = one_phase(to_program(graph))
    assert phase.broadcasts == 1
    assert len(phase.aggregates) == 3
    assert len(phase.work.results) == 3  # the weight travels once, and so does the product
    assert phase.aggregates[0].weight == phase.aggregates[1].weight
    results(graph, np.float64(2), [np.float64(k) for k in (1, 2, 3)])


def chain(length: int) -> Graph:
    """Each aggregate is sent back; the client's first product is used again in each phase."""
    b = Federated()
    data = b.parameter(REAL, place="clients")
    product = b.op("exp", data)
    total = b.sum(product)
    for _ in range(length - 1):
        total = b.sum(b.op("multiply", b.send(total), product))
    return b.finish((total,))


def test_there_are_as_many_phases_as_aggregates_in_a_chain() -> None:
    assert [len(to_program(chain(k)).phases) for k in (1, 2, 3)] == [1, 2, 3]
    results(chain(3), [np.float64(k) for k in (1, 2, 3)])


def test_a_client_keeps_what_it_needs_again() -> None:
    first, second = to_program(chain(2)).phases
    assert "exp" not in [node.op for node in second.work.nodes]
    assert Slot("client", 0, 0) in second.work_slots
    assert len(first.work.results) == 1


def test_independent_aggregates_travel_together() -> None:
    b = Federated()
    x, y = b.parameter(REAL, place="clients"), b.parameter(REAL, place="clients")
    graph = b.finish((b.op("divide", b.sum(x), b.sum(y)),))
    assert len(one_phase(to_program(graph)).aggregates) == 2


def test_equal_leaves_are_sent_once() -> None:
    b = Federated()
    model, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    first, second = b.send(model, "a"), b.send(model, "b")
    both = b.op("multiply", b.op("add", first, second), data)
    graph = b.finish((b.sum(both, "c"), b.sum(both, "d")))
    phase = one_phase(to_program(graph))
    assert phase.broadcasts == 1
    assert len(phase.aggregates) == 1
    results(graph, np.float64(2), [np.float64(k) for k in (1, 2, 3)])


def test_what_was_sent_is_not_sent_again() -> None:
    b = Federated()
    model, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    sent = b.send(model)
    first = b.sum(b.op("multiply", sent, data))
    graph = b.finish((b.sum(b.op("add", b.op("multiply", b.send(first), sent), data)),))
    one, two = to_program(graph).phases
    assert (one.broadcasts, two.broadcasts) == (1, 1)
    assert Slot("server", 0, 0) in two.work_slots
    results(graph, np.float64(2), [np.float64(k) for k in (1, 2, 3)])


def test_unplaced_values_are_computed_where_they_are_needed() -> None:
    b = Federated()
    rate, data = b.parameter(REAL), b.parameter(REAL, place="clients")
    scaled = b.op("exp", rate)
    graph = b.finish((b.op("multiply", b.sum(b.op("multiply", data, scaled)), scaled),))
    program = to_program(graph)
    phase = one_phase(program)
    assert phase.broadcasts == 0
    for piece in (phase.work, program.finish):
        assert "exp" in [node.op for node in piece.nodes]
    results(graph, np.float64(2), [np.float64(k) for k in (1, 2, 3)])


def test_keys_are_derived_at_the_clients() -> None:
    b = Federated()
    key = b.parameter(KEY, place="server")
    keys = b.add("federated_keys", (key,), KEY, place="clients")
    graph = b.finish((b.sum(b.op("random_uniform", keys)),))
    phase = one_phase(to_program(graph))
    assert phase.broadcasts == 1
    assert Slot("identity", 0) in phase.work_slots
    assert [sent.kind for sent in phase.sent] == ["keys"]
    results(graph, np.array([1, 2], np.uint32))


def test_rows_are_chosen_at_the_clients() -> None:
    b = Federated()
    table, keys = b.parameter(real(4, 2), place="server"), b.parameter(Tensor("int32", (2,)), place="clients")
    chosen = b.add("federated_select", (keys, table), real(2, 2), place="clients")
    graph = b.finish((b.sum(chosen),))
    rows = np.arange(8.0).reshape(4, 2)
    results(graph, rows, [np.array([0, 3], np.int32), np.array([1, 1], np.int32)], clients=2)
    with pytest.raises(DiagnosticError, match="out of range"):
        run_program(to_program(graph), (rows, [np.array([0, 4], np.int32)]), 1, Collected())


def test_results_at_the_clients() -> None:
    """A client's state, a value that all share, one that comes after an aggregate."""
    b = Federated()
    model, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    total = b.sum(data)
    after = b.op("divide", data, b.send(total))
    graph = b.finish((b.op("exp", data), b.send(model), after, data))
    program = to_program(graph)
    assert [slot.phase for slot in program.results] == [0, 0, 1, 0]
    results(graph, np.float64(2), [np.float64(k) for k in (1, 2, 3)])


def test_a_mean_over_no_clients_has_its_otherwise_prepared() -> None:
    b = Federated()
    model, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    graph = b.finish((b.add("federated_mean", (data, data, b.op("exp", model)), REAL, place="server"),))
    program = to_program(graph)
    verify_program(program)
    phase = one_phase(program)
    assert (phase.broadcasts, phase.aggregates[0].otherwise) == (0, 0)


def test_an_aggregate_with_several_results() -> None:
    zero = graph_of([REAL], lambda b, c: (c, b.number(0.0)))
    accumulate = graph_of([REAL] * 4, lambda b, c, s, n, x: (b.op("add", s, x), b.op("add", n, b.number(1.0))))
    merge = graph_of([REAL] * 5, lambda b, c, s, n, t, m: (b.op("add", s, t), b.op("add", n, m)))
    report = graph_of([REAL] * 3, lambda b, c, s, n: (b.op("divide", s, n), n))
    b = Federated()
    start, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    total = b.sum(data)
    graphs: dict[str, Any] = {"zero": zero, "accumulate": accumulate, "merge": merge, "report": report}
    node = b.add("federated_aggregate", (start, data), (REAL, REAL), place="server", captured=1, **graphs)
    graph = b.finish((b.get(node, 1), total, b.get(node, 0)))
    verify_graph(graph, level="federated")
    found = run_program(to_program(graph), (np.float64(10), [np.float64(k) for k in (1, 2, 3)]), 3, Collected())
    assert found == [3, 6, 16 / 3]


def test_bounds_of_a_secure_sum_are_prepared() -> None:
    b = Federated()
    low, data = b.parameter(INT), b.parameter(INT, place="clients")
    graph = b.finish((b.add("federated_secure_sum", (data, low, low), INT, place="server"),))
    program = to_program(graph)
    verify_program(program)
    assert one_phase(program).aggregates[0].captured == (0, 0)


def test_effects_happen_at_their_place_and_once() -> None:
    b = Federated()
    model, data = b.parameter(REAL, place="server"), b.parameter(REAL, place="clients")
    b.add_effect("print", (model,), place="server", format="server {}")
    total = b.sum(data)
    b.add_effect("print", (total,), place="server", format="total {}")
    b.add_effect("probe", (b.op("multiply", data, b.send(total)),), place="clients", name="share")
    graph = b.finish((total,))
    sink = Collected()
    run_program(to_program(graph), (np.float64(2), [np.float64(k) for k in (1, 2, 3)]), 3, sink)
    assert len(sink.lines) == 2
    assert [float(np.asarray(value)) for _, value in sink.probes] == [6, 12, 18]


def test_work_takes_what_tells_a_size() -> None:
    """The number of examples needs no example, but it needs an input that has as many."""
    n = named("n")
    b = Federated()
    b.parameter(Tensor("float64", (n, 2)), place="clients")
    size = b.add("size", (), INT, place="clients", dimension=n)
    graph = b.finish((b.sum(size),))
    phase = one_phase(to_program(graph))
    assert phase.work_slots == (Slot("input", 0),)
    found = run_program(to_program(graph), ([np.zeros((k, 2)) for k in (1, 4)],), 2, Collected())
    assert found == [5]


def test_sequences_are_rearranged_again_and_not_kept() -> None:
    n, m = named("n"), named("m")
    b = Federated()
    data = b.parameter(Sequence(REAL, n), place="clients")
    two = b.add("constant", (), INT, value=2)
    taken = b.op("take", data, two, type=Sequence(REAL, m))
    body = graph_of([REAL, REAL], lambda b, c, x: b.op("add", c, x))

    def total(start: int) -> int:
        place = "clients"
        fold = b.add("fold", (start, taken), (REAL,), place=place, body=body, captured=0, carries=1, reverse=False)
        return b.sum(b.get(fold, 0))

    first = total(b.add("constant", (), REAL, value=0.0))
    program = to_program(b.finish((total(b.send(first)),)))
    verify_program(program)
    assert [slot.kind for slot in program.phases[1].work_slots] == ["input", "server"]


# Laws.


@st.composite
def federated_graphs(draw: st.DrawFn) -> Graph:
    """Scalars at all places, moved to and fro."""
    b = Federated()
    for place in ("", "server", "clients", "clients"):
        b.parameter(REAL, place=place)
    for _ in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(["local", "local", "constant", "send", "sum", "mean", "probe"]))
        some = st.integers(0, len(b.nodes) - 1).filter(lambda i: b.nodes[i].type == REAL)
        x, y = draw(some), draw(some)
        places = {b.nodes[x].place, b.nodes[y].place}
        clients = places <= {"", "shared", "clients"}
        if kind == "constant":
            b.add("constant", (), REAL, value=float(draw(st.integers(0, 2))))
        elif kind == "send" and b.nodes[x].place in ("", "server"):
            b.send(x, draw(st.sampled_from("ab")))
        elif kind == "sum" and b.nodes[x].place != "server":
            b.sum(x, draw(st.sampled_from("ab")))
        elif kind == "mean" and clients:
            b.add("federated_mean", (x, 2), REAL, place="server", path="mean")
        elif kind == "probe":
            b.add_effect("probe", (x,), place=b.nodes[x].place, name=f"{x}")
        elif clients or places <= {"", "server"}:
            b.op(draw(st.sampled_from(["add", "multiply", "subtract", "maximum"])), x, y)
    leaves = [i for i, node in enumerate(b.nodes) if node.type == REAL]
    return b.finish(tuple(draw(st.lists(st.sampled_from(leaves), min_size=1, max_size=4))))


def contains(more: Certificate, less: Certificate) -> bool:
    """Whether every entry of one is in the other as often."""
    return not less - more


def levels_in(graph: Graph) -> int:
    """The longest chain of aggregates."""
    level: list[int] = []
    for node in graph.nodes:
        is_up = node.op in ("federated_sum", "federated_mean")
        level.append(max((level[i] for i in node.inputs), default=0) + is_up)
    return max(level, default=0)


ARGUMENTS = [np.float64(3), np.float64(2), [np.float64(k) for k in (1, 2, 4)], [np.float64(k) for k in (5, 1, 0)]]


@settings(max_examples=80, deadline=None)
@given(federated_graphs())
def test_a_program_computes_what_its_graph_does_and_moves_no_more(graph: Graph) -> None:
    sinks = Collected(), Collected()
    expected = run_federated(graph, ARGUMENTS, 3, sinks[0])
    before = certificate(graph)
    for each in PASSES:
        graph = run_passes(graph, passes=(each,))
        after = certificate(graph)
        assert contains(before, after), each.name
        before = after
    program = to_program(graph)
    assert contains(before, certificate(program))
    assert len(program.phases) <= levels_in(graph) + 1
    assert_same(run_program(program, ARGUMENTS, 3, sinks[1]), expected, graph)
    probes = [Counter((name, float(np.asarray(value))) for name, value in sink.probes) for sink in sinks]
    assert probes[0] == probes[1]
