"""Memory and time by the number of clients, and over many rounds; each run is a process of its own.

The model has 10,000 parameters (softmax 999-10); a client's examples are made when they are read. By itself
(`python -m benchmarks.memory clients COUNT` or `… rounds COUNT`) it is that process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.child import run_alone
from benchmarks.rows import Row, verdict

FLAT, LINEAR, GROWTH = 64.0, 1.25, 0.1
MB = 1 << 20

PROGRAM = """
import learning.fedavg (fedavg)
import learning.model (model)
import learning.optimizers (sgd)

type Weights = {kernel: float32[999, 10], bias: float32[10]}
type Example = {x: float32[999], y: int32}

fn loss(w: Weights, batch: Example[?]) -> float32 {
  reduce_mean(sparse_softmax_cross_entropy(batch.x @ w.kernel + w.bias, batch.y))
}

process trained = fedavg(model(fn (_) => zeros(), loss), client = sgd(0.1))
"""


def measure(counts: Sequence[int], rounds: int) -> list[Row]:
    """A row for each number of clients, and one for many rounds of 20 clients."""
    found = {count: run_alone("memory", "clients", count) for count in counts}
    rows = [
        Row("memory", f"batched, {count:,} clients", wall=each["wall"], cpu=each["cpu"], rounds=1, figures=each)
        for count, each in found.items()
    ]
    grown = (found[counts[-1]]["peak"] - found[counts[0]]["peak"]) / MB
    each = [found[count]["cpu"] / count for count in counts[-2:]]
    flat = verdict(f"peak memory <= {FLAT:g} MB above that of {counts[0]:,}", grown, met=grown <= FLAT)
    linear = verdict(
        f"CPU a client <= {LINEAR:g} x that of {counts[-2]:,}", each[1] / each[0], met=each[1] / each[0] <= LINEAR
    )
    rows[-1] = replace(rows[-1], verdicts=(*flat, *linear))
    many = run_alone("memory", "rounds", rounds)
    growth = verdict(f"growth a round < {GROWTH:g} MB", many["growth"] / MB, met=many["growth"] / MB < GROWTH)
    return [
        *rows,
        Row(
            "memory",
            f"batched, {rounds} rounds",
            wall=many["wall"],
            cpu=many["cpu"],
            rounds=rounds,
            figures=many,
            verdicts=growth,
        ),
    ]


def clients(count: int) -> dict[str, float]:
    """The peak of one round's memory, in bytes, and its seconds, after a round of 64 clients."""
    run = _training()
    run(64, 0)
    wall, cpu = time.perf_counter(), time.process_time()
    run(count, 1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "peak": _peak()}


def rounds(count: int) -> dict[str, float]:
    """How many bytes a round adds, by the line that fits best the rounds after the first fifth; seconds of a round."""
    import psutil

    run, process = _training(), psutil.Process()
    resident, wall, cpu = [], time.perf_counter(), time.process_time()
    for number in range(count):
        run(20, number)
        resident.append(process.memory_info().rss)
    wall, cpu = (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count
    rest = resident[count // 5 :]
    return {"wall": wall, "cpu": cpu, "peak": _peak(), "growth": float(np.polyfit(np.arange(len(rest)), rest, 1)[0])}


def _training() -> Callable[[int, int], None]:
    import fedlang as fl
    from fedlang.data.clients import ClientData

    process = fl.loads(PROGRAM).trained
    state = process.initialize(0)

    def run(count: int, seed: int) -> None:
        def examples(client: str) -> dict[str, np.ndarray]:
            random = np.random.default_rng((seed, int(client)))
            return {"x": random.random((4, 999), dtype=np.float32), "y": random.integers(0, 10, 4, dtype=np.int32)}

        data = ClientData.from_function([str(k) for k in range(count)], examples).batches(4)
        process.run_round(state, (data,), executor="batched")

    return run


def _peak() -> float:
    """The most memory that this process had, in bytes. On Linux the kernel's own figure for a child may be its
    parent's, who has all the data of the other parts; that for its memory is not."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        found = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return float(found.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


if __name__ == "__main__":
    print(json.dumps({"clients": clients, "rounds": rounds}[sys.argv[1]](int(sys.argv[2]))))
