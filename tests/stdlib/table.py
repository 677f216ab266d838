"""What every primitive gives, beside what plain NumPy gives: one row for each case.

A row is a primitive, the parameters and result of a function, its body, values for the parameters, and what they must
give. A primitive may have several rows; one without any fails a test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedlang.run.random import key_of_seed, random_at, random_normal, random_permutation, random_uniform

RANDOM = np.random.default_rng(5)


@dataclass(frozen=True)
class Row:
    """One case. `expected` is a value, or a function of the inputs."""

    primitive: str
    signature: str
    body: str
    inputs: tuple[Any, ...]
    expected: Any
    kind: str = "fn"
    head: str = ""

    @property
    def text(self) -> str:
        """The program."""
        lead = "allow collect\n\n" if self.primitive == "federated_collect" else ""
        return f"{lead}import random\n\n{self.head}\n\n{self.kind} f{self.signature} {{ {self.body} }}\n"

    def wanted(self) -> Any:
        """What must come out."""
        return self.expected(*self.inputs) if callable(self.expected) else self.expected


def real(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Numbers for a float32 tensor."""
    return RANDOM.uniform(low, high, shape).astype(np.float32)


def whole(*shape: int, low: int = -9, high: int = 10) -> np.ndarray:
    """Numbers for an int32 tensor."""
    return RANDOM.integers(low, high, shape).astype(np.int32)


def flags(*shape: int) -> np.ndarray:
    """A bool tensor."""
    return RANDOM.integers(0, 2, shape).astype(bool)


ROWS: list[Row] = []


def row(
    primitive: str,
    signature: str,
    body: str,
    inputs: tuple[Any, ...],
    expected: Any,
    *,
    kind: str = "fn",
    head: str = "",
) -> None:
    """Adds a row."""
    ROWS.append(Row(primitive, signature, body, inputs, expected, kind, head))


# ---- number by number ----

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 30.0, -30.0, 1e-4], np.float32)
POSITIVE = np.array([1e-6, 0.1, 0.5, 1.0, 2.0, 30.0], np.float32)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


UNARY: dict[str, tuple[np.ndarray, Callable[[Any], Any]]] = {
    "negate": (SPECIAL, np.negative),
    "abs": (SPECIAL, np.abs),
    "sign": (SPECIAL, np.sign),
    "floor": (SPECIAL, np.floor),
    "ceil": (SPECIAL, np.ceil),
    "round": (SPECIAL, np.rint),
    "exp": (SPECIAL, np.exp),
    "expm1": (SPECIAL, np.expm1),
    "log": (POSITIVE, np.log),
    "log1p": (POSITIVE, np.log1p),
    "sqrt": (POSITIVE, np.sqrt),
    "rsqrt": (POSITIVE, lambda x: 1 / np.sqrt(x)),
    "square": (SPECIAL, np.square),
    "reciprocal": (POSITIVE, lambda x: 1 / x),
    "sin": (SPECIAL, np.sin),
    "cos": (SPECIAL, np.cos),
    "tanh": (SPECIAL, np.tanh),
    "sigmoid": (SPECIAL, _sigmoid),
    "softplus": (SPECIAL, lambda x: np.logaddexp(0, x.astype(np.float64))),
    "relu": (SPECIAL, lambda x: np.maximum(x, 0)),
    "erf": (SPECIAL, lambda x: np.array([math.erf(v) for v in x])),
    "stop_gradient": (SPECIAL, lambda x: x),
}
for name, (values, function) in UNARY.items():
    row(name, f"(x: float32[{len(values)}]) -> float32[{len(values)}]", f"{name}(x)", (values,), function)
    row(name, "(x: float32) -> float32", f"{name}(x)", (values[4],), lambda x, f=function: f(np.array([x]))[0])
    row(
        name, "(x: float64[2, 3]) -> float64[2, 3]", f"{name}(x)", (real(2, 3, low=0.1).astype(np.float64),),
        lambda x, f=function: np.array([f(line) for line in x]),
    )  # fmt: skip
