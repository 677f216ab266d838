"""Numbers of sequences that come again are made once: as long as nobody can have changed what they were made of."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import fedlang as fl
from fedlang.data import ClientData, ClientSequences
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.tensorflow.kept import REFERENCE, Kept, Numbers
from fedlang.executors.tensorflow.store import Store
from fedlang.executors.threaded import ThreadedExecutor
from fedlang.ir.graph import Tensor
from fedlang.run.executor import Executor
from fedlang.run.sequences import Elements, Rows, SequenceValue, fix
from fedlang.types.dims import fresh_unknown

EXECUTORS: dict[str, Callable[[], Executor]] = {
    "vectorised": lambda: BatchedExecutor(strategy="vectorised", chunk=4),
    "blocks": lambda: BatchedExecutor(strategy="blocks"),
    "sequential": lambda: BatchedExecutor(strategy="sequential", chunk=4),
    "threaded": lambda: ThreadedExecutor(threads=2),
}
PROGRAM = """
fn weighed(s: float32[?, 3]*) -> float32[3] {
  fold batch in s from zeros() as sum { 2.0 * sum + reduce_sum(batch, axis = 0) }
}

fed each(x: <float32[?, 3]*>@CLIENTS) -> <float32[3]>@CLIENTS { weighed(x) }
"""
OPEN = """
fn total(s: float32[2, ?]*) -> float32 { fold batch in s from 0.0 as sum { 2.0 * sum + reduce_sum(batch) } }

fed each(x: <float32[2, ?]*>@CLIENTS) -> <float32>@CLIENTS { total(x) }
"""


def a_sequence(random: np.random.Generator) -> SequenceValue:
    """Small whole numbers, of which sums are exact; that can be changed, or not, in whole or in part."""
    count, parts = int(random.integers(0, 9)), int(random.integers(0, 4))
    rows = random.integers(-9, 9, (count, 3)).astype(np.float32)
    splits = np.sort(random.integers(0, count + 1, parts + 1))
    order = random.integers(0, count, count) if count and random.random() < 0.4 else None
    for array in (rows, splits, order):
        if array is not None and random.random() < 0.95:
            fix(array)
    if random.random() < 0.2:
        return Elements(tuple(rows[: int(random.integers(0, count + 1))] for _ in range(parts)))
    return Rows(rows, splits, order)


def change(sequence: SequenceValue, random: np.random.Generator) -> None:
    """Changes what can be changed."""
    if isinstance(sequence, Elements):
        for item in sequence.items:
            if item.flags.writeable:
                item += 1.0
        return
    if sequence.rows.flags.writeable:
        sequence.rows[...] += 1.0
    for numbers in (sequence.splits, sequence.order):
        if numbers is not None and numbers.flags.writeable and len(numbers):
            numbers[...] = np.sort(random.permutation(numbers))


def weighed(sequence: SequenceValue) -> np.ndarray:
    total = np.zeros(3, np.float32)
    for batch in sequence:
        total = 2 * total + batch.sum(axis=0)
    return total


@pytest.mark.parametrize("name", EXECUTORS)
def test_results_are_of_what_clients_have_now(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over rounds in which data are changed, exchanged, let go of, and dropped from the stores."""
    random = np.random.default_rng(5)
    pool = [a_sequence(random) for _ in range(12)]
    program, executor = fl.loads(PROGRAM).each, EXECUTORS[name]()
    limit, whole = 1 << 30, Store.make_room

    def make_room(self: Store, chunk: object) -> None:
        self.limit = limit
        whole(self, chunk)

    monkeypatch.setattr(Store, "make_room", make_room)
    for round in range(60):
        limit = 100 if round % 7 == 6 else 1 << 30
        for place in random.integers(0, len(pool), int(random.integers(0, 3))):
            if random.random() < 0.5:
                change(pool[place], random)
            else:
                pool[place] = a_sequence(random)
        cohort = pool if round % 3 else pool[: int(random.integers(1, len(pool)))]
        found = program.run((cohort,), executor=executor)
        for given, result in zip(cohort, found, strict=True):
            np.testing.assert_array_equal(result, weighed(given))


