"""The whole compiler on one page.

    source ─parse─► tree ─bind─► names ─check─► typed tree ─lower─► graph ─passes─► graph ─phases─► program

`open_source` does what every command needs: parse, bind and check one root file. `compile_entry` takes one thing
that can be
run from there to a `Program`; `stages` does it step by step, for whoever wants to look between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedlang.check.typed import CheckedTest
from fedlang.checking import Unit, deep_stack, open_module, open_source
from fedlang.ir.graph import Graph
from fedlang.ir.program import Program
from fedlang.ir.verify import verify_graph, verify_program
from fedlang.lower.derivatives import Derivatives
from fedlang.lower.entry import Lowered, lower_function, lower_method, lower_test
from fedlang.names.world import Symbol
from fedlang.passes.order import PASSES
from fedlang.passes.phases import to_program


@dataclass(frozen=True, slots=True)
class Entry:
    """What is run: a function, or (`method` not "") a method of a process."""

    name: str
    method: str = ""
    module: str = ""

    @property
    def symbol(self) -> Symbol:
        """The declaration."""
        return Symbol(self.module, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """A program in normal form, with the types of what goes in and comes out."""

    lowered: Lowered
    program: Program


def lower_entry(unit: Unit, entry: Entry) -> Lowered:
    """The graph of an entry, as it is written."""
    unit.verify()
    with deep_stack():
        found = (
            lower_method(unit.checker, entry.symbol, entry.method)
            if entry.method
            else lower_function(unit.checker, entry.symbol)
        )
    unit.verify()
    return found


STAGES = ("lower", *(each.name for each in PASSES))


def stages(unit: Unit, graph: Graph) -> Iterator[tuple[str, Graph]]:
    """The graph as it is lowered and after each pass, each verified."""
    rules = Derivatives(unit.checker)
    verify_graph(graph, level="federated")
    yield "lower", graph
    with deep_stack():
        for each in PASSES:
            graph = each.run(graph, rules)
            verify_graph(graph, level="federated")
            yield each.name, graph


def optimize(unit: Unit, graph: Graph) -> Graph:
    """The graph after the last pass."""
    return [last for _, last in stages(unit, graph)][-1]


def compile_graph(unit: Unit, lowered: Lowered) -> Compiled:
    """A lowered entry to its program."""
    program = to_program(optimize(unit, lowered.graph))
    verify_program(program)
    return Compiled(lowered, program)


def compile_entry(unit: Unit, entry: Entry) -> Compiled:
    """One thing that can be run, compiled. Raises `DiagnosticError`."""
    return compile_graph(unit, lower_entry(unit, entry))


def compile_test(unit: Unit, test: CheckedTest) -> Graph:
    """A test as a local graph; its checks are its expectations."""
    unit.verify()
    with deep_stack():
        graph = lower_test(unit.checker, test)
    unit.verify()
    return optimize(unit, graph)


__all__ = [
    "Compiled",
    "Entry",
    "Unit",
    "compile_entry",
    "compile_graph",
    "compile_test",
    "lower_entry",
    "open_module",
    "open_source",
]
