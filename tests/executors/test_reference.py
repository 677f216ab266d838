"""The reference evaluator: every group of operations against plain NumPy or a naive loop, sizes, and errors."""

from __future__ import annotations

from cProfile import Profile

import ml_dtypes
import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.executors.reference import evaluate
from fedlang.ir.graph import Builder, Graph, Sequence, Tensor
from fedlang.run.executor import Collected
from fedlang.run.externs import register_extern
from fedlang.run.random import key_of_seed, random_permutation
from fedlang.run.sequences import Elements, Rows
from fedlang.source import Source, Span
from fedlang.types.dims import add, fresh_named, fresh_unknown, multiply, named

F32 = "float32"


def one(op: str, result, *inputs, **attributes) -> Graph:
    """The graph of one operation on parameters of these types."""
    build = Builder()
    arguments = tuple(build.parameter(type, name=f"x{k}") for k, type in enumerate(inputs))
    return build.finish((build.add(op, arguments, result, **attributes),))


def tensor_of(array) -> Tensor:
    array = np.asarray(array)
    return Tensor({"object": "string"}.get(str(array.dtype), str(array.dtype)), array.shape)


def apply(op: str, *arrays, dtype: str | None = None, shape: tuple | None = None, **attributes):
    """The operation on these arrays, its result of the first one's type unless told otherwise."""
    types = [tensor_of(array) for array in arrays]
    result = Tensor(dtype or types[0].dtype, types[0].shape if shape is None else shape)
    return evaluate(one(op, result, *types, **attributes), arrays)[0]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


X = normal(3, 4)
UNARY = {
    "negate": lambda x: -x,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "exp": np.exp,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "relu": lambda x: x * (x > 0),
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
}


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_unary_operations(op, dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    got = apply(op, X.astype(kind))
    assert got.dtype == np.dtype(kind)
    tolerance = {"bfloat16": 1e-2, "float16": 2e-3}.get(dtype, 1e-6)
    want = UNARY[op](X.astype(kind).astype(np.float64))
    assert np.allclose(got.astype(np.float64), want, rtol=tolerance, atol=tolerance)


def test_unary_operations_of_positive_numbers():
    positive = np.abs(X) + np.float32(0.1)
    for op, function in {"log": np.log, "log1p": np.log1p, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x)}.items():
        assert np.array_equal(apply(op, positive), function(positive)), op
    assert np.allclose(apply("erf", np.float32([0, 0.5, -1])), [0, 0.5204999, -0.8427008])
    assert apply("erf", np.zeros((0,), np.float32)).shape == (0,)


def test_extremes_do_not_overflow_on_the_way():
    far = np.float32([-200, -90, 90, 200])
    assert np.array_equal(apply("sigmoid", far), np.float32([0, np.exp(np.float32(-90)), 1, 1]))
    assert np.array_equal(apply("softplus", far)[2:], far[2:])
    assert apply("softmax", far).tolist() == [0, 0, 0, 1]


def test_integer_division_rounds_down_and_gives_zero_by_zero():
    a, b = np.int32([7, -7, 7, -7, 5]), np.int32([2, 2, -2, -2, 0])
    assert apply("floor_divide", a, b).tolist() == [3, -4, -4, 3, 0]
    assert apply("remainder", a, b).tolist() == [1, 1, -1, -1, 0]


def test_maximum_and_minimum_give_nan_and_comparison_gives_bool():
    a, b = np.float32([1, np.nan, 3]), np.float32([2, 0, np.nan])
    assert np.array_equal(apply("maximum", a, b), np.float32([2, np.nan, np.nan]), equal_nan=True)
    assert np.array_equal(apply("minimum", a, b), np.float32([1, np.nan, np.nan]), equal_nan=True)
    assert apply("less", a, b, dtype="bool").tolist() == [True, False, False]
    assert apply("equal", np.array(["a", "b"], object), np.array(["a", "c"], object), dtype="bool").tolist() == [1, 0]


