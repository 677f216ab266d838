"""A client's training as a graph, gradients written by hand: softmax regression, or a network with one hidden layer.

Parameters: the layers' weights and biases (shared), the images and labels (sequences of one length), and, where
asked, a key to shuffle with. Results: the change of each weight and bias, the number of examples, and the sum of the
losses.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from fedlang.ir.graph import Builder, Graph, Sequence, Tensor
from fedlang.run.executor import ClientTask
from fedlang.run.sequences import Rows
from fedlang.types.dims import Dim, divide, fresh_unknown, multiply, named

F32, I32 = "float32", "int32"
N = named("n")


def _ew(build: Builder, op: str, *inputs: int, dtype: str = F32) -> int:
    return build.add(op, inputs, Tensor(dtype, build.nodes[inputs[0]].tensor.shape))


def _spread(build: Builder, x: int, shape: tuple[Any, ...], *axes: int) -> int:
    return build.add("broadcast", (x,), Tensor(build.nodes[x].tensor.dtype, shape), axes=axes)


def _matmul(build: Builder, a: int, b: int, shape: tuple[Any, ...], *, ta: bool = False, tb: bool = False) -> int:
    return build.add("matmul", (a, b), Tensor(F32, shape), transpose_a=ta, transpose_b=tb)


def _number(build: Builder, value: float, shape: tuple[Any, ...] = ()) -> int:
    scalar = build.add("constant", (), Tensor(F32), value=value)
    return _spread(build, scalar, shape) if shape else scalar


def _sum(build: Builder, x: int, shape: tuple[Any, ...], *axes: int) -> int:
    return build.add("reduce_sum", (x,), Tensor(F32, shape), axes=axes)


def step_graph(layers: tuple[int, ...], rate: float, m: Dim) -> Graph:
    """One step on a batch of `m` examples: weights, biases, count, loss, x, y to weights, biases, count, loss."""
    b = Builder()
    shapes: list[tuple[int, ...]] = [s for i, o in pairwise(layers) for s in ((i, o), (o,))]
    weights = [b.parameter(Tensor(F32, shape)) for shape in shapes]
    count, total = b.parameter(Tensor(F32)), b.parameter(Tensor(F32))
    x, y = b.parameter(Tensor(F32, (m, layers[0]))), b.parameter(Tensor(I32, (m,)))
    size = b.add("cast", (b.add("size", (), Tensor(I32), dimension=m),), Tensor(F32))
    hidden, inputs = x, []
    for k, out in enumerate(layers[1:]):
        inputs.append(hidden)
        bias = _spread(b, weights[2 * k + 1], (m, out), 1)
        hidden = _ew(b, "add", _matmul(b, hidden, weights[2 * k], (m, out)), bias)
        if k < len(layers) - 2:
            hidden = _ew(b, "relu", hidden)
    losses = b.add("sparse_softmax_cross_entropy", (hidden, y), Tensor(F32, (m,)))
    loss = _ew(b, "divide", _sum(b, losses, (), 0), size)
    classes = (m, layers[-1])
    hot = b.add("one_hot", (y,), Tensor(F32, classes))
    wrong = _ew(b, "subtract", _ew(b, "softmax", hidden), hot)
    delta = _ew(b, "divide", wrong, _spread(b, size, classes))
    new: list[int] = [0] * len(weights)
    for k in reversed(range(len(layers) - 1)):
        for place, gradient in (
            (2 * k, _matmul(b, inputs[k], delta, shapes[2 * k], ta=True)),
            (2 * k + 1, _sum(b, delta, shapes[2 * k + 1], 0)),
        ):
            scaled = _ew(b, "multiply", _number(b, rate, shapes[place]), gradient)
            new[place] = _ew(b, "subtract", weights[place], scaled)
        if k:
            back = _matmul(b, delta, weights[2 * k], (m, layers[k]), tb=True)
            zero = _number(b, 0.0, (m, layers[k]))
            delta = _ew(b, "select", _ew(b, "greater", inputs[k], zero, dtype="bool"), back, zero)
    counted = _ew(b, "add", count, size)
    return b.finish((*new, counted, _ew(b, "add", total, _ew(b, "multiply", loss, size))))


def training_graph(
    layers: tuple[int, ...] = (8, 3), batch: int = 4, *, rate: float = 0.1, epochs: int = 1, shuffled: bool = False
) -> Graph:
    """The client's whole training."""
    b = Builder()
    shapes: list[tuple[int, ...]] = [s for i, o in pairwise(layers) for s in ((i, o), (o,))]
    weights = [b.parameter(Tensor(F32, shape), name=f"w{k}") for k, shape in enumerate(shapes)]
    data = [
        b.parameter(Sequence(Tensor(F32, (layers[0],)), N), name="x"),
        b.parameter(Sequence(Tensor(I32), N), name="y"),
    ]
    length: Any = N
    elements: list[tuple[str, tuple[Any, ...]]] = [(F32, (layers[0],)), (I32, ())]
    if shuffled:
        key = b.parameter(Tensor("Key"), name="key")
        data = [
            b.add("shuffle", (one, key), Sequence(Tensor(t, s), length))
            for one, (t, s) in zip(data, elements, strict=True)
        ]
    if epochs > 1:
        length = multiply(length, epochs)
        times = b.add("constant", (), Tensor(I32), value=epochs)
        data = [
            b.add("repeat", (one, times), Sequence(Tensor(t, s), length))
            for one, (t, s) in zip(data, elements, strict=True)
        ]
    m = fresh_unknown()
    size = b.add("constant", (), Tensor(I32), value=batch)
    steps = divide(length, batch, "ceil")
    data = [
        b.add("batch", (one, size), Sequence(Tensor(t, (m, *s)), steps))
        for one, (t, s) in zip(data, elements, strict=True)
    ]
    zero = b.add("constant", (), Tensor(F32), value=0.0)
    body = step_graph(layers, rate, m)
    types = tuple(Tensor(F32, shape) for shape in [*shapes, (), ()])
    trained = b.add(
        "fold", (*weights, zero, zero, *data), types, body=body, captured=0, carries=len(types), reverse=False
    )
    after = [b.get(trained, k) for k in range(len(types))]
    changes = [_ew(b, "subtract", new, old) for new, old in zip(after, weights, strict=False)]
    return b.finish((*changes, *after[len(weights) :]))


def weights_of(layers: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    """Small random weights and biases."""
    rng = np.random.default_rng(seed)
    shapes = [s for i, o in pairwise(layers) for s in ((i, o), (o,))]
    return [(rng.standard_normal(shape) * 0.05).astype(np.float32) for shape in shapes]


def data_of(sizes: list[int], features: int, classes: int, seed: int = 1) -> list[tuple[Rows, Rows]]:
    """Clients' images and labels."""
    rng = np.random.default_rng(seed)
    return [
        (
            Rows(rng.random((n, features), np.float32)),
            Rows(rng.integers(0, classes, n).astype(np.int32)),
        )
        for n in sizes
    ]


def tasks_of(values: list[tuple[Any, ...]]) -> list[ClientTask]:
    """Tasks for clients with these values."""
    return [ClientTask(k, f"c{k}", lambda own=own: own) for k, own in enumerate(values)]
