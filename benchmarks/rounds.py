"""Time of a round: federated averaging of softmax regression (784-10) on each executor, beside one centralised loop.

Clients are of unequal size (log-normal, 60 examples in the middle, made from a seed), batches of 20, the last one
smaller. The
centralised loop is one compiled TensorFlow function that takes the same number of steps of the same batch sizes. All
are measured in one process, in turn; figures are medians, and what to read is the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fedlang as fl
from fedlang.data.clients import ClientData

PROGRAM = Path(__file__).parent.parent / "examples" / "mnist.fed"


def clients(count: int, seed: int = 0) -> ClientData:
    """`count` clients with random digits, of log-normal sizes (1 to 400)."""
    random = np.random.default_rng(seed)
    sizes = np.clip(random.lognormal(np.log(60), 0.8, count), 1, 400).astype(int)
    made = {
        f"client_{k:05d}": {
            "x": random.random((n, 784), dtype=np.float32),
            "y": random.integers(0, 10, n, dtype=np.int32),
        }
        for k, n in enumerate(sizes)
    }
    return ClientData.from_dict(made)


def centralised(data: ClientData, batch: int, rate: float = 0.02) -> Callable[[], object]:
    """One compiled loop over all batches of all clients."""
    import tensorflow as tf

    every = [data.examples(client) for client in data.client_ids]
    x = tf.constant(np.concatenate([e["x"] for e in every]))
    y = tf.constant(np.concatenate([e["y"] for e in every]))
    ends, start = [0], 0
    for examples in every:
        count = len(examples["y"])
        ends += [start + min(at + batch, count) for at in range(0, count, batch)]
        start += count
    splits = tf.constant(ends, tf.int32)

    @tf.function
    def loop() -> object:
        def step(t: object, kernel: object, bias: object) -> tuple[object, ...]:
            xs, ys = x[splits[t] : splits[t + 1]], y[splits[t] : splits[t + 1]]
            logits = xs @ kernel + bias
            count = tf.cast(tf.shape(ys)[0], tf.float32)
            slope = (tf.nn.softmax(logits) - tf.one_hot(ys, 10)) / count
            return t + 1, kernel - rate * tf.matmul(xs, slope, transpose_a=True), bias - rate * tf.reduce_sum(slope, 0)

        first = (tf.constant(0), tf.zeros([784, 10]), tf.zeros([10]))
        return tf.while_loop(lambda t, *_: t < len(ends) - 1, step, first)

    return loop


def median_time(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Seconds of the first call, and the median of those after it."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times[0], statistics.median(times[1:])


def measure(counts: list[int], executors: list[str], *, batch: int, repeats: int) -> list[dict[str, object]]:
    """A row for each number of clients and each executor."""
    rows: list[dict[str, object]] = []
    process = fl.load(PROGRAM).mnist
    for count in counts:
        data = clients(count)
        sequences = data.batches(batch)
        _, central = median_time(centralised(data, batch), repeats)
        rows.append({"clients": count, "what": "centralised loop", "first": None, "round": central, "ratio": 1.0})
        for name in executors:
            state = process.initialize(0)
            first, round_time = median_time(
                lambda n=name, s=state, d=sequences: process.run_round(s, (d,), executor=n), repeats
            )
            row = {"clients": count, "what": name, "first": first, "round": round_time, "ratio": round_time / central}
            rows.append(row)
            print(f"  {count:6d} clients, {name}: {round_time * 1e3:.1f} ms", file=sys.stderr)
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """The rows as text."""
    lines = [f"{'clients':>8}  {'what':<18}{'round, ms':>12}{'ratio':>9}{'first, s':>10}"]
    for row in rows:
        first = "" if row["first"] is None else f"{row['first']:.2f}"
        lines.append(
            f"{row['clients']:>8}  {row['what']:<18}{row['round'] * 1e3:>12.1f}{row['ratio']:>9.2f}{first:>10}"
        )  # type: ignore[operator]
    return "\n".join(lines)


def main() -> None:
    """Measures and prints; `--json FILE` keeps the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", default="10,100,1000")
    parser.add_argument("--executors", default="reference,threaded,batched")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    counts = [int(count) for count in given.clients.split(",")]
    rows = measure(counts, given.executors.split(","), batch=given.batch, repeats=given.repeats)
    print(table(rows))
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