def test_casts_saturate_and_truncate():
    x = np.float32([1.9, -1.9, 3e9, -3e9, np.nan, np.inf])
    assert apply("cast", x, dtype="int32").tolist() == [1, -1, 2**31 - 1, -(2**31), 0, 2**31 - 1]
    assert apply("cast", x, dtype="uint8").tolist() == [1, 0, 255, 0, 0, 255]
    assert apply("cast", np.float64([1e30, -1e30]), dtype="int64").tolist() == [2**63 - 1, -(2**63)]
    assert apply("cast", np.array([True, False]), dtype="float32").tolist() == [1, 0]
    assert apply("cast", np.int32([0, 3]), dtype="bool").tolist() == [False, True]


def test_select_and_one_hot():
    c, a, b = np.array([True, False]), np.float32([1, 2]), np.float32([3, 4])
    assert evaluate(one("select", tensor_of(a), *map(tensor_of, (c, a, b))), (c, a, b))[0].tolist() == [1, 4]
    assert apply("one_hot", np.int32([1, 5, -1]), dtype=F32, shape=(3, 3)).tolist() == [[0, 1, 0], [0] * 3, [0] * 3]


def test_reductions_of_something_and_of_nothing():
    for op, function in {"sum": np.sum, "max": np.max, "min": np.min, "product": np.prod}.items():
        assert np.array_equal(apply(f"reduce_{op}", X, shape=(4,), axes=(0,)), function(X, axis=0))
        assert np.array_equal(apply(f"reduce_{op}", X, shape=(), axes=(0, 1)), function(X))
    nothing = np.zeros((0, 2), np.float32)
    empty = {"sum": 0.0, "max": -np.inf, "min": np.inf, "product": 1.0}
    for op, value in empty.items():
        assert apply(f"reduce_{op}", nothing, shape=(2,), axes=(0,)).tolist() == [value] * 2
    assert apply("reduce_max", np.zeros(0, np.int8), shape=(), axes=(0,)) == -128
    assert apply("reduce_all", np.zeros(0, bool), shape=(), axes=(0,)).item() is True
    assert apply("reduce_any", np.zeros(0, bool), shape=(), axes=(0,)).item() is False
    assert apply("reduce_sum", np.int8([100, 100]), shape=(), axes=(0,)) == -56


def test_halves_are_added_in_single_precision():
    ones = np.ones(4096, ml_dtypes.bfloat16)
    assert apply("reduce_sum", ones, shape=(), axes=(0,)) == 4096


def test_order_and_cumulation():
    x = np.float32([[3, np.nan, 1, 3]])
    assert apply("arg_max", np.float32([[3, 1, 3]]), dtype="int32", shape=(1,), axis=1).tolist() == [0]
    assert np.array_equal(apply("sort", x, axis=1), np.float32([[1, 3, 3, np.nan]]), equal_nan=True)
    assert apply("arg_sort", x, dtype="int32", axis=1).tolist() == [[2, 0, 3, 1]]
    assert apply("cumulative_sum", np.int32([1, 2, 3]), axis=0).tolist() == [1, 3, 6]


def test_cross_entropy():
    labels = np.int32([0, 3, 4, -1])
    logits = normal(4, 4)
    got = apply("sparse_softmax_cross_entropy", logits, labels, shape=(4,))
    want = -np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    assert np.allclose(got[:2], [want[0, 0], want[1, 3]])
    assert np.isnan(got[2:]).all()
    assert np.allclose(apply("log_softmax", logits), -want, atol=1e-6)


