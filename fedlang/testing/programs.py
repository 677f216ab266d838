"""The programs of the conformance kit: every group of operations, every movement, at clients of unequal sizes.

Each declares `fed f`, whose arguments at the clients are mappings from client ids. One client has no data at all, one
a single example. What a client computes comes back too, so that clients can be compared one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SIZES = {"anna": 5, "bo": 0, "cy": 3, "dan": 20, "eve": 1, "12": 4, "3": 2}


@dataclass(frozen=True, slots=True, eq=False)
class ConformanceProgram:
    """A program with `fed f`, and its arguments: mappings are at the clients. `rounds` above 0: a `process p` instead.

    `exact`: the clients do nothing that rounds differently from the reference, so every bit must agree.
    """

    name: str
    text: str
    arguments: tuple[Any, ...]
    exact: bool = False
    rounds: int = 0


def examples(seed: int = 0, features: int = 4, classes: int = 3) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """Each client's examples, stacked."""
    rng = np.random.default_rng(seed)
    return {
        client: {
            "x": rng.normal(size=(count, features)).astype(np.float32),
            "y": rng.integers(0, classes, count).astype(np.int32),
        }
        for client, count in SIZES.items()
    }


def batches(data: Mapping[str, Mapping[str, np.ndarray[Any, Any]]], size: int) -> dict[str, list[Any]]:
    """The same as batches; the last may be smaller."""
    return {
        client: [{name: part[k : k + size] for name, part in parts.items()} for k in range(0, len(parts["y"]), size)]
        for client, parts in data.items()
    }


def tensors(*shape: int, seed: int = 1, low: float = -2.0, high: float = 2.0) -> dict[str, np.ndarray[Any, Any]]:
    """A float32 tensor for each client."""
    rng = np.random.default_rng(seed)
    return {client: rng.uniform(low, high, shape).astype(np.float32) for client in SIZES}


def integers(*shape: int, seed: int = 2, low: int = -50, high: int = 50) -> dict[str, np.ndarray[Any, Any]]:
    """An int32 tensor for each client."""
    rng = np.random.default_rng(seed)
    return {client: rng.integers(low, high, shape).astype(np.int32) for client in SIZES}


def each(
    name: str, type: str, result: str, body: str, values: Any, *, exact: bool = False, head: str = ""
) -> ConformanceProgram:
    """A function of each client's value, its results given back one by one."""
    text = f"""import random

{head}

fn work(x: {type}) -> {result} {{ {body} }}

fed f(x: <{type}>@CLIENTS) -> <{result}>@CLIENTS {{ work(x) }}
"""
    return ConformanceProgram(name, text, (values,), exact)


def conformance_programs() -> tuple[ConformanceProgram, ...]:
    """All of them, in the order of docs/operations.md."""
    return (
        *_arithmetic(),
        *_shapes(),
        *_products(),
        *_random(),
        *_sequences(),
        *_control(),
        *_movements(),
        *_learning(),
    )


