"""Times a round's client work by executor and strategy, next to one central TensorFlow loop of as many steps.

    python benchmarks/work.py [softmax50] [softmax60] [softmax1000] [mlp50] …

Times are the best of five rounds after two, in milliseconds, wall and CPU. Clients keep their data from round to
round, as they do in training.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.reference import ReferenceExecutor
from fedlang.executors.tensorflow.lower import evaluate
from fedlang.executors.tensorflow.scope import Scope
from fedlang.executors.tensorflow.start import SETTINGS, tf
from fedlang.executors.threaded import ThreadedExecutor
from fedlang.types.dims import named
from tests.executors.training import data_of, step_graph, tasks_of, training_graph, weights_of

RAGGED = np.random.default_rng(0).integers(1, 240, 50).tolist()
CASES: dict[str, tuple[tuple[int, ...], int, list[int]]] = {
    "softmax50": ((784, 10), 20, [*RAGGED[:3], 0, *RAGGED[4:]]),
    "softmax60": ((784, 10), 10, [60] * 50),
    "softmax1000": ((784, 10), 20, [97] * 1000),
    "mlp50": ((784, 64, 10), 20, [*RAGGED[:3], 0, *RAGGED[4:]]),
}


def timed(run: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """The best wall time and CPU time, in milliseconds."""
    found = []
    for k in range(rounds + 2):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        if k >= 2:
            found.append(((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3))
    return min(wall for wall, _ in found), min(cpu for _, cpu in found)


def central(layers: tuple[int, ...], batch: int, sizes: list[int]) -> Callable[[], object]:
    """One model trained for as many steps as all clients do together, in one compiled loop."""
    step, steps = step_graph(layers, 0.1, named("m")), sum(-(-n // batch) for n in sizes)
    ((x, y),) = data_of([max(sum(sizes), 2 * batch)], layers[0], layers[-1])
    images, labels, count = tf.constant(x.rows), tf.constant(y.rows), len(x)
    weights = [tf.constant(w) for w in weights_of(layers)]

    @tf.function(autograph=False)
    def train(images: Any, labels: Any, *weights: Any) -> Any:
        def body(k: Any, *carry: Any) -> Any:
            start = (k * batch) % (count - batch)
            rows = (images[start : start + batch], labels[start : start + batch])
            return (k + 1, *evaluate(step, [*carry, *rows], Scope()))

        start = (tf.constant(0), *weights, tf.constant(0.0), tf.constant(0.0))
        return tf.while_loop(lambda k, *_: k < steps, body, start)

    return lambda: [np.asarray(w) for w in train(images, labels, *weights)]


def federated(executor: Any, layers: tuple[int, ...], batch: int, sizes: list[int]) -> Callable[[], object]:
    """A round's client work by an executor."""
    graph = training_graph(layers, batch)
    weights = weights_of(layers)
    work = executor.compile_work(graph, (False,) * len(weights) + (True, True))
    values = data_of(sizes, layers[0], layers[-1])
    return lambda: [None for _ in work.run(weights, tasks_of(values))]


def main(names: list[str]) -> None:
    """Prints a table for each case."""
    print(SETTINGS)
    for name in names or CASES:
        layers, batch, sizes = CASES[name]
        rows: dict[str, Callable[[], object]] = {"central loop": central(layers, batch, sizes)}
        rows["vectorised"] = federated(BatchedExecutor(strategy="vectorised"), layers, batch, sizes)
        rows["sequential"] = federated(BatchedExecutor(strategy="sequential"), layers, batch, sizes)
        rows["threaded"] = federated(ThreadedExecutor(), layers, batch, sizes)
        if len(sizes) < 100:
            rows["reference"] = federated(ReferenceExecutor(), layers, batch, sizes)
        print(f"\n{name}: {len(sizes)} clients, {sum(sizes)} examples, batches of {batch}")
        first = None
        for row, run in rows.items():
            wall, cpu = timed(run)
            first = first or wall
            print(f"  {row:14} {wall:8.1f} ms  cpu {cpu:8.1f} ms   {wall / first:5.2f} of the central loop")


if __name__ == "__main__":
    main(sys.argv[1:])