def test_structure():
    assert apply("broadcast", np.float32([1, 2]), shape=(2, 3), axes=(0,)).tolist() == [[1, 1, 1], [2, 2, 2]]
    assert np.array_equal(apply("transpose", X, shape=(4, 3), permutation=(1, 0)), X.T)
    assert np.array_equal(apply("reshape", X, shape=(2, 6)), X.reshape(2, 6))
    assert np.array_equal(apply("reverse", X, axis=1), X[:, ::-1])
    assert np.array_equal(apply("slice", X, shape=(3, 2), axis=1, start=1, stop=3), X[:, 1:3])
    assert np.array_equal(apply("pad", X, shape=(3, 7), axis=1, before=1, after=2), np.pad(X, ((0, 0), (1, 2))))
    assert np.array_equal(apply("concat", X, X, shape=(6, 4), axis=0), np.concatenate([X, X]))
    assert evaluate(one("iota", Tensor("int32", (2, 3)), axis=0), ())[0].tolist() == [[0] * 3, [1] * 3]
    assert evaluate(one("constant", Tensor(F32, (2,)), value=(1, 2.5)), ())[0].tolist() == [1, 2.5]
    assert np.array_equal(evaluate(one("constant", Tensor("Key"), value=3), ())[0], key_of_seed(3))


def test_gather_and_scatter():
    index = np.int32([[2, 0], [2, 2]])
    assert np.array_equal(apply("gather", X, index, shape=(2, 2, 4)), X[index])
    updates = normal(2, 2, 4)
    want = np.zeros((3, 4), np.float32)
    for i, update in zip(index.ravel(), updates.reshape(-1, 4), strict=True):
        want[i] += update
    assert np.array_equal(apply("scatter_add", index, updates, dtype=F32, shape=(3, 4)), want)
    along = np.int32([[1, 1], [0, 3], [2, 2]])
    assert np.array_equal(apply("take_along", X, along, shape=(3, 2), axis=1), np.take_along_axis(X, along, 1))
    put = apply("put_along", along, np.ones((3, 2), np.float32), dtype=F32, shape=(3, 4), axis=1)
    assert put.tolist() == [[0, 2, 0, 0], [1, 0, 0, 1], [0, 0, 2, 0]]
    for bad in (np.int32([3]), np.int32([-1])):
        with pytest.raises(DiagnosticError, match="index"):
            apply("gather", X, bad, shape=(1, 4))


def test_matmul():
    a, b = normal(2, 3, 4), normal(2, 5, 4)
    got = apply("matmul", a, b, shape=(2, 3, 5), transpose_a=False, transpose_b=True)
    assert np.allclose(got, a @ b.swapaxes(1, 2))
    half = apply(
        "matmul", a.astype(ml_dtypes.bfloat16), b.astype(ml_dtypes.bfloat16), shape=(2, 3, 5), transpose_b=True
    )
    assert half.dtype == ml_dtypes.bfloat16


