"""Estimated sums against exact ones: the same bits, whatever cancels, ties or hardly fits."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedlang as fl
from fedlang.executors.reference import ReferenceExecutor
from fedlang.run.estimates import CLIENTS, ELEMENTS, HEAVY, LIGHT, Estimate
from fedlang.run.exact import ExactSum
from fedlang.run.executor import Chunk

from .test_exact import DTYPES, KINDS, clients, fractions_of, weights_of

SINGLE = DTYPES["float32"]


def exactly(values: np.ndarray, weights: np.ndarray | None, total: Fraction | None) -> np.ndarray:
    exact = ExactSum(values.shape[1:], SINGLE)
    exact.add(values, weights)
    return exact.sum() if total is None else exact.mean(total)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(["none", "whole", "long", "single", "double"]),
    st.integers(CLIENTS, 60),
    st.integers(0, 40),
    st.integers(0, 2**32 - 1),
)
def test_sums_and_means_are_the_exact_ones(kind: str, weighting: str, count: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = clients(kind, count, columns, SINGLE, rng), weights_of(weighting, count, rng)
    assert Estimate.suits(values, weights)
    estimate = Estimate(values, weights)
    total = Fraction(count) if weights is None else sum(fractions_of(weights), Fraction(0))
    assert estimate.is_finite
    assert estimate.sum().tobytes() == exactly(values, weights, None).tobytes()
    assert estimate.mean(total).tobytes() == exactly(values, weights, total).tobytes()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0,), (70_001,)])
def test_shapes_of_several_tiles_and_blocks(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(3).standard_normal((7, *shape)).astype(np.float32)
    found = Estimate(values).mean(Fraction(7))
    assert found.shape == shape
    assert found.tobytes() == exactly(values, None, Fraction(7)).tobytes()


def test_columns_that_lie_between_two_numbers_are_told_without_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean in the very middle, with a crumb on either side of it that doubles lose."""
    one, unit, crumb = np.float32(1), np.float32(2.0**-24), np.float32(2.0**-80)
    values = np.array([[one] * 5, [unit, unit, unit, 0, 2 * unit], [0, crumb, -crumb, 0, 0]], np.float32)
    asked: list[int] = []
    told = Estimate._told

    def seen(self: Estimate, columns: np.ndarray, *others: Any) -> np.ndarray:
        asked.extend(columns.tolist())
        return told(self, columns, *others)

    monkeypatch.setattr(Estimate, "_told", seen)
    assert Estimate(values).sum().tolist() == [1, 1 + 2.0**-23, 1, 1, 1 + 2.0**-23]
    assert asked == [0, 1, 2]


def test_a_sum_that_is_zero_is_positive_and_subnormals_keep_their_sign() -> None:
    values = np.array([[-0.0, 1, -1e-40, 2.0**-126], [-0.0, -1, 0, -(2.0**-125)]], np.float32)
    found = Estimate(values).mean(Fraction(2))
    assert found.tolist() == [0, 0, 0, 0]
    assert np.signbit(found).tolist() == np.signbit(exactly(values, None, Fraction(2))).tolist()
    assert not np.signbit(found[:2]).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_seen(bad: float) -> None:
    values = np.ones((3, 4), np.float32)
    values[1, 2] = bad
    assert not Estimate(values).is_finite
    values[2, 2] = -bad
    assert not Estimate(values, np.array([3, 1, 2])).is_finite


def test_what_it_does_not_suit() -> None:
    single = np.ones((CLIENTS, 3), np.float32)
    assert not Estimate.suits(single.astype(np.float64), None)
    assert not Estimate.suits(single[1:], None)
    for dtype in (np.float16, np.float32, np.float64, np.uint64):
        assert Estimate.suits(single, np.ones(CLIENTS, dtype))
    weights = np.linspace(1, 2, CLIENTS)
    assert not Estimate.suits(single, weights * LIGHT / 2)
    assert not Estimate.suits(single, weights * HEAVY)
    assert Estimate.suits(single, np.array([LIGHT, HEAVY] * (CLIENTS // 2)))


@pytest.mark.parametrize("clients", [5000, 70_001])
def test_any_number_of_clients(clients: int) -> None:
    rng = np.random.default_rng(7)
    values, weights = rng.standard_normal((clients, 3)).astype(np.float32), rng.integers(1, 9, clients)
    total = Fraction(int(weights.sum()))
    assert Estimate(values, weights).mean(total).tobytes() == exactly(values, weights, total).tobytes()


@pytest.mark.parametrize("kind", ["ties", "cancel", "subnormal"])
def test_whether_few_or_most_coordinates_are_open(kind: str) -> None:
    rng = np.random.default_rng(11)
    values = clients(kind, 100, 3 * ELEMENTS // 100, SINGLE, rng)
    whole = np.concatenate([values, rng.standard_normal((100, ELEMENTS)).astype(np.float32)], axis=1)
    for each in (values, whole, whole[:, ::-1]):
        assert Estimate(each).mean(Fraction(100)).tobytes() == exactly(each, None, Fraction(100)).tobytes()


class Reusing:
    """An executor that gives all clients at once, in memory that it uses for something else as soon as it goes on."""

    name = "reusing"

    def __init__(self) -> None:
        self.inner = ReferenceExecutor()

    def compile_local(self, graph: Any) -> Any:
        return self.inner.compile_local(graph)

    def compile_work(self, work: Any, varies: tuple[bool, ...]) -> Any:
        inner = self.inner.compile_work(work, varies)

        class Work:
            def run(self, shared: Any, clients: Any) -> Iterator[Chunk]:
                chunks = list(inner.run(shared, clients))
                results = tuple(np.concatenate(each) for each in zip(*(c.results for c in chunks), strict=True))
                yield Chunk(
                    tuple(p for c in chunks for p in c.positions), tuple(i for c in chunks for i in c.ids), results
                )
                for each in results:
                    each.fill(0)

        return Work()


@pytest.mark.parametrize("aggregate", ["federated_mean(x)", "federated_sum(x)", "federated_mean(x, w)"])
def test_a_chunk_is_used_up_before_the_next_is_asked_for(aggregate: str) -> None:
    program = fl.loads(
        f"fed f(x: <float32[300]>@CLIENTS, w: <float32>@CLIENTS) -> float32[300]@SERVER {{ {aggregate} }}"
    ).f
    x = clients("ties", 16, 300, SINGLE, np.random.default_rng(1))
    w = np.ones(16, np.float32)
    found, wanted = (program.run((list(x), list(w)), executor=each) for each in (Reusing(), "reference"))
    assert found.tobytes() == wanted.tobytes()
    total = None if "sum" in aggregate else Fraction(16)
    assert found.tobytes() == exactly(x, None, total).tobytes()