for name in ("negate", "abs", "sign", "square"):
    row(name, "(x: int32[4]) -> int32[4]", f"{name}(x)", (np.array([-3, 0, 2, 7], np.int32),), UNARY[name][1])
row(
    "exp", "(x: {a: float32[2], b: float32}) -> {a: float32[2], b: float32}", "exp(x)",
    ({"a": np.array([0.0, 1.0], np.float32), "b": 2.0},), {"a": np.exp([0.0, 1.0]), "b": np.exp(2.0)},
)  # fmt: skip
row("negate", "(x: float32[2]) -> float32[2]", "-x", (real(2),), np.negative)
row("sign", "(x: float32[2]) -> float32[2]", "sign(x)", (np.array([np.nan, 3], np.float32),), [np.nan, 1.0])

PAIRS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "add": ("+", np.add),
    "subtract": ("-", np.subtract),
    "multiply": ("*", np.multiply),
    "divide": ("/", np.divide),
    "floor_divide": ("//", np.floor_divide),
    "remainder": ("%", np.remainder),
    "pow": ("", np.power),
    "max": ("", np.maximum),
    "min": ("", np.minimum),
    "equal": ("==", np.equal),
    "not_equal": ("!=", np.not_equal),
    "less": ("<", np.less),
    "less_equal": ("<=", np.less_equal),
    "greater": (">", np.greater),
    "greater_equal": (">=", np.greater_equal),
}
COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
LEFT = np.array([[1.5, -2.5, 3.0], [0.0, 4.0, -1.0]], np.float32)
RIGHT = np.array([[1.5, 2.0, -1.25], [2.0, 4.0, 3.0]], np.float32)
for name, (sign, function) in PAIRS.items():
    result = "bool" if name in COMPARISONS else "float32"
    left = np.abs(LEFT) if name == "pow" else LEFT
    row(name, f"(a: float32[2, 3], b: float32[2, 3]) -> {result}[2, 3]", f"{name}(a, b)", (left, RIGHT), function)
    if sign:
        written = f"a {sign} b"
        row(name, f"(a: float32[2, 3], b: float32[2, 3]) -> {result}[2, 3]", written, (left, RIGHT), function)
        row(name, f"(a: float32[2, 3], b: float32[3]) -> {result}[2, 3]", written, (left, RIGHT[0]), function)
        row(name, f"(a: float32[2, 1], b: float32[3]) -> {result}[2, 3]", written, (left[:, :1], RIGHT[0]), function)
        row(name, f"(a: float32, b: float32[3]) -> {result}[3]", written, (left[0, 0], RIGHT[0]), function)
    if name not in ("divide", "pow"):
        of_ints = result if result == "bool" else "int32"
        ints = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
        row(name, f"(a: int32[4], b: int32[4]) -> {of_ints}[4]", f"{name}(a, b)", ints, function)
