"""The batching pass: its graph gives each client what the local graph gives it alone, whatever lies in the padding.

Each program runs with the NumPy evaluator (the batched graph, once with NaN in all padding), and on TensorFlow, one
by one and vectorised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.reference import evaluate
from fedlang.ir.graph import Builder, Graph, Sequence, Tensor
from fedlang.ir.text import print_graph
from fedlang.passes.batch import Batched, NotBatchable, batch_graph
from fedlang.run.sequences import Rows
from fedlang.types.dims import add, divide, fresh_unknown, multiply, named
from tests.executors.training import tasks_of, training_graph

F32, I32, BOOL = "float32", "int32", "bool"
N = named("n")
RNG = np.random.default_rng(5)
LENGTHS = [3, 1, 7, 4, 5]


def feeds_of(batched: Batched, varies: tuple[bool, ...], values: list[tuple[Any, ...]], *, poison: bool) -> list[Any]:
    """The batched graph's arguments: first shared ones (equal at all clients in `values`), padding NaN where asked."""
    return [_feed(feed, values, poison) for feed in batched.feeds]


def _feed(feed: Any, values: list[tuple[Any, ...]], poison: bool) -> Any:
    own = [each[feed.parameter] for each in values]
    first = own[0]
    if feed.kind == "shared":
        return first
    if feed.kind == "length":
        return np.array([len(v) if feed.axis < 0 else v.shape[feed.axis] for v in own], np.int32)
    if feed.kind == "store":
        rows = [v.rows for v in own]
        return np.concatenate([filler((1, *rows[0].shape[1:]), rows[0].dtype, poison), *rows])
    if feed.kind == "stacked":
        shape = np.max([v.shape for v in own], axis=0) if first.ndim else ()
        stacked = filler((len(own), *shape), first.dtype, poison)
        for k, v in enumerate(own):
            stacked[(k, *(slice(n) for n in v.shape))] = v
        return stacked
    rows, counts = _numbers(own)
    return rows if feed.kind == "rows" else counts


def _numbers(own: list[Rows]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([1, *(len(v.rows) for v in own)])[:-1]
    steps = max(len(v) for v in own)
    if own[0].splits is None:
        place = np.arange(steps)[:, None]
        inside = place < np.array([len(v) for v in own])
        return np.where(inside, starts + place, 0).astype(np.int32), np.zeros(0)
    counts = np.zeros((steps, len(own)), np.int32)
    first = np.zeros((steps, len(own)), np.int64)
    for k, v in enumerate(own):
        counts[: len(v), k], first[: len(v), k] = np.diff(v.splits), v.splits[:-1] + starts[k]
    column = np.arange(counts.max(initial=0))
    return np.where(column < counts[..., None], first[..., None] + column, 0).astype(np.int32), counts


def filler(shape: tuple[int, ...], dtype: Any, poison: bool) -> np.ndarray:
    """Zeros, or NaN (77 for integers)."""
    if not poison:
        return np.zeros(shape, dtype)
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 77 if np.dtype(dtype).kind == "i" else 0, dtype)


def own_results(batched: Batched, results: list[Any], client: int) -> list[np.ndarray]:
    """A client's results without padding."""
    found = []
    for k, sizes in enumerate(batched.sizes):
        index = tuple(slice(None) if size < 0 else slice(results[size][client]) for size in sizes)
        found.append(results[k][client][index])
    return found


def hold(graph: Graph, varies: tuple[bool, ...], values: list[tuple[Any, ...]], *, tensorflow: bool = True) -> None:
    """Compares all ways to run with the reference, client by client."""
    expected = [evaluate(graph, each) for each in values]
    for poison in (False, True):
        batched = batch_graph(graph, varies, packed="dirty" if poison else "zero")
        results = evaluate(batched.graph, feeds_of(batched, varies, values, poison=poison))
        for client, wanted in enumerate(expected):
            compare(own_results(batched, results, client), wanted, f"client {client}, poison {poison}")
    hold_where_clients_are_alike(graph, varies, values, expected)
    if tensorflow:
        for strategy in ("sequential", "vectorised", "blocks"):
            hold_on_tensorflow(graph, varies, values, expected, strategy)
        hold_without_masks(graph, varies, values)


