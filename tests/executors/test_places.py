"""Tables: a chunk's rows laid out as its steps read them, found again in any order, and the same results."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedlang as fl
from fedlang.data import ClientData
from fedlang.embed.tensorflow import TensorFlowExtern
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.tensorflow import memory, packing, structural
from fedlang.executors.tensorflow.calls import Traced
from fedlang.executors.tensorflow.numbering import numbered
from fedlang.executors.tensorflow.places import Form, Place, form_of, table_of
from fedlang.executors.tensorflow.start import tf
from fedlang.executors.tensorflow.store import Store
from fedlang.ir.graph import Tensor
from fedlang.run.externs import register_extern
from fedlang.run.registry import get_executor
from fedlang.run.sequences import Elements, Rows, SequenceValue, fix
from fedlang.types.dims import fresh_unknown

LANES, COLUMNS, WIDE = 4, 2, 256  # numbers in a row that is worth reading in place

sizes_and_batches = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=9)


def batches(size: int, batch: int, *, skipped: int = 0, fixed: bool = True) -> Rows:
    """So many rows, each of one number that no other row has, in batches."""
    rows = np.repeat(np.random.default_rng(size).random((size + skipped, 1), np.float32) + 1, WIDE, axis=1)
    return Rows(fix(rows) if fixed else rows, skipped + np.minimum(np.arange(0, size + batch, batch), size))


def a_store() -> Store:
    return Store((Tensor("float32", (fresh_unknown(), WIDE)),), split=True)


def laid_out(store: Store, clients: list[SequenceValue]) -> list[Place]:
    """Where the clients are, in a table if there can be one."""
    form = form_of(clients, LANES, COLUMNS)
    places = None if form is None else store.together([(each,) for each in clients], form)
    return [store.place((each,)) for each in clients] if places is None else places


class Running:
    """A chunk, as long as it runs."""


@settings(deadline=None, max_examples=60)
@given(st.lists(sizes_and_batches, min_size=1, max_size=4), st.data())
def test_a_table_has_each_step_s_rows_one_behind_the_other(chunks: list[Any], data: st.DataObject) -> None:
    store, known, all_places = a_store(), [], []
    for sizes in chunks:
        chunk = Running()
        store.make_room(chunk)
        fixed = data.draw(st.booleans())
        clients: list[SequenceValue] = [
            batches(*each, skipped=data.draw(st.integers(0, 2)), fixed=fixed) for each in sizes
        ]
        places = laid_out(store, clients)
        table = table_of(places, form_of(clients, LANES, COLUMNS))
        assert (table is None) == (form_of(clients, LANES, COLUMNS) is None)
        if table is not None:
            rows = np.asarray(store.tensors()[0])[table.numbers()]
            assert rows.shape[:3] == (table.form.steps, table.form.lanes, table.form.width)
            for lane in range(table.form.lanes):
                for step in range(table.form.steps):
                    own = list(clients[min(lane, len(clients) - 1)])[step : step + 1]  # or the last client's again
                    count = len(own[0]) if own else 0
                    np.testing.assert_array_equal(rows[step, lane, :count], *own or [rows[step, lane, :0]])
                    assert not rows[step, lane, count:].any(), "nobody's rows are zero"
        if fixed:
            known += clients
            all_places += places
        del chunk
    _are_found_again(store, known, all_places, data)


def _are_found_again(store: Store, known: list[Any], places: list[Place], data: st.DataObject) -> None:
    """In any order, in batches of any sizes, and shuffled."""
    order = data.draw(st.permutations(range(len(known))))
    leaves: list[SequenceValue] = []
    for k in order:
        rows, (first, last) = known[k].rows, known[k].splits[[0, -1]]
        assert store.place((known[k],)) is places[k]
        cuts = np.sort(data.draw(st.lists(st.integers(first, last), max_size=3)))
        leaves.append(Rows(rows, np.array([first, *cuts, last], np.int64)))
    if not leaves:
        return
    found = numbered([store.place((each,)) for each in leaves], leaves)
    shown = np.asarray(store.tensors()[0])
    for client, each in enumerate(leaves):
        for t, element in enumerate(each):
            start, stop = found.splits[found.first[client] + t :][:2]
            np.testing.assert_array_equal(shown[found.rows[start:stop]], element)


def test_what_makes_a_table() -> None:
    form = form_of([batches(9, 4), batches(7, 4)], LANES, COLUMNS)
    assert form is None, "half of it would be empty"
    form = form_of([batches(9, 4), *[batches(12, 4)] * 3], LANES, COLUMNS)
    assert form == Form(3, 4, 4, (4, 4, 4, 4))
    regular = [batches(8, 4)] * 3
    for other in (
        Rows(regular[0].rows, np.array([0, 3, 8])),
        Rows(regular[0].rows, np.array([0, 4, 4, 8])),
        Rows(regular[0].rows, np.array([0, 4, 8]), np.arange(8)[::-1]),
        Elements((regular[0].rows[:4], regular[0].rows[4:])),
    ):
        assert form_of([*regular, other], LANES, COLUMNS) is None


def test_clients_that_are_there_or_come_twice_are_not_laid_out() -> None:
    store, clients = a_store(), [batches(8, 4) for _ in range(4)]
    form = form_of(clients, LANES, COLUMNS)
    assert form is not None
    assert store.together([(clients[0],)] * 4, form) is None
    first = store.place((clients[0],))
    assert store.together([(each,) for each in clients], form) is None
    assert store.place((clients[0],)) is first


def test_a_chunk_reads_a_table_only_as_it_was_laid_out() -> None:
    store, clients = a_store(), [batches(8, 4) for _ in range(4)]
    places = laid_out(store, [*clients])
    assert table_of(places, form_of(clients, LANES, COLUMNS)) is places[0].table is not None
    others = [Rows(each.rows, np.array([0, 2, 4, 6, 8])) for each in clients]
    assert table_of(places, form_of(others, LANES, COLUMNS)) is None, "other batches"
    assert table_of(places[::-1], form_of(clients[::-1], LANES, COLUMNS)) is None, "another order"
    assert table_of(places[:3], form_of(clients[:3], LANES, COLUMNS)) is None, "a client less"
    assert table_of([], None) is None


def test_rows_of_tables_that_nobody_needs_are_written_over() -> None:
    store, random = a_store(), np.random.default_rng(0)
    for _ in range(100):
        chunk = Running()
        store.make_room(chunk)
        sizes = [(int(size), int(random.integers(3, 5))) for size in random.integers(6, 10, random.integers(3, 6))]
        clients: list[SequenceValue] = [batches(*each, fixed=False) for each in sizes]
        places = laid_out(store, clients)
        if places[0].table is not None:
            shown = np.asarray(store.tensors()[0])[places[0].table.numbers()]
            own = shown[:, : len(sizes)]
            assert np.count_nonzero(own) == sum(size for size, _ in sizes) * WIDE, "what nobody fills is zero"
            np.testing.assert_array_equal(shown[:, len(sizes) :], shown[:, [len(sizes) - 1] * (-len(sizes) % LANES)])
        del chunk
    assert store.rows.size <= 8 * 60


LAST = """
fn last(s: float32[4, 256]*) -> float32[4, 256] { fold e in s from zeros() as c { e } }

