"""The programs of the workloads: all are batched, in any process alike, and a batched round is the same round."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.models import LSTM, Model
from benchmarks.workloads import WORKLOADS, Workload, leaves
from fedlang.executors.batched import BatchedExecutor
from fedlang.run.rounds import varies

ROOT = Path(__file__).parent.parent.parent
MODELS = {workload.model.name: workload.model for workload in WORKLOADS}
PRINT = """
from benchmarks.models import LSTM
from fedlang.ir.text import print_program
print(print_program(LSTM.load()._methods["next"].program))
"""


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_program_is_batched(model: Model) -> None:
    """Of the LSTM, rows of all times of a batch of any size are one matrix."""
    said: list[str] = []
    executor = BatchedExecutor(strategy="blocks", notice=said.append)
    workload = Workload("tiny", "", model, (3, 2), 2, 0.5)
    process = workload.process
    program = process._methods["next"].program
    works = [
        executor.compile_work(phase.work, tuple(varies(program, slot) for slot in phase.work_slots))
        for phase in program.phases
    ]
    assert said == []
    assert works
    assert {made.strategy.name for made in executor.made()} == {"blocks"}


def test_a_batched_round_of_the_lstm_is_the_round_of_its_clients_one_by_one() -> None:
    workload, found = Workload("tiny", "", LSTM, (3, 1), 2, 0.5), []
    process = workload.process
    for strategy in ("vectorised", "sequential"):
        executor = BatchedExecutor(strategy=strategy)
        state = process.run_round(process.initialize(0), (workload.data.batches(2),), executor=executor).state
        assert executor.made()[0].strategy.name == strategy
        found.append(leaves(state.weights))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_program_does_not_depend_on_the_order_of_hashes() -> None:
    printed = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [sys.executable, "-c", PRINT], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        printed.append(ran.stdout)
    assert printed[0] == printed[1]
    assert "fold" in printed[0]