def hold_where_clients_are_alike(graph: Graph, varies: tuple[bool, ...], values: Any, expected: Any) -> None:
    """Without masks too: of steps, and of elements where they are of one size. What is left is the same."""
    batched = batch_graph(graph, varies, packed="dirty")
    steps = frozenset(feed for feed in batched.feeds if feed.kind == "length")
    counts = frozenset(feed for feed in batched.feeds if feed.kind == "counts")
    for even in (steps, steps | counts):
        without = batch_graph(graph, varies, packed="dirty", even=even)
        assert without.feeds == batched.feeds
        assert ranks(without.graph) == ranks(batched.graph)
        for client, wanted in enumerate(expected):
            if even == steps or all(is_even(value) for value in values[client]):
                results = evaluate(without.graph, feeds_of(without, varies, [values[client]] * 2, poison=True))
                compare(own_results(without, results, 1), wanted, f"client {client} beside its like")


def ranks(graph: Graph) -> Counter[Any]:
    """How often there is an operation, at every depth, that gives float tensors of these ranks; what masks are made of
    left out."""
    found: Counter[Any] = Counter()
    for node in graph.nodes:
        types = node.type if isinstance(node.type, tuple) else (node.type,)
        shapes = tuple(len(type.shape) for type in types if isinstance(type, Tensor) and type.dtype == F32)
        if shapes and node.op not in ("select", "broadcast", "constant", "parameter", "get", "transpose"):
            found[node.op, shapes] += 1
        for body in node.bodies:
            found += ranks(body)
    return found


def is_even(value: Any) -> bool:
    """Whether a client's elements have one size."""
    return not isinstance(value, Rows) or value.splits is None or len({*np.diff(value.splits)}) == 1


def hold_without_masks(graph: Graph, varies: tuple[bool, ...], values: list[tuple[Any, ...]]) -> None:
    """Clients who are alike have the same bits without masks, and with them: once others came."""
    shared = [v for v, differs in zip(values[0], varies, strict=True) if not differs]
    own = [tuple(v for v, differs in zip(each, varies, strict=True) if differs) for each in values]
    work = BatchedExecutor(strategy="vectorised", threads=1).compile_work(graph, varies)
    (without,) = work.run(shared, tasks_of([own[0]] * 3))
    for _ in work.run(shared, tasks_of(own)):
        pass
    (masked,) = work.run(shared, tasks_of([own[0]] * 3))
    for k, (a, b) in enumerate(zip(without.results, masked.results, strict=True)):
        assert [np.asarray(each).tobytes() for each in a] == [np.asarray(each).tobytes() for each in b], f"result {k}"


def hold_on_tensorflow(graph: Graph, varies: tuple[bool, ...], values: Any, expected: Any, strategy: str) -> None:
    executor = BatchedExecutor(strategy=strategy, threads=1)
    shared = [v for v, differs in zip(values[0], varies, strict=True) if not differs]
    own = [tuple(v for v, differs in zip(each, varies, strict=True) if differs) for each in values]
    seen = 0
    work = executor.compile_work(graph, varies)
    for chunk in work.run(shared, tasks_of(own)):
        assert not chunk.failures
        for k, position in enumerate(chunk.positions):
            compare([result[k] for result in chunk.results], expected[position], f"client {position}, {strategy}")
            seen += 1
    assert seen == len(values)
    chosen = executor.decision(graph)
    assert chosen.name == strategy or "no blocks" in chosen.reason, chosen.reason


def compare(found: list[Any], wanted: list[Any], what: str) -> None:
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert (np.shape(a), np.asarray(a).dtype) == (np.shape(b), np.asarray(b).dtype), f"result {k}: {what}"
        largest = float(np.abs(np.nan_to_num(np.asarray(b, np.float64))).max(initial=1.0))
        np.testing.assert_allclose(a, b, rtol=3e-6, atol=1e-6 * largest, err_msg=f"result {k}: {what}")


