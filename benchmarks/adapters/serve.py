"""What every adapter shares: it reads a workload's file, then runs a round for each line it is sent.

Adapters run in the environment of another simulator, so this needs NumPy and nothing of fedlang. An adapter's process
writes one JSON object a line: first the version it runs, then for each round its wall and CPU seconds, and the norm of
the weights that the round gives. Whatever libraries print goes to the standard error stream.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class Task:
    """A workload: the model's name, the clients' examples and the weights that every round starts from."""

    model: str
    batch: int
    rate: float
    clients: list[tuple[np.ndarray, np.ndarray]]
    weights: list[np.ndarray]


@cache
def load(path: str) -> Task:
    """The workload in an `.npz` file; clients' examples are views of two arrays."""
    with np.load(path) as file:
        ends = np.cumsum(file["sizes"])[:-1]
        clients = list(zip(np.split(file["x"], ends), np.split(file["y"], ends), strict=True))
        weights = [file[f"w{k}"] for k in range(sum(name.startswith("w") for name in file.files))]
        return Task(str(file["model"]), int(file["batch"]), float(file["rate"]), clients, weights)


def norm(weights: list[np.ndarray]) -> float:
    """The Euclidean norm of all weights: the same in any layout."""
    return float(np.sqrt(sum(float(np.sum(np.square(np.asarray(each, np.float64)))) for each in weights)))


class Answers:
    """The stream that answers go to: the process's own standard output, which libraries no longer reach."""

    def __init__(self) -> None:
        self.stream = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def put(self, **answer: object) -> None:
        """One answer."""
        print(json.dumps(answer), file=self.stream, flush=True)


def serve(version: str, run_round: Callable[[], list[np.ndarray]], answers: Answers) -> None:
    """Runs a round for each line of the standard input. `run_round` gives the new weights, computed to the end."""
    answers.put(version=version)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        weights = run_round()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        answers.put(wall=wall, cpu=cpu, norm=norm(weights))
