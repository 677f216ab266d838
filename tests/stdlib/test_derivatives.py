"""The derivative of every differentiable primitive against differences, in float64, with shapes and values drawn.

A body's result is squared and added to itself before it is summed, so that every number of it counts, and each
differently. Programs come with sizes written out and with `?` in their place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fedlang as fl

from .test_primitives import declared

STEP = 1e-5


@dataclass(frozen=True)
class Case:
    """A primitive, the arguments to derive by, other arguments, and the body. Sizes are letters: n, m, k."""

    primitive: str
    arguments: str
    body: str
    others: str = ""
    domain: str = "any"

    def text(self, sizes: dict[str, int], *, unknown: bool) -> str:
        """The program: `value` is a number, `slope` what it changes by with the arguments."""

        def sized(signature: str) -> str:
            return re.sub(r"\b([nmk])\b(?=[,\]])", lambda found: "?" if unknown else str(sizes[found[1]]), signature)

        names = re.findall(r"(\w+):", self.arguments)
        body = re.sub(r"\b(" + "|".join(names) + r")\b(?!\s*=)", r"p.\1", self.body) if names else self.body
        body = sized(body)
        others = sized(self.others)
        given = "".join(f", {name}" for name in re.findall(r"(\w+):", self.others))
        return f"""import random

type P = {{{sized(self.arguments)}}}

fn square_sum[...s](x: float64[...s]) -> float64 {{ reduce_sum(x * x * 0.5 + x) }}

fn value(p: P{", " + others if others else ""}) -> float64 {{ square_sum({body}) }}

fn slope(p: P{", " + others if others else ""}) -> (float64, P) {{
  value_and_grad(fn (p: P) => value(p{given}))(p)
}}

fn directional(p: P, v: P{", " + others if others else ""}) -> float64 {{
  let found = grad(fn (p: P) => value(p{given}))(p)
  {" + ".join(f"reduce_sum(found.{name} * v.{name})" for name in names)}
}}