def _arithmetic() -> list[ConformanceProgram]:
    small = tensors(2, 3)
    pair = "{a: float32[2, 3], b: float32[2, 3]}"
    pairs = {client: {"a": small[client], "b": other} for client, other in tensors(2, 3, seed=4, low=0.2).items()}
    ints = {
        client: {"a": a, "b": b}
        for (client, a), b in zip(integers(5).items(), integers(5, seed=3, low=1).values(), strict=True)
    }
    return [
        each("float arithmetic", pair, "float32[2, 3]", "-(x.a + x.b) * x.a - x.a / x.b + sqrt(x.b)", pairs),
        each(
            "arithmetic as it is written",
            pair,
            "{n: float32[2, 3], p: float32[2, 3], q: float32[2, 3], r: float32[2, 3], s: float32[2, 3],"
            " t: float32[2, 3]}",
            "{q: x.a / 3.0 / 7.1, r: 1.0 / x.b + reciprocal(x.b), n: (x.a + 12582912.0) - 12582912.0,"
            " p: x.a * 3.3 * 7.1, s: x.a / sqrt(x.b), t: x.a + x.b + x.a + (x.a - x.b)}",
            pairs,
            exact=True,
        ),
        each(
            "rounding", pair, "float32[2, 3]", "floor(x.a) + ceil(x.b) + round(4.0 * x.a) + sign(x.a) * abs(x.b)", pairs
        ),
        each(
            "functions of one number",
            "float32[2, 3]",
            "float32[2, 3]",
            "exp(x) + sin(x) * cos(x) + tanh(x) + sigmoid(x) + softplus(x) + erf(x) + expm1(x) + relu(x)",
            small,
        ),
        each(
            "logarithms",
            "float32[2, 3]",
            "float32[2, 3]",
            "log(x) + log1p(x) + rsqrt(x) + reciprocal(x) + pow(x, x)",
            tensors(2, 3, low=0.2),
        ),
        each(
            "integer arithmetic",
            "{a: int32[5], b: int32[5]}",
            "int32[5]",
            "x.a // x.b + x.a % x.b * 7 - max(x.a, x.b) + min(x.a, -x.b) + sign(x.a)",
            ints,
            exact=True,
        ),
        each(
            "overflow wraps",
            "{a: int32[5], b: int32[5]}",
            "int32[5]",
            "x.a * 2000000011 + x.b * 99999989",
            ints,
            exact=True,
        ),
        each(
            "comparison and logic",
            "{a: int32[5], b: int32[5]}",
            "bool[5]",
            "(x.a < x.b and not (x.a == x.b)) or x.a >= 20 or x.b != 3",
            ints,
            exact=True,
        ),
        each("selection", pair, "float32[2, 3]", "where(x.a > 0.0, x.a, x.b)", pairs, exact=True),
        each(
            "casts",
            "float32[2, 3]",
            "{i: int32[2, 3], d: float64[2, 3], b: float32[2, 3]}",
            "{i: cast(100.0 * x), d: cast(x), b: cast(x > 0.0)}",
            small,
        ),
        each(
            "scalars spread",
            "{s: float32, t: {a: float32[2], b: float32}}",
            "{a: float32[2], b: float32}",
            "x.s * x.t + 1.0",
            {
                client: {"s": np.float32(k), "t": {"a": np.arange(2, dtype=np.float32), "b": np.float32(0.5)}}
                for k, client in enumerate(SIZES)
            },
        ),
    ]


