"""Laws of the partitions: every example goes to exactly one client, the seed decides, sizes are as told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedlang.data import ClientData, draws, partition
from fedlang.data.trees import Examples
from fedlang.diagnostics import DiagnosticError
from fedlang.run.random import key_of_seed

WAYS: dict[str, Callable[..., ClientData]] = {
    "iid": partition.iid,
    "by_size": partition.by_size,
    "dirichlet": partition.dirichlet,
    "dirichlet_tiny": partial(partition.dirichlet, alpha=0.001),
    "dirichlet_huge": partial(partition.dirichlet, alpha=1e6),
    "shards": partition.shards,
}


def labelled(count: int, labels: int = 10) -> Examples:
    place = np.arange(count)
    return {"place": place, "y": (place * 7 % labels).astype(np.int32)}


def column(data: ClientData, client: str, name: str) -> list[int]:
    values: list[int] = partition.field(data.examples(client), name).tolist()
    return values


def deal(data: ClientData) -> list[list[int]]:
    return [column(data, client, "place") for client in data]


@pytest.mark.parametrize("way", WAYS)
@given(count=st.integers(1, 80), clients=st.integers(1, 20), seed=st.integers(0, 2**64 - 1))
def test_every_example_goes_to_exactly_one_client(way: str, count: int, clients: int, seed: int) -> None:
    clients = min(clients, count)
    dealt = deal(WAYS[way](labelled(count), clients, seed=seed))
    assert len(dealt) == clients
    assert sorted(place for part in dealt for place in part) == list(range(count))


@pytest.mark.parametrize("way", WAYS)
def test_the_seed_decides(way: str) -> None:
    deals = [deal(WAYS[way](labelled(200), 12, seed=seed)) for seed in (0, 0, 1)]
    assert deals[0] == deals[1]
    assert deals[0] != deals[2]


DIGESTS = {
    "iid": "22b2b09891598016",
    "by_size": "f8606ca839ae7e92",
    "dirichlet": "825e26d6f5d9ba0c",
    "shards": "0f2b9cf873270620",
}


@pytest.mark.parametrize("way", DIGESTS)
def test_a_seed_deals_the_same_way_everywhere(way: str) -> None:
    dealt = deal(WAYS[way](labelled(500), 20, seed=7))
    assert hashlib.sha256(repr(dealt).encode()).hexdigest()[:16] == DIGESTS[way]


@given(count=st.integers(1, 300), clients=st.integers(1, 30))
def test_iid_sizes_differ_by_one_at_most(count: int, clients: int) -> None:
    sizes = [len(part) for part in deal(partition.iid(labelled(count), clients))]
    assert max(sizes) - min(sizes) <= 1


@given(count=st.integers(1, 300), clients=st.integers(1, 30), sigma=st.floats(0, 4))
def test_by_size_leaves_no_client_empty(count: int, clients: int, sigma: float) -> None:
    clients = min(clients, count)
    assert min(len(part) for part in deal(partition.by_size(labelled(count), clients, sigma=sigma))) >= 1


def test_by_size_needs_an_example_for_each_client() -> None:
    with pytest.raises(DiagnosticError, match="FED0709"):
        partition.by_size(labelled(3), 4)


def test_small_alpha_gives_few_labels_and_large_alpha_all() -> None:
    def labels_of(alpha: float) -> float:
        data = partition.dirichlet(labelled(4000), 10, alpha=alpha)
        return float(np.mean([len(set(column(data, client, "y"))) for client in data]))

    assert labels_of(0.05) < 5
    assert labels_of(100.0) == 10


def test_shards_give_a_client_few_labels() -> None:
    data = partition.shards(labelled(1000), 10, per_client=2)
    assert max(len(set(column(data, client, "y"))) for client in data) <= 4


def test_by_key_makes_a_client_of_each_value() -> None:
    data = partition.by_key({"who": np.array(["bo", "al", "bo"], object), "x": np.arange(3)}, "who")
    assert data.client_ids == ("al", "bo")
    assert column(data, "bo", "x") == [0, 2]


def test_wrong_settings_are_told() -> None:
    with pytest.raises(DiagnosticError, match=r"no field `Y`(.|\n)*they have `place`, `y`"):
        partition.dirichlet(labelled(9), 2, key="Y")
    for wrong in (partial(partition.iid, clients=0), partial(partition.dirichlet, clients=2, alpha=0.0)):
        with pytest.raises(DiagnosticError, match="FED0709"):
            wrong(labelled(9))
    with pytest.raises(DiagnosticError, match="FED0709"):
        partition.shards(labelled(9), 2, per_client=0)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 3.0, 50.0])
def test_gamma_draws_have_the_right_mean_and_variance(alpha: float) -> None:
    numbers = draws.gamma(key_of_seed(3), alpha, 40_000)
    assert (numbers >= 0).all()
    assert np.mean(numbers) == pytest.approx(alpha, rel=0.04)
    assert np.var(numbers) == pytest.approx(alpha, rel=0.1)


@given(shares=st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30), total=st.integers(0, 1000))
def test_apportioned_numbers_add_up_and_are_off_by_less_than_one(shares: list[float], total: int) -> None:
    weights = np.array(shares)
    whole = draws.apportion(weights, total)
    assert whole.sum() == total
    assert (np.abs(whole - weights / weights.sum() * total) < 1 + 1e-9).all()