fn second(p: P, v: P{", " + others if others else ""}) -> P {{
  grad(fn (p: P) => directional(p, v{given}))(p)
}}
"""


def one(primitive: str, body: str = "", domain: str = "any", arguments: str = "x: float64[n, m]") -> Case:
    """A primitive of one tensor."""
    return Case(primitive, arguments, body or f"{primitive}(x)", domain=domain)


def two(primitive: str, body: str = "", domain: str = "any") -> Case:
    """A primitive of two tensors of one shape."""
    return Case(primitive, "a: float64[n, m], b: float64[n, m]", body or f"{primitive}(a, b)", domain=domain)


CASES = [
    *(one(name) for name in (
        "negate", "exp", "expm1", "square", "sin", "cos", "tanh", "sigmoid", "softplus", "erf", "softmax", "log_softmax",
    )),
    *(one(name, domain="positive") for name in ("log", "log1p", "sqrt", "rsqrt", "reciprocal")),
    *(one(name, domain="apart") for name in ("abs", "sign", "floor", "ceil", "round", "relu")),
    *(one(name, domain="apart") for name in ("leaky_relu", "elu", "selu", "softsign", "relu6", "hard_sigmoid")),
    *(one(name) for name in ("gelu", "silu", "mish")),
    *(two(name) for name in ("add", "subtract", "multiply")),
    two("divide", domain="positive"),
    two("pow", domain="positive"),
    *(two(name, domain="apart") for name in ("max", "min")),
    two("floor_divide", "a // b", domain="quotient"),
    two("remainder", "a % b", domain="quotient"),
    two("where", "where(a > 0.0, a * b, b)", domain="apart"),
    Case("where", "a: float64[n], b: float64[n]", "where(c, sin(a), cos(b))", "c: bool[n]"),
    Case("add", "a: float64[n, m], b: float64[m]", "a + b"),
    Case("multiply", "a: float64[n, m], b: float64[m]", "a * b"),
    Case("multiply", "a: float64[2, 1, m], b: float64[3, 1]", "a * b"),
    Case("multiply", "a: float64, b: float64[n]", "a * b"),
    *(
        one(name, f"{name}(x{axis})", "apart", "x: float64[n, m, k]")
        for name in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min")
        for axis in ("", ", axis = 0", ", axis = 1", ", axis = 2", ", axis = -1")
    ),
    *(one("cumulative_sum", f"cumulative_sum(x, axis = {axis})") for axis in (0, 1, -1)),
    one("transpose", "transpose(x, [1, 2, 0])", arguments="x: float64[n, m, k]"),
    one("expand", "expand(x, axis = 1)"),
    one("expand", "expand(x, axis = -1)"),
    one("flatten", "flatten(x)", arguments="x: float64[n, m, k]"),
    one("reverse"),
    one("sort", domain="apart"),
    Case("concat", "a: float64[n, k], b: float64[m, k]", "concat(a, b)"),
    Case("reshape", "x: float64[2, 6]", "reshape(x, [3, 4])"),
    Case("index", "x: float64[4, m]", "x[1] * x[3]"),
    Case("index", "x: float64[4, 5]", "x[1:3, 2:] * x[0:2, :3]"),
    Case("index", "x: float64[n, m]", "x[i]", "i: int32"),
    Case("gather", "x: float64[4, m]", "gather(x, i)", "i: int32[n]"),
    Case("gather", "x: float64[4]", "gather(x, i)", "i: int32[n, m]"),
    Case("scatter_add", "a: float64[4, m], b: float64[n, m]", "scatter_add(a, i, b)", "i: int32[n]"),
    Case("sparse_softmax_cross_entropy", "x: float64[n, 4]", "sparse_softmax_cross_entropy(x, i)", "i: int32[n]"),
    Case("softmax_cross_entropy", "x: float64[n, m], t: float64[n, m]", "softmax_cross_entropy(x, t)"),
    Case("sigmoid_cross_entropy", "x: float64[n, m], t: float64[n, m]", "sigmoid_cross_entropy(x, t)"),
    Case("dropout", "x: float64[n, m]", "dropout(random.key(3), x, rate = 0.4)"),
    Case("stop_gradient", "x: float64[n, m]", "x * x + stop_gradient(2.0)"),
    *(
        Case("matmul", f"a: float64{a}, b: float64{b}", "a @ b")
        for a, b in (
            ("[n, m]", "[m, k]"), ("[m]", "[m, k]"), ("[n, m]", "[m]"), ("[m]", "[m]"), ("[2, n, m]", "[m, k]"),
            ("[2, n, m]", "[2, m, k]"), ("[n, m]", "[2, m, k]"), ("[3, 1, n, m]", "[2, m, k]"), ("[m]", "[2, m, k]"),
        )
    ),
    *(
        Case(name, f"x: float64[n, {h}, {w}, 2], w: float64[{p}, {q}, 2, 2]", f"{name}(x, w, stride = {stride})")
        for name in ("conv2d", "conv2d_valid")
        for h, w, p, q, stride in ((4, 5, 3, 3, 1), (5, 4, 2, 3, 2), (5, 5, 1, 2, 3))
    ),
    *(
        Case(name, f"x: float64[n, {h}, {w}, k]", f"{name}(x, {size})", domain="apart")
        for name in ("max_pool", "average_pool")
        for h, w, size in ((4, 4, 2), (5, 7, 3))
    ),
    Case("total", "x: float64[n], y: float64[n, m]", "cast[float64](total(({a: x, b: y}) ))", domain="coarse"),
    Case("max_norm", "x: float64[n], y: float64[n, m]", "cast[float64](max_norm({a: x, b: y}))", domain="coarse apart"),
    Case("cast", "x: float64[n]", "cast[float64](cast[float32](x) * 2.0)", domain="coarse"),
    Case("norm", "x: float64[n], y: float64[n, m]", "cast[float64](norm({a: x, b: y}))", domain="coarse"),
    Case("if", "x: float64[n], y: float64[n]", "if reduce_sum(c) > 0 { sin(x) * y } else { x }", "c: int32[n]"),
    Case("fold", "x: float64[n, m], y: float64[m]", "fold r in x from y as now { tanh(now * r + r) }"),
    Case("fold", "x: float64[n, m], y: float64[m]", "repeat 3 from y as now { sin(now) + reduce_sum(x, axis = 0) }"),
    Case("scan", "x: float64[n, m], y: float64[m]", "last(scan r in x from y as now { let next = tanh(now * r + r)\n (next, next * r) })"),
    Case("map", "x: float64[n, m], y: float64[m]", "stack(map(fn (r) => sin(r * y), unstack(x)))"),
    Case("grad", "x: float64[n]", "grad(fn (z: float64[n]) => reduce_sum(sin(z) * z))(x)"),
    Case("at", "x: float64[n], y: float64[n]", "x * random.uniform[float64](random.at(random.key(1), 2)) + y"),
    Case("one_hot", "x: float64[n, 3]", "x * cast(one_hot(i, 3))", "i: int32[n]"),
]  # fmt: skip

LAST = (
    "\nfn last[n, m](all: (float64[m], float64[n, m])) -> float64[n, m] {\n  let (end, steps) = all\n  steps + end\n}\n"
)

# Bodies in which one size stands for two arguments: with `?` each argument has a size of its own.
NUMBERS_ONLY = {
    "concat", "fold", "scan", "map", "grad", "if",
}  # fmt: skip

NOT_DIFFERENTIABLE = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_not",
    "is_nan", "is_finite", "reduce_all", "reduce_any", "arg_max", "arg_min", "arg_sort", "range", "zeros", "ones",
    "zeros_like", "ones_like", "reduce_product", "key", "uniform", "normal", "permutation", "length", "hash", "lookup", "prefix",
}  # fmt: skip
OF_ORDER_ONLY = {"batch", "take", "skip", "repeated", "shuffle", "filter", "stack", "unstack"}


@cache
def program(case: Case, sizes: tuple[int, int, int], unknown: bool) -> Any:
    """The compiled program; the same for all draws of one shape."""
    text = case.text(dict(zip("nmk", sizes, strict=True)), unknown=unknown)
    return fl.loads(text + (LAST if case.primitive == "scan" else ""))


def shapes(signature: str, sizes: dict[str, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Each name's dtype and shape."""
    found = {}
    for name, dtype, shape in re.findall(r"(\w+): (\w+)(?:\[([^\]]*)\])?", signature):
        found[name] = dtype, tuple(sizes[s] if s in sizes else int(s) for s in shape.split(", ") if s)
    return found