def _shapes() -> list[ConformanceProgram]:
    cube, matrix = tensors(2, 3, 4), tensors(3, 4)
    ragged = {client: parts["x"] for client, parts in examples(5).items()}
    labels = {client: parts["y"] for client, parts in examples(5).items()}
    vectors = {client: 1 + rows[:, 0] / 8 for client, rows in ragged.items()}
    return [
        each(
            "reductions",
            "float32[2, 3, 4]",
            "{s: float32[2, 4], m: float32, t: float32[3, 4]}",
            "{s: reduce_sum(x, axis = 1), m: reduce_mean(x), t: reduce_product(x, axis = 0)}",
            cube,
        ),
        each(
            "extremes",
            "float32[2, 3, 4]",
            "{s: float32[2, 4], m: float32, i: int32[2, 3], j: int32[2, 4], b: bool}",
            "{s: reduce_max(x, axis = 1), m: reduce_min(x), i: arg_max(x, axis ="
            " 2), j: arg_min(x, axis = 1), b: reduce_any(is_nan(x))}",
            cube,
            exact=True,
        ),
        each(
            "sums of ragged rows",
            "float32[?, 4]",
            "{s: float32[4], m: float32}",
            "{s: reduce_sum(x, axis = 0), m: total(x)}",
            ragged,
        ),
        each(
            "vectors of any length",
            "float32[?]",
            "{s: float32, t: float32, q: float32, m: float32, e: float32, l: float32}",
            "{s: reduce_sum(x), t: reduce_sum(exp(x)), q: reduce_product(x), m: reduce_mean(softplus(x)),"
            " e: reduce_max(softmax(x)), l: reduce_min(log_softmax(x))}",
            vectors,
        ),
        each(
            "integer sums of ragged rows",
            "int32[?]",
            "{s: int32, a: bool, e: int32}",
            "{s: reduce_sum(x), a: reduce_all(x > 0), e: reduce_max(x)}",
            labels,
            exact=True,
        ),
        each(
            "softmax",
            "float32[3, 4]",
            "{p: float32[3, 4], l: float32[3, 4]}",
            "{p: softmax(x), l: log_softmax(x)}",
            matrix,
        ),
        each(
            "running sums and sorting",
            "float32[3, 4]",
            "{c: float32[3, 4], s: float32[3, 4], o: int32[4]}",
            "{c: cumulative_sum(x, axis = 1), s: sort(x), o: arg_sort(x[1])}",
            matrix,
        ),
        each(
            "a row added to a product by a transposed matrix",
            "float32[3, 4]",
            "{p: float32[4, 4], q: float32[4, 4]}",
            "{p: transpose(x, [1, 0]) @ x + x[0], q: x[1] + transpose(x, [1, 0]) @ square(x)}",
            matrix,
        ),
        each(
            "axes",
            "float32[2, 3, 4]",
            "{t: float32[4, 2, 3], r: float32[6, 4], q: float32[4, 3, 2], f: float32[2, 12], v: float32[2, 3, 4]}",
            "{t: transpose(x, [2, 0, 1]), r: reshape(x, [6, 4]), q: reshape(x, [4, 3, 2]), f: flatten(x),"
            " v: reverse(x)}",
            cube,
            exact=True,
        ),
        each(
            "derivative of a sort",
            "float32[3, 4]",
            "float32[3, 4]",
            "grad(fn (x: float32[3, 4]) => reduce_sum(stop_gradient(x) *"
            " cumulative_sum(square(sort(x)), axis = 0)))(x)",
            matrix,
        ),
        each(
            "second derivative of a sort",
            "float32[5]",
            "float32[5]",
            "grad(fn (x: float32[5]) => reduce_sum(x * grad(fn (x: float32[5]) =>"
            " reduce_sum(cumulative_sum(square(sort(x)), axis = 0)))(x)))(x)",
            tensors(5),
        ),
        each(
            "derivative of a slice",
            "float32[3, 4]",
            "float32[3, 4]",
            "grad(fn (x: float32[3, 4]) => reduce_sum(square(x[1:, 1:3])))(x)",
            matrix,
        ),
        each(
            "rows counted",
            "float32[?, 4]",
            "float32",
            "fold k in range(4) from 0.0 as now { 2.0 * now + cast(k) * reduce_sum(x) }",
            ragged,
        ),
        each(
            "slices",
            "float32[3, 4]",
            "{a: float32[4], b: float32[2, 2], c: float32[5, 4]}",
            "{a: x[2], b: x[1:3, 1:3], c: concat(x, x[0:2])}",
            matrix,
            exact=True,
        ),
        each(
            "gather and one hot",
            "float32[3, 4]",
            "{g: float32[3, 4], h: int32[3, 4]}",
            "{g: gather(x, [2, 0, 2]), h: one_hot([0, 3, 9], 4)}",
            matrix,
            exact=True,
        ),
        each("scatter", "float32[3, 4]", "float32[2, 4]", "scatter_add(zeros[float32[2, 4]](), [1, 0, 1], x)", matrix),
    ]


