"""`python -m benchmarks.cold_round WORKLOAD.npz EXECUTOR` runs one round of softmax regression and prints, as JSON, its
loss and when it ended: what `benchmarks.cold` measures. It imports no more than that takes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

DIGITS = Path(__file__).parent.parent / "examples" / "mnist.fed"


def main(file: str, executor: str) -> None:
    """One round, from nothing; prints when it ended, by the clock that all processes share."""
    import fedlang as fl
    from benchmarks.adapters.serve import load
    from fedlang.data.clients import ClientData

    task = load(file)
    process = fl.load(DIGITS).mnist.with_settings(rate=task.rate)
    data = ClientData.from_list([{"x": x, "y": y} for x, y in task.clients])
    result = process.run_round(process.initialize(0), (data.batches(task.batch),), executor=executor)
    print(json.dumps({"loss": float(result.metrics.loss), "ended": time.monotonic()}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