class Make(Builder):
    """A builder with short names."""

    def ew(self, op: str, *inputs: int, dtype: str = "") -> int:
        first = self.nodes[inputs[0]].tensor
        return self.add(op, inputs, Tensor(dtype or first.dtype, first.shape))

    def to(self, op: str, inputs: tuple[int, ...], shape: tuple[Any, ...], dtype: str = F32, **attributes: Any) -> int:
        return self.add(op, inputs, Tensor(dtype, shape), **attributes)

    def number(self, value: Any, dtype: str = F32, shape: tuple[Any, ...] = ()) -> int:
        scalar = self.to("constant", (), (), dtype, value=value)
        return self.to("broadcast", (scalar,), shape, dtype, axes=()) if shape else scalar

    def fold(
        self, body: Graph, carries: tuple[int, ...], over: tuple[int, ...], *outer: int, **options: Any
    ) -> list[int]:
        """The last carries of a fold, and its outputs, which have `steps` steps."""
        results, count, steps = body.result_types(), len(carries), options.get("steps", 0)
        stacked = tuple(Tensor(t.dtype, (steps, *t.shape)) for t in results[count:] if isinstance(t, Tensor))
        node = self.add(
            "fold",
            (*outer, *carries, *over),
            (*results[:count], *stacked),
            body=body,
            captured=len(outer),
            carries=count,
            reverse=options.get("reverse", False),
        )
        return [self.get(node, k) for k in range(len(results))]


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def key() -> np.ndarray:
    return RNG.integers(0, 2**32, 2, dtype=np.uint32)


def over_a_ragged_axis() -> Any:
    """Softmax, contraction, mean, maximum, places, gather and scatter over an axis of the client's own length."""
    b = Make()
    v, x, index = (
        b.parameter(Tensor(F32, (5, 1))),
        b.parameter(Tensor(F32, (N, 5))),
        b.parameter(Tensor(I32, (N,))),
    )
    scores = b.to("reshape", (b.to("matmul", (x, v), (N, 1), transpose_a=False, transpose_b=False),), (N,))
    row = b.to("reshape", (scores,), (1, N))
    weights = b.ew("softmax", row)
    pooled = b.to("matmul", (weights, x), (1, 5), transpose_a=False, transpose_b=False)
    taken = b.to("gather", (x, index), (N, 5))
    size = b.ew("cast", b.to("size", (), (), I32, dimension=N), dtype=F32)
    mean = b.ew("divide", b.to("reduce_sum", (taken,), (5,), axes=(0,)), b.to("broadcast", (size,), (5,), axes=()))
    best = b.to("arg_max", (scores,), (), I32, axis=0)
    at_best = b.to("gather", (x, best), (5,))
    greatest = b.to("reduce_max", (x,), (5,), axes=(0,))
    spread = b.to("scatter_add", (index, x), (N, 5))
    logs = b.ew("log", b.ew("square", scores))
    results = (
        pooled,
        mean,
        best,
        at_best,
        greatest,
        spread,
        b.to("reduce_sum", (logs,), (), axes=(0,)),
        b.ew("log_softmax", row),
        b.to("reduce_min", (scores,), (), axes=(0,)),
        scores,
        b.to("reduce_product", (scores,), (), axes=(0,)),
        b.to("reduce_all", (b.ew("is_finite", logs, dtype=BOOL),), (), BOOL, axes=(0,)),
    )
    values = [(VECTOR, floats(n, 5), RNG.integers(0, n, n).astype(np.int32)) for n in LENGTHS]
    return b.finish(results), (False, True, True), values


VECTOR = floats(5, 1)
MATRIX = floats(4, 3)