fed each(x: <float32[4, 256]*>@CLIENTS) -> <float32[4, 256]>@CLIENTS { last(x) }
fed total(x: <float32[4, 256]*>@CLIENTS) -> float32[4, 256]@SERVER { federated_sum(last(x)) }
"""


@pytest.mark.parametrize("strategy", ["vectorised", "blocks"])
def test_results_that_are_rows_are_not_written_over(strategy: str) -> None:
    program, executor = fl.loads(LAST), BatchedExecutor(strategy=strategy, threads=1, chunk=4)
    kept, random = [], np.random.default_rng(0)
    for fixed in (False, True) * 3:
        values = [random.integers(-9, 9, (1, 4, WIDE)).astype(np.float32) for _ in range(32)]
        clients = [Rows(fix(each) if fixed else each) for each in values]
        found = program.each.run((clients,), executor=executor)
        np.testing.assert_array_equal(program.total.run((clients,), executor=executor), np.concatenate(values).sum(0))
        kept += zip(found, values, strict=True)
    for own, value in kept:
        np.testing.assert_array_equal(own, value[0])


DIVISION = """
extern fn inverse_(x: float32[?, 256]) -> float32

fn work(s: float32[?, 256]*) -> float32 { fold b in s from 0.0 as sum { sum + inverse_(b) } }

