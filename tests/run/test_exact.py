"""Exact sums against fractions: any order, any chunks, any merges, the same bits, and the right ones."""

from __future__ import annotations

import time
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.run.exact import ExactSum
from fedlang.run.factors import factors_of
from fedlang.run.rounding import flush, narrow, round_fraction, settle, to_odd
from fedlang.run.wire import sum_from_bytes, sum_to_bytes

DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
KINDS = ("normal", "cancel", "ties", "wide", "subnormal", "same", "huge")


def clients(kind: str, count: int, columns: int, dtype: np.dtype, rng: np.random.Generator) -> np.ndarray:
    """Values of the kind, finite in the dtype."""
    noise = rng.standard_normal((count, columns))
    top = {2: 14, 4: 120, 8: 1000}[dtype.itemsize] if dtype != DTYPES["bfloat16"] else 120
    match kind:
        case "cancel":
            noise *= 10.0 ** rng.integers(-3, 3, noise.shape)
            noise[count // 2 : count // 2 * 2] = -noise[: count // 2]
        case "ties":
            unit = {2: 2.0**-11, 4: 2.0**-24, 8: 2.0**-53}[dtype.itemsize]
            noise = rng.integers(-3, 4, noise.shape) * unit
            noise[0] = 1
        case "wide":
            noise *= 2.0 ** rng.integers(-top, top, noise.shape)
        case "subnormal":
            noise = (
                rng.integers(-9, 9, noise.shape) * float(np.finfo(dtype).tiny if dtype.itemsize > 2 else 2.0**-24) / 4
            )
        case "same":
            noise[:] = noise[0]
        case "huge":
            noise *= 2.0**top
    with np.errstate(all="ignore"):
        values = noise.astype(dtype)
    return np.where(np.isfinite(values.astype(np.float64)), values, np.ones((), dtype)).astype(dtype)


def weights_of(kind: str, count: int, rng: np.random.Generator) -> np.ndarray | None:
    match kind:
        case "none":
            return None
        case "whole":
            return rng.integers(1, 500, count).astype(np.int32)
        case "long":
            return rng.integers(1, 2**62, count)
        case "single":
            return (rng.random(count) * 100 + 0.001).astype(np.float32)
        case _:
            return rng.random(count) * 10.0 ** rng.integers(-4, 4, count) + 1e-9


def fractions_of(values: np.ndarray) -> list:
    return [Fraction(float(v)) if np.dtype(v.dtype).kind not in "iu" else Fraction(int(v)) for v in flush_any(values)]


def flush_any(values: np.ndarray) -> np.ndarray:
    return flush(values) if values.dtype.kind not in "iu" else values


def wanted(values: np.ndarray, weights: np.ndarray | None) -> tuple[list[Fraction], Fraction]:
    factors = [Fraction(1)] * len(values) if weights is None else fractions_of(weights)
    columns = [fractions_of(values[:, k]) for k in range(values.shape[1])]
    return [sum((f * x for f, x in zip(factors, c, strict=True)), Fraction(0)) for c in columns], sum(factors)


def in_pieces(values: np.ndarray, weights: np.ndarray | None, rng: np.random.Generator) -> ExactSum:
    """The sum with clients shuffled, in random chunks, merged as a random tree, some of it over the wire."""
    order = rng.permutation(len(values))
    pieces = []
    for part in np.split(order, np.sort(rng.integers(0, len(values) + 1, 3))):
        piece = ExactSum(values.shape[1:], values.dtype)
        piece.add(values[part], None if weights is None else weights[part])
        pieces.append(sum_from_bytes(sum_to_bytes(piece)) if rng.random() < 0.4 else piece)
    while len(pieces) > 1:
        taken = pieces.pop(rng.integers(len(pieces)))
        pieces[rng.integers(len(pieces))].merge(taken)
    return pieces[0]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


@given(
    st.sampled_from(KINDS),
    st.sampled_from(list(DTYPES)),
    st.sampled_from(["none", "whole", "long", "single", "double"]),
    st.integers(1, 40),
    st.integers(0, 2**32),
)
@settings(max_examples=250, deadline=None)
def test_sums_and_means_are_rounded_once_whatever_the_order(kind, dtype, weight_kind, count, seed):
    rng = np.random.default_rng(seed)
    values = clients(kind, count, 5, DTYPES[dtype], rng)
    weights = weights_of(weight_kind, count, rng)
    sums, total = wanted(values, weights)
    whole = ExactSum((5,), DTYPES[dtype])
    whole.add(values, weights)
    pieces = in_pieces(values, weights, rng)
    want_sum = np.array([round_fraction(each, DTYPES[dtype]) for each in sums])
    want_mean = np.array([round_fraction(each / total, DTYPES[dtype]) for each in sums])
    assert [whole.fraction(k) for k in range(5)] == sums
    assert sum_to_bytes(whole) == sum_to_bytes(pieces)
    for each in (whole, pieces):
        assert same_bits(each.sum(), want_sum)
        assert same_bits(each.mean(total), want_mean)


@given(st.integers(0, 2**32), st.sampled_from(["none", "single"]))
@settings(max_examples=15, deadline=None)
def test_many_clients_and_wide_tiles(seed, weight_kind):
    rng = np.random.default_rng(seed)
    values = clients("wide", 300, 4000, DTYPES["float32"], rng)
    weights = weights_of(weight_kind, 300, rng)
    whole = ExactSum((4000,), values.dtype)
    whole.add(values, weights)
    assert same_bits(in_pieces(values, weights, rng).sum(), whole.sum())
    some = rng.integers(0, 4000, 6)
    sums, total = wanted(values[:, some], weights)
    assert same_bits(whole.sum()[some], np.array([round_fraction(each, values.dtype) for each in sums]))
    assert same_bits(whole.mean(total)[some], np.array([round_fraction(each / total, values.dtype) for each in sums]))


def test_the_sum_that_others_get_wrong():
    total = ExactSum((), np.dtype(np.float32))
    total.add(np.float32([1e8, 1, -1e8, 1]))
    assert total.sum() == 2


def test_the_mean_of_equal_updates_is_that_update():
    rng = np.random.default_rng(3)
    update = rng.standard_normal(5000).astype(np.float32)
    for count in (1, 7, 50):
        weights = (rng.random(count) * 100).astype(np.float32)
        total = ExactSum((5000,), update.dtype)
        total.add(np.tile(update, (count, 1)), weights)
        assert same_bits(total.mean(sum(map(Fraction, weights.tolist()))), update)


@given(st.fractions(), st.sampled_from(list(DTYPES)))
@settings(max_examples=200)
def test_rounding_a_fraction_is_what_numpy_does_where_float64_is_exact(value, dtype):
    double = float(value)
    got = round_fraction(Fraction(double), DTYPES[dtype])
    with np.errstate(over="ignore"):
        want = flush(np.array([narrow(np.array([double]), np.zeros(1), DTYPES[dtype])[0]]))
    if dtype == "float64":
        want = np.array([double])
    assert same_bits(np.array([got]), want)


def test_rounding_to_odd_and_settling():
    one = np.array([1.0, 1.0, -1.0])
    assert to_odd(one, np.array([0, 1e-300, -1e-300])).tolist() == [1, 1 + 2.0**-52, -1 - 2.0**-52]
    settled = settle([np.array([1.0]), np.array([0.0]), np.array([2.0**60]), np.array([2.0**-80])])
    assert [float(part[0]) for part in settled] == [2.0**60 + 0, 1.0, 2.0**-80, 0]


def test_overflow_shows_as_infinity():
    total = ExactSum((1,), np.dtype(np.float32))
    total.add(np.float32([[3e38], [3e38]]))
    assert np.isinf(total.sum()).all()
    total.add(np.float32([[-3e38]]))
    assert total.sum() == np.float32(3e38)
    double = ExactSum((1,), np.dtype(np.float64))
    double.add(np.array([[1.5e308], [1.5e308], [-1.5e308], [5e-324]]))
    assert double.sum() == 1.5e308


def test_a_thousand_clients_cost_little():
    values = np.random.default_rng(0).standard_normal((1000, 8000)).astype(np.float32)
    weights = np.arange(1, 1001).astype(np.float32)
    start = time.process_time()
    total = ExactSum((8000,), values.dtype)
    total.add(values, weights)
    total.mean(Fraction(500500))
    assert time.process_time() - start < 0.3


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_shapes_and_nothing(shape):
    total = ExactSum(shape, np.dtype(np.float32))
    assert np.array_equal(total.sum(), np.zeros(shape))
    total.add(np.ones((4, *shape), np.float32))
    assert np.array_equal(total.sum(), np.full(shape, 4))
    assert np.array_equal(sum_from_bytes(sum_to_bytes(total)).mean(Fraction(4)), np.ones(shape))


def test_a_mean_that_lies_between_two_floats_is_rounded_as_the_exact_one() -> None:
    """Ties and near ties, where doubles alone cannot tell."""
    step = np.float32(2.0**-23)
    one = np.float32(1.0)
    rows = np.array([[one, one + step, one, 0.0, -one], [one + step, one + 2 * step, one + step, 0.0, one]], np.float32)
    crumbs = np.array([[0, 0, 2.0**-80, 0, 0], [0, 0, 0, 0, 0]], np.float32)
    total = ExactSum((5,), np.dtype(np.float32))
    total.add(rows, np.ones(2, np.float32))
    total.add(crumbs, np.ones(2, np.float32))
    expected = [one, one + 2 * step, one + step, 0.0, 0.0]  # the tie to the even one, the crumb decides the third
    np.testing.assert_array_equal(total.mean(Fraction(2)), np.array(expected, np.float32))
    assert not np.signbit(total.mean(Fraction(2))[3:]).any()


@given(
    st.integers(0, 40), st.integers(2, 90), st.sampled_from(["none", "whole", "powers", "single"]), st.integers(0, 99)
)
@settings(max_examples=150, deadline=None)
def test_sums_around_the_bits_that_a_double_has_are_exact(spread, count, weight_kind, seed):
    rng = np.random.default_rng(seed)
    whole = rng.integers(2**23, 2**24, (count, 3)) * rng.choice([-1, 1, 1], (count, 3))
    whole[0] = 2**24 - 1
    values = (whole * 2.0 ** rng.integers(-spread, 1, whole.shape)).astype(np.float32)
    values[1] = np.float32(2.0**-spread) * (2**23 + 1)
    powers = 2.0 ** rng.integers(-3, 9, count)
    weights = powers.astype(np.float32) if weight_kind == "powers" else weights_of(weight_kind, count, rng)
    sums, _ = wanted(values, weights)
    total = ExactSum((3,), values.dtype)
    total.add(values, weights)
    assert [total.fraction(k) for k in range(3)] == sums


def test_a_tile_whose_weights_have_no_second_piece_is_left_out_of_it() -> None:
    """Rows of a chunk are cut into tiles, weights into pieces; a piece may be zero in all rows of a tile."""
    rows, columns = 40, 4096
    values = np.full((rows, columns), 2.0**-100, np.float32)
    weights = np.array([1.0] * 32 + [1 / 3] * (rows - 32))
    total = ExactSum((columns,), values.dtype)
    total.add(values, weights)
    total.add(values, np.array([1.0] * 39 + [0.0]))
    assert total.fraction(7) == (71 + 8 * Fraction(1 / 3)) / 2**100


def test_weights_hundreds_of_powers_of_two_apart_have_an_exact_mean() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal((30, 2)).astype(np.float32)
    weights = rng.random(30) * 2.0 ** rng.permutation(np.linspace(-299, 290, 30).astype(int))
    total = ExactSum((2,), values.dtype)
    total.add(values, weights)
    sums, whole = wanted(values, weights)
    assert len(total.cascades[0]) >= 10
    assert same_bits(total.mean(whole), np.array([round_fraction(each / whole, values.dtype) for each in sums]))


@pytest.mark.parametrize("weight", [1, 60, 2**28 - 1, 2**29 + 1])
@pytest.mark.parametrize("noise", [0.0, 2.0**-70, -(2.0**-70)])
def test_means_in_the_middle_of_two_numbers_and_beside_it(noise: float, weight: int) -> None:
    rng = np.random.default_rng(weight)
    middle = rng.integers(2**23, 2**24, 400) + 0.5
    apart = rng.integers(0, 2**20, 400) + 0.5
    values = np.stack([middle + apart, middle - apart, np.zeros(400)]) * 2.0**-24 * rng.choice([-1, 1], 400)
    values[2] = noise * (rng.random(400) < 0.5)
    total = ExactSum((400,), np.dtype(np.float32))
    total.add(values.astype(np.float32), np.full(3, weight, np.float64))
    assert len(total.cascades[0]) == (2 if noise or weight > 2**28 else 1)
    whole = Fraction(2 * weight)
    want = [round_fraction(total.fraction(column) / whole, total.dtype) for column in range(400)]
    assert same_bits(total.mean(whole), np.array(want))


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_mean_beyond_the_greatest_number_is_infinite(sign: int) -> None:
    total = ExactSum((1,), np.dtype(np.float32))
    total.add(np.array([[np.finfo(np.float32).max], [2.0**103]], np.float32) * np.float32(sign))
    assert total.mean(Fraction(1)) == total.sum() == [sign * np.inf]


def test_subnormal_weights_have_factors() -> None:
    weights = np.array([5e-324, 3e-312, 1e-309])
    assert sum(sum(map(Fraction, factors.values.tolist())) for factors in factors_of(weights)) == sum(
        map(Fraction, weights.tolist())
    )


@pytest.mark.parametrize("exponent", [-1000, 900, 1000])
def test_weights_whose_products_no_double_holds(exponent: int) -> None:
    values = np.array([[1.5, 2.0**100, 2.0**-126], [-0.5, 3.0, 2.0**-120]], np.float32)
    weights = np.array([1.0, 3.0]) * 2.0**exponent
    exact = ExactSum((3,), DTYPES["float32"])
    exact.add(values, weights)
    totals, total = wanted(values, weights)
    assert exact.mean(total).tolist() == [float(round_fraction(each / total, DTYPES["float32"])) for each in totals]