def orders_and_shapes() -> Any:
    """Sorting, running sums, reversal, joining, cutting and padding along a ragged axis."""
    b = Make()
    x, y = b.parameter(Tensor(F32, (N,))), b.parameter(Tensor(F32, (N, 4)))
    head = b.to("slice", (x,), (1,), axis=0, start=0, stop=1)
    tail = b.to("slice", (y,), (add(N, -1), 4), axis=0, start=1, stop=N)
    results = (
        b.to("sort", (x,), (N,), axis=0),
        b.to("arg_sort", (x,), (N,), I32, axis=0),
        b.to("cumulative_sum", (y,), (N, 4), axis=0),
        b.to("reverse", (y,), (N, 4), axis=0),
        b.to("reverse", (y,), (N, 4), axis=1),
        b.to("concat", (head, x), (add(N, 1),), axis=0),
        tail,
        b.to("pad", (y,), (add(N, 3), 4), axis=0, before=1, after=2),
        b.to("reshape", (y,), (multiply(N, 4),)),
        b.to("reshape", (y,), (N, 2, 2)),
        b.to("reduce_sum", (b.to("reshape", (y,), (multiply(N, 4),)),), (), axes=(0,)),
        b.to("transpose", (y,), (4, N), permutation=(1, 0)),
        b.to("iota", (), (N, 4), I32, axis=0),
        b.to("one_hot", (b.to("arg_sort", (x,), (N,), I32, axis=0),), (N, 8)),
        b.to("take_along", (y, b.to("arg_sort", (y,), (N, 4), I32, axis=0)), (N, 4), axis=0),
        b.to("put_along", (b.to("arg_sort", (y,), (N, 4), I32, axis=0), y), (N, 4), axis=0),
    )
    return b.finish(results), (True, True), [(floats(n), floats(n, 4)) for n in LENGTHS]


def times_and_rows() -> Any:
    """Axes merged and split where the one that is ragged is not the outermost."""
    b = Make()
    x = b.parameter(Tensor(F32, (2, N, 3)))
    rows = b.to("reshape", (x,), (multiply(N, 2), 3))
    results = (
        rows,
        b.to("reduce_sum", (rows,), (3,), axes=(0,)),
        b.to("matmul", (rows, rows), (3, 3), transpose_a=True, transpose_b=False),
        b.to("reshape", (b.ew("exp", rows),), (2, N, 3)),
        b.to("reshape", (x,), (multiply(N, 6),)),
        b.to("reshape", (rows,), (1, 2, N, 3, 1)),
    )
    return b.finish(results), (True,), [(floats(2, n, 3),) for n in (*LENGTHS, 0)]


def products() -> Any:
    """Matrix products: shared and own on either side, transposed, ragged inside and outside."""
    b = Make()
    w = b.parameter(Tensor(F32, (4, 3)))
    x, y = b.parameter(Tensor(F32, (N, 4))), b.parameter(Tensor(F32, (N, 3)))

    def product(a: int, c: int, shape: tuple[Any, ...], ta: bool = False, tb: bool = False) -> int:
        return b.to("matmul", (a, c), shape, transpose_a=ta, transpose_b=tb)

    results = (
        product(x, w, (N, 3)),
        product(y, w, (N, 4), tb=True),
        product(w, y, (4, N), tb=True),
        product(x, y, (4, 3), ta=True),
        product(y, y, (N, N), tb=True),
        product(product(x, y, (4, 3), ta=True), w, (4, 4), tb=True),
        product(w, product(x, y, (4, 3), ta=True), (3, 3), ta=True),
    )
    return b.finish(results), (False, True, True), [(MATRIX, floats(n, 4), floats(n, 3)) for n in LENGTHS]


def draws() -> Any:
    """Random draws of ragged shapes: padding shifts none."""
    b = Make()
    k, x = b.parameter(Tensor("Key")), b.parameter(Tensor(F32, (N,)))
    other = b.to("random_at", (k, b.number(3, I32)), (), "Key")
    results = (
        b.to("random_bits", (k,), (3, 2), "uint32"),
        b.to("random_uniform", (other,), (N, 3)),
        b.to("random_normal", (k,), (3, N)),
        b.to("random_permutation", (k,), (N,), I32),
        b.to("random_bits", (k,), (2, N, 3), "uint32"),
        x,
        other,
    )
    return b.finish(results), (True, True), [(key(), floats(n)) for n in LENGTHS]


