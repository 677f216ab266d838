"""Where clients' rows are kept: found again, forgotten when nobody needs them, never moved under a chunk that runs."""

from __future__ import annotations

import numpy as np
import pytest

from fedlang.executors.tensorflow import store as store_module
from fedlang.executors.tensorflow.store import Store
from fedlang.ir.graph import Tensor
from fedlang.run.sequences import Elements, Rows, fix
from fedlang.types.dims import fresh_unknown


def rows(count: int, value: float = 1.0) -> Rows:
    """Rows that nobody can change."""
    return Rows(fix(np.full((count, 3), value, np.float32)))


def test_rows_lie_behind_a_zero_row_and_are_found_again() -> None:
    store = Store((Tensor("float32", (3,)),), split=False)
    first, second = rows(2, 1.0), rows(40, 2.0)
    places = [store.place((each,)) for each in (first, second, first)]
    assert [(place.start, place.length) for place in places] == [(1, 2), (3, 40), (1, 2)]
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
    store.make_room()
    assert store.columns[0].used == 1
    store.place((rows(5, 9.0),))
    np.testing.assert_array_equal(shown[1:6], np.full((5, 3), 7.0))


def test_rows_of_arrays_that_are_gone_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "LOOK", 1000)
    store = Store((Tensor("float32", (3,)),), split=False)
    kept = rows(10)
    store.place((kept,))
    for _ in range(50):
        store.make_room()
        store.place((rows(100),))
    assert store.columns[0].used < 1000


def test_ranges_keep_their_splits() -> None:
    store = Store((Tensor("float32", (fresh_unknown(), 3)),), split=True)
    store.place((Rows(np.ones((3, 3), np.float32), np.array([0, 1, 3])),))
    place = store.place((Elements((np.zeros((2, 3), np.float32), np.zeros((0, 3), np.float32))),))
    assert place.length == 2
    splits = store.splits.array[place.first_split : place.first_split + 3]
    np.testing.assert_array_equal(splits, [4, 6, 6])
