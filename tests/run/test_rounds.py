"""The driver: phases of hand-built programs, every case of the table of meanings, and independence of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.diagnostics import DiagnosticError
from fedlang.executors.reference import ReferenceExecutor
from fedlang.ir.graph import Builder, Graph, Sequence, Tensor
from fedlang.ir.program import Aggregate, Phase, Program, Slot
from fedlang.run.accumulators import from_total_order, total_order
from fedlang.run.clients import ReadClients, clients_of
from fedlang.run.executor import Chunk, Collected
from fedlang.run.random import identity_of
from fedlang.run.rounds import ClientValues, CompiledProgram, Inputs, Policy, run_program
from fedlang.run.sequences import Rows
from fedlang.source import Source, Span
from fedlang.types.dims import fresh_unknown, named

F32, I32 = Tensor("float32"), Tensor("int32")
HERE = Span(Source("round.fed", "federated_mean(x)"), 0, 17)
EMPTY = Builder().finish(())


@dataclass
class Shuffled:
    """The reference executor with its clients put into chunks of random sizes, in random order."""

    seed: int = 0
    name: str = "shuffled"
    inner: ReferenceExecutor = field(default_factory=ReferenceExecutor)

    def compile_local(self, graph):
        return self.inner.compile_local(graph)

    def compile_work(self, work, varies):
        return ShuffledWork(self.inner.compile_work(work, varies), np.random.default_rng(self.seed))


@dataclass
class ShuffledWork:
    inner: object
    rng: np.random.Generator

    def run(self, shared, clients) -> Iterator[Chunk]:
        tasks = list(clients)
        groups = np.array_split(np.arange(len(tasks)), self.rng.integers(1, len(tasks) + 1))
        for k in self.rng.permutation(len(groups)):
            yield join(list(self.inner.run(shared, [tasks[i] for i in groups[k]])))


def join(chunks: list[Chunk]) -> Chunk:
    whole = [chunk for chunk in chunks if chunk.ids]
    columns = zip(*(chunk.results for chunk in whole), strict=True)
    results = [[v for part in c for v in part] if isinstance(c[0], list) else list_or_array(c) for c in columns]
    return Chunk(
        tuple(p for chunk in whole for p in chunk.positions),
        tuple(i for chunk in whole for i in chunk.ids),
        tuple(results),
        tuple(f for chunk in chunks for f in chunk.failures),
        tuple(e for chunk in whole for e in chunk.effects),
    )


def list_or_array(parts):
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    return [row for part in parts for row in part]


def identity_graph(*types) -> Graph:
    build = Builder()
    return build.finish(tuple(build.parameter(type) for type in types))


def aggregating(aggregate: Aggregate, *client_types, prepared: tuple = ()) -> Program:
    """A program of one phase that sends the clients' leaves as they are; its result is what the aggregate gives."""
    count = len(aggregate.type) if isinstance(aggregate.type, tuple) else 1
    types = aggregate.type if isinstance(aggregate.type, tuple) else (aggregate.type,)
    phase = Phase(
        identity_graph(*prepared),
        tuple(Slot("input", len(client_types) + k) for k in range(len(prepared))),
        0,
        identity_graph(*client_types),
        tuple(Slot("input", k) for k in range(len(client_types))),
        (aggregate,),
    )
    inputs = (*((type, "clients") for type in client_types), *((type, "server") for type in prepared))
    return Program(
        inputs,
        tuple(f"x{k}" for k in range(len(inputs))),
        (phase,),
        identity_graph(*types),
        tuple(Slot("aggregate", k) for k in range(count)),
        tuple(Slot("finish", k) for k in range(count)),
    )


def run(program: Program, clients, *server, executor=None, policy=None):
    """The one result, for clients given as a list of their leaves."""
    count = sum(place == "clients" for _, place in program.inputs)
    inputs = Inputs((*(None,) * count, *server), clients_of(clients))
    return run_program(program, inputs, executor or ReferenceExecutor(), policy=policy).leaves[0]


def floats(*values) -> list:
    return [(np.float32(value),) for value in values]