def choices() -> Any:
    """A choice that differs, one that does not, and a loop inside one."""
    b = Make()
    flag, x, scale = b.parameter(Tensor(BOOL)), b.parameter(Tensor(F32, (N,))), b.parameter(Tensor(F32))
    then, other = Make(), Make()
    for graph in (then, other):
        graph.parameter(Tensor(F32, (N,)))
        graph.parameter(Tensor(F32))
    body = Make()
    total, item = body.parameter(Tensor(F32)), body.parameter(Tensor(F32))
    step = body.finish((body.ew("add", total, body.ew("square", item)),))
    first = then.finish((*then.fold(step, (1,), (0,)), then.ew("negate", 0)))
    second = other.finish((other.to("reduce_sum", (0,), (), axes=(0,)), 0))
    own = b.ew("greater", b.to("reduce_sum", (x,), (), axes=(0,)), b.number(0.0), dtype=BOOL)
    results = []
    for predicate in (own, flag):
        node = b.add("cond", (predicate, x, scale), (Tensor(F32), Tensor(F32, (N,))), then=first, otherwise=second)
        results += [b.get(node, 0), b.get(node, 1)]
    values = [(np.array(True), floats(n), np.array(2, np.float32)) for n in LENGTHS]
    return b.finish(tuple(results)), (False, True, False), values


def nested_folds() -> Any:
    """A fold over ragged batches, in it a fold over the batch's rows, which reads the sizes around it; outputs are
    collected."""
    b = Make()
    data = b.parameter(Sequence(Tensor(F32, (2,)), N))
    y = b.parameter(Tensor(F32, (named("k"),)))
    m = fresh_unknown()
    batches = b.add("batch", (data, b.number(3, I32)), Sequence(Tensor(F32, (m, 2)), divide(N, 3, "ceil")))
    inner = Make()
    row_type, own = Tensor(F32, (2,)), Tensor(F32, (named("k"),))
    t, seen, row = inner.parameter(row_type), inner.parameter(own), inner.parameter(row_type)
    size = inner.ew("cast", inner.to("size", (), (), I32, dimension=m), dtype=F32)
    other = inner.to("reduce_sum", (seen,), (), axes=(0,))
    scaled = inner.ew("multiply", row, inner.to("broadcast", (inner.ew("add", size, other),), (2,), axes=()))
    inside = inner.finish((inner.ew("add", t, scaled), seen, inner.to("reduce_sum", (row,), (), axes=(0,))))
    outer = Make()
    k, carry, batch = outer.parameter(own), outer.parameter(row_type), outer.parameter(Tensor(F32, (m, 2)))
    last, same, sums = outer.fold(inside, (carry, k), (batch,), steps=m, reverse=True)
    collected = outer.to("reduce_max", (sums,), (), axes=(0,))
    body = outer.finish((last, collected, outer.to("reduce_sum", (same,), (), axes=(0,))))
    results = b.fold(body, (b.number(0.0, shape=(2,)),), (batches,), y, steps=divide(N, 3, "ceil"))
    values = [(Rows(floats(n, 2)), floats(k)) for n, k in zip([0, 3, 7, 4, 1], [2, 1, 3, 5, 1], strict=True)]
    return b.finish(tuple(results)), (True, True), values