def naive_convolution(x, kernel, strides, padding):
    (n, h, w, _), (kh, kw, _, o) = x.shape, kernel.shape
    counts, starts = [], []
    for size, k, s in ((h, kh, strides[0]), (w, kw, strides[1])):
        count = -(-size // s) if padding == "same" else (size - k) // s + 1
        counts.append(count)
        starts.append(max((count - 1) * s + k - size, 0) // 2 if padding == "same" else 0)
    y = np.zeros((n, *counts, o))
    for r, c, i, j in np.ndindex(*counts, kh, kw):
        row, column = r * strides[0] + i - starts[0], c * strides[1] + j - starts[1]
        if 0 <= row < h and 0 <= column < w:
            y[:, r, c] += x[:, row, column] @ kernel[i, j]
    return y


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_convolution_and_its_derivatives(padding, strides):
    x, kernel = normal(2, 7, 6, 3).astype(np.float64), normal(3, 2, 3, 4).astype(np.float64)
    want = naive_convolution(x, kernel, strides, padding)
    options = {"strides": strides, "padding": padding}
    y = apply("conv2d", x, kernel, shape=want.shape, **options)
    assert np.allclose(y, want)
    dy = normal(*y.shape).astype(np.float64)
    dx = apply("conv2d_input", dy, kernel, shape=x.shape, **options)
    dk = apply("conv2d_kernel", dy, x, shape=kernel.shape, **options)
    other_x, other_k = x[::-1] * 0.5, kernel[::-1] + 0.25
    assert np.isclose((dx * other_x).sum(), (dy * naive_convolution(other_x, kernel, strides, padding)).sum())
    assert np.isclose((dk * other_k).sum(), (dy * naive_convolution(x, other_k, strides, padding)).sum())


def naive_windows(x, size, strides, padding):
    _, h, w, _ = x.shape
    ones = np.ones((*size, 1, 1))
    counts = naive_convolution(np.ones((1, h, w, 1)), ones, strides, padding).shape[1:3]
    starts = [0, 0]
    if padding == "same":
        pairs = zip(counts, strides, size, (h, w), strict=True)
        starts = [max((count - 1) * s + k - full, 0) // 2 for count, s, k, full in pairs]
    for r, q in np.ndindex(*counts):
        top, left = r * strides[0] - starts[0], q * strides[1] - starts[1]
        rows = range(max(top, 0), min(top + size[0], h))
        columns = range(max(left, 0), min(left + size[1], w))
        yield r, q, [(i, j) for i in rows for j in columns]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pooling_and_its_derivatives(padding):
    x = np.round(normal(2, 5, 6, 2) * 2).astype(np.float32)
    options = {"size": (3, 2), "strides": (2, 2), "padding": padding}
    windows = list(naive_windows(x, **options))
    shape = (2, windows[-1][0] + 1, windows[-1][1] + 1, 2)
    top, mean = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    dy, d_top, d_mean = normal(*shape), np.zeros_like(x), np.zeros_like(x)
    for r, q, cells in windows:
        values = np.stack([x[:, i, j] for i, j in cells])
        top[:, r, q], mean[:, r, q] = values.max(0), values.mean(0)
        first = values.argmax(0)
        for k, (i, j) in enumerate(cells):
            d_top[:, i, j] += np.where(first == k, dy[:, r, q], 0)
            d_mean[:, i, j] += dy[:, r, q] / len(cells)
    assert np.array_equal(apply("max_pool", x, shape=shape, **options), top)
    assert np.allclose(apply("average_pool", x, shape=shape, **options), mean)
    assert np.allclose(apply("max_pool_gradient", x, top, dy, **options), d_top, atol=1e-6)
    assert np.allclose(apply("average_pool_gradient", dy, shape=x.shape, **options), d_mean, atol=1e-6)


def test_sequences_are_chosen_by_element():
    rows = Rows(np.arange(7, dtype=np.float32))
    element = Tensor(F32)
    kind, count = Sequence(element, named("n")), Tensor("int32")

    def sequence(op, *arguments, types=(count,)):
        return [x.tolist() for x in evaluate(one(op, kind, kind, *types), (rows, *arguments))[0]]

    batches = Sequence(Tensor(F32, (fresh_unknown(),)), named("m"))
    got = evaluate(one("batch", batches, kind, count), (rows, np.int32(3)))[0]
    assert [x.tolist() for x in got] == [[0, 1, 2], [3, 4, 5], [6]]
    assert sequence("take", np.int32(2)) == [0, 1]
    assert sequence("take", np.int32(9)) == list(range(7))
    assert sequence("skip", np.int32(5)) == [5, 6]
    assert sequence("repeat", np.int32(2)) == list(range(7)) * 2
    key = key_of_seed(1)
    assert sequence("shuffle", key, types=(Tensor("Key"),)) == random_permutation(key, 7).tolist()
    kept = np.arange(7) % 2 == 0
    assert sequence("filter", kept, types=(Tensor("bool", (7,)),)) == [0, 2, 4, 6]
    taken = evaluate(one("take", batches, batches, count), (got, np.int32(2)))[0]
    assert [len(x) for x in taken] == [3, 3]
    with pytest.raises(DiagnosticError, match="cannot be stacked"):
        evaluate(one("stack", Tensor(F32, (3, fresh_unknown())), batches), (got,))
    assert evaluate(one("stack", Tensor(F32, (named("m"), 3)), batches), (taken,))[0].shape == (2, 3)
    assert list(evaluate(one("count_to", Sequence(count, fresh_unknown()), count), (np.int32(3),))[0]) == [0, 1, 2]
    assert len(evaluate(one("unstack", Sequence(Tensor(F32, (4,)), 3), Tensor(F32, (3, 4))), (X,))[0]) == 3


def test_map_gives_unequal_elements_and_their_own_sizes():
    size = fresh_named("k")
    body = Builder()
    x = body.parameter(Tensor(F32, (size,)))
    rows = body.add("size", (), Tensor("int32"), dimension=size)
    build = Builder()
    batches = Sequence(Tensor(F32, (size,)), named("n"))
    s = build.parameter(batches)
    twice = Builder()
    y = twice.parameter(Tensor(F32, (size,)))
    doubled = twice.finish((twice.add("concat", (y, y), Tensor(F32, (multiply(2, size),)), axis=0),))
    counts = build.add("map", (s,), Sequence(Tensor("int32"), named("n")), body=body.finish((rows,)), captured=0)
    pairs = Sequence(Tensor(F32, (multiply(2, size),)), named("n"))
    graph = build.finish((counts, build.add("map", (s,), pairs, body=doubled, captured=0)))
    assert x == 0
    values = Rows(np.arange(5, dtype=np.float32), np.int64([0, 3, 3, 5]))
    sizes, result = evaluate(graph, (values,))
    assert [int(each) for each in sizes] == [3, 0, 2]
    assert [len(each) for each in result] == [6, 0, 4]
    assert evaluate(graph, (Elements((np.float32([1]),)),))[1][0].tolist() == [1, 1]


def running_sum(*, reverse: bool) -> Graph:
    body = Builder()
    scale, carry, x = (body.parameter(Tensor(F32)) for _ in range(3))
    total = body.add("add", (carry, body.add("multiply", (scale, x), Tensor(F32))), Tensor(F32))
    build = Builder()
    n = named("n")
    inputs = tuple(build.parameter(type) for type in (Tensor(F32), Tensor(F32), Tensor(F32, (n,))))
    fold = build.add(
        "fold",
        inputs,
        (Tensor(F32), Tensor(F32, (n,))),
        body=body.finish((total, total)),
        captured=1,
        carries=1,
        reverse=reverse,
    )
    return build.finish((build.get(fold, 0), build.get(fold, 1)))


def test_fold_carries_and_collects_in_both_directions():
    x = np.float32([1, 2, 3])
    arguments = (np.float32(2), np.float32(1), x)
    last, all_of_them = evaluate(running_sum(reverse=False), arguments)
    assert (float(last), all_of_them.tolist()) == (13, [3, 7, 13])
    last, all_of_them = evaluate(running_sum(reverse=True), arguments)
    assert (float(last), all_of_them.tolist()) == (13, [13, 11, 7])
    last, all_of_them = evaluate(running_sum(reverse=False), (*arguments[:2], x[:0]))
    assert (float(last), all_of_them.shape) == (1, (0,))


def test_cond_runs_one_side_only():
    def side(message: str) -> Graph:
        body = Builder()
        x = body.parameter(Tensor(F32))
        body.add_effect("print", (x,), format=message + " {}")
        return body.finish((x,))

    build = Builder()
    p, x = build.parameter(Tensor("bool")), build.parameter(Tensor(F32))
    chosen = build.add("cond", (p, x), (Tensor(F32),), then=side("yes"), otherwise=side("no"))
    sink = Collected()
    assert evaluate(build.finish((build.get(chosen, 0),)), (np.array(False), np.float32(2)), sink)[0] == 2
    assert sink.lines == ["no 2.0"]


def test_strings():
    words = np.array(["apple", "pear", "fig"], object)
    hashed = apply("hash", words, np.int32(1), dtype="int32")
    assert hashed.dtype == np.int32
    assert len(set(hashed.tolist())) == 3
    assert apply("hash", np.array("apple", object), np.int32(1), dtype="int32") == hashed[0]
    assert hashed[0] != apply("hash", words, np.int32(2), dtype="int32")[0]
    found = apply("lookup", words, np.array(["fig", "plum"], object), dtype="int32", shape=(2,))
    assert found.tolist() == [2, -1]
    assert apply("prefix", words, np.int32(3)).tolist() == ["app", "pea", "fig"]
    assert evaluate(one("prefix", Tensor("string"), Tensor("string"), Tensor("int32")), ("word", 2))[0].item() == "wo"


def test_sizes_come_from_shapes_and_must_agree():
    n = named("n")
    build = Builder()
    text = Source("a.fed", "f(x, y)")
    build.span = Span(text, 2, 3)
    x = build.parameter(Tensor(F32, (n,)), name="x")
    build.span = Span(text, 5, 6)
    y = build.parameter(Tensor(F32, (add(n, 1),)), name="y")
    graph = build.finish((build.add("size", (), Tensor("int32"), dimension=multiply(3, n)),))
    assert (x, y) == (0, 1)
    assert evaluate(graph, (np.zeros(2, np.float32), np.zeros(3, np.float32)))[0] == 6
    with pytest.raises(DiagnosticError, match=r"FED0601.*`n \+ 1` is 3 in `x` and 5 in `y`") as caught:
        evaluate(graph, (np.zeros(2, np.float32), np.zeros(5, np.float32)))
    assert caught.value.diagnostics[0].span == Span(text, 5, 6)
    for wrong in (np.zeros((2, 1), np.float32), np.zeros(2, np.float64), Rows(np.zeros(2, np.float32))):
        with pytest.raises(DiagnosticError, match="FED0601"):
            evaluate(graph, (wrong, np.zeros(3, np.float32)))


def test_a_size_that_only_a_result_has_is_known_after_it():
    kind, left = Sequence(Tensor(F32), named("n")), fresh_named("m")
    build = Builder()
    s, kept = build.parameter(kind), build.parameter(Tensor("bool", (named("n"),)))
    stacked = build.add("stack", (build.add("filter", (s, kept), Sequence(Tensor(F32), left)),), Tensor(F32, (left,)))
    graph = build.finish((stacked, build.add("size", (), Tensor("int32"), dimension=left)))
    values = (Rows(np.float32([1, 2, 3])), np.array([True, False, True]))
    assert evaluate(graph, values)[1] == 2


def test_a_body_knows_the_sizes_around_it():
    """Also where something in it has that size only later."""
    n, body = named("n"), Builder()
    total, element = body.parameter(Tensor(F32)), body.parameter(Tensor(F32))
    count = body.add("cast", (body.add("size", (), Tensor("int32"), dimension=n),), Tensor(F32))
    many = body.add("broadcast", (element,), Tensor(F32, (n,)), axes=())
    sums = body.add("add", (count, body.add("reduce_sum", (many,), Tensor(F32), axes=(0,))), Tensor(F32))
    step = body.finish((body.add("add", (total, sums), Tensor(F32)),))
    build = Builder()
    build.parameter(Tensor(F32, (n,)))
    start, over = build.parameter(Tensor(F32)), build.parameter(Sequence(Tensor(F32), named("m")))
    fold = build.add("fold", (start, over), Tensor(F32), body=step, captured=0, carries=1, reverse=False)
    values = (np.zeros(4, np.float32), np.float32(0), Rows(np.float32([1, 2, 3])))
    assert evaluate(build.finish((fold,)), values)[0] == 3 * 4 + 4 * (1 + 2 + 3)


def test_checks_fail_with_their_message_and_place():
    text = Source("a.fed", "expect(ok)")
    build = Builder()
    ok = build.parameter(Tensor("bool"))
    build.span = Span(text, 0, 10)
    build.add_effect("check", (ok,), message="must hold")
    graph = build.finish(())
    assert evaluate(graph, (True,)) == []
    with pytest.raises(DiagnosticError, match=r"FED0602.*must hold") as caught:
        evaluate(graph, (False,))
    assert caught.value.diagnostics[0].span == Span(text, 0, 10)


def test_probes_and_prints_go_to_the_sink(capsys):
    build = Builder()
    x = build.parameter(Tensor(F32))
    build.add_effect("probe", (x,), name="loss")
    build.add_effect("print", (x, x), format="x is {}, twice {}!")
    graph = build.finish(())
    sink = Collected()
    evaluate(graph, (np.float32(1.5),), sink)
    assert sink.lines == ["x is 1.5, twice 1.5!"]
    assert [(name, float(value)) for name, value in sink.probes] == [("loss", 1.5)]
    evaluate(graph, (np.float32(1.5),))
    assert capsys.readouterr().out == "x is 1.5, twice 1.5!\n"


def test_externs_are_looked_up_by_name():
    class Twice:
        def call(self, x):
            return x * 2

    graph = one("extern", Tensor(F32), Tensor(F32), handle="tests.twice")
    with pytest.raises(DiagnosticError, match=r"FED0604.*tests\.twice"):
        evaluate(graph, (np.float32(2),))
    register_extern("tests.twice", Twice())
    assert evaluate(graph, (np.float32(2),))[0] == 4


def test_nothing_broadcasts_by_accident():
    with pytest.raises(DiagnosticError, match=r"FED0603.*`add` failed: shapes"):
        evaluate(
            one(
                "add", Tensor(F32, (fresh_unknown(),)), Tensor(F32, (fresh_unknown(),)), Tensor(F32, (fresh_unknown(),))
            ),
            (np.zeros(3, np.float32), np.zeros(1, np.float32)),
        )


def softmax_regression_step() -> Graph:
    size = fresh_named("rows")
    body = Builder()
    rate = body.parameter(Tensor(F32))
    w, b = body.parameter(Tensor(F32, (784, 10))), body.parameter(Tensor(F32, (10,)))
    x, y = body.parameter(Tensor(F32, (size, 784))), body.parameter(Tensor("int32", (size,)))
    rows, one_row = Tensor(F32, (size, 10)), Tensor(F32, (10,))
    logits = body.add("matmul", (x, w), rows, transpose_a=False, transpose_b=False)
    logits = body.add("add", (logits, body.add("broadcast", (b,), rows, axes=(1,))), rows)
    error = body.add("subtract", (body.add("softmax", (logits,), rows), body.add("one_hot", (y,), rows)), rows)
    count = body.add("cast", (body.add("size", (), Tensor("int32"), dimension=size),), Tensor(F32))
    step = body.add("divide", (rate, count), Tensor(F32))
    dw = body.add("matmul", (x, error), Tensor(F32, (784, 10)), transpose_a=True, transpose_b=False)
    db = body.add("reduce_sum", (error,), one_row, axes=(0,))
    new = []
    for parameter, gradient in ((w, dw), (b, db)):
        kind = body.nodes[parameter].tensor
        scaled = body.add("multiply", (gradient, body.add("broadcast", (step,), kind, axes=())), kind)
        new.append(body.add("subtract", (parameter, scaled), kind))
    n = named("n")
    build = Builder()
    types = (Tensor(F32), Tensor(F32, (784, 10)), Tensor(F32, (10,)))
    inputs = [build.parameter(type) for type in types]
    inputs.append(build.parameter(Sequence(Tensor(F32, (size, 784)), n)))
    inputs.append(build.parameter(Sequence(Tensor("int32", (size,)), n)))
    options = {"captured": 1, "carries": 2, "reverse": False, "body": body.finish(tuple(new))}
    fold = build.add("fold", tuple(inputs), types[1:], **options)
    return build.finish((build.get(fold, 0), build.get(fold, 1)))


def test_a_round_of_softmax_regression_is_cheap_enough_to_be_an_oracle():
    """A hundred steps are so many thousand calls of Python functions: seconds say as much of the machine."""
    graph = softmax_regression_step()
    x, y = normal(2000, 784), (np.arange(2000) % 10).astype(np.int32)
    splits = np.arange(0, 2001, 20, dtype=np.int64)
    arguments = (
        np.float32(0.1),
        np.zeros((784, 10), np.float32),
        np.zeros(10, np.float32),
        Rows(x, splits),
        Rows(y, splits),
    )
    evaluate(graph, arguments)
    profile = Profile()
    profile.runcall(evaluate, graph, arguments)
    assert sum(entry.callcount for entry in profile.getstats()) < 250 * 100