def _products() -> list[ConformanceProgram]:
    rng = np.random.default_rng(4)
    return [
        each(
            "matrix products",
            "float32[3, 4]",
            "{a: float32[3, 3], b: float32[3], c: float32[4, 4]}",
            "{a: x @ transpose(x, [1, 0]), b: x @ x[0], c: transpose(x, [1, 0]) @ x}",
            tensors(3, 4),
        ),
        each(
            "stacked matrix products",
            "float32[2, 3, 4]",
            "float32[2, 3, 3]",
            "x @ transpose(x, [0, 2, 1])",
            tensors(2, 3, 4),
        ),
        each(
            "convolution",
            "{x: float32[2, 5, 6, 2], k: float32[3, 3, 2, 3]}",
            "{a: float32[2, 5, 6, 3], b: float32[2, 2, 2, 3]}",
            "{a: conv2d(x.x, x.k), b: conv2d_valid(x.x, x.k, stride = 2)}",
            {
                client: {"x": image, "k": kernel}
                for (client, image), kernel in zip(
                    tensors(2, 5, 6, 2).items(), tensors(3, 3, 2, 3, seed=9).values(), strict=True
                )
            },
        ),
        each(
            "pooling",
            "float32[2, 4, 6, 2]",
            "{m: float32[2, 2, 3, 2], a: float32[2, 2, 3, 2]}",
            "{m: max_pool(x, 2), a: average_pool(x, 2)}",
            tensors(2, 4, 6, 2),
        ),
        each(
            "derivative of an average",
            "{x: float32[1, 4, 4, 2], k: float32[3, 3, 2, 3]}",
            "float32[1, 4, 4, 2]",
            "grad(fn (y: float32[1, 4, 4, 2]) => reduce_sum(square(average_pool(conv2d(y, x.k), 2))))(x.x)",
            {
                client: {"x": image, "k": kernel}
                for (client, image), kernel in zip(
                    tensors(1, 4, 4, 2).items(), tensors(3, 3, 2, 3, seed=9).values(), strict=True
                )
            },
        ),
        each(
            "derivative of a layer that is cut off and pooled",
            "{x: float32[2, 4, 6, 2], k: float32[3, 3, 2, 3]}",
            "{k: float32[3, 3, 2, 3], b: float32[3]}",
            "grad(fn (w: {k: float32[3, 3, 2, 3], b: float32[3]}) =>"
            " reduce_sum(square(max_pool(relu(conv2d(x.x, w.k) + w.b), 2))))({k: x.k, b: [0.1, 0.0, -0.1]})",
            {
                client: {"x": image, "k": kernel}
                for (client, image), kernel in zip(
                    tensors(2, 4, 6, 2).items(), tensors(3, 3, 2, 3, seed=9).values(), strict=True
                )
            },
        ),
        each(
            "derivative of a convolution",
            "{x: float32[1, 4, 4, 2], k: float32[3, 3, 2, 3]}",
            "float32[3, 3, 2, 3]",
            "grad(fn (k: float32[3, 3, 2, 3]) => reduce_sum(square(max_pool(conv2d(x.x, k), 2))))(x.k)",
            {
                client: {"x": image, "k": kernel}
                for (client, image), kernel in zip(
                    tensors(1, 4, 4, 2).items(), tensors(3, 3, 2, 3, seed=9).values(), strict=True
                )
            },
        ),
        *(
            each(
                name,
                "float32[?, 4, 4, 1]",
                "{y: float32[4, 4, 2], k: float32[2, 2, 1, 2], m: float32[2, 2, 1], a: float32[2, 2, 1]}",
                "let k: float32[2, 2, 1, 2] = [[[[0.5, -1.0]], [[1.0, 0.25]]], [[[-0.5, 2.0]], [[0.0, 1.5]]]]\n"
                "{y: reduce_sum(conv2d(x, k), axis = 0), m: reduce_sum(max_pool(x, 2), axis = 0),"
                " a: reduce_sum(average_pool(x, 2), axis = 0),"
                " k: grad(fn (v: float32[2, 2, 1, 2]) => reduce_sum(square(max_pool(relu(conv2d(x, v)), 2))))(k)}",
                {client: rng.normal(size=(count, 4, 4, 1)).astype(np.float32) for client, count in sizes.items()},
            )
            for name, sizes in (
                ("pictures, and a client without", SIZES),
                ("no client has a picture", dict.fromkeys(SIZES, 0)),
            )
        ),
    ]


def _random() -> list[ConformanceProgram]:
    keys = """
fed f(k: Key@SERVER, x: <int32>@CLIENTS)
    -> <{u: float32[2, 3], d: float64[3], p: int32[7], b: bool[4], w: float32[3]}>@CLIENTS {
  draw(federated_keys(k), x)
}
"""
    text = """import random

fn draw(k: Key, i: int32) -> {u: float32[2, 3], d: float64[3], p: int32[7], b: bool[4], w: float32[3]} {
  {u: random.uniform(random.at(k, i)), d: random.uniform(random.at(k, 1)), p: random.permutation(random.at(k, 2), 7),
   b: random.bernoulli(random.at(k, 3), 0.5), w: random.uniform(random.at(k, 4), low = 0.0, high = 4.0)}
}
"""
    places = {client: np.int32(k) for k, client in enumerate(SIZES)}
    normal = """import random

fn draw(k: Key, i: int32) -> {a: float32[5], b: float64[3]} { random.normal(random.at(k, i)) }

fed f(k: Key@SERVER, x: <int32>@CLIENTS) -> <{a: float32[5], b: float64[3]}>@CLIENTS { draw(federated_keys(k), x) }
"""
    return [
        ConformanceProgram("random bits", text + keys, (7, places), exact=True),
        ConformanceProgram("normal draws", normal, (7, places)),
    ]


