"""The workloads by which federated simulators are compared, beside one centralised compiled TensorFlow loop.

The ratio is the time of a round over that of the loop, which takes the same number of steps on the same batches (for
softmax regression see also `rounds.py`, with unequal clients). All are measured in one process, in turn; medians.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fedlang as fl
from benchmarks.rounds import median_time
from fedlang.data.clients import ClientData

PROGRAMS = Path(__file__).parent / "programs"
Weights = list[Any]


@dataclass(frozen=True)
class Workload:
    """A process, its data, and the same model as a TensorFlow loss of a list of weights."""

    name: str
    process: Callable[[], fl.Process]
    examples: Callable[[np.random.Generator, int], dict[str, np.ndarray]]
    clients: int
    size: int
    batch: int
    shapes: tuple[tuple[int, ...], ...]
    loss: Callable[..., Any]
    rate: float


def _softmax_loss(tf: Any, w: Weights, x: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, x @ w[0] + w[1]))


def _cnn_loss(tf: Any, w: Weights, x: Any, y: Any) -> Any:
    first = tf.nn.relu(tf.nn.conv2d(x, w[0], 1, "VALID") + w[1])
    second = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(first, w[2], 1, "VALID") + w[3]), 2, 2, "VALID")
    hidden = tf.nn.relu(tf.reshape(second, [-1, 12544]) @ w[4] + w[5])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, hidden @ w[6] + w[7]))


def _lstm_loss(tf: Any, w: Weights, following: Any, tokens: Any) -> Any:
    xs = tf.transpose(tf.gather(w[0], tokens), [1, 0, 2])

    def step(t: Any, hidden: Any, cell: Any, outputs: Any) -> tuple[Any, ...]:
        i, f, c, o = tf.split(xs[t] @ w[1] + hidden @ w[2] + w[3], 4, axis=1)
        cell = tf.sigmoid(f) * cell + tf.sigmoid(i) * tf.tanh(c)
        hidden = tf.sigmoid(o) * tf.tanh(cell)
        return t + 1, hidden, cell, outputs.write(t, hidden)

    zero = tf.zeros([tf.shape(tokens)[0], 256])
    first = (tf.constant(0), zero, zero, tf.TensorArray(tf.float32, 80))
    outputs = tf.while_loop(lambda t, *_: t < 80, step, first)[3].stack()
    targets = tf.transpose(following, [1, 0])
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, outputs @ w[4]))


def _digits(r: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"x": r.random((n, 784), dtype=np.float32), "y": r.integers(0, 10, n, dtype=np.int32)}


def _images(r: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {"x": r.random((n, 32, 32, 3), dtype=np.float32), "y": r.integers(0, 10, n, dtype=np.int32)}


def _text(r: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {name: r.integers(0, 86, (n, 80), dtype=np.int32) for name in ("next", "tokens")}


def _softmax_process() -> fl.Process:
    process = fl.load(Path(__file__).parent.parent / "examples" / "mnist.fed").mnist
    assert isinstance(process, fl.Process)
    return process


WORKLOADS = (
    Workload(
        "softmax 784-10, 50 x 60, batch 10", _softmax_process, _digits, 50, 60, 10,
        ((784, 10), (10,)), _softmax_loss, 0.1,
    ),
    Workload(
        "softmax 784-10, 1000 x 97, batch 20", _softmax_process, _digits, 1000, 97, 20,
        ((784, 10), (10,)), _softmax_loss, 0.1,
    ),
    Workload(
        "CIFAR CNN, 50 x 50, batch 10", lambda: fl.load(PROGRAMS / "cnn.fed").cnn, _images, 50, 50, 10,
        ((3, 3, 3, 32), (32,), (3, 3, 32, 64), (64,), (12544, 128), (128,), (128, 10), (10,)), _cnn_loss, 0.1,
    ),
    Workload(
        "character LSTM, 10 x 40, batch 10", lambda: fl.load(PROGRAMS / "lstm.fed").characters, _text, 10, 40, 10,
        ((86, 8), (8, 1024), (256, 1024), (1024,), (256, 86)), _lstm_loss, 0.5,
    ),
)  # fmt: skip


def centralised(work: Workload, every: list[dict[str, np.ndarray]]) -> Callable[[], object]:
    """One compiled loop of gradient descent over all batches of all clients."""
    import tensorflow as tf

    first, second = (tf.constant(np.concatenate([e[name] for e in every])) for name in sorted(every[0]))
    ends, start = [0], 0
    for _ in every:
        ends += [start + min(at + work.batch, work.size) for at in range(0, work.size, work.batch)]
        start += work.size
    splits, steps = tf.constant(ends, tf.int32), len(ends) - 1
    random = np.random.default_rng(0)
    weights = [tf.constant(0.02 * random.standard_normal(shape), tf.float32) for shape in work.shapes]

    @tf.function(autograph=False)
    def loop() -> object:
        def step(t: Any, *w: Any) -> tuple[Any, ...]:
            rows = slice(splits[t], splits[t + 1])
            with tf.GradientTape() as tape:
                tape.watch(w)
                value = work.loss(tf, list(w), first[rows], second[rows])
            slopes = [tf.convert_to_tensor(slope) for slope in tape.gradient(value, w)]
            return t + 1, *(a - work.rate * slope for a, slope in zip(w, slopes, strict=True))

        return tf.while_loop(lambda t, *_: t < steps, step, (tf.constant(0), *weights))

    return loop


def measure(work: Workload, executors: list[str], repeats: int) -> list[dict[str, object]]:
    """A row for the loop and for each executor."""
    random = np.random.default_rng(1)
    every = [work.examples(random, work.size) for _ in range(work.clients)]
    data = ClientData.from_list(every).batches(work.batch)
    _, central = median_time(centralised(work, every), repeats)
    rows: list[dict[str, object]] = [{"workload": work.name, "what": "centralised", "round": central, "ratio": 1.0}]
    process = work.process()
    state = process.initialize(0)
    for name in executors:
        first, time = median_time(lambda n=name: process.run_round(state, (data,), executor=n), repeats)
        rows.append({"workload": work.name, "what": name, "round": time, "ratio": time / central, "first": first})
        print(f"  {work.name}, {name}: {time * 1e3:.1f} ms, {time / central:.2f}", file=sys.stderr)
    return rows


def main() -> None:
    """Measures and prints; `--json FILE` keeps the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executors", default="threaded,batched")
    parser.add_argument("--only", default="", help="workloads whose name holds this")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    chosen = [work for work in WORKLOADS if given.only in work.name]
    rows = [row for work in chosen for row in measure(work, given.executors.split(","), given.repeats)]
    for row in rows:
        print(f"{row['workload']:<38}{row['what']:<14}{row['round'] * 1e3:>10.1f} ms{row['ratio']:>8.2f}")  # type: ignore[operator]
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