@pytest.mark.parametrize("name", EXECUTORS)
def test_the_same_cohort_is_numbered_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[int] = []
    whole = Store.place

    def place(self: Store, leaves: tuple[SequenceValue, ...]) -> object:
        placed.append(len(leaves))
        return whole(self, leaves)

    monkeypatch.setattr(Store, "place", place)
    data = ClientData.from_list([np.ones((n, 3), np.float32) for n in range(1, 9)])
    program, executor = fl.loads(PROGRAM).each, EXECUTORS[name]()
    batches = data.batches(2)
    counts = []
    for cohort in (batches, batches, batches, batches, data.batches(2), batches.subset(["0", "2"])):
        placed.clear()
        program.run((cohort,), executor=executor)
        counts.append(len(placed))
    assert counts == [8, 0, 0, 0, 0, 2]  # batches cut anew are of the same examples, and in the same order


@pytest.mark.parametrize("name", EXECUTORS)
def test_examples_are_in_order_again_after_they_were_shuffled(name: str) -> None:
    random = np.random.default_rng(5)
    data = ClientData.from_list([random.integers(0, 9, (6, 3)).astype(np.float32) for _ in range(4)])
    program, executor = fl.loads(PROGRAM).each, EXECUTORS[name]()
    for seed in (None, 1, None, 2, None, 1, None):
        for _ in range(2):
            batches = data.batches(2, shuffle_seed=seed)
            wanted = []
            for client in data:
                sequence = batches.sequence(client)
                assert isinstance(sequence, Rows)
                wanted.append(weighed(sequence))
                del sequence
            np.testing.assert_array_equal(program.run((batches,), executor=executor), wanted)
            del batches
            gc.collect()


@pytest.mark.parametrize("name", EXECUTORS)
def test_results_are_of_how_examples_are_cut_in_this_round(name: str) -> None:
    """Over rounds with batches of other sizes, shuffled and not, over several epochs, of some clients and of all."""
    random = np.random.default_rng(7)
    data = ClientData.from_list([random.integers(0, 9, (n, 3)).astype(np.float32) for n in (0, 3, 6, 6, 7, 12)])
    program, executor = fl.loads(PROGRAM).each, EXECUTORS[name]()
    cut: list[ClientSequences] = []
    for _ in range(150):
        if not cut or random.random() < 0.7:
            size, epochs = 2 + (random.random() < 0.2), 1 + (random.random() < 0.2)
            seed = int(random.integers(0, 3)) if random.random() < 0.5 else None
            cut.append(data.batches(size, epochs, seed, drop_last=random.random() < 0.2))
        if len(cut) > 1:
            del cut[int(random.integers(len(cut)))]
        batches = cut[int(random.integers(len(cut)))]
        if random.random() < 0.2:
            batches = batches.subset(random.permutation(batches.client_ids)[: int(random.integers(1, 6))].tolist())
        wanted = [weighed(sequence) for sequence in map(batches.sequence, batches) if isinstance(sequence, Rows)]
        np.testing.assert_array_equal(program.run((batches,), executor=executor), wanted)


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("part", ["rows", "splits", "order"])
def test_what_is_let_be_changed_afterwards_is_numbered_anew(name: str, part: str) -> None:
    random = np.random.default_rng(5)
    program, executor = fl.loads(PROGRAM).each, EXECUTORS[name]()
    cohort = [
        Rows(fix(random.integers(0, 9, (6, 3)).astype(np.float32)), fix(np.array([0, 2, 5])), fix(np.arange(6)))
        for _ in range(4)
    ]
    for _ in range(3):
        program.run((cohort,), executor=executor)
    changed = getattr(cohort[2], part)
    changed.flags.writeable = True
    changed[1] = 3
    for given, result in zip(cohort, program.run((cohort,), executor=executor), strict=True):
        np.testing.assert_array_equal(result, weighed(given))


@pytest.mark.parametrize("name", EXECUTORS)
def test_rows_that_are_laid_out_for_a_chunk_are_not_taken_for_its_own_later(name: str) -> None:
    """Elements of a known size, in an order: each chunk has rows of its own, which the next one's are written over."""
    random = np.random.default_rng(5)
    program, executor = fl.loads(PROGRAM.replace("float32[?, 3]", "float32[2, 3]")).each, EXECUTORS[name]()
    cohorts = []
    for _ in range(3):
        rows = [fix(random.integers(-9, 9, (6, 3)).astype(np.float32)) for _ in range(5)]
        cohorts.append([Rows(each, fix(np.array([0, 2, 4])), fix(random.integers(0, 6, 4))) for each in rows])
    for cohort in cohorts * 3:
        for given, result in zip(cohort, program.run((cohort,), executor=executor), strict=True):
            np.testing.assert_array_equal(result, weighed(given))


