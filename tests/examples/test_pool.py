"""The executor of docs/executors.md conforms, and keeps its promises: failures by name, bounded memory, one pool."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.embed.loading import Package
from fedlang.executors.reference import ReferenceExecutor
from fedlang.ir.graph import Builder, Tensor
from fedlang.pipeline import Entry, compile_entry
from fedlang.run.executor import ClientTask
from fedlang.run.externs import register_extern
from fedlang.testing import Tolerance, check_program, conformance_programs

FOLDER = Path(__file__).parent.parent.parent / "examples" / "executors"
PROGRAMS = {program.name: program for program in conformance_programs()}
SAME_BITS = Tolerance(float32=0.0, float64=0.0, float16=0.0)
MEAN = "fed f(x: <float32>@CLIENTS) -> float32@SERVER { federated_mean(x) }"
CHECKED = """
fn positive(x: float32) -> float32 {
  expect(x > 0.0, "x is not positive")
  sqrt(x)
}

fed f(x: <float32>@CLIENTS) -> {mean: float32@SERVER, own: <float32>@CLIENTS} {
  let root = positive(x)
  {mean: federated_mean(root), own: root}
}
"""
VALUES = {f"c{k}": np.float32(v) for k, v in enumerate((4.0, 1.0, 0.3, 9.0, -1.0, 16.0, 0.1, 2.0, -3.0, 5.0))}


@pytest.fixture(scope="module")
def pool() -> Iterator[ModuleType]:
    """The example as a module; worker processes find it where this one does."""
    sys.path.insert(0, str(FOLDER))
    try:
        import pool

        yield pool
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module", params=["processes", "threads"])
def executor(request: pytest.FixtureRequest, pool: ModuleType) -> Iterator[Any]:
    with closing(pool.PoolExecutor(workers=2, chunk=3, processes=request.param == "processes")) as made:
        yield made


def tasks(count: int, read: list[int]) -> Iterator[ClientTask]:
    """Clients of one number each; `read` says which were read."""

    def reader(position: int) -> tuple[np.ndarray[Any, Any]]:
        read.append(position)
        return (np.asarray(position, np.float32),)

    return (ClientTask(k, f"c{k}", lambda k=k: reader(k)) for k in range(count))  # type: ignore[misc]


def run(package: Package, arguments: Mapping[str, Any], executor: Any, **options: Any) -> Any:
    made = package.entry("f")
    assert isinstance(made, fl.Computation)
    return made.run((arguments,), executor=executor, **options)


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_conforms_to_the_last_bit(executor: Any, program: str) -> None:
    check_program(executor, PROGRAMS[program], tolerance=SAME_BITS)


def test_neither_workers_nor_chunks_change_a_bit(pool: ModuleType) -> None:
    program = PROGRAMS["movements"]
    for workers, chunk in ((1, 1), (3, 2), (2, 100)):
        with closing(pool.PoolExecutor(workers, chunk, processes=False)) as made:
            check_program(made, program, tolerance=SAME_BITS)


def test_a_failure_names_the_client_as_in_the_reference(executor: Any) -> None:
    package = fl.loads(CHECKED)
    said = []
    for each in (executor, ReferenceExecutor()):
        with pytest.raises(fl.DiagnosticError) as caught:
            run(package, VALUES, each)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "client c4" in said[0]
    assert "x is not positive" in said[0]


def test_clients_that_fail_are_left_out_where_the_policy_allows(executor: Any) -> None:
    package = fl.loads(CHECKED)
    found = [run(package, VALUES, each, policy=fl.Policy(drop_failed=True)) for each in (executor, ReferenceExecutor())]
    assert found[0].mean == found[1].mean
    assert list(found[0].own) == list(found[1].own)


def test_a_client_that_cannot_be_read_fails_alone(executor: Any) -> None:
    def gone() -> Any:
        raise OSError("gone")

    clients = [*tasks(3, []), ClientTask(3, "c3", gone), *tasks(2, [])]
    graph = compile_entry(fl.loads(MEAN).unit, Entry("f")).program.phases[0].work
    chunks = list(executor.compile_work(graph, (True,)).run((), clients))
    assert [id for chunk in chunks for id in chunk.ids] == ["c0", "c1", "c2", "c0", "c1"]
    (failure,) = [failure for chunk in chunks for failure in chunk.failures]
    assert failure.id == "c3"
    assert "gone" in str(failure.error)


def test_what_clients_print_comes_in_the_order_of_their_ids(executor: Any, capsys: pytest.CaptureFixture[str]) -> None:
    package = fl.loads("""
fn told(x: float32) -> float32 {
  print("x is {}", x)
  x
}

fed f(x: <float32>@CLIENTS) -> float32@SERVER { federated_mean(told(x)) }
""")
    run(package, VALUES, executor)
    found = capsys.readouterr().out
    run(package, VALUES, ReferenceExecutor())
    assert found == capsys.readouterr().out
    assert len(found.splitlines()) == len(VALUES)


def test_memory_does_not_grow_with_the_cohort(executor: Any) -> None:
    graph = compile_entry(fl.loads(MEAN).unit, Entry("f")).program.phases[0].work
    read: list[int] = []
    chunks = executor.compile_work(graph, (True,)).run((), tasks(1000, read))
    for taken in range(5):
        next(chunks)
        assert len(read) <= (2 * executor.workers + taken) * executor.chunk
    chunks.close()


def test_work_that_calls_python_runs_in_this_thread(executor: Any) -> None:
    seen: list[int] = []

    class Here:
        def call(self, *arrays: Any) -> Any:
            seen.append(os.getpid())
            return arrays[0]

    register_extern("tests.examples.here", Here())
    builder = Builder()
    x = builder.parameter(Tensor("float32"))
    graph = builder.finish((builder.add("extern", (x,), Tensor("float32"), handle="tests.examples.here"),))
    chunks = list(executor.compile_work(graph, (True,)).run((), tasks(3, [])))
    assert [id for chunk in chunks for id in chunk.ids] == ["c0", "c1", "c2"]
    assert seen == [os.getpid()] * 3


def test_a_worker_that_dies_ends_the_run_and_the_next_one_starts_new_workers(pool: ModuleType) -> None:
    package = fl.loads(MEAN)
    clients = {"anna": np.float32(1.0), "bo": np.float32(2.0)}
    with closing(pool.PoolExecutor(workers=1, chunk=1)) as made:
        process = made.pool().submit(os.getpid).result()
        made.pool().submit(os.kill, process, signal.SIGKILL)
        with pytest.raises(pool.futures.BrokenExecutor):
            run(package, clients, made)
        assert run(package, clients, made) == 1.5
