"""Chunks that do not fit the memory are halved until they do, with the same results, and it is said once; data made
anew take the memory of one window of chunks, however many clients and rounds there are."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.executors.batched import BatchedExecutor
from fedlang.executors.batched.running import WINDOW
from fedlang.executors.tensorflow.chunks import SequentialWork
from fedlang.executors.tensorflow.start import tf
from fedlang.executors.tensorflow.store import Store
from fedlang.executors.tensorflow.vectorised import VectorisedWork
from fedlang.executors.threaded import ThreadedExecutor
from fedlang.run.executor import ClientTask
from fedlang.run.sequences import Array, Rows, fix
from tests.executors.training import data_of, tasks_of, training_graph, weights_of

SIZES = [int(n) for n in np.random.default_rng(3).integers(0, 30, 60)]
EXECUTORS: dict[str, Any] = {
    "vectorised": lambda **options: BatchedExecutor(strategy="vectorised", chunk=64, **options),
    "blocks": lambda **options: BatchedExecutor(strategy="blocks", chunk=64, **options),
    "sequential": lambda **options: BatchedExecutor(strategy="sequential", chunk=64, **options),
    "threaded": lambda **options: ThreadedExecutor(threads=2, chunk=30),
}


def results(executor: Any) -> tuple[dict[str, list[Any]], list[int]]:
    """Each client's results, and how many clients each chunk has."""
    graph = training_graph((8, 3), 4)
    work = executor.compile_work(graph, (False, False, True, True))
    chunks = list(work.run(weights_of((8, 3)), tasks_of(data_of(SIZES, 8, 3))))
    found = {id: [np.asarray(r[k]) for r in chunk.results] for chunk in chunks for k, id in enumerate(chunk.ids)}
    return found, [len(chunk.ids) for chunk in chunks]


def break_above(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception, where: str) -> None:
    """More than `most` clients at once are too many, when packed or when run."""
    for kind in (VectorisedWork, SequentialWork):
        whole = getattr(kind, where)

        def broken(self: Any, *given: Any, whole: Any = whole, **options: Any) -> Any:
            if len(given[-1].tasks) > most:
                raise error
            return whole(self, *given, **options)

        monkeypatch.setattr(kind, where, broken)


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize("where", ["run", "pack"])
def test_chunks_are_halved_and_results_are_the_same(monkeypatch: pytest.MonkeyPatch, name: str, where: str) -> None:
    expected, _ = results(EXECUTORS[name]())
    error = tf.errors.ResourceExhaustedError(None, None, "OOM") if where == "run" else MemoryError()
    break_above(monkeypatch, 12, error, where)
    with pytest.warns(RuntimeWarning, match="do not fit the memory: going on with chunks of"):
        found, sizes = results(EXECUTORS[name]())
    assert found.keys() == expected.keys()
    for id, values in expected.items():
        for a, b in zip(found[id], values, strict=True):
            np.testing.assert_array_equal(a, b)
    assert max(sizes) <= 12


def test_it_is_said_once_and_later_chunks_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    break_above(monkeypatch, 16, tf.errors.ResourceExhaustedError(None, None, "OOM"), "run")
    said: list[str] = []
    executor = EXECUTORS["vectorised"](notice=said.append, threads=1)
    graph = training_graph((8, 3), 4)
    work = executor.compile_work(graph, (False, False, True, True))
    tries = []
    whole = VectorisedWork.run

    def counted(self: Any, *given: Any, spread: bool) -> Any:
        tries.append(len(given[-1].tasks))
        return whole(self, *given, spread=spread)

    monkeypatch.setattr(VectorisedWork, "run", counted)
    for _ in range(3):
        for _ in work.run(weights_of((8, 3)), tasks_of(data_of([5] * 64, 8, 3))):
            pass
    assert len(said) == 1
    assert max(tries[-8:]) <= 16, "what did not fit is not tried again"


def test_a_client_that_does_not_fit_alone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    break_above(monkeypatch, 0, tf.errors.ResourceExhaustedError(None, None, "OOM"), "run")
    silent = EXECUTORS["sequential"](notice=lambda _: None)
    with pytest.raises(DiagnosticError, match=r"FED0627.*alone does not fit"):
        results(silent)


class Fresh:
    """Clients of four examples that are made when they are read, and how many of them are there at once."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[Array]] = []
        self.most = 0

    def tasks(self, count: int, seed: int) -> Iterator[ClientTask]:
        """Tasks for so many clients."""
        return (ClientTask(k, f"c{k}", lambda k=k: self._read(seed, k)) for k in range(count))

    def _read(self, seed: int, client: int) -> tuple[Rows, Rows]:
        ((x, y),) = data_of([4], 8, 3, seed=1000 * seed + client)
        self.made = [ref for ref in (*self.made, weakref.ref(x.rows)) if ref() is not None]
        self.most = max(self.most, len(self.made))
        return x, y


def stores_of(monkeypatch: pytest.MonkeyPatch) -> list[Store]:
    """The stores that are made from now on."""
    made: list[Store] = []
    start = Store.__init__

    def kept(self: Store, *given: Any, **options: Any) -> None:
        start(self, *given, **options)
        made.append(self)

    monkeypatch.setattr(Store, "__init__", kept)
    return made


CHUNK, THREADS = 8, 2
BOUNDED: dict[str, Any] = {
    "vectorised": lambda: BatchedExecutor(strategy="vectorised", chunk=CHUNK, threads=THREADS),
    "blocks": lambda: BatchedExecutor(strategy="blocks", chunk=CHUNK, threads=THREADS),
    "sequential": lambda: BatchedExecutor(strategy="sequential", chunk=CHUNK, threads=THREADS),
    "threaded": lambda: ThreadedExecutor(threads=THREADS, chunk=CHUNK),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_clients_are_let_go_of_window_by_window(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made, fresh = stores_of(monkeypatch), Fresh()
    work = BOUNDED[name]().compile_work(training_graph((8, 3), 4), (False, False, True, True))
    clients = 5 * WINDOW * CHUNK
    assert sum(len(chunk.ids) for chunk in work.run(weights_of((8, 3)), fresh.tasks(clients, 1))) == clients
    most = (WINDOW + 2 * THREADS + 2) * CHUNK
    assert fresh.most <= most, "a window, and the chunks that run"
    assert made[-1].rows.size <= 4 * 4 * most


@pytest.mark.parametrize("name", BOUNDED)
def test_rounds_with_fresh_data_take_no_more_memory(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made, fresh = stores_of(monkeypatch), Fresh()
    work = BOUNDED[name]().compile_work(training_graph((8, 3), 4), (False, False, True, True))
    ((x, y),) = data_of([4], 8, 3)
    fix(x.rows), fix(y.rows)
    packed, remembered = [], Store._remembered

    def counted(self: Store, made: Any, memory: Any) -> Any:
        packed.append(memory is not None and memory[1][0] is x.rows)
        return remembered(self, made, memory)

    monkeypatch.setattr(Store, "_remembered", counted)
    for seed in range(40):
        tasks = [*fresh.tasks(10, seed), ClientTask(10, "kept", lambda: (x, y))]
        assert sum(len(chunk.ids) for chunk in work.run(weights_of((8, 3)), iter(tasks))) == 11
    assert made[-1].rows.size <= 4 * 4 * 11
    assert sum(packed) == 1, "what somebody keeps is packed once"