def drawn(case: Case, shape: tuple[int, ...], rng: np.random.Generator, name: str) -> np.ndarray:
    """Numbers in the domain, away from its kinks."""
    match case.domain:
        case "positive":
            return rng.uniform(0.4, 2.0, shape)
        case "quotient":
            return (
                rng.integers(-3, 4, shape) * 1.0 + 0.45
                if name == "a"
                else np.full(shape, 1.5) + rng.uniform(0, 0.01, shape)
            )
        case "apart" | "coarse apart":
            count = int(np.prod(shape))
            spread = (rng.permutation(4 * count + 4)[:count] - 2 * count - 2) * 0.17 + 0.06
            return (spread + (0.08 if name == "b" else 0.0)).reshape(shape)
    return rng.uniform(-2.0, 2.0, shape)


def ints(case: Case, dtype: str, shape: tuple[int, ...], rng: np.random.Generator, sizes: dict[str, int]) -> Any:
    """Indices below the number of rows, or flags."""
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if case.primitive == "if":
        return rng.integers(-1, 2, shape).astype(np.int32)
    top = {"index": sizes["n"], "one_hot": 3}.get(case.primitive, 4)
    return rng.integers(0, top, shape).astype(np.int32)


def check(case: Case, sizes: tuple[int, int, int], *, unknown: bool, seed: int) -> None:
    """Compares the derivative with central differences along a few directions."""
    rng, letters = np.random.default_rng(seed), dict(zip("nmk", sizes, strict=True))
    made = program(case, sizes, unknown)
    p = {name: drawn(case, shape, rng, name) for name, (_, shape) in shapes(case.arguments, letters).items()}
    others = [ints(case, dtype, shape, rng, letters) for dtype, shape in shapes(case.others, letters).values()]
    value, slope = made.slope(p, *others)
    assert value == made.value(p, *others)
    step, within = (2e-3, 2e-2) if case.domain.startswith("coarse") else (STEP, 1e-6)
    for _ in range(2):
        v = {name: rng.normal(size=x.shape) for name, x in p.items()}
        above, below = (made.value({n: p[n] + sign * step * v[n] for n in p}, *others) for sign in (1, -1))
        wanted = (above - below) / (2 * step)
        found = sum(float(np.sum(slope[name] * v[name])) for name in p)
        assert abs(found - wanted) <= within * (1 + abs(wanted) + abs(value)), f"{found} and {wanted} by differences"


