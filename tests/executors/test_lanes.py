"""A client's bits do not depend on how many others are in its chunk: vectors are whole, and nothing is added in an order
that padding changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedlang as fl
from fedlang.executors.tensorflow import convolution
from fedlang.executors.tensorflow.elementwise import BINARY, HARD, UNARY
from fedlang.executors.tensorflow.lanes import LANES, NARROW, VECTOR, WIDE, in_vectors
from fedlang.executors.tensorflow.reductions import log_softmax, reduce_sum
from fedlang.executors.tensorflow.scope import Scope
from fedlang.executors.tensorflow.start import tf
from fedlang.run.registry import get_executor
from fedlang.types.dims import Dim, add, divide, multiply, named
from tests.executors.alone import assert_alone_as_among_others

CLIENTS, WIDTH = named("clients"), named("width")
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40, 1.0, -1.0, 0.5, 2.5, 1e30]
TABLES = (*UNARY.items(), *BINARY.items())
EASY = [pytest.param(name, f, id=name) for name, f in TABLES if name not in HARD and not name.startswith("logical")]


def values(seed: int, dtype: Any, count: int = 256) -> Any:
    rng = np.random.default_rng(seed)
    found = rng.standard_normal(count) * 10 ** rng.uniform(-6, 2, count)
    found[rng.permutation(count)[: len(SPECIAL)]] = SPECIAL
    return tf.cast(tf.constant(found), dtype)


def bits(x: Any) -> list[bytes]:
    """Of each number; all NaNs alike."""
    array = np.asarray(x)
    array = np.where(array != array, np.asarray(np.nan, array.dtype), array)
    return [number.tobytes() for number in array.reshape(-1)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(("name", "function"), EASY)
def test_other_functions_give_the_same_bits_outside_of_vectors(
    name: str, function: Callable[..., Any], dtype: str
) -> None:
    given = [values(seed, dtype) for seed in ((1,) if name in UNARY else (1, 2))]
    whole = bits(function(*given))
    for count in (1, 3, 12):
        for start in range(0, len(whole) - count, count):
            part = [x[start : start + count] for x in given]
            assert bits(function(*part)) == whole[start : start + count]


@pytest.mark.parametrize("name", sorted(HARD))
def test_hard_functions_are_computed_in_vectors(name: str) -> None:
    function, given = UNARY.get(name) or BINARY[name], [values(1, "float32")]
    given += [values(2, "float32")] * (name == "power")
    whole = bits(function(*given))
    call = tf.function(lambda *x: in_vectors(function, list(x), 1), autograph=False)
    for count in (0, 1, 3, 9, 17):
        parts = [tf.constant(x[:count]) for x in given]
        open_parts = call.get_concrete_function(*[tf.TensorSpec([None], tf.float32)] * len(parts))
        assert bits(open_parts(*parts)) == whole[:count]


@given(st.integers(0, 30), st.integers(1, 12), st.integers(0, 9))
def test_rows_stay_rows(rows: int, width: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((40, width)).astype(np.float32)
    whole = tf.nn.log_softmax(x).numpy()
    call = tf.function(lambda x: in_vectors(tf.nn.log_softmax, [x], 1, row=1), autograph=False)
    found = call.get_concrete_function(tf.TensorSpec([None, None], tf.float32))(tf.constant(x[:rows]))
    np.testing.assert_array_equal(found, whole[:rows])


def test_an_input_that_stands_for_repeated_values_is_repeated() -> None:
    a, b = values(1, "float32")[:6], values(2, "float32")[:1]
    call = tf.function(lambda a, b: in_vectors(tf.pow, [a, b], 1), autograph=False)
    found = call.get_concrete_function(*[tf.TensorSpec([None], tf.float32)] * 2)(a, b)
    assert bits(found) == bits(tf.pow(tf.concat([a, a], 0)[:8], b))[:6]


def test_what_sizes_are_multiples_of() -> None:
    assert isinstance(CLIENTS, Dim)
    assert CLIENTS.atom is not None
    scope = Scope(flag_rank=1, multiples={CLIENTS.atom: 4})
    assert scope.multiple([CLIENTS, WIDTH]) == 4
    assert scope.multiple([CLIENTS, 10]) == 40
    assert scope.multiple([multiply(CLIENTS, WIDTH), 6]) == 24
    assert scope.multiple([add(multiply(CLIENTS, 6), 8)]) == 8
    assert scope.multiple([add(CLIENTS, 1)]) == 1
    assert scope.multiple([divide(CLIENTS, 2, "ceil")]) == 1
    assert scope.inner().multiple([CLIENTS]) == 4
    assert Scope().multiple([WIDTH]) == 0  # one client: nothing depends on others


def test_a_vector_is_of_one_of_two_sizes_and_chunks_divide_it() -> None:
    assert VECTOR in (NARROW, WIDE)
    assert VECTOR % LANES == 0
    numbers = np.random.default_rng(0).standard_normal(64 * VECTOR).astype(np.float32)
    for function in (tf.exp, tf.sigmoid, tf.math.softplus, tf.math.expm1, tf.sin):
        whole = function(numbers).numpy()
        parts = [function(part).numpy() for part in np.split(numbers, 64)]
        np.testing.assert_array_equal(whole, np.concatenate(parts))


PADDED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: reduce_sum(x, (1,), padded=True),
    "log_softmax": lambda x: log_softmax(Scope(multiples={CLIENTS.atom: 4}), x, (CLIENTS,)),  # type: ignore[union-attr, dict-item]
}


@given(st.sampled_from(sorted(PADDED)), st.integers(1, 40), st.integers(0, 40), st.integers(1, 9), st.integers(0, 9))
def test_padding_changes_no_bit(name: str, count: int, more: int, rows: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((rows, count)).astype(np.float32)
    call = tf.function(PADDED[name], autograph=False).get_concrete_function(tf.TensorSpec([None, None], tf.float32))
    padded = np.pad(x, [(0, 3), (0, more)], constant_values=0.0 if name == "sum" else -np.inf)
    found = np.asarray(call(tf.constant(padded)))[:rows]
    np.testing.assert_array_equal(found if name == "sum" else found[:, :count], call(tf.constant(x)))


LOSSES = """
import random

