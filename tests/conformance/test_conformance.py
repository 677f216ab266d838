"""Every executor that there is gives what the reference gives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fedlang as fl
from fedlang.executors.reference import ReferenceExecutor
from fedlang.ir.operations import OPERATIONS
from fedlang.run.executor import value_of
from fedlang.run.registry import EXECUTORS, get_executor
from fedlang.testing import ConformanceError, check_executor, check_program, conformance_programs

PROGRAMS = {program.name: program for program in conformance_programs()}


def available(name: str) -> bool:
    """Whether the executor's module exists, and TensorFlow where it needs that."""
    module = EXECUTORS[name].partition(":")[0]
    return find_spec(module) is not None and (name == "reference" or find_spec("tensorflow") is not None)


def pairs() -> list[Any]:
    """Every executor with every program."""
    return [pytest.param(name, program, id=f"{program}-{name}") for name in EXECUTORS for program in PROGRAMS]


@pytest.mark.parametrize(("name", "program"), pairs())
def test_executor_conforms(name: str, program: str) -> None:
    if not available(name):
        pytest.skip(f"there is no module for {name}")
    check_program(get_executor(name), PROGRAMS[program])


@dataclass(frozen=True)
class Wrong:
    """The reference, with one thing changed."""

    change: Any
    name: str = "wrong"
    inner: ReferenceExecutor = field(default_factory=ReferenceExecutor)

    def compile_local(self, graph: Any) -> Any:
        return self.inner.compile_local(graph)

    def compile_work(self, work: Any, varies: Any) -> Any:
        inner, change = self.inner.compile_work(work, varies), self.change

        class Work:
            def run(self, shared: Any, clients: Any) -> Any:
                for place, chunk in enumerate(inner.run(shared, clients)):
                    yield type(chunk)(chunk.positions, chunk.ids, tuple(change(r, place) for r in chunk.results))

        return Work()


def rounded(result: Any, place: int) -> Any:
    """A little off at every client."""
    return result * np.float32(1 + 1e-4) if result.dtype == np.float32 else result


def by_place(result: Any, place: int) -> Any:
    """A bit off, depending on the place."""
    return np.nextafter(result, np.float32(np.inf)) if result.dtype == np.float32 and place == 2 else result


@pytest.mark.parametrize(
    ("change", "said"), [(rounded, "is off by"), (by_place, "depends on which other clients take part")]
)
def test_the_kit_finds_what_is_wrong(change: Any, said: str) -> None:
    with pytest.raises(ConformanceError, match=said):
        check_executor(Wrong(change), programs=[PROGRAMS["functions of one number"]])


def operations() -> set[str]:
    """Every operation in the programs, in the graphs inside them too."""
    from fedlang.embed.loading import loads
    from fedlang.ir.graph import Graph
    from fedlang.pipeline import Entry, compile_entry

    found: set[str] = set()

    def visit(graph: Graph) -> None:
        for node in graph.nodes:
            found.add(node.op)
            for _, value in node.attributes:
                if isinstance(value, Graph):
                    visit(value)

    for program in PROGRAMS.values():
        unit = loads(program.text).unit
        made = compile_entry(unit, Entry("p", "next") if program.rounds else Entry("f")).program
        for phase in made.phases:
            visit(phase.prepare)
            visit(phase.work)
        visit(made.finish)
    return found


# Removed by the compiler (a square is a product), or what no program can ask for, or effects and foreign functions.
NOT_HERE = {
    "call",
    "gradient",
    "square",
    "random_bits",
    "extern",
    "extern_vjp",
    "check",
    "print",
    "probe",
    "get",
    "parameter",
}


def test_the_programs_have_every_operation() -> None:
    movements = {name for name in OPERATIONS if name.startswith("federated_")}
    missing = set(OPERATIONS) - operations() - movements - NOT_HERE
    assert sorted(missing) == []


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        (lambda chunks: chunks[1:], "gives nothing for client"),
        (lambda chunks: [*chunks, *chunks[:1]], "gives a client twice"),
        (lambda chunks: [None, *chunks], "gives `NoneType`, which is no `Chunk`"),
        (lambda chunks: [replace(each, ids=("nobody",)) for each in chunks], "ids that are not those"),
        (lambda chunks: [replace(each, results=()) for each in chunks], "gives 0 results in a chunk"),
        (
            lambda chunks: [replace(each, results=tuple(r[:0] for r in each.results)) for each in chunks],
            "no list or array of 1",
        ),
        (lambda chunks: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_a_faulty_executor_is_a_failure_of_the_program(chunks: Any, said: str) -> None:
    class Faulty(ReferenceExecutor):
        def compile_work(self, work: Any, varies: Any) -> Any:
            inner = ReferenceExecutor().compile_work(work, varies)
            return SimpleNamespace(run=lambda shared, clients: iter(chunks(list(inner.run(shared, clients)))))

    with pytest.raises(ConformanceError) as caught:
        check_executor(Faulty("faulty"), programs=[PROGRAMS["matrix products"]])
    assert str(caught.value).startswith("matrix products: ")
    assert said in str(caught.value)
    assert "ZeroDivision" in said or "the executor `faulty` gives" in str(caught.value)


def test_results_may_be_lists_weights_too() -> None:
    class Lists(ReferenceExecutor):
        def compile_work(self, work: Any, varies: Any) -> Any:
            inner = ReferenceExecutor().compile_work(work, varies)

            def run(shared: Any, clients: Any) -> Any:
                for chunk in inner.run(shared, clients):
                    yield replace(
                        chunk, results=tuple([value_of(r, k) for k in range(len(chunk.ids))] for r in chunk.results)
                    )

            return SimpleNamespace(run=run)

    made = fl.loads("fed g(x: <float32>@CLIENTS, w: <float32>@CLIENTS) { federated_mean(x, w) }")
    assert made.g.run(([1.0, 3.0, 5.0], [1.0, 1.0, 2.0]), executor=Lists("lists")) == 3.5
