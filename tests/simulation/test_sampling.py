"""Clients of a round are drawn by seed and round alone."""

from __future__ import annotations

from collections import Counter

import pytest

import fedlang as fl
from fedlang.simulation import build_uniform_sampling_fn

IDS = [f"c{k}" for k in range(6)]


def test_a_round_draws_the_same_whatever_was_drawn_before() -> None:
    sample = build_uniform_sampling_fn(IDS, random_seed=3)
    rounds = [sample(number, 4) for number in range(5)]
    assert build_uniform_sampling_fn(IDS, random_seed=3)(4, 4) == rounds[4]
    assert all(len(set(drawn)) == 4 and set(drawn) <= set(IDS) for drawn in rounds)
    assert len({tuple(drawn) for drawn in rounds}) > 3
    assert build_uniform_sampling_fn(IDS, random_seed=4)(0, 4) != rounds[0]
    assert sorted(sample(0, 6)) == IDS


def test_all_are_equally_likely() -> None:
    for replace in (False, True):
        sample = build_uniform_sampling_fn(IDS, replace, random_seed=1)
        counts = Counter(client for number in range(1200) for client in sample(number, 2))
        assert all(abs(counts[client] - 400) < 80 for client in IDS), counts


def test_with_replacement_clients_come_again() -> None:
    drawn = build_uniform_sampling_fn(IDS, replace=True, random_seed=1)(0, 50)
    assert len(drawn) == 50
    assert set(drawn) <= set(IDS)


@pytest.mark.parametrize(("size", "replace"), [(7, False), (-1, False), (-1, True)])
def test_a_size_that_cannot_be_is_told(size: int, replace: bool) -> None:
    with pytest.raises(fl.DiagnosticError, match="FED0709"):
        build_uniform_sampling_fn(IDS, replace)(0, size)


def test_nobody_cannot_be_drawn_from() -> None:
    with pytest.raises(fl.DiagnosticError, match=r"FED0709.*from 0 to 0"):
        build_uniform_sampling_fn([], replace=True)(0, 1)
