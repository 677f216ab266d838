"""Trying ways to cut clients: what is told of rounds decides between ways that are estimated to be about as fast."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from fedlang.executors.batched.cutting import ALIKE, BlockCost, costs_up_to, cut, ways
from fedlang.executors.batched.trials import AGAIN, SELDOM, TRIES, WARM, Trials

EQUAL = np.full(64, 4, np.int32)
ONE, TWO = [64], [32, 32]


def costs(handed: float, most: int = 128) -> object:
    return costs_up_to({size: BlockCost(1e-3 * size, 0.0, handed) for size in (8, 128)}, most)


def trials(handed: float) -> Trials:
    return Trials(lambda most: costs(handed, most), 2)  # type: ignore[arg-type]


def rounds(
    cutting: Trials, count: int, took: Callable[[list[int]], float], steps: np.ndarray = EQUAL
) -> list[list[int]]:
    found = []
    for _ in range(count):
        cutting.begin()
        found.append(cutting(steps, 128))
        seconds = took(found[-1])
        cutting.end(seconds, seconds)
    return found


def test_the_first_rounds_are_as_estimated() -> None:
    for handed, wanted in ((0.05, TWO), (0.09, ONE)):
        assert cut(EQUAL, costs(handed), 2).sizes == wanted  # type: ignore[arg-type]
        assert rounds(trials(handed), WARM, lambda sizes: 1.0) == [wanted] * WARM


LATER = 4 * AGAIN


def usual(found: list[list[int]], first: int) -> list[list[int]]:
    """The rounds in which no other way has its turn, where `first` is the number of the first one."""
    return [sizes for number, sizes in enumerate(found, first) if number % AGAIN]


@pytest.mark.parametrize(("two", "wanted"), [(0.7, TWO), (0.95, TWO), (1.05, ONE), (1.5, ONE)])
@pytest.mark.parametrize("handed", [0.05, 0.09])
def test_what_rounds_took_decides_wherever_one_begins(handed: float, two: float, wanted: list[int]) -> None:
    tried = WARM + 3 * TRIES
    found = rounds(trials(handed), tried + LATER, lambda sizes: two if sizes == TWO else 1.0)
    assert {tuple(sizes) for sizes in found[:tried]} >= {tuple(ONE), tuple(TWO)}
    assert usual(found[tried:], tried) == [wanted] * (LATER - 4)


@pytest.mark.parametrize(("waited", "worked", "wanted"), [(0.7, 1.2, TWO), (0.7, 1.4, ONE), (0.9, 1.2, ONE)])
def test_another_core_must_save_more_than_it_costs(waited: float, worked: float, wanted: list[int]) -> None:
    cutting = trials(0.09)
    for _ in range(AGAIN + 1):
        cutting.begin()
        sizes = cutting(EQUAL, 128)
        cutting.end(*((waited, worked) if sizes == TWO else (1.0, 1.0)))
    assert cutting(EQUAL, 128) == wanted


def test_rounds_that_others_disturbed_do_not_turn_the_choice() -> None:
    cutting, times = trials(0.09), {len(ONE): iter([1.0, *[9.0] * 4]), len(TWO): iter([*[9.0] * 3, 0.7, 9.0])}
    assert rounds(cutting, WARM, lambda sizes: 9.0) == [ONE] * WARM
    found = rounds(cutting, 2 * TRIES, lambda sizes: next(times[len(sizes)]))
    assert found == [ONE, TWO] * TRIES
    found = rounds(cutting, AGAIN, lambda sizes: 9.0)
    assert usual(found, WARM + 2 * TRIES) == [TWO] * (AGAIN - 1)


@pytest.mark.parametrize(("two", "every"), [(1.4, AGAIN), (1.6, SELDOM * AGAIN)])
def test_another_way_has_a_round_now_and_again(two: float, every: int) -> None:
    cutting, last = trials(0.09), 2 * SELDOM * AGAIN
    found = rounds(cutting, last + 1, lambda sizes: two if sizes == TWO else 1.0)
    tried = WARM + 2 * TRIES
    assert [number for number, sizes in enumerate(found) if number >= tried and sizes == TWO] == [
        number for number in range(tried, last + 1) if number % every == 0
    ]


def test_a_machine_that_changes_is_followed() -> None:
    """A way that has become faster is taken as soon as it has had a round; one that has become slower for some time
    yet."""
    cutting, first = trials(0.09), WARM + 2 * TRIES
    rounds(cutting, first, lambda sizes: 1.4 if sizes == TWO else 1.0)
    found = usual(rounds(cutting, 2 * AGAIN, lambda sizes: 0.7 if sizes == TWO else 1.0), first)
    assert found[AGAIN:] == [TWO] * len(found[AGAIN:])
    found = usual(rounds(cutting, 2 * TRIES * AGAIN, lambda sizes: 1.4 if sizes == TWO else 1.0), first + 2 * AGAIN)
    assert found[-AGAIN:] == [ONE] * AGAIN


def test_what_the_fastest_way_took_long_ago_is_forgotten() -> None:
    """Also where the others are so slow that they hardly have a round."""
    cutting = trials(0.09)
    rounds(cutting, 100, lambda sizes: 1.6 if sizes == TWO else 1.0)
    found = rounds(cutting, 2 * TRIES * AGAIN, lambda sizes: 1.6 if sizes == TWO else 2.4)
    assert found[:AGAIN].count(ONE) >= AGAIN - 1
    assert found[-AGAIN:].count(TWO) >= AGAIN - 1


def test_a_hopeless_way_is_never_tried() -> None:
    assert rounds(trials(10.0), 20, lambda sizes: 1.0) == [ONE] * 20


def test_what_is_known_of_a_way_holds_for_other_cohorts() -> None:
    cutting = trials(0.09)
    rounds(cutting, WARM + 2 * TRIES + 1, lambda sizes: 0.7 if sizes == TWO else 1.0)
    assert cutting(np.full(72, 4, np.int32), 128) == [40, 32]


def test_a_round_of_several_cuts_teaches_nothing() -> None:
    cutting = trials(0.09)
    for _ in range(20):
        cutting.begin()
        assert [cutting(EQUAL, 128), cutting(EQUAL, 128)] == [ONE, ONE]
        cutting.end(1.0, 1.0)


def test_a_round_that_fails_is_forgotten() -> None:
    cutting = trials(0.09)
    for _ in range(1000):
        cutting.begin()
        assert cutting(EQUAL, 128) == ONE
    assert len(cutting._asked) == 1
    found = rounds(cutting, 40, lambda sizes: 0.7 if sizes == TWO else 1.0)
    assert found[-1] == TWO


def test_rounds_of_other_sizes_are_not_compared() -> None:
    """Half of a small round is nobody's work: that says nothing of ways to cut large ones."""
    large, cutting = np.full(120, 40, np.int32), trials(0.09)
    rounds(cutting, 30, lambda sizes: 10.0 * len(sizes))

    def took(sizes: list[int]) -> float:
        return 3.0 if len(sizes) > 1 else 5.0

    found = rounds(cutting, 40, took, large)
    assert len(found[-1]) > 1
    assert rounds(cutting, 1, lambda sizes: 10.0 * len(sizes)) == [ONE]


def test_ways_are_cuts_of_all_clients_each_finer_than_the_one_before() -> None:
    for clients in (0, 1, 7, 64, 100):
        found = ways(np.full(clients, 4, np.int32), costs(0.0), 2)  # type: ignore[arg-type]
        assert [sum(way.sizes) for way in found] == [clients] * len(found)
        assert all(len(a.sizes) < len(b.sizes) for a, b in pairwise(found))


def test_clients_who_are_alike_are_a_way_of_their_own() -> None:
    steps = np.array([40] * 8 + [4] * 24, np.int32)
    known = {8: BlockCost(1e-3, 0.0, 0.1), 128: BlockCost(1e-3, 0.0, 0.1)}  # a block costs more than all its steps
    found = ways(steps, costs_up_to(known, 128), 1)
    assert [(way.kind, way.sizes) for way in found][-1] == (ALIKE, [8, 24])
    assert found[0].sizes == [32]