def sequences() -> Any:
    """Taking, skipping, repeating, shuffling, filtering, counting and mapping, by numbers that differ and that do
    not."""
    b = Make()
    data, k, count = b.parameter(Sequence(Tensor(F32, (2,)), N)), b.parameter(Tensor("Key")), b.parameter(Tensor(I32))
    two, times = b.number(2, I32), b.parameter(Tensor(I32))
    row = Tensor(F32, (2,))

    def of(op: str, sequence: int, value: int, length: Any) -> int:
        return b.add(op, (sequence, value), Sequence(row, length))

    stacked = b.add("stack", (data,), Tensor(F32, (N, 2)))
    sums = b.to("reduce_sum", (stacked,), (N,), axes=(1,))
    keep = b.ew("greater", sums, b.number(0.0, shape=(N,)), dtype=BOOL)
    lengths = [fresh_unknown() for _ in range(6)]
    made = [
        (of("take", data, two, lengths[0]), lengths[0]),
        (of("skip", data, count, lengths[1]), lengths[1]),
        (of("repeat", data, two, multiply(N, 2)), multiply(N, 2)),
        (of("repeat", data, times, lengths[2]), lengths[2]),
        (of("shuffle", data, k, N), N),
        (of("filter", data, keep, lengths[3]), lengths[3]),
        (
            of("take", of("shuffle", of("repeat", data, two, multiply(N, 2)), k, multiply(N, 2)), count, lengths[4]),
            lengths[4],
        ),
    ]
    results = [b.add("stack", (one,), Tensor(F32, (length, 2))) for one, length in made]
    m = lengths[5]
    batches = b.add("batch", (made[4][0], times), Sequence(Tensor(F32, (m, 2)), fresh_unknown()))
    body = Make()
    shift, batch = body.parameter(Tensor(F32)), body.parameter(Tensor(F32, (m, 2)))
    half = body.ew("multiply", shift, body.number(0.5))
    total = body.finish((body.ew("add", half, body.to("reduce_sum", (batch,), (), axes=(0, 1))),))
    results += b.fold(total, (b.number(1.0),), (batches,))
    change = Make()
    by, element = change.parameter(Tensor(F32)), change.parameter(row)
    moved = change.finish((change.ew("add", element, change.to("broadcast", (by,), (2,), axes=())),))
    some = of("take", data, count, fresh_unknown())
    mapped = b.add("map", (b.number(1.5), some), Sequence(row, fresh_unknown()), body=moved, captured=1)
    add_up = Make()
    so_far, one = add_up.parameter(row), add_up.parameter(row)
    summed = add_up.finish((add_up.ew("add", add_up.ew("multiply", so_far, so_far), one),))
    results += b.fold(summed, (b.number(0.0, shape=(2,)),), (mapped,))
    width = fresh_unknown()
    moved_batches = b.add("batch", (mapped, b.number(2, I32)), Sequence(Tensor(F32, (width, 2)), fresh_unknown()))
    most = Make()
    greatest, pair = most.parameter(row), most.parameter(Tensor(F32, (width, 2)))
    kept = most.finish((most.ew("maximum", greatest, most.to("reduce_max", (pair,), (2,), axes=(0,))),))
    results += b.fold(kept, (b.number(0.0, shape=(2,)),), (moved_batches,))
    counted = b.add("count_to", (count,), Sequence(Tensor(I32), fresh_unknown()))
    ints = Make()
    i, j = ints.parameter(Tensor(I32)), ints.parameter(Tensor(I32))
    results += b.fold(ints.finish((ints.ew("add", ints.ew("add", i, i), j),)), (b.number(0, I32),), (counted,))
    values = [
        (Rows(floats(n, 2)), key(), np.array(c, np.int32), np.array(3, np.int32))
        for n, c in zip(LENGTHS, [1, 5, 3, 0, 2], strict=True)
    ]
    return b.finish(tuple(results)), (True, True, True, False), values


