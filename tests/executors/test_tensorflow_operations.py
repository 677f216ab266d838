"""Every operation that TensorFlow runs, against the reference evaluator: with known sizes, and with sizes known only
when it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedlang.executors.reference import evaluate
from fedlang.executors.tensorflow import convolution
from fedlang.ir.graph import Builder, Graph, Tensor
from fedlang.ir.operations import ROWS
from fedlang.types.dims import named
from tests.executors.alone import run_tensorflow

RNG = np.random.default_rng(0)
ELSEWHERE = {
    *[
        "parameter",
        "get",
        "map",
        "fold",
        "cond",
        "check",
        "print",
        "probe",
        "batch",
        "take",
        "skip",
        "repeat",
        "shuffle",
        "filter",
        "stack",
        "unstack",
        "count_to",
    ],
    *["call", "gradient", "extern", "extern_vjp", "hash", "lookup", "prefix"],
}


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def whole(*shape: int, low: int = -9, high: int = 9, dtype: str = "int32") -> np.ndarray:
    return RNG.integers(low, high, shape).astype(dtype)


def key(*shape: int) -> np.ndarray:
    return RNG.integers(0, 2**32, (*shape, 2), dtype=np.uint32)


ODD = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.5, 2.5, -2.5, 1e30, -3e9, 4e9, 0.4], np.float32)
POSITIVE = np.abs(floats(3, 5)) + np.float32(0.1)
UNARY = "negate abs sign floor ceil round exp expm1 sin cos tanh sigmoid softplus relu erf square stop_gradient"
IMAGE = floats(2, 7, 6, 3)

# operation, inputs, result's dtype ("" as the first input's), result's shape (None as the first input's), attributes
CASES: list[tuple[str, tuple[Any, ...], str, tuple[int, ...] | None, dict[str, Any]]] = [
    *((op, (floats(3, 5),), "", None, {}) for op in UNARY.split()),
    *((op, (ODD,), "", None, {}) for op in ["negate", "abs", "sign", "floor", "ceil", "round", "relu"]),
    *(
        (op, (whole(7, dtype=d),), "", None, {})
        for op in ["negate", "abs", "sign", "square", "relu"]
        for d in ("int32", "int64")
    ),
    *((op, (whole(7, low=0, dtype="uint32"),), "", None, {}) for op in ["negate", "abs", "sign", "square"]),
    *((op, (POSITIVE,), "", None, {}) for op in ["log", "log1p", "sqrt", "rsqrt", "reciprocal"]),
    *((op, (ODD,), "bool", None, {}) for op in ["is_finite", "is_nan"]),
    *(
        (op, (floats(3, 5), floats(3, 5)), "", None, {})
        for op in ["add", "subtract", "multiply", "divide", "maximum", "minimum"]
    ),
    *((op, (ODD, ODD[::-1].copy()), "", None, {}) for op in ["maximum", "minimum", "floor_divide", "remainder"]),
    *((op, (floats(30) * 9, floats(30) * 3), "", None, {}) for op in ["floor_divide", "remainder"]),
    *(
        (op, (whole(40), whole(40)), "", None, {})
        for op in ["add", "subtract", "multiply", "maximum", "minimum", "floor_divide", "remainder"]
    ),
    *(
        (op, (np.array([-(2**31), 5], np.int32), np.array([-1, 0], np.int32)), "", None, {})
        for op in ("floor_divide", "remainder")
    ),
    *(
        (op, (whole(40, low=0, dtype="uint32"), whole(40, low=0, dtype="uint32")), "", None, {})
        for op in ["add", "floor_divide", "remainder"]
    ),
    ("power", (POSITIVE, floats(3, 5)), "", None, {}),
    *(
        (op, (whole(40), whole(40)), "bool", None, {})
        for op in ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]
    ),
    *((op, (ODD, ODD[::-1].copy()), "bool", None, {}) for op in ["equal", "not_equal", "less", "greater_equal"]),
    *((op, (whole(9) > 0, whole(9) > 0), "", None, {}) for op in ["logical_and", "logical_or"]),
    ("logical_not", (whole(9) > 0,), "", None, {}),
    ("select", (whole(3, 5) > 0, floats(3, 5), floats(3, 5)), "float32", (3, 5), {}),
    *(
        ("cast", (ODD,), dtype, None, {})
        for dtype in ["int32", "int8", "uint8", "int64", "uint32", "bool", "float64", "float16"]
    ),
    *(("cast", (whole(9),), dtype, None, {}) for dtype in ["int8", "uint16", "int64", "bool", "float32", "float64"]),
    ("cast", (whole(9) > 0,), "float32", None, {}),
    *(
        (op, (x,), "", shape, {"axes": axes})
        for op in ["reduce_sum", "reduce_max", "reduce_min", "reduce_product"]
        for x in (floats(3, 4, 5), whole(3, 4, 5))
        for axes, shape in [
            ((0,), (4, 5)),
            ((1,), (3, 5)),
            ((2,), (3, 4)),
            ((0, 2), (4,)),
            ((0, 1, 2), ()),
            ((), (3, 4, 5)),
        ]
    ),
    *(
        (op, (floats(2, 0, 3),), "", (2, 3), {"axes": (1,)})
        for op in ["reduce_sum", "reduce_max", "reduce_min", "reduce_product"]
    ),
    *((op, (whole(3, 4) > 0,), "", (3,), {"axes": (1,)}) for op in ("reduce_all", "reduce_any")),
    *((op, (x,), "int32", (3,), {"axis": 1}) for op in ("arg_max", "arg_min") for x in (floats(3, 5), whole(3, 5))),
    ("cumulative_sum", (floats(3, 5),), "", None, {"axis": 0}),
    ("softmax", (floats(3, 5),), "", None, {}),
    ("log_softmax", (floats(3, 5),), "", None, {}),
    ("sparse_softmax_cross_entropy", (floats(2, 3, 5), whole(2, 3, low=0, high=5)), "", (2, 3), {}),
    ("sparse_softmax_cross_entropy", (floats(3, 5), np.array([-1, 5, 2], np.int32)), "", (3,), {}),
    ("transpose", (floats(3, 4, 5),), "", (5, 3, 4), {"permutation": (2, 0, 1)}),
    ("reshape", (floats(3, 4),), "", (2, 6), {}),
    ("reverse", (floats(3, 4),), "", None, {"axis": 1}),
    ("slice", (floats(6, 4),), "", (3, 4), {"axis": 0, "start": 2, "stop": 5}),
    ("pad", (floats(3, 4),), "", (3, 9), {"axis": 1, "before": 2, "after": 3}),
    ("concat", (floats(3, 4), floats(3, 2)), "", (3, 6), {"axis": 1}),
    ("broadcast", (floats(4),), "", (3, 4, 2), {"axes": (1,)}),
    ("broadcast", (floats(1, 4),), "", (3, 4), {"axes": (0, 1)}),
    ("one_hot", (whole(5, low=-1, high=6),), "float32", (5, 4), {}),
    ("gather", (floats(6, 3), whole(2, 4, low=0, high=6)), "", (2, 4, 3), {}),
    ("scatter_add", (whole(2, 4, low=0, high=6), floats(2, 4, 3)), "float32", (6, 3), {}),
    *(("take_along", (floats(3, 4), whole(3, 4, low=0, high=3)), "", (3, 4), {"axis": axis}) for axis in (0, 1)),
    *(("put_along", (whole(3, 4, low=0, high=3), floats(3, 4)), "float32", (3, 4), {"axis": axis}) for axis in (0, 1)),
    *(
        (op, (x,), dtype, None, {"axis": axis})
        for op, dtype in (("sort", ""), ("arg_sort", "int32"))
        for axis in (0, 1)
        for x in (whole(5, 6), whole(5, 6, low=0, dtype="uint8"), np.stack([ODD, ODD[::-1]]))
    ),
    *(
        ("matmul", (a, b), "", (*a.shape[:-2], 3, 5), {"transpose_a": ta, "transpose_b": tb})
        for a, b, ta, tb in [
            (floats(3, 4), floats(4, 5), False, False),
            (floats(4, 3), floats(5, 4), True, True),
            (floats(2, 3, 4), floats(2, 4, 5), False, False),
            (floats(2, 4, 3), floats(2, 4, 5), True, False),
            (whole(3, 4), whole(4, 5), False, False),
        ]
    ),
    *(
        ("conv2d", (IMAGE, floats(3, 2, 3, 4)), "", shape, {"strides": s, "padding": p})
        for shape, s, p in [((2, 7, 6, 4), (1, 1), "same"), ((2, 3, 5, 4), (2, 1), "valid")]
    ),
    (
        "conv2d_input",
        (floats(2, 4, 3, 4), floats(3, 3, 3, 4)),
        "",
        (2, 7, 6, 3),
        {"strides": (2, 2), "padding": "same"},
    ),
    ("conv2d_kernel", (floats(2, 4, 3, 4), IMAGE), "", (3, 3, 3, 4), {"strides": (2, 2), "padding": "same"}),
    *(
        (op, (IMAGE,), "", shape, {"size": (2, 2), "strides": (2, 2), "padding": p})
        for op in ("max_pool", "average_pool")
        for shape, p in [((2, 3, 3, 3), "valid"), ((2, 4, 3, 3), "same")]
    ),
    (
        "average_pool_gradient",
        (floats(2, 4, 3, 3),),
        "",
        (2, 7, 6, 3),
        {"size": (2, 2), "strides": (2, 2), "padding": "same"},
    ),
    ("random_at", (key(3), np.array([0, -1, 2**40], np.int64)), "Key", (3,), {}),
    *(
        (op, (key(*k),), dtype, (*k, 3, 5), {})
        for k in ((), (4,))
        for op, dtype in [
            ("random_bits", "uint32"),
            ("random_uniform", "float32"),
            ("random_uniform", "float64"),
            ("random_uniform", "float16"),
            ("random_normal", "float32"),
            ("random_normal", "float64"),
        ]
    ),
    *(("random_permutation", (key(*k),), "int32", (*k, 17), {}) for k in ((), (4,))),
]


OPS = sorted({case[0] for case in CASES})


def graph_of(cases: list[Any], *, symbolic: bool) -> Graph:
    """The operations of these cases; `symbolic` names every size by its number, where a parameter has it."""
    build = Builder()
    seen: set[int] = set()
    results = []

    def size(number: int, *, known: bool = False) -> Any:
        if not symbolic or (known and number not in seen):
            return number
        seen.add(number)
        return named(f"n{number}")

    for op, inputs, dtype, shape, attributes in cases:
        types = []
        for array in inputs:
            is_key = array.dtype == np.uint32 and op.startswith("random")
            dimensions = array.shape[:-1] if is_key else array.shape
            types.append(Tensor("Key" if is_key else str(array.dtype), tuple(size(n) for n in dimensions)))
        arguments = tuple(build.parameter(type) for type in types)
        result = types[0].shape if shape is None else tuple(size(n, known=True) for n in shape)
        results.append(build.add(op, arguments, Tensor(dtype or types[0].dtype, result), **attributes))
    return build.finish(tuple(results))


@pytest.mark.parametrize("ops", [OPS[k::8] for k in range(8)], ids=range(8))
@pytest.mark.parametrize("symbolic", [False, True], ids=["known", "symbolic"])
def test_operations_give_what_the_reference_gives(ops: list[str], symbolic: bool) -> None:
    """Several to a program: tracing one costs more than running it."""
    cases = [case for case in CASES if case[0] in ops]
    graph = graph_of(cases, symbolic=symbolic)
    inputs = tuple(array for case in cases for array in case[1])
    results = zip(cases, evaluate(graph, inputs), run_tensorflow(graph, inputs), strict=True)
    for case, expected, found in results:
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        exact = found.dtype.kind not in "fV"
        close = {"rtol": 0, "atol": 0} if exact else {"rtol": 2e-6, "atol": 2e-6}
        wide = found.dtype if exact else np.float64
        np.testing.assert_allclose(np.asarray(found, wide), np.asarray(expected, wide), **close, err_msg=case[0])


KERNELS = [  # of derivatives that are a product for each place, and of one that is not
    ((3, 3, 16, 32), "valid", (1, 1), True),
    ((3, 3, 16, 48), "same", (1, 1), True),
    ((2, 3, 16, 48), "same", (1, 1), True),
    ((1, 1, 3, 2), "valid", (1, 1), True),
    ((3, 3, 16, 48), "same", (2, 1), False),
]


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize(("shape", "padding", "strides", "by_places"), KERNELS)
def test_derivatives_by_kernels(
    monkeypatch: pytest.MonkeyPatch, shape: Any, padding: str, strides: Any, by_places: bool, count: int
) -> None:
    monkeypatch.setattr(convolution, "MASKED", False)
    taken: list[Any] = []
    monkeypatch.setattr(
        convolution, "_by_places", lambda *given, f=convolution._by_places: taken.append(given) or f(*given)
    )
    x, kernel = floats(count, 7, 6, shape[2]), Tensor("float32", shape)
    lost = (0, 0) if padding == "same" else (shape[0] - 1, shape[1] - 1)
    sizes = (-(-(7 - lost[0]) // strides[0]), -(-(6 - lost[1]) // strides[1]))
    dy = floats(count, *sizes, shape[3])
    build, n = Builder(), named("n")
    given = (
        build.parameter(Tensor("float32", (n, *dy.shape[1:]))),
        build.parameter(Tensor("float32", (n, *x.shape[1:]))),
    )
    graph = build.finish((build.add("conv2d_kernel", given, kernel, strides=strides, padding=padding),))
    (expected,), (found,) = evaluate(graph, (dy, x)), run_tensorflow(graph, (dy, x))
    assert bool(taken) == by_places
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_is_done_to_pictures_before_some_are_cut_off(count: int) -> None:
    """A bias for each channel, before or behind, for each place, or of the pictures; and numbers behind a relu."""
    build, n = Builder(), named("n")
    images, kernel = Tensor("float32", (n, 4, 5, 2)), Tensor("float32", (2, 2, 2, 3))
    made = Tensor("float32", (n, 4, 5, 3))
    x, k = build.parameter(images), build.parameter(kernel)
    channels = build.parameter(Tensor("float32", (3,)))
    places = build.parameter(Tensor("float32", (4, 5, 3)))
    own = build.parameter(made)
    y = build.add("conv2d", (x, k), made, strides=(1, 1), padding="same")
    bias = build.add("broadcast", (channels,), made, axes=(3,))
    each = build.add("broadcast", (places,), made, axes=(1, 2, 3))
    sums = [build.add("add", pair, made) for pair in ((y, bias), (bias, y), (y, each), (own, y), (y, y))]
    cut = [build.add("relu", (sum,), made) for sum in sums]
    above = build.add("greater", (cut[0], build.add("multiply", (bias, bias), made)), Tensor("bool", made.shape))
    chosen = build.add("select", (above, own, bias), made)
    graph = build.finish((y, *sums, *cut, chosen))
    inputs = (floats(count, 4, 5, 2), floats(2, 2, 2, 3), floats(3), floats(4, 5, 3), floats(count, 4, 5, 3))
    for expected, found in zip(evaluate(graph, inputs), run_tensorflow(graph, inputs), strict=True):
        assert found.shape == (count, 4, 5, 3)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", range(4))
def test_pictures_are_padded_along_any_axis_before_a_convolution(axis: int) -> None:
    """TensorFlow makes padding and a convolution one operation, which knows height and width only."""
    build = Builder()
    shape = [2, 4, 5, 2]
    x = build.parameter(Tensor("float32", tuple(shape)))
    shape[axis] += 1
    kernel = build.parameter(Tensor("float32", (2, 2, shape[3], 3)))
    padded = build.add("pad", (x,), Tensor("float32", tuple(shape)), axis=axis, before=1, after=0)
    made = Tensor("float32", (shape[0], shape[1] - 1, shape[2] - 1, 3))
    graph = build.finish((build.add("conv2d", (padded, kernel), made, strides=(1, 1), padding="valid"),))
    inputs = (floats(2, 4, 5, 2), floats(2, 2, shape[3], 3))
    (expected,), (found,) = evaluate(graph, inputs), run_tensorflow(graph, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_kernel_larger_than_the_pictures() -> None:
    build = Builder()
    x, kernel, none = (Tensor("float32", shape) for shape in ((2, 2, 4, 2), (3, 3, 2, 3), (2, 0, 2, 3)))
    of_x, of_kernel, dy = (build.parameter(type) for type in (x, kernel, none))
    valid = {"strides": (1, 1), "padding": "valid"}
    results = [
        build.add("conv2d", (of_x, of_kernel), none, **valid),
        build.add("conv2d_input", (dy, of_kernel), x, **valid),
        build.add("conv2d_kernel", (dy, of_x), kernel, **valid),
    ]
    graph, inputs = build.finish(tuple(results)), (floats(2, 2, 4, 2), floats(3, 3, 2, 3), floats(2, 0, 2, 3))
    for expected, found in zip(evaluate(graph, inputs), run_tensorflow(graph, inputs), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_every_operation_of_the_table_is_tried() -> None:
    tried = {case[0] for case in CASES} | ELSEWHERE | {"constant", "size", "iota", "max_pool_gradient"}
    assert {row.name for row in ROWS if not row.is_movement} <= tried
