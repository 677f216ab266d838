"""What stands between clients and the mean: clipping, zeroing, quantiles, noise, the median."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedlang as fl

from .programs import load

TYPE = "type V = {a: float32[2], b: float32}\n"


def aggregator(expression: str) -> Any:
    """An aggregator of records, alone."""
    return load(f"{TYPE}process p() = ({expression})\n").p


def values(*rows: tuple[float, float, float]) -> list[Any]:
    return [{"a": row[:2], "b": row[2]} for row in rows]


def once(made: Any, *rows: tuple[float, float, float], weights: list[float] | None = None, seed: int = 0) -> Any:
    return made.next(made.initialize(seed), values(*rows), weights or [1.0] * len(rows))


def flat(value: Any) -> list[float]:
    return [*np.asarray(value.a, np.float64).tolist(), float(value.b)]


def test_clipping_shortens_what_is_too_long() -> None:
    result = once(aggregator("clipping[V](fixed(5.0))"), (3, 0, 4), (6, 0, 8), (0, 0, 0), weights=[1, 1, 2])
    np.testing.assert_allclose(flat(result.value), [1.5, 0, 2], rtol=1e-6)
    assert (result.measured.clipped, result.measured.limit) == (1, 5.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_clipping_makes_what_is_not_finite_zero_and_counts_it(wrong: float) -> None:
    result = once(aggregator("clipping[V](fixed(5.0))"), (3, 0, 4), (wrong, 1, 1))
    np.testing.assert_allclose(flat(result.value), [1.5, 0, 2], rtol=1e-6)
    assert result.measured.clipped == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_zeroing_takes_out_large_and_broken_clients(wrong: float) -> None:
    result = once(aggregator("zeroing[V](fixed(5.0))"), (3, 0, 3), (wrong, 1, 1), (0, 6, 0))
    np.testing.assert_allclose(flat(result.value), [1, 0, 1], rtol=1e-6)
    assert result.measured.zeroed == 2


def test_a_client_that_is_not_finite_is_never_averaged_in_silence() -> None:
    with pytest.raises(fl.DiagnosticError, match="FED06"):
        once(aggregator("mean[V]()"), (3, 0, 3), (np.nan, 1, 1))


def test_median_of_odd_and_even_numbers_of_clients() -> None:
    made = aggregator("median[V]()")
    assert flat(once(made, (1, 9, 2), (5, 7, 0), (3, 8, 1)).value) == [3, 8, 1]
    assert flat(once(made, (1, 9, 2), (5, 7, 0)).value) == [3, 8, 1]
    assert flat(once(made, (1, 9, 2)).value) == [1, 9, 2]


def test_quantile_follows_the_papers_update() -> None:
    made = load("process q() = quantile(0.5, 1.0, 4.0, rate = 0.3)\n").q
    state, estimate = made.initialize(0), 1.0
    sizes = np.array([0.5, 2.0, 3.0, 8.0])
    for _ in range(20):
        state = made.next(state, sizes.tolist()).state
        below = np.mean(sizes <= estimate)
        estimate *= np.exp(-0.3 * (below - 0.5))
        np.testing.assert_allclose(made.report(state), estimate, rtol=1e-5)
    assert 2.0 <= made.report(state) <= 3.6


def test_private_mean_without_noise_is_the_mean_of_what_is_clipped() -> None:
    made = aggregator("gaussian[V](fixed(5.0), 0.0, 4.0)")
    result = once(made, (3, 0, 4), (6, 0, 8), weights=[1, 100])  # weights are not read
    np.testing.assert_allclose(flat(result.value), [6 / 4, 0, 8 / 4], rtol=1e-6)


def test_the_noise_has_the_size_it_says() -> None:
    made = load("type V = float32[4000]\nprocess p() = gaussian[V](fixed(2.0), 3.0, 10.0)\n").p
    state = made.initialize(1)
    first = made.next(state, [np.zeros(4000, np.float32)], [1.0])
    second = made.next(first.state, [np.zeros(4000, np.float32)], [1.0])
    assert abs(float(np.std(first.value)) - 3.0 * 2.0 / 10.0) < 0.03
    assert not np.array_equal(first.value, second.value)
    again = made.next(made.initialize(1), [np.zeros(4000, np.float32)], [1.0])
    assert np.array_equal(first.value, again.value)


def test_private_mean_adapts_its_bound() -> None:
    made = aggregator("private_mean[V](0.01, 4.0, start = 1.0)")
    state, limits = made.initialize(0), []
    for _ in range(30):
        result = made.next(state, values((3, 0, 4), (6, 0, 8), (3, 0, 4), (0.3, 0, 0.4)), [1.0] * 4)
        state = result.state
        limits.append(float(result.measured.limit))
    assert limits[0] == 1.0
    assert 2.0 < limits[-1] < 8.0


def test_too_much_noise_for_too_few_clients_is_refused() -> None:
    with pytest.raises(fl.DiagnosticError, match="too few clients for this much noise"):
        once(aggregator("private_mean[V](1.0, 4.0)"), (3, 0, 4))