def _sequences() -> list[ConformanceProgram]:
    data = examples()
    type = "{x: float32[4], y: int32}*"
    words = {client: [f"w{k % 4}" for k in range(count)] for client, count in SIZES.items()}
    return [
        each(
            "batches",
            type,
            "{n: int32, last: int32, sizes: int32}",
            "{n: length(batch(x, 3)), last: sized(batch(x, 3)), sizes: length(x)}",
            data,
            exact=True,
            head="""
fn sized(x: {x: float32[?, 4], y: int32[?]}*) -> int32 { fold b in x from 0 as now { 10 * now + rows(b) } }
fn rows[n](b: {x: float32[n, 4], y: int32[n]}) -> int32 { n }
""",
        ),
        each(
            "elements of two sizes",
            "{x: float32[?, 2], y: float32[?]}*",
            "{a: float32, b: float32}",
            "fold e in x from {a: 0.0, b: 0.0} as s { {a: s.a + reduce_sum(e.x), b: s.b + reduce_sum(e.y)} }",
            {
                client: [{"x": parts["x"][k:, :2], "y": parts["x"][: 2 * k + 1, 2]} for k in range(len(parts["x"]))]
                for client, parts in data.items()
            },
        ),
        each(
            "take, skip, repeat",
            type,
            "int32",
            "places(repeated(skip(take(x, 6), 1), 2))",
            data,
            exact=True,
            head=PLACES,
        ),
        each("shuffle", type, "int32", "places(shuffle(random.key(3), x))", data, exact=True, head=PLACES),
        each(
            "rows as a sequence",
            "float32[3, 4]",
            "float32[4]",
            "fold r in skip(unstack(x), 1) from zeros() as now { where(r > now, r, now) }",
            tensors(3, 4),
            exact=True,
        ),
        each(
            "map and filter",
            type,
            "int32",
            "fold v in filter(fn (v) => v > 0, map(fn (e) => 2 * e.y, x)) from 1 as now { 3 * now + v }",
            data,
            exact=True,
        ),
        each(
            "strings",
            "string*",
            "int32[4]",
            "fold w in x from zeros() as now { now + one_hot(hash(w, 1) % 3, 4)"
            ' + one_hot(lookup(["w1", "w2"], prefix(w, 2)), 4) }',
            words,
            exact=True,
        ),
    ]


PLACES = "fn places(x: {x: float32[4], y: int32}*) -> int32 { fold e in x from 1 as now { 5 * now + e.y } }"


def _control() -> list[ConformanceProgram]:
    data, type = examples(), "{x: float32[4], y: int32}*"
    rows = {client: parts["x"] for client, parts in data.items()}
    return [
        each(
            "fold",
            type,
            "{s: float32[4], n: int32}",
            "fold e in x from {s: zeros(), n: 0} as now { {s: tanh(now.s + e.x), n: now.n + e.y} }",
            data,
        ),
        each(
            "scan",
            "float32[?, 4]",
            "{last: float32[4], all: float32}",
            "summed(scan r in x from zeros[float32[4]]() as now { let next"
            " = 0.5 * now + r\n (next, reduce_sum(next)) })",
            rows,
            head="""
fn summed[n](all: (float32[4], float32[n])) -> {last: float32[4], all: float32} {
  let (last, steps) = all
  {last, all: reduce_sum(steps)}
}
""",
        ),
        each("repeat", "float32[2, 3]", "float32[2, 3]", "repeat 5 from x as now { 0.5 * now + 1.0 }", tensors(2, 3)),
        each(
            "if",
            "float32[2, 3]",
            "float32[2, 3]",
            "if reduce_max(x) > 1.7 { x } else { if x[0, 0] > 0.0 { -x } else { zeros() } }",
            tensors(2, 3),
            exact=True,
        ),
        each(
            "if inside fold",
            type,
            "int32",
            "fold e in x from 0 as now { if e.y == 1 { now + 10 } else { if now > 5 { now - 1 } else { now } } }",
            data,
            exact=True,
        ),
        each(
            "derivative of a fold",
            "float32[?, 4]",
            "float32[4]",
            "grad(fn (w: float32[4]) => reduce_sum(fold r in x from w as"
            " now { tanh(now * r + w) }))(ones[float32[4]]())",
            rows,
        ),
    ]