fn loss(k: Key, w: float32[5, 3], batch: {x: float32[?, 5], y: int32[?]}) -> float32 {
  let noise: float32 = random.normal(k)
  reduce_mean(sparse_softmax_cross_entropy(tanh(batch.x @ w), batch.y)) + noise
}

fn all(k: Key, w: float32[5, 3], data: {x: float32[?, 5], y: int32[?]}*) -> float32 {
  fold b in data from 0.0 as sum { sum + loss(k, w, b) }
}

fed f(k: Key@SERVER, w: float32[5, 3]@SERVER, data: <{x: float32[?, 5], y: int32[?]}*>@CLIENTS) -> <float32>@CLIENTS {
  all(federated_keys(k), federated_broadcast(w), data)
}
"""


@pytest.mark.parametrize("strategy", ["vectorised", "blocks"])
@pytest.mark.parametrize("size", [7, 20])
def test_batches_of_any_size_in_any_cohort(strategy: str, size: int) -> None:
    rng = np.random.default_rng(size)
    weights = rng.standard_normal((5, 3)).astype(np.float32)
    counts = {f"c{k}": int(n) for k, n in enumerate(rng.integers(1, 2 * size, 19))}
    x = {client: rng.standard_normal((n, 5)).astype(np.float32) for client, n in counts.items()}
    y = {client: rng.integers(0, 3, n).astype(np.int32) for client, n in counts.items()}
    data = {
        client: [{"x": x[client][k : k + size], "y": y[client][k : k + size]} for k in range(0, n, size)]
        for client, n in counts.items()
    }
    program, executor = fl.loads(LOSSES), get_executor("batched", strategy=strategy)

    def losses(clients: list[str]) -> dict[str, float]:
        found = program.f.run((3, weights, {client: data[client] for client in clients}), executor=executor)
        return {client: float(found[client]) for client in clients}

    together = losses(list(data))
    assert all(np.isfinite(value) for value in together.values())
    for count in (1, 2, 3, 5, 9, 13):
        clients = rng.permutation(list(data))[:count].tolist()
        assert losses(clients) == {client: together[client] for client in clients}


SHARED: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {  # and the shapes of `w` and of a client's `x`
    "product": ("""
fed f(w: float32[7, 3]@SERVER, x: <float32[2, 3]>@CLIENTS) -> <float32[2, 7]>@CLIENTS {
  x @ transpose(federated_broadcast(w), [1, 0])
}
""", (7, 3), (2, 3)),
    "large product": ("""
fed f(w: float32[300, 220]@SERVER, x: <float32[2, 300]>@CLIENTS) -> <float32[2, 220]>@CLIENTS {
  x @ federated_broadcast(w)
}
""", (300, 220), (2, 300)),
    "gradient": ("""