fed each(d: <float32[?, 256]*>@CLIENTS) -> <float32>@CLIENTS { work(d) }
"""


def inverses(x: Any, own: Any) -> list[Any]:
    """Fails where a row that is said to be a client's own begins with 0."""
    return [tf.cast(tf.reduce_sum(tf.where(own, 1000 // tf.where(own, tf.cast(x[:, 0], tf.int32), 1), 0)), tf.float32)]


@pytest.mark.parametrize("count", [5, 6, 8])
def test_functions_for_padded_rows_are_told_no_other_rows_are_a_client_s(count: int) -> None:
    spec = tf.TensorSpec([None, WIDE])
    one = tf.function(lambda x: inverses(x, tf.ones(tf.shape(x)[:1], tf.bool)), input_signature=[spec], autograph=False)
    padded = tf.function(
        lambda x, rows: inverses(x, tf.range(tf.shape(x)[0]) < rows),
        input_signature=[spec, tf.TensorSpec([], tf.int32)],
        autograph=False,
    )
    register_extern("inverse_", TensorFlowExtern(one, padded=padded))
    random = np.random.default_rng(count)
    given = {f"c{k}": random.integers(1, 9, (8, WIDE)).astype(np.float32) for k in range(count)}
    data, program = ClientData.from_dict(given).batches(4), fl.loads(DIVISION)
    executor = BatchedExecutor(strategy="vectorised", threads=1)
    found = program.each.run((data,), executor=executor)
    assert [made.strategy.name for made in executor.made()] == ["vectorised"]
    assert [*found] == [*program.each.run((data,), executor=get_executor("reference"))]


def test_columns_that_are_copied_have_the_tables_that_were_added() -> None:
    """TensorFlow does not share memory of the second dtype."""
    store = Store((Tensor("float32", (fresh_unknown(), WIDE)), Tensor("bfloat16", (fresh_unknown(),))), split=True)
    kept = []
    for _ in range(6):
        clients = [batches(8, 4) for _ in range(4)]
        pairs = [(each, Rows(each.rows[:, 0].astype(ml_dtypes.bfloat16), each.splits)) for each in clients]
        form = form_of([*clients], LANES, COLUMNS)
        assert form is not None
        places = store.together(pairs, form)
        assert places is not None
        kept.append(pairs)
        wide, narrow = (np.asarray(memory.host(each)) for each in store.tensors())
        rows = places[0].start + np.arange(4)
        np.testing.assert_array_equal(wide[rows], pairs[0][0].rows[:4])
        np.testing.assert_array_equal(narrow[rows], pairs[0][1].rows[:4])


@pytest.mark.parametrize("numbers", [[[3, 4], [5, 6]], [[3, 4], [6, 5]], [[0, 0], [0, 0]], [[7, 8]], np.zeros((2, 0))])
def test_rows_that_follow_each_other_are_read_in_place(numbers: Any) -> None:
    table = np.arange(10 * WIDE, dtype=np.float32).reshape(10, WIDE // 16, 16)
    specs = [tf.TensorSpec([None, WIDE // 16, 16]), tf.TensorSpec([None, None], tf.int32)]
    index = np.array(numbers, np.int32)
    read = Traced(lambda x, index: [structural._rows_at(x, index)], specs)
    np.testing.assert_array_equal(read(table, index, spread=False)[0], table[index])


PROGRAM = """
import learning.fedavg (fedavg)
import learning.model (model)
import learning.optimizers (sgd)

type Weights = {kernel: float32[256, 3], bias: float32[3]}

fn loss(w: Weights, batch: {x: float32[?, 256], y: int32[?]}) -> float32 {
  reduce_mean(sparse_softmax_cross_entropy(batch.x @ w.kernel + w.bias, batch.y))
}

process train = fedavg(model(fn (_) => zeros(), loss), client = sgd(0.1))
"""


def examples(size: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "x": random.standard_normal((size, WIDE)).astype(np.float32),
        "y": random.integers(0, 3, size).astype(np.int32),
    }


@pytest.mark.parametrize("strategy", ["vectorised", "blocks"])
def test_cohorts_cut_and_ordered_anew_give_what_a_new_executor_gives(
    monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    tables, find = [], packing.table_of
    monkeypatch.setattr(packing, "table_of", lambda *given: tables.append(find(*given)) or tables[-1])
    process = fl.loads(PROGRAM).train
    state = process.initialize(0)
    data = ClientData.from_dict({f"c{k}": examples(20 + k % 5, k) for k in range(14)})
    kept = BatchedExecutor(strategy=strategy, threads=1)
    for clients, batch, seed in ((12, 6, None), (12, 6, None), (12, 5, None), (9, 6, None), (14, 6, None), (12, 6, 1)):
        cut = data.batches(batch, shuffle_seed=seed)
        cohort = [cut.client(client) for client in sorted(data)[:clients]]
        found = process.run_round(state, (cohort,), executor=kept).state.weights
        alone = BatchedExecutor(strategy=strategy, threads=1)
        new = process.run_round(state, (cohort,), executor=alone).state.weights
        expected = process.run_round(state, (cohort,), executor=get_executor("reference")).state.weights
        for name in ("kernel", "bias"):
            np.testing.assert_array_equal(found[name], new[name])
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
    assert any(each is not None for each in tables)
    assert None in tables
