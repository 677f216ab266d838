"""Whose memory an array shows, and whether anybody can change it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedlang.run.sequences import Array, fix, is_fixed, owner_of


def locked(array: Array) -> Array:
    """A view that one can only read."""
    view = array[:]
    view.flags.writeable = False
    return view


def windows(array: Array) -> Array:
    return np.lib.stride_tricks.sliding_window_view(array, 3)


def test_a_view_of_an_array_that_is_fixed_is_fixed_and_has_its_owner() -> None:
    array = fix(np.arange(12.0))
    for view in (array, array[2:], array.reshape(3, 4)[::-1], np.broadcast_to(array, (2, 12))):
        assert owner_of(view) is array


@pytest.mark.parametrize("show", [locked, windows, lambda array: np.broadcast_to(array, (2, *array.shape))])
def test_a_view_for_reading_of_what_can_be_changed_is_not_fixed(show: Callable[[Array], Array]) -> None:
    view = show(np.arange(12.0))
    assert not view.flags.writeable
    assert not is_fixed(view)


def test_memory_that_is_not_numpys(tmp_path: Path) -> None:
    assert is_fixed(np.frombuffer(b"12345678"))
    for changeable in (bytearray(8), memoryview(bytearray(8)).toreadonly()):
        assert not is_fixed(locked(np.frombuffer(changeable)))
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(4.0))
    for mode, fixed in (("r", True), ("c", False), ("r+", False)):
        assert is_fixed(locked(np.load(path, mmap_mode=mode))) == fixed, mode
