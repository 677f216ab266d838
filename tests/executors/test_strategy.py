"""The choice of a strategy: from costs and figures alone, so the same everywhere; figures kept on disk."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedlang.executors.batched import BatchedExecutor, calibration
from fedlang.executors.batched.costs import batched_cost, cost_of
from fedlang.executors.batched.cutting import BlockCost, costs_up_to, cut, duration
from fedlang.executors.batched.figures import FIXED, Figures
from fedlang.executors.batched.strategy import (
    AHEAD,
    choose,
    chunk_size,
    chunks_ahead,
    sequential_size,
    spreads,
    usual_steps,
)
from fedlang.executors.tensorflow.work import STEP
from fedlang.executors.threaded import ThreadedExecutor
from fedlang.executors.threaded.executor import Made, ThreadedWork
from fedlang.ir.graph import Graph
from fedlang.passes.batch import Batched, batch_graph
from tests.executors.training import data_of, tasks_of, training_graph, weights_of


def both(layers: tuple[int, ...]) -> tuple[Batched, Graph]:
    graph = training_graph(layers, 20)
    return batch_graph(graph, (False,) * 2 * (len(layers) - 1) + (True, True)), graph


def never() -> Figures:
    raise AssertionError("nothing is measured where the answer is clear")


def test_small_models_run_in_blocks_and_large_ones_one_by_one() -> None:
    assert choose(*both((8, 3)), 2, never)[0] == "blocks"
    large = choose(*both((2000, 1000, 10)), 2, lambda: FIXED)
    assert large[0] == "sequential"
    assert "one by one" in large[1]


def test_the_machine_is_measured_where_it_matters() -> None:
    """Slow calls favour blocks; slow memory favours clients one by one."""
    asked = []

    def measured(**changes: Any) -> Any:
        def figures() -> Figures:
            asked.append(changes)
            return replace(FIXED, **changes)

        return figures

    work = both((784, 64, 10))
    assert choose(*work, 2, measured(call=1e-4, product_call=1e-4, step=1e-3))[0] == "blocks"
    assert choose(*work, 2, measured(far=5e9, product_call=FIXED.call))[0] == "sequential"
    assert len(asked) == 2


def test_a_matrix_product_costs_what_it_computes() -> None:
    cost = cost_of(training_graph((100, 10), 20))
    (products,) = [load for load in cost.loads if load.op == "matmul"]
    assert products.looped
    assert products.calls == 2
    expected = 2 * (2 * 16 * 100 * 16)
    assert products.products == expected, "forward, and by the weights; a batch is taken for 16, as are 10 columns"


def test_calls_serve_a_block_and_memory_does_not() -> None:
    batched, _ = both((100, 10))
    small, large = batched_cost(batched, 16), batched_cost(batched, 128)
    assert sum(load.calls for load in small.loads) == sum(load.calls for load in large.loads)
    assert large.touched == 8 * small.touched
    assert large.seconds(FIXED, looped=True) < 8 * small.seconds(FIXED, looped=True)


def test_blocks_take_as_long_as_their_longest_clients() -> None:
    steps = usual_steps()
    assert len(steps) == 128
    assert list(steps) == sorted(steps, reverse=True)
    longest = steps[::STEP].astype(np.float64)

    def seconds(units: list[int], threads: int, crowd: float = 1.0, **cost: float) -> float:
        known = {size: BlockCost(**{"step": 0.0, "once": 0.0, "handed": 0.0, **cost}) for size in (8, 128)}
        return duration(longest, units, costs_up_to(known, 128, crowd), threads)

    whole, parts = [len(longest)], [1] * len(longest)
    assert seconds(whole, 1, step=1.0) == steps[0]
    assert seconds(parts, 1, step=1.0) == steps[::STEP].sum()
    assert seconds(whole, 4, step=1.0) == steps[0], "one block has one thread"
    assert seconds(parts, 4, once=2.0) == -(-len(parts) // 4) * 2.0
    assert seconds([1] * 3, 2, once=2.0) == 4.0, "the third block waits for a thread"
    assert seconds(parts, 4, handed=2.0) == len(parts) * 2.0, "Python does one thing at a time"
    assert seconds(parts, 4, crowd=2.0, once=2.0) == 2 * seconds(parts, 4, once=2.0)
    assert seconds([1, 1], 3, crowd=2.0, once=2.0) == 3.0, "one thread has nothing to do"
    assert seconds(whole, 4, crowd=2.0, step=1.0) == steps[0]


def test_chunks_fit_the_budget() -> None:
    batched, _ = both((784, 64, 10))
    assert chunk_size(batched, 1 << 20, 128) == STEP
    assert chunk_size(batched, 1 << 30, 128) == 128
    assert chunk_size(batched, 64 << 20, 128) % STEP == 0


def test_chunks_that_wait_to_be_taken_fit_the_memory() -> None:
    (_, small), (_, large) = both((8, 3)), both((2000, 1000))
    assert chunks_ahead(small, 128, 2) == AHEAD
    assert 3 < chunks_ahead(large, 1, 2) < AHEAD
    assert chunks_ahead(large, 128, 2) == 3
    assert chunks_ahead(small, 128, 16) == 17


def test_what_a_chunk_sends_fits_the_memory() -> None:
    assert sequential_size(training_graph((8, 3), 4)) == 32
    assert sequential_size(training_graph((4096, 4000), 4)) == 4
    assert sequential_size(training_graph((4096, 65536), 4)) == 1
    work = ThreadedExecutor().compile_work(training_graph((4096, 4000), 4), (False, False, True, True))
    assert isinstance(work, Made)
    assert isinstance(work.work, ThreadedWork)
    assert work.work.chunk == 4


@pytest.mark.parametrize(("clients", "expected"), [(1, [1]), (10, [5, 5]), (64, [32, 32]), (65, [17, 17, 17, 14])])
def test_threads_have_equal_shares_of_clients_one_by_one(clients: int, expected: list[int]) -> None:
    work = BatchedExecutor(strategy="sequential", threads=2).compile_work(
        training_graph((8, 3), 4), (False, False, True, True)
    )
    found = list(work.run(weights_of((8, 3)), tasks_of(data_of([3] * clients, 8, 3))))
    assert [len(chunk.ids) for chunk in found] == expected
    stream = list(work.run(weights_of((8, 3)), iter(tasks_of(data_of([3] * clients, 8, 3)))))
    assert sum(len(chunk.ids) for chunk in stream) == clients, "their number need not be known"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Measuring replaced, and how often it was done."""
    times: list[int] = []

    def measure() -> Figures:
        times.append(1)
        return replace(FIXED, call=3e-6)

    monkeypatch.setattr(calibration, "measure", measure)
    calibration._kept.cache_clear()
    return times