SUM = aggregating(Aggregate("sum", 0, F32, path=".loss", span=HERE), F32)
MEAN = aggregating(Aggregate("mean", 0, F32, weight=1, path=".loss", span=HERE), F32, F32)
OR_ELSE = aggregating(Aggregate("mean", 0, F32, weight=1, otherwise=0), F32, F32, prepared=(F32,))


def weighted(*pairs) -> list:
    return [(np.float32(x), np.float32(w)) for x, w in pairs]


def test_sums_are_exact_and_zero_over_nobody():
    assert run(SUM, floats(1e8, 1, -1e8, 1)) == 2
    assert run(SUM, []).tolist() == 0
    kind = Tensor("float32", (named("n"), fresh_unknown(), 2))
    wide = aggregating(Aggregate("sum", 0, kind), kind, prepared=(Tensor("float32", (named("n"),)),))
    assert run(wide, [], np.zeros(3, np.float32)).shape == (3, 0, 2)


def test_means_weigh_and_need_weight():
    assert run(MEAN, weighted((1, 1), (4, 2))) == 3
    assert run(MEAN, weighted((np.nan, 0), (4, 2))) == 4
    for clients, code in (([], "FED0612"), (weighted((1, 0)), "FED0613")):
        with pytest.raises(DiagnosticError, match=code) as caught:
            run(MEAN, clients)
        assert caught.value.diagnostics[0].span == HERE
        assert run(OR_ELSE, clients, np.float32(7)) == 7
    whole = aggregating(Aggregate("mean", 0, F32, weight=1), F32, I32)
    assert run(whole, [(np.float32(1), np.int32(3)), (np.float32(5), np.int32(1))]) == 2


def test_offenders_are_named_or_left_out_and_told_of():
    cases = {
        "FED0611.*client 1 .*-1": (MEAN, weighted((1, 1), (2, -1), (3, 1))),
        "FED0611.*client 1 .*nan": (MEAN, weighted((1, 1), (2, np.nan), (3, 1))),
        "FED0610.*client 1 ": (MEAN, weighted((1, 1), (np.inf, 1), (3, 1))),
    }
    for pattern, (program, clients) in cases.items():
        with pytest.raises(DiagnosticError, match=pattern):
            run(program, clients)
        inputs = Inputs((None, None), clients_of(clients))
        results = run_program(program, inputs, ReferenceExecutor(), policy=Policy(drop_invalid=True))
        assert results.leaves[0] == 2
        assert [failure.id for failure in results.failures] == ["1"]
    with pytest.raises(DiagnosticError, match=r"FED0610.*client 0 .*\.loss"):
        run(SUM, floats(np.nan))


def test_overflow_is_an_error():
    with pytest.raises(DiagnosticError, match=r"FED0614.*float32"):
        run(SUM, floats(3e38, 3e38))
    assert run(SUM, floats(3e38, 3e38, -3e38)) == np.float32(3e38)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "uint32"])
