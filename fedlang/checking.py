"""The front half of the compiler, which is all that `fed check` needs: parse, bind and check one root file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fedlang.check.declarations import Checker
from fedlang.check.typed import CheckedTest
from fedlang.diagnostics import Diagnostic, DiagnosticError
from fedlang.frozen import Frozen
from fedlang.modules import Modules
from fedlang.names.world import World
from fedlang.source import Source
from fedlang.syntax.tree import Module

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


class Unit(Frozen):
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