row(
    "add", "(a: {x: float32[2], y: (float32, float32)}, s: float32) -> {x: float32[2], y: (float32, float32)}", "s + a",
    ({"x": [1.0, 2.0], "y": (3.0, 4.0)}, 0.5), {"x": [1.5, 2.5], "y": (3.5, 4.5)},
)  # fmt: skip
row("equal", "(a: string, b: string) -> bool", "a == b", ("word", "word"), True)
row("equal", "(a: bool, b: bool) -> bool", "a == b", (True, False), False)
row(
    "max",
    "(a: float32[3], b: float32[3]) -> float32[3]",
    "max(a, b)",
    ([np.nan, 1, 2], [0, np.nan, 3]),
    [np.nan, np.nan, 3],
)
row("min", "(a: float32[3]) -> float32[3]", "min(a, 1.0)", ([0.5, 1.0, 2.0],), [0.5, 1.0, 1.0])
row(
    "logical_and",
    "(a: bool[4], b: bool[4]) -> bool[4]",
    "a and b",
    (np.ones(4) == [0, 0, 1, 1], np.ones(4) == [0, 1, 0, 1]),
    np.logical_and,
)
row(
    "logical_or",
    "(a: bool[4], b: bool[4]) -> bool[4]",
    "a or b",
    (np.ones(4) == [0, 0, 1, 1], np.ones(4) == [0, 1, 0, 1]),
    np.logical_or,
)
row("logical_and", "(a: bool, b: bool) -> bool", "logical_and(a, b)", (True, False), False)
row("logical_or", "(a: bool, b: bool) -> bool", "logical_or(a, b)", (True, False), True)
row("logical_not", "(a: bool[3]) -> bool[3]", "not a", (np.array([True, False, True]),), np.logical_not)
row("is_nan", "(x: float32[3]) -> bool[3]", "is_nan(x)", ([1.0, np.nan, np.inf],), [False, True, False])
row(
    "where",
    "(c: bool[3], a: float32[3], b: float32[3]) -> float32[3]",
    "where(c, a, b)",
    (np.array([True, False, True]), [1, 2, 3], [4, 5, 6]),
    [1, 5, 3],
)
row("where", "(x: float32[3]) -> float32[3]", "where(x > 1.0, x, 0.0)", ([1.0, 2.0, 3.0],), [0, 2, 3])
row("where", "(c: bool, a: string, b: string) -> string", "where(c, a, b)", (False, "yes", "no"), "no")

# ---- conversion ----

row(
    "cast",
    "(x: float32[5]) -> int32[5]",
    "cast(x)",
    ([1.9, -1.9, 1e20, -1e20, np.nan],),
    [1, -1, 2**31 - 1, -(2**31), 0],
)
row("cast", "(x: int32[2]) -> float32[2]", "cast[float32](x)", ([3, -4],), [3.0, -4.0])
row("cast", "(x: bool[2]) -> float32[2]", "cast(x)", (np.array([True, False]),), [1.0, 0.0])
row("cast", "(x: float32) -> float64", "cast[float64](x)", (np.float32(0.1),), float(np.float32(0.1)))
row("cast", "(x: float64[2]) -> bfloat16[2]", "cast(x)", (np.array([1.0, 3.14159]),), [1.0, 3.140625])
row("cast", "(x: int32[3]) -> uint8[3]", "cast(x)", ([1, 200, 255],), [1, 200, 255])

# ---- reductions ----

CUBE = real(2, 3, 4)
REDUCTIONS = {
    "reduce_sum": np.sum,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_product": np.prod,
    "reduce_all": np.all,
    "reduce_any": np.any,
}
for name, function in REDUCTIONS.items():
    dtype, cube = ("bool", CUBE > -1) if name in ("reduce_all", "reduce_any") else ("float32", CUBE)
    row(name, f"(x: {dtype}[2, 3, 4]) -> {dtype}", f"{name}(x)", (cube,), function)
    for axis, shape in ((0, "3, 4"), (1, "2, 4"), (2, "2, 3"), (-1, "2, 3"), (-3, "3, 4")):
        row(
            name, f"(x: {dtype}[2, 3, 4]) -> {dtype}[{shape}]", f"{name}(x, axis = {axis})", (cube,),
            lambda x, f=function, axis=axis: f(x, axis=axis),
        )  # fmt: skip
    row(name, f"(x: {dtype}[?]) -> {dtype}", f"{name}(x, axis = 0)", (cube[0, 0],), function)
for name, empty in (("reduce_sum", 0.0), ("reduce_max", -np.inf), ("reduce_min", np.inf), ("reduce_product", 1.0)):
    row(
        name,
        "(x: float32[?, 2]) -> float32[2]",
        f"{name}(x, axis = 0)",
        (np.zeros((0, 2), np.float32),),
        [empty, empty],
    )