def given_batches() -> Any:
    """Data that come as ranges of rows, and a carry that stays shared."""
    b = Make()
    m = fresh_unknown()
    data = b.parameter(Sequence(Tensor(F32, (m, 3)), N))
    w = b.parameter(Tensor(F32, (3,)))
    body = Make()
    row = Tensor(F32, (3,))
    kept, total, batch = body.parameter(row), body.parameter(row), body.parameter(Tensor(F32, (m, 3)))
    size = body.ew("cast", body.to("size", (), (), I32, dimension=m), dtype=F32)
    added = body.to("reduce_sum", (batch,), (3,), axes=(0,))
    mean = body.ew("divide", added, body.to("broadcast", (size,), (3,), axes=()))
    graph = body.finish((kept, body.ew("add", total, body.ew("multiply", mean, kept))))
    results = b.fold(graph, (w, b.number(0.0, shape=(3,))), (data,))
    counts = [[2, 1], [4], [], [1, 1, 3]]
    values = [(Rows(floats(sum(c), 3), np.cumsum([0, *c], dtype=np.int64)), VECTOR[:3, 0]) for c in counts]
    return b.finish(tuple(results)), (True, False), values


def images() -> Any:
    """Convolutions with shared and with own kernels, their derivatives, and pooling."""
    b = Make()
    shared, kernel = b.parameter(Tensor(F32, (3, 3, 2, 4))), b.parameter(Tensor(F32, (3, 3, 2, 4)))
    x = b.parameter(Tensor(F32, (N, 6, 6, 2)))
    steps: dict[str, Any] = {"strides": (1, 1), "padding": "same"}
    window: dict[str, Any] = {"size": (2, 2), "strides": (2, 2), "padding": "valid"}
    first = b.to("conv2d", (x, shared), (N, 6, 6, 4), **steps)
    second = b.to("conv2d", (x, kernel), (N, 6, 6, 4), **steps)
    pooled = b.to("max_pool", (second,), (N, 3, 3, 4), **window)
    results = (
        first,
        second,
        pooled,
        b.to("average_pool", (first,), (N, 3, 3, 4), **window),
        b.to("max_pool_gradient", (second, pooled, pooled), (N, 6, 6, 4), **window),
        b.to("average_pool_gradient", (pooled,), (N, 6, 6, 4), **window),
        b.to("conv2d_input", (first, shared), (N, 6, 6, 2), **steps),
        b.to("conv2d_input", (first, kernel), (N, 6, 6, 2), **steps),
        b.to("conv2d_kernel", (first, x), (3, 3, 2, 4), **steps),
    )
    one = floats(3, 3, 2, 4)
    return b.finish(results), (False, True, True), [(one, floats(3, 3, 2, 4), floats(n, 6, 6, 2)) for n in (2, 1, 3)]