fn loss(w: float32[7, 3], x: float32[2, 3]) -> float32 { reduce_sum(square(tanh(tanh(x @ transpose(w, [1, 0])) @ w))) }

fed f(w: float32[7, 3]@SERVER, x: <float32[2, 3]>@CLIENTS) -> <float32[7, 3]>@CLIENTS {
  grad(fn (v: float32[7, 3]) => loss(v, x))(federated_broadcast(w))
}
""", (7, 3), (2, 3)),
    "pictures": ("""
fed f(w: float32[5, 5, 8, 16]@SERVER, x: <float32[1, 14, 14, 8]>@CLIENTS) -> <float32[1, 14, 14, 16]>@CLIENTS {
  conv2d(x, federated_broadcast(w))
}
""", (5, 5, 8, 16), (1, 14, 14, 8)),
}  # fmt: skip


COLUMNS = """
fn slope(data: {x: float32[?, 70], y: float32[?, WIDTH]}*) -> float32[70, WIDTH] {
  fold b in data from zeros() as sum { sum + transpose(b.x, [1, 0]) @ b.y }
}

fed f(data: <{x: float32[?, 70], y: float32[?, WIDTH]}*>@CLIENTS) -> <float32[70, WIDTH]>@CLIENTS { slope(data) }
"""


@pytest.mark.parametrize("columns", [2, 3, 4, 7, 8, 9, 10, 12, 13])
def test_slopes_of_matrices_of_few_columns(columns: int) -> None:
    """Computed transposed or not: the same for a client alone, among others, and in batches of any width."""
    rng = np.random.default_rng(columns)
    data: dict[str, list[dict[str, Any]]] = {}
    for n in (1, 2, 3, 5, 8, 10, 13, 20, 31, 0):
        x, y = (rng.standard_normal((n, size)).astype(np.float32) for size in (70, columns))
        data[f"c{n}"] = [{"x": x[k : k + 11], "y": y[k : k + 11]} for k in range(0, n, 11)]
    program = fl.loads(COLUMNS.replace("WIDTH", str(columns)))
    executor = get_executor("batched", strategy="vectorised")
    together = program.f.run((data,), executor=executor)
    for count in (1, 2, 6):
        some = {client: data[client] for client in rng.permutation(list(data))[:count].tolist()}
        found = program.f.run((some,), executor=executor)
        for client, batches in some.items():
            np.testing.assert_array_equal(found[client], together[client])
            expected = sum((b["x"].T.astype(float) @ b["y"] for b in batches), np.zeros((70, columns)))
            np.testing.assert_allclose(found[client], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strategy", ["vectorised", "blocks"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", sorted(SHARED))
def test_products_by_shared_weights(name: str, strategy: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    text, of_weights, of_data = SHARED[name]
    weights = rng.standard_normal(of_weights).astype(dtype)
    data = {f"c{k}": x for k, x in enumerate(rng.standard_normal((20, *of_data)).astype(dtype))}
    program, executor = fl.loads(text.replace("float32", dtype)), get_executor("batched", strategy=strategy)
    together = program.f.run((weights, data), executor=executor)
    for count in (1, 3, 6):
        some = {client: data[client] for client in rng.permutation(list(data))[:count].tolist()}
        found = program.f.run((weights, some), executor=executor)
        for client in some:
            np.testing.assert_array_equal(found[client], together[client])


OPEN = """
fn work(x: {x: float32[?, 5, 7, 1], k: float32[3, 3, 1, 3], h: float16[?]}) -> {c: float32[5, 7, 3], s: float16} {
  {c: conv2d(x.x, x.k)[0], s: reduce_sum(x.h)}
}

fed f(x: <{x: float32[?, 5, 7, 1], k: float32[3, 3, 1, 3], h: float16[?]}>@CLIENTS)
  -> <{c: float32[5, 7, 3], s: float16}>@CLIENTS { work(x) }
"""


def test_single_pictures_and_sums_of_half_floats() -> None:
    rng = np.random.default_rng(0)
    shapes = {n: {"x": (n, 5, 7, 1), "k": (3, 3, 1, 3), "h": (n,)} for n in (1, 3, 9, 20)}
    data = {
        f"c{n}": {f: rng.standard_normal(size).astype("float16" if f == "h" else "float32") for f, size in own.items()}
        for n, own in shapes.items()
    }
    program, executor = fl.loads(OPEN), get_executor("batched", strategy="vectorised")
    together = program.f.run((data,), executor=executor)
    for client, own in data.items():
        found = program.f.run(({client: own},), executor=executor)[client]
        np.testing.assert_array_equal(found.c, together[client].c)
        assert found.s == together[client].s


FILTERS = """
type Kernel = float32[3, 3, CHANNELS, FILTERS]
type Images = float32[?, SIZE, SIZE, CHANNELS]