def test_integer_sums_are_checked(dtype):
    kind = Tensor(dtype)
    program = aggregating(Aggregate("sum", 0, kind), kind)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    each = [(np.array(value, dtype),) for value in (high, low, high // 2, low // 2)]
    for some in (each[:1], each[1:2], each[:2], each[2:]):
        assert int(run(program, some)) == sum(int(value) for (value,) in some)
    assert run(program, []).dtype == np.dtype(dtype)
    over = [(np.array(high, dtype),), (np.array(1, dtype),)]
    under = [(np.array(low, dtype),), (np.array(-1, dtype),)] if low else over
    for some in (over, under):
        with pytest.raises(DiagnosticError, match=f"FED0614.*{dtype}"):
            run(program, some)


def test_extremes_follow_total_order():
    least, greatest = (aggregating(Aggregate(kind, 0, F32), F32) for kind in ("min", "max"))
    for values in ((0.0, -0.0), (-0.0, 0.0)):
        assert np.signbit(run(least, floats(*values)))
        assert not np.signbit(run(greatest, floats(*values)))
    assert np.isnan(run(greatest, floats(np.nan, np.inf)))
    with pytest.raises(DiagnosticError, match="FED0612"):
        run(least, [])
    backed = aggregating(Aggregate("max", 0, F32, otherwise=0), F32, prepared=(F32,))
    assert run(backed, [], np.float32(5)) == 5
    for dtype in ("float16", "float32", "float64"):
        values = np.array([-np.nan, -np.inf, -1.5, -0.0, 0.0, 1e-3, 2, np.inf, np.nan], dtype)
        keys = total_order(values)
        assert (np.diff(keys.astype(np.int64)) > 0).all()
        assert from_total_order(keys, values.dtype).tobytes() == values.tobytes()


def test_subnormals_are_zero_where_they_cross():
    assert run(SUM, floats(1e-40, 1e-40)).item() == 0
    collect = aggregating(Aggregate("collect", 0, Sequence(F32, fresh_unknown())), F32)
    assert run(collect, floats(-1e-40)).rows.tobytes() == np.float32([-0.0]).tobytes()
    assert np.signbit(run(aggregating(Aggregate("max", 0, F32), F32), floats(-1e-40)))


def test_different_shapes_name_two_clients():
    kind = Tensor("float32", (fresh_unknown(),))
    program = aggregating(Aggregate("sum", 0, kind, span=HERE), kind)
    clients = [(np.zeros(2, np.float32),), (np.zeros(2, np.float32),), (np.zeros(1, np.float32),)]
    for executor in (ReferenceExecutor(), Shuffled(1)):
        with pytest.raises(DiagnosticError, match=r"FED0615.*clients \d and \d"):
            run(program, clients, executor=executor)
    assert run(program, clients[:2]).tolist() == [0, 0]


def test_secure_sums_keep_to_their_bounds():
    secure = Aggregate("secure_sum", 0, I32, captured=(0, 1), path=".count")
    program = aggregating(secure, I32, prepared=(I32, I32))
    bounds = (np.int32(0), np.int32(10))
    assert run(program, [(np.int32(3),), (np.int32(10),)], *bounds) == 13
    for bad in (-1, 11):
        with pytest.raises(DiagnosticError, match=r"FED0616.*client 1 .*0 to 10"):
            run(program, [(np.int32(3),), (np.int32(bad),)], *bounds)
    real = aggregating(Aggregate("secure_sum", 0, F32, captured=(0, 1)), F32, prepared=(F32, F32))
    assert run(real, floats(0.25, 0.5), np.float32(-1), np.float32(1)) == 0.75
    with pytest.raises(DiagnosticError, match="FED0616"):
        run(real, floats(np.nan), np.float32(-1), np.float32(1))


def test_collecting_is_in_the_order_of_ids():
    kind = Tensor("float32", (fresh_unknown(),))
    program = aggregating(Aggregate("collect", 0, Sequence(kind, fresh_unknown())), kind)
    clients = {str(k): (np.full(k % 3, k, np.float32),) for k in (10, 2, 33, 1)}
    for executor in (ReferenceExecutor(), Shuffled(3)):
        got = run(program, clients, executor=executor)
        assert [x.tolist() for x in got] == [[1], [2, 2], [10], []]
    assert len(run(program, [])) == 0


def concatenation() -> Aggregate:
    """A program's own aggregate: a polynomial hash of the values, so the tree's shape shows in the floats."""

    def graph(count: int, make) -> Graph:
        build = Builder()
        return build.finish(make(build, [build.parameter(F32) for _ in range(count)]))

    def sum_of_scaled(build, factor, a, b):
        return (build.add("add", (build.add("multiply", (factor, a), F32), b), F32),)

    options = {
        "zero": graph(1, lambda build, x: (build.add("constant", (), F32, value=0.0),)),
        "accumulate": graph(3, lambda build, x: sum_of_scaled(build, *x)),
        "merge": graph(3, lambda build, x: sum_of_scaled(build, *x)),
        "report": graph(2, lambda build, x: (x[1], build.add("negate", (x[1],), F32))),
    }
    return Aggregate("aggregate", 0, (F32, F32), values=(0,), captured=(0,), options=tuple(options.items()))


@given(st.integers(0, 70), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_a_programs_own_aggregate_is_one_tree_whatever_the_chunks(count, seed):
    program = aggregating(concatenation(), F32, prepared=(F32,))
    values = np.random.default_rng(seed).standard_normal(count).astype(np.float32)
    states = []
    for leaf in range(0, count, 16):
        states.append(np.float32(0))
        for value in values[leaf : leaf + 16]:
            states[-1] = np.float32(np.float32(0.5) * states[-1]) + value
    while len(states) > 1:
        pairs = [states[k : k + 2] for k in range(0, len(states), 2)]
        states = [p[0] if len(p) == 1 else np.float32(np.float32(0.5) * p[0]) + p[1] for p in pairs]
    want = states[0] if states else np.float32(0)
    for executor in (ReferenceExecutor(), Shuffled(seed)):
        inputs = Inputs((None, np.float32(0.5)), clients_of(floats(*values)))
        results = run_program(program, inputs, executor)
        assert [each.tobytes() for each in results.leaves] == [np.float32(v).tobytes() for v in (want, -want)]


def federated_averaging() -> Program:
    """Two phases: the clients' mean of x + model, then each client's distance to it, averaged and given back.

    Also gives each client's identity back, and prints its distance.
    """
    vector = Tensor("float32", (named("n"),))
    work = Builder()
    model, x = work.parameter(vector, name="model"), work.parameter(vector, name="x")
    moved = work.add("add", (model, x), vector)
    first = Phase(
        identity_graph(vector),
        (Slot("input", 0),),
        1,
        work.finish((moved, work.add("reduce_sum", (work.add("multiply", (x, x), vector),), F32, axes=(0,)))),
        (Slot("server", 0), Slot("input", 1)),
        (Aggregate("mean", 0, vector, weight=1),),
    )
    work = Builder()
    mean, kept = work.parameter(vector), work.parameter(vector)
    identity = work.parameter(Tensor("uint64"))
    gap = work.add("subtract", (kept, mean), vector)
    distance = work.add("reduce_sum", (work.add("multiply", (gap, gap), vector),), F32, axes=(0,))
    work.add_effect("print", (distance,), format="distance {}")
    work.add_effect("probe", (distance,), name="distance")
    second = Phase(
        identity_graph(vector),
        (Slot("aggregate", 0, 0),),
        1,
        work.finish((distance, identity)),
        (Slot("server", 0, 1), Slot("client", 0, 0), Slot("identity", 0)),
        (Aggregate("sum", 0, F32), Aggregate("max", 0, F32)),
    )
    return Program(
        ((vector, "server"), (vector, "clients")),
        ("model", "data"),
        (first, second),
        identity_graph(vector, F32, F32),
        (Slot("aggregate", 0, 0), Slot("aggregate", 0, 1), Slot("aggregate", 1, 1)),
        (Slot("finish", 0), Slot("finish", 1), Slot("finish", 2), Slot("client", 0, 1), Slot("client", 1, 1)),
    )


def fleet(count: int) -> dict:
    rng = np.random.default_rng(count)
    ids = [f"c{k}" for k in rng.permutation(count)]
    return {name: (rng.standard_normal(4).astype(np.float32),) for name in ids}


@pytest.mark.parametrize("seed", range(4))
def test_two_phases_give_the_same_bits_in_any_chunks(seed):
    clients = fleet(21)
    inputs = Inputs((np.ones(4, np.float32), None), clients_of(clients))
    plain, other = Collected(), Collected()
    want = CompiledProgram(federated_averaging(), ReferenceExecutor()).run(inputs, sink=plain)
    got = CompiledProgram(federated_averaging(), Shuffled(seed)).run(inputs, sink=other)
    for a, b in zip(want.leaves, got.leaves, strict=True):
        pairs = zip(a.values, b.values, strict=True) if isinstance(a, ClientValues) else [(a, b)]
        assert all(np.array_equal(x, y) for x, y in pairs)
    assert plain.lines == other.lines
    assert [(name, client) for client, name, _ in got.probes] == [("distance", c) for c in sorted(clients, key=by_id)]


def by_id(name: str):
    return (1, 0, name)


def test_two_phases_compute_what_they_say():
    clients = fleet(5)
    results = run_program(
        federated_averaging(),
        Inputs((np.ones(4, np.float32), None), clients_of(clients)),
        ReferenceExecutor(),
        sink=Collected(),
    )
    x = np.stack([leaves[0] for leaves in clients.values()]).astype(np.float64)
    weights = (x**2).sum(1)
    mean = ((1 + x) * weights[:, None]).sum(0) / weights.sum()
    distances = ((1 + x - mean) ** 2).sum(1)
    assert np.allclose(results.leaves[0], mean)
    assert np.allclose(results.leaves[1:3], [distances.sum(), distances.max()])
    assert results.leaves[3].ids == tuple(clients)
    assert np.allclose(results.leaves[3].values, distances)
    assert [int(each) for each in results.leaves[4].values] == [int(identity_of(name)) for name in clients]


def test_a_client_that_fails_ends_the_run_or_drops_out_of_all_phases():
    clients = fleet(6)

    def read(client):
        if client == "c3":
            raise OSError("the disk is gone")
        return clients[client]

    inputs = Inputs((np.ones(4, np.float32), None), ReadClients(tuple(clients), read))
    with pytest.raises(DiagnosticError, match=r"FED0617.*c3.*disk is gone"):
        run_program(federated_averaging(), inputs, ReferenceExecutor(), sink=Collected())
    for executor in (ReferenceExecutor(), Shuffled(2)):
        policy = Policy(drop_failed=True)
        got = run_program(federated_averaging(), inputs, executor, policy=policy, sink=Collected())
        assert [failure.id for failure in got.failures] == ["c3"]
        others = {name: leaves for name, leaves in clients.items() if name != "c3"}
        rest = Inputs((np.ones(4, np.float32), None), clients_of(others))
        want = run_program(federated_averaging(), rest, ReferenceExecutor(), sink=Collected())
        assert all(np.array_equal(a, b) for a, b in zip(got.leaves[:3], want.leaves[:3], strict=True))
        assert got.leaves[3].ids == tuple(others)


def test_failing_work_names_client_operation_and_place():
    work = Builder()
    x = work.parameter(F32)
    work.span = HERE
    zero = work.add("constant", (), F32, value=0.0)
    work.add_effect("check", (work.add("less", (x, zero), Tensor("bool")),), message="x is negative")
    phase = Phase(EMPTY, (), 0, work.finish((x,)), (Slot("input", 0),), (Aggregate("sum", 0, F32),))
    program = Program(
        ((F32, "clients"),), ("x",), (phase,), identity_graph(F32), (Slot("aggregate", 0),), (Slot("finish", 0),)
    )
    with pytest.raises(DiagnosticError, match=r"FED0602.*client b: x is negative") as caught:
        run(program, {"a": (np.float32(-1),), "b": (np.float32(1),)})
    assert caught.value.diagnostics[0].span == HERE


def test_missing_inputs_and_clients_twice_are_errors():
    with pytest.raises(DiagnosticError, match=r"FED0619.*`model`"):
        run_program(federated_averaging(), Inputs((None, None), clients_of([])), ReferenceExecutor())
    with pytest.raises(DiagnosticError, match=r"FED0619.*`data`"):
        run_program(federated_averaging(), Inputs((np.ones(4, np.float32), None)), ReferenceExecutor())
    twice = ReadClients(("a", "a"), lambda client: (np.float32(1),))
    with pytest.raises(DiagnosticError, match="FED0620"):
        run_program(SUM, Inputs((None,), twice), ReferenceExecutor())


def test_data_is_read_client_by_client():
    alive, most = [], []

    def read(client):
        alive.append(client)
        most.append(len(alive))
        return (Rows(np.zeros((3, 2), np.float32)),)

    class Watched(ReferenceExecutor):
        pass

    kind = Sequence(Tensor("float32", (2,)), named("k"))
    build = Builder()
    build.parameter(kind)
    size = build.add("size", (), I32, dimension=named("k"))
    phase = Phase(EMPTY, (), 0, build.finish((size,)), (Slot("input", 0),), (Aggregate("sum", 0, I32),))
    program = Program(
        ((kind, "clients"),), ("x",), (phase,), identity_graph(I32), (Slot("aggregate", 0),), (Slot("finish", 0),)
    )
    results = run_program(program, Inputs((None,), ReadClients(tuple("abc"), read)), Watched())
    assert results.leaves[0] == 9
    assert most == [1, 2, 3]