row("reduce_mean", "(x: float32[?]) -> float32", "reduce_mean(x)", (np.zeros(0, np.float32),), np.nan)
row("reduce_sum", "(x: int32[3]) -> int32", "reduce_sum(x)", ([1, 2, 3],), 6)
row("reduce_max", "(x: int32[3]) -> int32", "reduce_max(x)", ([1, 5, 3],), 5)
row("reduce_sum", "(x: float32) -> float32", "reduce_sum(x)", (2.5,), 2.5)
TIES = np.array([[1, 3, 3], [2, 2, 0]], np.float32)
row("arg_max", "(x: float32[2, 3]) -> int32[2]", "arg_max(x, axis = 1)", (TIES,), [1, 0])
row("arg_max", "(x: float32[2, 3]) -> int32[3]", "arg_max(x, axis = 0)", (TIES,), [1, 0, 0])
row("arg_max", "(x: float32[3]) -> int32", "arg_max(x)", (TIES[0],), 1)
row("arg_min", "(x: float32[2, 3]) -> int32[2]", "arg_min(x, axis = -1)", (TIES,), [0, 2])
row("arg_min", "(x: int32[3]) -> int32", "arg_min(x)", ([4, 1, 1],), 1)
row(
    "cumulative_sum",
    "(x: float32[2, 3]) -> float32[2, 3]",
    "cumulative_sum(x, axis = 1)",
    (TIES,),
    lambda x: np.cumsum(x, axis=1),
)
row("cumulative_sum", "(x: int32[4]) -> int32[4]", "cumulative_sum(x, axis = -1)", ([1, 2, 3, 4],), [1, 3, 6, 10])

# ---- structure ----

row(
    "transpose",
    "(x: float32[2, 3, 4]) -> float32[4, 2, 3]",
    "transpose(x, [2, 0, 1])",
    (CUBE,),
    lambda x: x.transpose(2, 0, 1),
)
row("transpose", "(x: float32[?, 3]) -> float32[3, ?]", "transpose(x, [1, 0])", (real(5, 3),), np.transpose)
row("reshape", "(x: float32[2, 3, 4]) -> float32[6, 4]", "reshape(x, [6, 4])", (CUBE,), lambda x: x.reshape(6, 4))
row("reshape", "(x: float32[4]) -> float32[2, 1, 2]", "reshape(x, [2, 1, 2])", (real(4),), lambda x: x.reshape(2, 1, 2))
for axis, shape in ((0, "1, 2, 3"), (1, "2, 1, 3"), (2, "2, 3, 1"), (-1, "2, 3, 1")):
    row(
        "expand", f"(x: float32[2, 3]) -> float32[{shape}]", f"expand(x, axis = {axis})", (LEFT,),
        lambda x, axis=axis: np.expand_dims(x, axis),
    )  # fmt: skip