PROGRAMS: list[Callable[[], Any]] = [
    over_a_ragged_axis,
    orders_and_shapes,
    times_and_rows,
    products,
    draws,
    choices,
    nested_folds,
    sequences,
    given_batches,
    images,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_batched_graphs_give_each_client_its_own_results(program: Callable[[], Any]) -> None:
    hold(*program())


def test_training_is_batched_with_few_masks() -> None:
    """The whole text of a small batched step would be long; what matters is what it has."""
    graph = batch_graph(training_graph((8, 3), 4), (False, False, True, True)).graph
    (fold,) = [node for node in graph.nodes if node.op == "fold"]
    body = dict(fold.attributes)["body"]
    assert isinstance(body, Graph)
    ops = [node.op for node in body.nodes]
    assert ops.count("select") == 2 + 4, "losses and their gradient are cleaned; each of four carries is kept"
    assert ops.count("gather") == 2
    assert ops.count("matmul") == 2
    assert dict(fold.attributes)["captured"] == 2, "the stores"
    assert "take_along" not in print_graph(graph)


def test_training_of_clients_who_are_alike_is_batched_without_masks() -> None:
    graph, varies, _ = given_batches()
    masked = batch_graph(graph, varies)
    assert "select" in print_graph(masked.graph)
    even = frozenset(feed for feed in masked.feeds if feed.kind in ("length", "counts"))
    assert "select" not in print_graph(batch_graph(graph, varies, even=even).graph)


def test_weights_that_nobody_writes_stay_one_matrix() -> None:
    graph, varies, _ = given_batches()
    batched = batch_graph(graph, varies).graph
    (fold,) = [node for node in batched.nodes if node.op == "fold"]
    assert isinstance(fold.type, tuple)
    assert [len(type.shape) for type in fold.type if isinstance(type, Tensor)] == [1, 2]


def checked() -> Graph:
    """A check in a loop over batches and one outside."""
    b = Make()
    m = fresh_unknown()
    data = b.parameter(Sequence(Tensor(F32), N))
    batches = b.add("batch", (data, b.number(2, I32)), Sequence(Tensor(F32, (m,)), divide(N, 2, "ceil")))
    body = Make()
    total, batch = body.parameter(Tensor(F32)), body.parameter(Tensor(F32, (m,)))
    size = body.ew("cast", body.to("size", (), (), I32, dimension=m), dtype=F32)
    mean = body.ew("divide", body.to("reduce_sum", (batch,), (), axes=(0,)), size)
    body.add_effect("check", (body.ew("less", mean, body.number(10.0), dtype=BOOL),), message="too large")
    graph = body.finish((body.ew("add", total, mean),))
    (result,) = b.fold(graph, (b.number(0.0),), (batches,))
    b.add_effect("check", (b.ew("greater_equal", result, b.number(0.0), dtype=BOOL),), message="negative")
    return b.finish((result,))


@pytest.mark.parametrize("strategy", ["vectorised", "blocks", "sequential"])
def test_checks_fail_for_the_clients_they_fail_for(strategy: str) -> None:
    """A client without batches has a mean of nothing in every lane that it does not use: that is no failure."""
    values = [(Rows(np.array(v, np.float32)),) for v in ([1, 2, 3], [], [30, 1], [-9, 1, 2], [1])]
    executor = BatchedExecutor(strategy=strategy, threads=1)
    (chunk,) = executor.compile_work(checked(), (True,)).run([], tasks_of(values))
    assert chunk.ids == ("c0", "c1", "c4")
    assert [(failure.id, type(failure.error)) for failure in chunk.failures] == [
        ("c2", DiagnosticError),
        ("c3", DiagnosticError),
    ]
    assert "too large" in str(chunk.failures[0].error)
    assert "negative" in str(chunk.failures[1].error)


@pytest.mark.parametrize("strategy", ["vectorised", "blocks", "sequential"])
def test_a_row_that_is_not_there_fails_the_client_that_asks_for_it(strategy: str) -> None:
    """Neither padding nor another client's rows are mistaken for it."""
    b = Make()
    x, index = b.parameter(Tensor(F32, (N,))), b.parameter(Tensor(I32, (named("k"),)))
    graph = b.finish((b.to("gather", (x, index), (named("k"),)),))
    values = [(floats(n), np.array(i, np.int32)) for n, i in ((3, [0, 2]), (1, [1]), (2, []), (4, [3, -1, 0]))]
    (chunk,) = BatchedExecutor(strategy=strategy, threads=1).compile_work(graph, (True, True)).run([], tasks_of(values))
    assert chunk.ids == ("c0", "c2")
    assert [failure.id for failure in chunk.failures] == ["c1", "c3"]
    assert "`gather` failed" in str(chunk.failures[0].error)
    np.testing.assert_array_equal(chunk.results[0][0], values[0][0][[0, 2]])


def test_what_cannot_be_batched_says_why_and_runs_one_by_one() -> None:
    b = Make()
    x = b.parameter(Tensor(F32, (2, 3, N)))
    graph = b.finish((b.to("reshape", (x,), (2, multiply(N, 3))),))
    with pytest.raises(NotBatchable) as caught:
        batch_graph(graph, (True,))
    assert caught.value.node is not None
    assert caught.value.node.op == "reshape"
    executor = BatchedExecutor(threads=1)
    values = [(floats(2, 3, n),) for n in LENGTHS]
    work = executor.compile_work(graph, (True,))
    (chunk,) = work.run([], tasks_of(values))
    for k, (own,) in enumerate(values):
        np.testing.assert_array_equal(chunk.results[0][k], own.reshape(2, -1))
    assert executor.decision(graph).name == "sequential"
    assert "merges" in executor.decision(graph).reason
