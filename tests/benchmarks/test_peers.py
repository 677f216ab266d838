"""Adapters: the protocol with one in NumPy, and each real one where its environment is given, with the same weights."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contenders import OnExecutor
from benchmarks.models import CNN, LSTM, SOFTMAX
from benchmarks.peers import ADAPTERS, PEERS, Peer, PeerFailed, python_of
from benchmarks.workloads import Workload

# Whole batches: FedJAX fills the last one.
TINY = {
    "softmax": Workload("tiny-softmax", "", SOFTMAX, (6, 4), 2, 0.1),
    "cnn": Workload("tiny-cnn", "", CNN, (4, 4), 2, 0.1),
    "lstm": Workload("tiny-lstm", "", LSTM, (4, 2), 2, 0.5),
}

NUMPY = f"""
import sys
sys.path.insert(0, {str(ADAPTERS)!r})
import numpy as np
from serve import Answers, load, serve

answers = Answers()
print("a library says something")
task = load(sys.argv[1])

def run_round():
    results = []
    for x, y in task.clients:
        w, b = (each.astype(np.float64) for each in task.weights)
        for at in range(0, len(x), task.batch):
            xs, ys = x[at : at + task.batch], y[at : at + task.batch]
            slope = np.exp(xs @ w + b)
            slope = (slope / slope.sum(1, keepdims=True) - np.eye(10)[ys]) / len(ys)
            w, b = w - task.rate * xs.T @ slope, b - task.rate * slope.sum(0)
        results.append((len(x) * w, len(x) * b))
    return [sum(each) / sum(len(y) for _, y in task.clients) for each in zip(*results)]

serve("numpy " + np.__version__, run_round, answers)
"""


def expected(workload: Workload) -> float:
    return OnExecutor("reference", "reference").prepare(workload).run_round().norm


def peer(adapter: Path, folder: Path) -> Peer:
    return Peer("numpy", "NumPy", str(adapter), ("softmax",), "it has one model", Path(sys.executable), folder)


def test_an_adapter_serves_rounds(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text(NUMPY)
    runner = peer(adapter, tmp_path).prepare(TINY["softmax"])
    try:
        turns = [runner.run_round(), runner.run_round()]
    finally:
        runner.close()
    assert runner.version.startswith("numpy ")
    assert runner.started > 0
    assert all(turn.wall > 0 and turn.cpu > 0 for turn in turns)
    assert [turn.norm for turn in turns] == pytest.approx([expected(TINY["softmax"])] * 2, rel=1e-6)
    assert runner.process.poll() is not None


def test_an_adapter_that_ends_says_why(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.py"
    adapter.write_text("import a_simulator_that_is_not_there\n")
    with pytest.raises(PeerFailed, match="numpy ended: ModuleNotFoundError"):
        peer(adapter, tmp_path).prepare(TINY["softmax"])


def test_left_out_by_name(tmp_path: Path) -> None:
    assert peer(tmp_path, tmp_path).missing(TINY["cnn"]) == "left out: it has one model"
    for each in PEERS:
        assert each.missing(TINY["softmax"]) == f"left out: --{each.name} names no environment"
        assert (ADAPTERS / each.adapter).is_file()


def test_an_environment_is_a_folder_or_its_python(tmp_path: Path) -> None:
    assert python_of(Path(sys.executable)) == Path(sys.executable)
    assert python_of(tmp_path).parent.parent == tmp_path


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("name", [each.name for each in PEERS])
def test_peers_give_the_same_weights(name: str, model: str, tmp_path: Path) -> None:
    """Slow, and only where FEDLANG_BENCH_… names an environment."""
    (found,) = (each for each in PEERS if each.name == name)
    given, workload = os.environ.get(f"FEDLANG_BENCH_{name.upper()}"), TINY[model]
    found = replace(found, python=python_of(Path(given)) if given else None, folder=tmp_path)
    reason = found.missing(workload)
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    runner = found.prepare(workload)
    try:
        norm = runner.run_round().norm
    finally:
        runner.close()
    if name == "jax":  # a centralised loop, as ours
        from benchmarks.contenders import Centralised

        assert norm == pytest.approx(Centralised().prepare(workload).run_round().norm, rel=1e-4)
    else:
        assert norm == pytest.approx(expected(workload), rel=1e-5)