def _movements() -> list[ConformanceProgram]:
    values = {client: np.float32(v) for client, v in zip(SIZES, (1e8, 1.0, -1e8, 1.0, 3e-5, 0.1, 7.0), strict=True)}
    vectors, ints = tensors(200, low=-1e4, high=1e4), integers(3)
    weights = {client: np.float32(count) for client, count in SIZES.items()}
    moved = """
fed f(
  x: <float32[200]>@CLIENTS, w: <float32>@CLIENTS, s: <float32>@CLIENTS, i: <int32[3]>@CLIENTS, v: float32@SERVER,
) -> {
  sum: float32[200]@SERVER, mean: float32[200]@SERVER, weighted: float32[200]@SERVER, hard: float32@SERVER,
  low: float32@SERVER, high: int32[3]@SERVER, total: int32[3]@SERVER, secure: int32[3]@SERVER, shared: float32@SERVER,
} {
  {sum: federated_sum(x), mean: federated_mean(x), weighted: federated_mean(x, weight = w), hard: federated_sum(s),
   low: federated_min(s), high: federated_max(i), total: federated_sum(i), secure: federated_secure_sum(i, -100, 100),
   shared: federated_max(where(s > federated_broadcast(v), s, federated_broadcast(v)))}
}
"""
    aggregate = """
fed f(x: <float32>@CLIENTS) -> {high: float32, count: int32}@SERVER {
  federated_aggregate(x, {high: -1e30, count: 0}, fn (a, v) => {high: max(a.high, v), count: a.count + 1},
                      fn (a, b) => {high: max(a.high, b.high), count: a.count + b.count}, fn (a) => a)
}
"""
    collect = """allow collect

fed f(x: <float32>@CLIENTS) -> float32[?]@SERVER { stack(federated_collect(x)) }
"""
    phases = """
fed f(x: <float32[200]>@CLIENTS) -> float32[200]@SERVER {
  let middle = federated_broadcast(federated_mean(x))
  federated_max(if reduce_max(x) > reduce_max(middle) { x } else { middle })
}
"""
    return [
        ConformanceProgram("movements", moved, (vectors, weights, values, ints, np.float32(0.5)), exact=True),
        ConformanceProgram("federated_aggregate", aggregate, (values,), exact=True),
        ConformanceProgram("federated_collect", collect, (values,), exact=True),
        ConformanceProgram("two phases", phases, (vectors,), exact=True),
    ]


def _learning() -> list[ConformanceProgram]:
    head = """
import learning.fedavg (fedavg)
import learning.scaffold (scaffold)
import learning.model (Model, model)
import learning.optimizers (sgd, adam)
import aggregators.aggregator (clipping, fixed)

type Weights = {kernel: float32[4, 3], bias: float32[3]}
type Example = {x: float32[4], y: int32}

fn loss(w: Weights, batch: Example[?]) -> float32 {
  reduce_mean(sparse_softmax_cross_entropy(batch.x @ w.kernel + w.bias, batch.y))
}

fn softmax_regression() -> Model[Weights, Example[?]] { model(fn (_) => zeros(), loss) }

"""
    data = batches(examples(), 3)
    processes = {
        "federated averaging": "fedavg(softmax_regression(), client = sgd(0.1))",
        "federated averaging with Adam": "fedavg(softmax_regression(), client = sgd(0.1), server = adam(0.05))",
        "clipped averaging": "fedavg(softmax_regression(), client = sgd(0.5), aggregator = clipping(fixed(0.3)))",
        "client state": "scaffold(softmax_regression(), 0.1, 9.0)",
    }
    return [
        ConformanceProgram(name, f"{head}process p() = {written}\n", (data,), rounds=3)
        for name, written in processes.items()
    ]