NAMES = [f"{k}-{case.primitive}" for k, case in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
@settings(
    max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)  # no shrinking: sizes are small, and each new one compiles a program
@given(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)), st.booleans(), st.integers(0, 2**30))
def test_derivative(case: Case, sizes: tuple[int, int, int], unknown: bool, seed: int) -> None:
    check(case, sizes, unknown=unknown and case.primitive not in NUMBERS_ONLY, seed=seed)


SECOND = [case for case in CASES if case.domain in ("any", "positive") and case.primitive not in ("dropout",)]


@pytest.mark.parametrize("case", SECOND, ids=[f"{k}-{case.primitive}" for k, case in enumerate(SECOND)])
def test_second_derivative(case: Case) -> None:
    sizes, rng = (2, 3, 2), np.random.default_rng(11)
    letters = dict(zip("nmk", sizes, strict=True))
    made = program(case, sizes, False)
    p = {name: drawn(case, shape, rng, name) for name, (_, shape) in shapes(case.arguments, letters).items()}
    v = {name: rng.normal(size=x.shape) for name, x in p.items()}
    others = [ints(case, dtype, shape, rng, letters) for dtype, shape in shapes(case.others, letters).values()]
    found = made.second(p, v, *others)
    above, below = (made.slope({n: p[n] + sign * STEP * v[n] for n in p}, *others)[1] for sign in (1, -1))
    for name in p:
        wanted = (above[name] - below[name]) / (2 * STEP)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5 * (1 + np.abs(wanted).max()))


TIES = {
    "max": ("max(a, b)", [0.5, 0.5]),
    "min": ("min(a, b)", [0.5, 0.5]),
    "reduce_max": ("reduce_max([a, b])", [0.5, 0.5]),
    "reduce_min": ("reduce_min([a, b])", [0.5, 0.5]),
    "relu": ("relu(a - b)", [0.0, 0.0]),
    "abs": ("abs(a - b)", [0.0, 0.0]),
}


@pytest.mark.parametrize("name", TIES)
def test_ties_share_the_derivative(name: str) -> None:
    body, wanted = TIES[name]
    text = f"""type P = {{a: float32, b: float32}}
fn f(p: P) -> P {{ grad(g)(p) }}
fn g(p: P) -> float32 {{ value(p.a, p.b) }}
fn value(a: float32, b: float32) -> float32 {{ {body} }}
"""
    found = fl.loads(text).f({"a": 1.5, "b": 1.5})
    assert [found.a, found.b] == wanted


def test_max_pool_gives_a_tie_to_the_first() -> None:
    made = fl.loads(
        "fn f(x: float32[1, 2, 2, 1]) -> float32[1, 2, 2, 1] { grad(fn (x: float32[1, 2, 2, 1]) => reduce_sum(max_pool(x, 2)))(x) }"
    )
    assert made.f(np.ones((1, 2, 2, 1))).ravel().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_every_differentiable_primitive_has_a_case() -> None:
    movements = {name for name in declared() if name.startswith("federated_")}
    derived = {case.primitive for case in CASES}
    assert sorted(declared().keys() - derived - NOT_DIFFERENTIABLE - OF_ORDER_ONLY - movements) == []


def test_a_derivative_of_no_rule_is_refused() -> None:
    with pytest.raises(fl.DiagnosticError, match="FED"):
        fl.loads(
            "fn f(x: float32*, y: float32) -> float32 { grad(fn (y: float32) => reduce_sum(stack(take(map(fn (v) => v * y, x), 2))))(y) }"
        ).f([1.0], 2.0)