fn slope(k: Kernel, x: Images) -> Kernel {
  grad(fn (k: Kernel) => reduce_sum(square(relu(BODY + 0.1))))(k)
}

fed f(k: Kernel@SERVER, data: <{x: Images}*>@CLIENTS) -> <Kernel>@CLIENTS {
  train(federated_broadcast(k), data)
}

fn train(k: Kernel, data: {x: Images}*) -> Kernel {
  fold b in data from k as k { k - 1e-4 * slope(k, b.x) }
}
"""
KINDS = {  # SIZE, CHANNELS, FILTERS and BODY
    "by patches": ("6", "1", "8", "conv2d_valid(x, k)"),
    "by patches, padded": ("7", "1", "5", "conv2d(x, k)"),
    "by places": ("6", "16", "32", "conv2d_valid(x, k)"),
    "by tiles": ("10", "64", "64", "conv2d_valid(tanh(conv2d(x, k)), k)"),
}


@pytest.mark.parametrize("strategy", ["sequential", "vectorised", "blocks"])
@pytest.mark.parametrize("name", sorted(KINDS))
def test_convolutions_by_products(monkeypatch: pytest.MonkeyPatch, name: str, strategy: str) -> None:
    """Products or TensorFlow's own operation: the same alone and among others."""
    monkeypatch.setattr(convolution, "MASKED", False)
    text = FILTERS
    for word, value in zip(("SIZE", "CHANNELS", "FILTERS", "BODY"), KINDS[name], strict=True):
        text = text.replace(word, value)
    size, channels, filters = map(int, KINDS[name][:3])
    rng = np.random.default_rng(0)
    kernel = 0.05 * rng.standard_normal((3, 3, channels, filters)).astype(np.float32)
    shape = (size, size, channels)
    data = {
        f"c{n}": [{"x": rng.standard_normal((min(5, n - k), *shape)).astype(np.float32)} for k in range(0, n, 5)]
        for n in (1, 2, 5, 8, 11, 20)
    }
    assert_alone_as_among_others(fl.loads(text).f, kernel, data, strategy, atol=1e-4)


PICTURES = """
fn work(k: float32[2, 2, 3, 4], x: float32[?, 5, 5, 3]) -> RESULT { BODY }

fed f(k: float32[2, 2, 3, 4]@SERVER, x: <float32[?, 5, 5, 3]>@CLIENTS) -> <RESULT>@CLIENTS {
  work(federated_broadcast(k), x)
}
"""
OF_PICTURES = {
    "same": ("conv2d(x, k)", "float32[?, 5, 5, 4]"),
    "valid": ("relu(conv2d_valid(x, k) + [0.1, -0.1, 0.2, 0.0])", "float32[?, 4, 4, 4]"),
    "own kernels": ("conv2d_valid(x, k * reduce_sum(x))", "float32[?, 4, 4, 4]"),
    "by a kernel": (
        "grad(fn (k: float32[2, 2, 3, 4]) => reduce_sum(square(conv2d(x, k))))(k)",
        "float32[2, 2, 3, 4]",
    ),
    "by pictures": (
        "grad(fn (x: float32[?, 5, 5, 3]) => reduce_sum(square(conv2d_valid(x, k))))(x)",
        "float32[?, 5, 5, 3]",
    ),
    "by a bias": (
        "grad(fn (b: float32[4]) => reduce_sum(square(relu(conv2d(x, k) + b))))([0.1, -0.1, 0.2, 0.0])",
        "float32[4]",
    ),
}


@pytest.mark.parametrize("strategy", ["sequential", "vectorised", "blocks"])
@pytest.mark.parametrize("name", sorted(OF_PICTURES))
def test_few_pictures_and_none(name: str, strategy: str) -> None:
    """The same of a client's pictures alone and among others, be it one or none at all."""
    body, result = OF_PICTURES[name]
    rng = np.random.default_rng(0)
    program = fl.loads(PICTURES.replace("BODY", body).replace("RESULT", result))
    kernel = 0.2 * rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
    data = {f"c{n}": 0.2 * rng.standard_normal((n, 5, 5, 3)).astype(np.float32) for n in (0, 1, 2, 3, 7)}
    assert_alone_as_among_others(program.f, kernel, data, strategy, atol=1e-5)
