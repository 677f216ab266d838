"""The first round of a process that has just begun: imports, compilation and one round of softmax regression.

`python -m benchmarks.cold_round WORKLOAD.npz EXECUTOR` is that process.
"""

from __future__ import annotations

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
        # Once beforehand: Python keeps what it compiled, as it has it of packages that pip installed.
        run_alone("cold_round", file, executor)
        begun = time.monotonic()  # the same clock in all processes
        seconds = run_alone("cold_round", file, executor)["ended"] - begun
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