row("flatten", "(x: float32[2, 3, 4]) -> float32[2, 12]", "flatten(x)", (CUBE,), lambda x: x.reshape(2, 12))
row("flatten", "(x: float32[?, 3, 4]) -> float32[?, 12]", "flatten(x)", (CUBE,), lambda x: x.reshape(2, 12))
row(
    "concat",
    "(a: float32[2, 3], b: float32[1, 3]) -> float32[3, 3]",
    "concat(a, b)",
    (LEFT, RIGHT[:1]),
    lambda a, b: np.concatenate([a, b]),
)
row("concat", "(a: int32[?], b: int32[?]) -> int32[?]", "concat(a, b)", ([1, 2], [3]), [1, 2, 3])
row("reverse", "(x: float32[2, 3]) -> float32[2, 3]", "reverse(x)", (LEFT,), lambda x: x[::-1])
row("range", "() -> int32[4]", "range(4)", (), [0, 1, 2, 3])
row(
    "one_hot", "(i: int32[3]) -> int32[3, 4]", "one_hot(i, 4)", ([1, 3, 9],), [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
)
row("one_hot", "(i: int32) -> int32[2]", "one_hot(i, 2)", (-1,), [0, 0])
row(
    "gather",
    "(x: float32[3, 2], i: int32[2, 2]) -> float32[2, 2, 2]",
    "gather(x, i)",
    (real(3, 2), [[0, 2], [1, 0]]),
    lambda x, i: x[np.array(i)],
)
row("gather", "(x: float32[?], i: int32) -> float32", "gather(x, i)", ([5, 6, 7], 2), 7)
row(
    "scatter_add",
    "(b: float32[3, 2], i: int32[3], u: float32[3, 2]) -> float32[3, 2]",
    "scatter_add(b, i, u)",
    (np.ones((3, 2), np.float32), [0, 2, 0], np.array([[1, 2], [3, 4], [5, 6]], np.float32)),
    [[7, 9], [1, 1], [4, 5]],
)
row("scatter_add", "(b: int32[2], i: int32, u: int32) -> int32[2]", "scatter_add(b, i, u)", ([1, 1], 1, 5), [1, 6])
row("sort", "(x: float32[4]) -> float32[4]", "sort(x)", ([3, 1, np.nan, 2],), [1, 2, 3, np.nan])
row("sort", "(x: float32[3, 2]) -> float32[3, 2]", "sort(x)", (real(3, 2),), lambda x: np.sort(x, axis=0))
row("arg_sort", "(x: float32[5]) -> int32[5]", "arg_sort(x)", ([3, 1, 1, 2, 0],), [4, 1, 2, 3, 0])

# ---- products ----

for left, right in (
    ((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)),
    ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((6, 5, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)),
):  # fmt: skip
    a, b = real(*left), real(*right)
    shape = ", ".join(map(str, (a @ b).shape))
    row(
        "matmul", f"(a: float32{list(left)}, b: float32{list(right)}) -> float32{f'[{shape}]' if shape else ''}", "a @ b",
        (a, b), np.matmul,
    )  # fmt: skip
row(
    "matmul",
    "(a: float32[?, 3], b: float32[3, 2]) -> float32[?, 2]",
    "matmul(a, b)",
    (real(4, 3), real(3, 2)),
    np.matmul,
)


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int, *, same: bool) -> np.ndarray:
    """One output number at a time."""
    (n, h, w, _), (p, q, _, o) = x.shape, kernel.shape
    above = left = 0
    height, width = (
        (-(-h // stride), -(-w // stride)) if same else (-(-(h - p + 1) // stride), -(-(w - q + 1) // stride))
    )
    if same:
        tall, wide = max((height - 1) * stride + p - h, 0), max((width - 1) * stride + q - w, 0)
        above, left = tall // 2, wide // 2
        x = np.pad(x, ((0, 0), (above, tall - above), (left, wide - left), (0, 0)))
    result = np.zeros((n, height, width, o))
    for r in range(height):
        for c in range(width):
            window = x[:, r * stride : r * stride + p, c * stride : c * stride + q]
            result[:, r, c] = np.einsum("npqi,pqio->no", window, kernel)
    return result


for stride in (1, 2, 3):
    for name, same in (("conv2d", True), ("conv2d_valid", False)):
        for size in ((3, 3), (2, 3), (1, 1)):
            image, kernel = real(2, 7, 6, 2), real(*size, 2, 3)
            made = convolve(image, kernel, stride, same=same)
            row(
                name, f"(x: float32[2, 7, 6, 2], k: float32{[*kernel.shape]}) -> float32{[*made.shape]}",
                f"{name}(x, k, stride = {stride})", (image, kernel), made,
            )  # fmt: skip
row(
    "conv2d",
    "(x: float32[?, 4, 4, 1], k: float32[3, 3, 1, 1]) -> float32[?, 4, 4, 1]",
    "conv2d(x, k)",
    (real(3, 4, 4, 1), real(3, 3, 1, 1)),
    lambda x, k: convolve(x, k, 1, same=True),
)


def pool(x: np.ndarray, size: int, reduce: Callable[..., Any]) -> np.ndarray:
    """The reduction of each whole window."""
    n, h, w, c = x.shape
    cut = x[:, : h // size * size, : w // size * size]
    return reduce(cut.reshape(n, h // size, size, w // size, size, c), axis=(2, 4))


for size in (2, 3):
    for name, reduce in (("max_pool", np.max), ("average_pool", np.mean)):
        image = real(2, 7, 6, 2)
        row(
            name, f"(x: float32[2, 7, 6, 2]) -> float32[2, {7 // size}, {6 // size}, 2]", f"{name}(x, {size})", (image,),
            lambda x, size=size, reduce=reduce: pool(x, size, reduce),
        )  # fmt: skip

# ---- normalisation ----

LOGITS = np.array([[1.0, 2.0, 3.0], [1e4, 0.0, -1e4]], np.float32)


def softmax(x: np.ndarray) -> np.ndarray:
    """In float64."""
    raised = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def log_softmax(x: np.ndarray) -> np.ndarray:
    """In float64."""
    shifted = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


row("softmax", "(x: float32[2, 3]) -> float32[2, 3]", "softmax(x)", (LOGITS,), softmax)
row("softmax", "(x: float32[3]) -> float32[3]", "softmax(x)", (LOGITS[0],), softmax)
row("softmax", "(x: float32[2, 3, 4]) -> float32[2, 3, 4]", "softmax(x)", (CUBE,), softmax)
row("log_softmax", "(x: float32[2, 3]) -> float32[2, 3]", "log_softmax(x)", (LOGITS,), log_softmax)
row("log_softmax", "(x: float32[?, 3]) -> float32[?, 3]", "log_softmax(x)", (LOGITS,), log_softmax)
row(
    "sparse_softmax_cross_entropy",
    "(x: float32[2, 3], y: int32[2]) -> float32[2]",
    "sparse_softmax_cross_entropy(x, y)",
    (LOGITS, [2, 1]),
    lambda x, y: -log_softmax(x)[[0, 1], y],
)
row(
    "sparse_softmax_cross_entropy",
    "(x: float32[3], y: int32) -> float32",
    "sparse_softmax_cross_entropy(x, y)",
    (LOGITS[0], 0),
    lambda x, y: -log_softmax(x)[y],
)
row(
    "sparse_softmax_cross_entropy",
    "(x: float32[2, 3], y: int32[2]) -> float32[2]",
    "sparse_softmax_cross_entropy(x, y)",
    (LOGITS, [3, -1]),
    [np.nan, np.nan],
)

# ---- whole structures ----

PART = "type T = {a: float32[2], b: (float32, float32[2, 2])}"
VALUE = {"a": [1.0, -2.0], "b": (3.0, [[1.0, 0.0], [-4.5, 2.0]])}
row("zeros", "() -> T", "zeros[T]()", (), {"a": [0, 0], "b": (0, [[0, 0], [0, 0]])}, head=PART)
row("ones", "() -> T", "ones()", (), {"a": [1, 1], "b": (1, [[1, 1], [1, 1]])}, head=PART)
row("zeros_like", "(x: T) -> T", "zeros_like(x)", (VALUE,), {"a": [0, 0], "b": (0, [[0, 0], [0, 0]])}, head=PART)
row("ones_like", "(x: T) -> T", "ones_like(x)", (VALUE,), {"a": [1, 1], "b": (1, [[1, 1], [1, 1]])}, head=PART)
row("zeros", "() -> int32[2]", "zeros()", (), [0, 0])
row("zeros_like", "(x: float32[?, 2]) -> float32[?, 2]", "zeros_like(x)", (real(3, 2),), np.zeros((3, 2)))
row("total", "(x: T) -> float32", "total(x)", (VALUE,), 0.5, head=PART)
row("total", "(x: int32[3]) -> float32", "total(x)", ([1, 2, 3],), 6.0)
row("total", "(x: ()) -> float32", "total(x)", ((),), 0.0)
row("max_norm", "(x: T) -> float32", "max_norm(x)", (VALUE,), 4.5, head=PART)
row("max_norm", "(x: ()) -> float32", "max_norm(x)", ((),), 0.0)
row("max_norm", "(x: float32[?]) -> float32", "max_norm(x)", (np.zeros(0, np.float32),), 0.0)
row("is_finite", "(x: T) -> bool", "is_finite(x)", (VALUE,), True, head=PART)
row("is_finite", "(x: T) -> bool", "is_finite(x)", ({"a": [1, np.inf], "b": VALUE["b"]},), False, head=PART)
row("is_finite", "(x: T) -> bool", "is_finite(x)", ({"a": [1, 2], "b": (np.nan, VALUE["b"][1])},), False, head=PART)

# ---- random ----

KEY = key_of_seed(7)
row("key", "() -> Key", "random.key(7)", (), KEY)
row("at", "(k: Key) -> Key", "random.at(k, 3)", (7,), random_at(KEY, 3))
row("uniform", "(k: Key) -> float32[2, 3]", "random.uniform(k)", (7,), random_uniform(KEY, (2, 3)))
row(
    "uniform",
    "(k: Key) -> float32[5]",
    "random.uniform(k, low = -2.0, high = 3.0)",
    (7,),
    random_uniform(KEY, (5,)) * 5 - 2,
)
row("uniform", "(k: Key) -> float64[3]", "random.uniform(k)", (7,), random_uniform(KEY, (3,), "float64"))
row("normal", "(k: Key) -> float32[3]", "random.normal(k)", (7,), random_normal(KEY, (3,)))
row(
    "normal", "(k: Key) -> {a: float32[2], b: float32}", "random.normal(k)", (7,),
    {"a": random_normal(random_at(KEY, 0), (2,)), "b": random_normal(random_at(KEY, 1), ())},
)  # fmt: skip
row("permutation", "(k: Key) -> int32[6]", "random.permutation(k, 6)", (7,), random_permutation(KEY, 6))

# ---- sequences and strings ----

LINE = np.arange(5, dtype=np.float32)
row("batch", "(x: float32*) -> float32[?]*", "batch(x, 2)", (LINE,), [[0, 1], [2, 3], [4]])
row("batch", "(x: float32*) -> float32[?]*", "batch(x, 2)", (LINE[:0],), [])
row("take", "(x: float32*) -> float32*", "take(x, 2)", (LINE,), [0, 1])
row("take", "(x: float32*) -> float32*", "take(x, 9)", (LINE,), [0, 1, 2, 3, 4])
row("skip", "(x: float32*) -> float32*", "skip(x, 3)", (LINE,), [3, 4])
row("skip", "(x: float32*) -> float32*", "skip(x, 9)", (LINE,), [])
row("repeated", "(x: float32*) -> float32*", "repeated(x, 2)", (LINE[:2],), [0, 1, 0, 1])
row("shuffle", "(k: Key, x: float32*) -> float32*", "shuffle(k, x)", (7, LINE), list(random_permutation(KEY, 5)))
row("stack", "(x: float32*) -> float32[?]", "stack(x)", (LINE,), LINE)
row("unstack", "(x: float32[3, 2]) -> float32[2]*", "unstack(x)", (real(3, 2),), list)
row("length", "(x: float32*) -> int32", "length(x)", (LINE,), 5)
row("length", "(x: float32*) -> int32", "length(take(x, 2))", (LINE,), 2)
row("map", "(x: float32*, y: float32) -> float32*", "map(fn (v) => v * y, x)", (LINE, 3.0), [0, 3, 6, 9, 12])
row(
    "map", "(x: float32*) -> {a: float32, b: int32}*", "map(fn (v) => {a: v + 1.0, b: cast(v)}, x)", (LINE[:2],),
    [{"a": 1, "b": 0}, {"a": 2, "b": 1}],
)  # fmt: skip
row("filter", "(x: float32*) -> float32*", "filter(fn (v) => v > 2.0, x)", (LINE,), [3, 4])
row("lookup", "(v: string[3], w: string) -> int32", "lookup(v, w)", (["a", "b", "c"], "b"), 1)
row("lookup", "(v: string[3], w: string) -> int32", "lookup(v, w)", (["a", "b", "c"], "z"), 3)
row("prefix", "(w: string) -> string", "prefix(w, 3)", ("federated",), "fed")
row("prefix", "(w: string) -> string", "prefix(w, 30)", ("é",), "é")


def _hashes(word: str, seeds: list[int]) -> list[int]:
    import hashlib

    made = [hashlib.blake2b(word.encode(), digest_size=4, key=seed.to_bytes(8, "little")).digest() for seed in seeds]
    return [int.from_bytes(each, "little") & 0x7FFFFFFF for each in made]


row("hash", "(w: string, s: int32[3]) -> int32[3]", "hash(w, s)", ("word", [0, 1, 2]), _hashes)

# ---- movements ----

CLIENTS = np.array([1.0, 2.0, 6.0], np.float32)
row(
    "federated_broadcast",
    "(x: float32@SERVER, y: <float32>@CLIENTS) -> float32@SERVER",
    "federated_sum(federated_broadcast(x) * y)",
    (3.0, CLIENTS),
    27.0,
    kind="fed",
)
row("federated_sum", "(x: <float32>@CLIENTS) -> float32@SERVER", "federated_sum(x)", (CLIENTS,), 9.0, kind="fed")
row(
    "federated_sum",
    "(x: <float32>@CLIENTS) -> float32@SERVER",
    "federated_sum(x)",
    ([1e8, 1, -1e8, 1],),
    2.0,
    kind="fed",
)
row("federated_sum", "(x: <int32[2]>@CLIENTS) -> int32[2]@SERVER", "federated_sum(x)", ([],), [0, 0], kind="fed")
row("federated_mean", "(x: <float32>@CLIENTS) -> float32@SERVER", "federated_mean(x)", (CLIENTS,), 3.0, kind="fed")
row(
    "federated_mean",
    "(x: <float32>@CLIENTS, w: <float32>@CLIENTS) -> float32@SERVER",
    "federated_mean(x, weight = w)",
    (CLIENTS, [1, 0, 3]),
    4.75,
    kind="fed",
)
row(
    "federated_mean",
    "(x: <float32>@CLIENTS) -> float32@SERVER",
    "federated_mean(x, otherwise = 5.0)",
    ([],),
    5.0,
    kind="fed",
)
row("federated_min", "(x: <float32>@CLIENTS) -> float32@SERVER", "federated_min(x)", (CLIENTS,), 1.0, kind="fed")
row("federated_max", "(x: <int32>@CLIENTS) -> int32@SERVER", "federated_max(x)", ([3, 9, -1],), 9, kind="fed")
row(
    "federated_max",
    "(x: <float32>@CLIENTS) -> float32@SERVER",
    "federated_max(x, otherwise = 1.5)",
    ([],),
    1.5,
    kind="fed",
)
row(
    "federated_collect",
    "(x: <float32>@CLIENTS) -> float32*@SERVER",
    "federated_collect(x)",
    (CLIENTS,),
    [1, 2, 6],
    kind="fed",
)
row(
    "federated_secure_sum",
    "(x: <int32>@CLIENTS) -> int32@SERVER",
    "federated_secure_sum(x, 0, 10)",
    ([3, 9, 1],),
    13,
    kind="fed",
)
row(
    "federated_aggregate", "(x: <float32>@CLIENTS) -> float32@SERVER",
    "federated_aggregate(x, {sum: 0.0, count: 0.0}, fn (a, v) => {sum: a.sum + v, count: a.count + 1.0}, "
    "fn (a, b) => a + b, fn (a) => a.sum / a.count)", (CLIENTS,), 3.0, kind="fed",
)  # fmt: skip


def _keyed(seed: int, count: list[float]) -> float:
    from fedlang.run.random import identity_of

    keys = [random_at(key_of_seed(seed), int(identity_of(str(k)))) for k in range(len(count))]
    return float(sum(np.float64(random_uniform(key, ())) for key in keys))


row(
    "federated_keys", "(k: Key@SERVER, x: <float32>@CLIENTS) -> float32@SERVER",
    "federated_sum(draw(federated_keys(k), x))", (7, [0.0, 0.0, 0.0]), _keyed, kind="fed",
    head="fn draw(k: Key, x: float32) -> float32 { x + random.uniform[float32](k) }",
)  # fmt: skip
