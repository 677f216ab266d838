"""Where clients' rows are kept: found again, forgotten when nobody needs them, never moved under a chunk that runs."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from fedlang.executors.tensorflow import memory
from fedlang.executors.tensorflow import store as store_module
from fedlang.executors.tensorflow.start import tf
from fedlang.executors.tensorflow.store import Place, Store
from fedlang.ir.graph import Tensor
from fedlang.run.sequences import Elements, Rows, fix
from fedlang.types.dims import fresh_unknown


class Running:
    """A chunk, as long as it runs."""


def rows(count: int, value: float = 1.0) -> Rows:
    """Rows that nobody can change."""
    return Rows(fix(np.full((count, 3), value, np.float32)))


def test_rows_lie_behind_a_zero_row_and_are_found_again() -> None:
    store = Store((Tensor("float32", (3,)),), split=False)
    first, second = rows(2, 1.0), rows(40, 2.0)
    places = [store.place((each,)) for each in (first, second, first)]
    assert [(place.start, place.rows) for place in places] == [(1, 2), (3, 40), (1, 2)]
    (tensor,) = store.tensors()
    np.testing.assert_array_equal(tensor[:4, 0], [0, 1, 1, 2])


def test_rows_that_can_be_changed_are_copied_each_time() -> None:
    store = Store((Tensor("float32", (3,)),), split=False)
    array = np.ones((1, 3), np.float32)
    seen = array[:]
    seen.flags.writeable = False
    for given in (array, seen):
        places = []
        for value in (2.0, 3.0):
            array[:] = value
            places.append(store.place((Rows(given),)).start)
        (tensor,) = store.tensors()
        np.testing.assert_array_equal(tensor.numpy()[places, 0], [2.0, 3.0])


def test_what_is_shown_stays_when_the_store_grows_or_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store((Tensor("float32", (3,)),), split=False, limit=100)
    kept = rows(5, 7.0)
    store.place((kept,))
    (shown,) = store.tensors()
    more = [rows(100, 3.0) for _ in range(3)]
    for each in more:
        store.place((each,))
    store.make_room(Running())
    assert store.rows.most == 0
    store.place((rows(5, 9.0),))
    np.testing.assert_array_equal(shown[1:6], np.full((5, 3), 7.0))


def test_rows_of_arrays_that_are_gone_are_written_over() -> None:
    store = Store((Tensor("float32", (3,)),), split=False)
    kept = rows(10)
    place = store.place((kept,))
    for _ in range(50):
        store.make_room(Running())
        store.place((rows(100),))
    assert store.rows.size < 300
    assert len(store.places) < 5
    assert store.place((kept,)) is place, "data that somebody keeps are packed once"


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_rows_stay_as_long_as_somebody_needs_them(*, split: bool, fixed: bool) -> None:
    random = np.random.default_rng(1)
    store = Store((Tensor("float32", (fresh_unknown(), 3) if split else (3,)),), split=split)
    running: list[tuple[Running, list[tuple[Rows, Place]], np.ndarray]] = []
    for number in range(300):
        chunk = Running()
        store.make_room(chunk)
        packed = []
        for count in random.integers(0, 30, 8).tolist():
            array = np.full((count, 3), number + 1, np.float32)
            made = Rows(fix(array) if fixed else array, np.array([0, count // 3, count]) if split else None)
            if fixed and split:
                fix(made.splits)
            packed.append((made, store.place((made,))))
        running.append((chunk, packed, np.asarray(store.tensors()[0])))
        del running[: len(running) - int(random.integers(1, 4))]
        for _, clients, shown in running:
            for own, place in clients:
                np.testing.assert_array_equal(shown[place.start : place.start + len(own.rows)], own.rows)
        del chunk, packed, made, array
    assert store.rows.size <= 4 * 4 * 8 * 30
    assert not store.columns[0].array[0].any()


def test_arrays_that_can_be_changed_and_stay_take_no_more_room_each_time() -> None:
    store = Store((Tensor("float32", (3,)),), split=False)
    stays = Rows(np.ones((10, 3), np.float32))
    for _ in range(50):
        chunk = Running()
        store.make_room(chunk)
        store.place((stays,))
    assert store.rows.size < 100
    assert len(store.passing) < 10


def test_room_that_nobody_needs_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LOOK", 1000)
    store = Store((Tensor("float32", (3,)),), split=False)
    large = rows(10_000)
    store.place((large,))
    del large
    for _ in range(100):
        store.make_room(Running())
        store.place((rows(10),))
    assert store.rows.size < 100


def test_sizes_that_the_type_leaves_open_are_those_of_the_rows_in_use() -> None:
    store = Store((Tensor("float32", (fresh_unknown(),)),), split=False)
    for width in (3, 5):
        made = Rows(fix(np.full((4, width), width, np.float32)))
        place = store.place((made,))
        store.make_room(Running())
        (shown,) = store.tensors()
        np.testing.assert_array_equal(shown[place.start : place.start + 4], made.rows)
        del made


def test_of_ranges_only_the_rows_that_they_are_of_are_kept() -> None:
    store = Store((Tensor("float32", (fresh_unknown(), 3)),), split=True)
    place = store.place((Rows(np.arange(30, dtype=np.float32).reshape(10, 3), np.array([2, 3, 5])),))
    (shown,) = store.tensors()
    assert place.rows == 3
    np.testing.assert_array_equal(shown[place.start : place.start + 3, 0], [6, 9, 12])
    assert store.place((Elements((np.zeros((2, 3), np.float32), np.zeros((0, 3), np.float32))),)).rows == 2
    assert store.place((Elements(()),)).rows == 0


def test_other_batches_of_the_same_examples_are_of_the_same_rows() -> None:
    store = Store((Tensor("float32", (fresh_unknown(), 3)),), split=True)
    flat = fix(np.arange(30, dtype=np.float32))
    place = store.place((Rows(flat.reshape(10, 3), np.array([0, 4, 10])),))
    assert store.place((Rows(flat.reshape(10, 3), np.array([0, 10])),)) is place, "another view of the same memory"
    assert store.place((Rows(flat.reshape(10, 3), np.array([0, 3, 6]), np.array([9, 0, 3, 3, 0, 9])),)) is place
    assert store.place((Rows(flat.reshape(10, 3), np.array([0, 6])),)) is not place, "other rows"
    assert store.place((Rows(flat[::-1].reshape(10, 3), np.array([0, 10])),)) is not place, "in another order"


def test_of_a_copy_only_rows_that_were_written_since_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where TensorFlow computes on a GPU."""
    copies: list[int] = []
    patches: list[list[int]] = []

    def copied(array: np.ndarray) -> tf.Tensor:
        copies.append(len(array))
        return tf.constant(array.copy())

    def with_rows(tensor: tf.Tensor, numbers: np.ndarray, rows: np.ndarray) -> tf.Tensor:
        patches.append(numbers.tolist())
        return memory.with_rows(tensor, numbers, rows)

    monkeypatch.setattr(store_module, "has_gpu", lambda: True)
    monkeypatch.setattr(store_module, "copied", copied)
    monkeypatch.setattr(store_module, "with_rows", with_rows)
    store = Store((Tensor("float32", (3,)),), split=False)
    first, second, third = rows(2, 1.0), rows(3, 2.0), rows(20, 3.0)
    store.place((first,))
    (before,) = store.tensors()
    store.place((second,))
    store.place((first,))
    (after,) = store.tensors()
    assert store.tensors()[0] is after
    store.place((third,))  # for which there is no room
    (grown,) = store.tensors()
    assert (copies, patches) == ([16, 32], [[3, 4, 5]])
    np.testing.assert_array_equal(before[:6, 0], [0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(after[:6, 0], [0, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(grown[:26, 0], [0, 1, 1, 2, 2, 2, *[3] * 20])


def test_rows_of_a_dtype_that_is_not_shared_are_those_written_last() -> None:
    store = Store((Tensor("bfloat16", (3,)),), split=False)
    arrays, wanted = [], [0.0]
    for value in range(1, 12):
        arrays.append(fix(np.full((2, 3), value, ml_dtypes.bfloat16)))
        store.place((Rows(arrays[-1]),))
        wanted += [value, value]
        (tensor,) = store.tensors()
        np.testing.assert_array_equal(tensor.numpy()[: len(wanted), 0].astype(np.float32), wanted)


def test_whole_arrays_and_ranges_of_one_are_told_apart() -> None:
    store = Store((Tensor("float32", (fresh_unknown(), 3)),), split=True)
    array = fix(np.ones((5, 3), np.float32))
    assert store.place((Rows(array, np.array([0, 1])),)).rows == 1
    assert store.place((Elements((array,)),)).rows == 5
