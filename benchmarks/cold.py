"""The first round of a process that has just begun: imports, compilation and one round of softmax regression.

By itself (`python -m benchmarks.cold WORKLOAD.npz EXECUTOR`) it is that process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.child import run_alone
from benchmarks.peers import Peer
from benchmarks.rows import Row, verdict
from benchmarks.workloads import Workload

BOUND = 5.0


def measure(workload: Workload, executors: Sequence[str], peers: Sequence[Peer], folder: Path) -> list[Row]:
    """Seconds from the start of the process to the end of its first round; for peers, too, that have an environment."""
    file = folder / f"{workload.name}.npz"
    if not file.exists():
        workload.save(file)
    rows = []
    for executor in executors:
        begun = time.perf_counter()
        run_alone("cold", file, executor)
        seconds = time.perf_counter() - begun
        found = verdict(f"cold start <= {BOUND:g} s", seconds, met=seconds <= BOUND) if executor == "batched" else ()
        rows.append(Row("cold", executor, first=seconds, rounds=1, verdicts=found))
    return [*rows, *(_peer(peer, workload) for peer in peers)]


def _peer(peer: Peer, workload: Workload) -> Row:
    reason = peer.missing(workload)
    if reason is not None:
        return Row("cold", peer.name, note=reason)
    try:
        runner = peer.prepare(workload)
        try:
            return Row("cold", peer.name, runner.version, first=runner.started + runner.run_round().wall, rounds=1)
        finally:
            runner.close()
    except Exception as error:
        return Row("cold", peer.name, note=f"failed: {error}")


def main(file: str, executor: str) -> None:
    """One round, from nothing."""
    import fedlang as fl
    from benchmarks.adapters.serve import load
    from benchmarks.models import DIGITS
    from fedlang.data.clients import ClientData

    task = load(file)
    process = fl.load(DIGITS).mnist.with_settings(rate=task.rate)
    data = ClientData.from_list([{"x": x, "y": y} for x, y in task.clients])
    result = process.run_round(process.initialize(0), (data.batches(task.batch),), executor=executor)
    print(json.dumps({"loss": float(result.metrics.loss)}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