@pytest.mark.parametrize("kind", [partial(BatchedExecutor, "sequential"), ThreadedExecutor])
def test_a_store_that_is_emptied_meanwhile_keeps_no_numbers_of_rows_that_pass(kind: Callable[..., Executor]) -> None:
    """Elements of open sizes, in an order: of another size they empty the store, and are as many as were there."""
    random = np.random.default_rng(5)
    program, executor = fl.loads(OPEN).each, kind(chunk=8, threads=1)

    def cohort(width: int) -> list[Rows]:
        rows = [fix(random.integers(-9, 9, (6, width)).astype(np.float32)) for _ in range(4)]
        return [Rows(each, fix(np.array([0, 2, 4])), fix(random.integers(0, 6, 4))) for each in rows]

    first, second, third = cohort(3), cohort(5), cohort(5)
    first.append(Rows(fix(np.ones((4, 3), np.float32)), fix(np.array([0, 2, 4]))))
    for each in (first, second, third, second, second):
        for given, result in zip(each, program.run((each,), executor=executor), strict=True):
            assert result == total_of(given)


def total_of(sequence: SequenceValue) -> float:
    total = 0.0
    for batch in sequence:
        total = 2 * total + float(batch.sum())
    return total


@pytest.mark.parametrize("name", EXECUTORS)
def test_what_was_made_of_sequences_that_are_gone_is_forgotten(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stores: list[Store] = []
    whole = Store.make_room

    def make_room(self: Store, chunk: object) -> None:
        stores.append(self)
        whole(self, chunk)

    monkeypatch.setattr(Store, "make_room", make_room)
    data = ClientData.from_list([np.ones((n, 3), np.float32) for n in range(1, 9)])
    program, executor = fl.loads(PROGRAM).each, EXECUTORS[name]()
    for seed in range(30):
        program.run((data.batches(2, shuffle_seed=seed),), executor=executor)
    gc.collect()
    assert sum(len(store.kept) for store in set(stores)) == 0


def store_of(count: int) -> tuple[Store, list[tuple[Rows]]]:
    sequences = [(Rows(fix(np.ones((2, 3), np.float32)), fix(np.array([0, 2]))),) for _ in range(count)]
    return Store((Tensor("float32", (fresh_unknown(), 3)),), split=True), sequences


def test_nothing_is_held_that_numbers_were_made_of() -> None:
    store, sequences = store_of(3)
    store.numbers_of(sequences, lambda: (np.zeros(4, np.int32),))
    seen = [weakref.ref(leaf.rows) for (leaf,) in sequences]
    assert len(store.kept) == 1
    sequences.clear()
    gc.collect()
    assert [ref() for ref in seen] == [None] * 3
    assert len(store.kept) == 0


def test_what_was_found_last_stays_longest() -> None:
    _, sequences = store_of(6)
    each = 160 + 6 * REFERENCE
    kept, chunks = Kept(limit=2 * each), [sequences[:2], sequences[2:4], sequences[4:]]
    numbers: list[tuple[Numbers, ...]] = [(np.full(40, k, np.int32),) for k in range(3)]
    kept.keep(chunks[0], numbers[0])
    kept.keep(chunks[1], numbers[1])
    assert kept.find(chunks[0]) is numbers[0]
    kept.keep(chunks[2], numbers[2])
    assert [kept.find(chunk) for chunk in chunks] == [numbers[0], None, numbers[2]]
    kept.keep(chunks[1], (np.zeros(2 * each // 4, np.int32),))  # more than there is room for at all
    assert [kept.find(chunk) for chunk in chunks] == [numbers[0], None, numbers[2]]


def test_numbers_are_dropped_with_the_rows_of_a_store() -> None:
    store, sequences = store_of(2)
    store.numbers_of(sequences, lambda: (np.array([store.place(each).start for each in sequences], np.int32),))
    store.limit = 1
    store.make_room(store.kept)
    assert store.kept.find(sequences) is None