def test_figures_are_measured_once_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, measured: list[int]
) -> None:
    monkeypatch.setenv(calibration.VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibration.figures().call == 3e-6
    calibration._kept.cache_clear()
    assert calibration.figures().call == 3e-6
    assert len(measured) == 1
    (path,) = (tmp_path / "fedlang").iterdir()
    assert path.name.startswith("calibration-tf")
    assert json.loads(path.read_text()) == asdict(replace(FIXED, call=3e-6))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"call": "fast"}', "NaN"])
def test_a_damaged_file_is_measured_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, measured: list[int], text: str
) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    monkeypatch.setenv(calibration.VARIABLE, str(path))
    assert calibration.figures().call == 3e-6
    assert json.loads(path.read_text())["call"] == 3e-6


@pytest.mark.parametrize("value", [0.0, -1.0, 1e9, float("nan")])
@pytest.mark.parametrize("name", [field.name for field in fields(Figures)])
def test_figures_that_cannot_be_are_none(tmp_path: Path, name: str, value: float) -> None:
    (tmp_path / "f.json").write_text(json.dumps({**asdict(FIXED), name: asdict(FIXED)[name] * value}))
    assert calibration.read_figures(str(tmp_path / "f.json")) is None


def test_off_is_the_same_everywhere(monkeypatch: pytest.MonkeyPatch, measured: list[int]) -> None:
    monkeypatch.setenv(calibration.VARIABLE, "off")
    assert calibration.figures() == FIXED
    assert not measured


def test_a_folder_that_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, measured: list[int]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(calibration.VARIABLE, str(tmp_path / "file" / "kept.json"))
    assert calibration.figures().call == 3e-6


def test_a_measurement_is_sane() -> None:
    """No time is asserted, only that each figure is one that would be believed when it is read again."""
    found = calibration.measure()
    assert all(value > 0 for value in asdict(found).values())


def test_only_long_operations_have_threads_of_their_own() -> None:
    for layers, wanted in (((100, 10), False), ((784, 4096, 10), True)):
        batched, own = both(layers)
        assert spreads(cost_of(own)) == spreads(batched_cost(batched, STEP)) == wanted


def test_another_thread_is_asked_only_where_it_is_worth_it() -> None:
    def sizes(handed: float, threads: int = 2, clients: int = 64, crowd: float = 1.0) -> list[int]:
        known = {size: BlockCost(1e-3 * size, 0.0, handed) for size in (8, 128)}
        return cut(np.full(clients, 4, np.int32), costs_up_to(known, 128, crowd), threads).sizes

    assert sizes(handed=0.0) == [32, 32]
    assert sizes(handed=0.09) == [64], "a tenth faster is not enough"
    assert sizes(handed=0.0, threads=1) == [64]
    assert sizes(handed=0.0, crowd=1.5) == [32, 32]
    assert sizes(handed=0.0, crowd=1.8) == [64], "two threads do little more than one"
    assert sizes(handed=0.0, crowd=1.8, threads=4) == [16] * 4, "four do twice as much"
    assert sizes(handed=0.0, clients=200) == [104, 96], "no thread waits for another"
    assert sizes(handed=0.0, clients=0) == [0]
