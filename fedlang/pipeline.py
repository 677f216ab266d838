"""The whole compiler on one page.

    source ─parse─► tree ─bind─► names ─check─► typed tree ─lower─► graph ─passes─► graph ─phases─► program

`open_source` does what every command needs: parse, bind and check one root file. `compile_entry` takes one thing that can be
run from there to a `Program`; `stages` does it step by step, for whoever wants to look between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fedlang.check.declarations import Checker
from fedlang.check.typed import CheckedTest
from fedlang.diagnostics import Diagnostic, DiagnosticError
from fedlang.ir.graph import Graph
from fedlang.ir.program import Program
from fedlang.ir.verify import verify_graph, verify_program
from fedlang.lower.derivatives import Derivatives
from fedlang.lower.entry import Lowered, lower_function, lower_method, lower_test
from fedlang.names.world import Symbol, World
from fedlang.passes.common import merge_common
from fedlang.passes.dead import remove_dead
from fedlang.passes.differentiate import differentiate
from fedlang.passes.inline import inline
from fedlang.passes.phases import to_program
from fedlang.source import Source
from fedlang.syntax.tree import Module

from fedlang.modules import Modules

DEEPEST = 20_000  # frames: the tree may be 1,200 levels deep, and each takes several


@contextmanager
def deep_stack() -> Iterator[None]:
    """Room for trees as deep as the parser lets through."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """A checked root file. `tests` are its tests."""

    world: World
    checker: Checker
    tests: tuple[CheckedTest, ...]

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything found so far, in the order of the text."""
        found = [*self.world.diagnostics, *self.checker.diagnostics]
        return tuple(sorted(found, key=lambda d: (d.span.source.path, d.span.start) if d.span else ("", 0)))

    def verify(self) -> None:
        """Raises what is wrong, if anything is."""
        wrong = [d for d in self.diagnostics if d.severity == "error"]
        if wrong:
            raise DiagnosticError(*wrong)


def open_source(source: Source, modules: Modules) -> Unit:
    """Parses, binds and checks a root file. Mistakes are in the unit's `diagnostics`."""
    with deep_stack():
        world = World(modules.find, modules.module_names)
        world.load_root(source)
        return _checked(world)


def open_module(module: Module, modules: Modules) -> Unit:
    """As `open_source`, for a module made without text: one traced from Python."""
    with deep_stack():
        world = World(modules.find, modules.module_names)
        world.bind_root(module, set())
        return _checked(world)


def _checked(world: World) -> Unit:
    checker = Checker(world)
    return Unit(world, checker, checker.check_root())


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
    with deep_stack():
        found = lower_method(unit.checker, entry.symbol, entry.method) if entry.method else lower_function(unit.checker, entry.symbol)
    unit.verify()
    return found


PASSES = ("lower", "inline", "differentiate", "common", "dead")


def stages(unit: Unit, graph: Graph, *, level: str = "federated") -> Iterator[tuple[str, Graph]]:
    """The graph after each pass, verified before and after."""
    rules = Derivatives(unit.checker)
    steps = (inline, lambda g: differentiate(g, rules), merge_common, remove_dead)
    verify_graph(graph, level=level)
    yield "lower", graph
    with deep_stack():
        for name, step in zip(PASSES[1:], steps, strict=True):
            graph = step(graph)
            verify_graph(graph, level=level)
            yield name, graph


def optimize(unit: Unit, graph: Graph) -> Graph:
    """The graph after the last pass."""
    for _, graph in stages(unit, graph):
        pass
    return graph


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
    with deep_stack():
        graph = lower_test(unit.checker, test)
    unit.verify()
    return optimize(unit, graph)


__all__ = ["Compiled", "Entry", "Unit", "compile_entry", "compile_graph", "compile_test", "lower_entry", "open_source"]
