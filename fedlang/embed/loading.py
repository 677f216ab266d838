"""`fl.load`: a file's declarations as Python computations and processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedlang.check.typed import Checked
from fedlang.embed import errors
from fedlang.embed.computations import Computation, Process
from fedlang.embed.notebook import signatures_html
from fedlang.embed.origins import Origin
from fedlang.embed.values import decode
from fedlang.lower.entry import lower_default, method_names
from fedlang.modules import Modules
from fedlang.names.nearest import nearest
from fedlang.names.world import Symbol
from fedlang.pipeline import Entry, Unit, open_source, optimize
from fedlang.run.registry import get_executor
from fedlang.source import Source
from fedlang.syntax.read import read_source
from fedlang.syntax.tree import FunctionDeclaration, ProcessDeclaration
from fedlang.types.types import has_function


class Package:
    """What a file declares. Attributes are its functions (`Computation`) and processes (`Process`)."""

    def __init__(self, unit: Unit, path: str, origins: tuple[Origin, ...] = ()) -> None:
        self.unit = unit
        self.path = path
        self.origins = origins
        self._made: dict[str, Computation | Process] = {}

    @property
    def names(self) -> list[str]:
        """The names of what can be run: declarations without type parameters, over data."""
        return list(self._entries())

    def _entries(self) -> dict[str, FunctionDeclaration | ProcessDeclaration]:
        kinds = (FunctionDeclaration, ProcessDeclaration)
        found = [d for d in self.unit.world.root.declarations if isinstance(d, kinds)]
        return {d.name.text: d for d in found if self._is_entry(d)}

    def _is_entry(self, declaration: FunctionDeclaration | ProcessDeclaration) -> bool:
        if declaration.type_parameters:
            return False
        checked = self.unit.checker.checked(Symbol("", declaration.name.text))
        return checked is not None and not any(has_function(p.type) for p in checked.parameters)

    def entry(self, name: str) -> Computation | Process:
        """A function or process by name. Raises `DiagnosticError` for one that there is not."""
        if name not in self._made:
            declared = self._entries()
            if name not in declared:
                raise errors.unknown_entry(name, self.path, nearest(name, list(declared)), list(declared))
            self._made[name] = self._make(name, is_process=isinstance(declared[name], ProcessDeclaration))
        return self._made[name]

    def _make(self, name: str, *, is_process: bool) -> Computation | Process:
        if not is_process:
            return self._computation(Entry(name))
        checked = self.unit.checker.checked(Symbol("", name))
        assert checked is not None
        settings = self._settings(checked)
        methods = {
            method: self._computation(Entry(name, method), settings)
            for method in method_names(self.unit.checker, Symbol("", name))
        }
        return Process(name, methods, settings, {parameter.name: parameter.type for parameter in checked.parameters})

    def _computation(self, entry: Entry, settings: Mapping[str, Any] | None = None) -> Computation:
        name = f"{entry.name}.{entry.method}" if entry.method else entry.name
        return Computation(name, lambda: (self.unit, entry), settings=settings, origins=self.origins)

    def _settings(self, checked: Checked) -> dict[str, Any]:
        """The settings' defaults; one without a default must be given by `with_settings`."""
        found = {}
        for index, parameter in enumerate(checked.parameters):
            graph = lower_default(self.unit.checker, checked, index)
            if graph is not None:
                leaves = get_executor("reference").compile_local(optimize(self.unit, graph))([], _Silent())
                found[parameter.name] = decode(parameter.type, iter(leaves))
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.entry(name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.names]

    def _repr_html_(self) -> str:
        made = {name: self.entry(name) for name in self.names}
        shown = {
            name: "process: " + ", ".join(entry.methods) if isinstance(entry, Process) else entry.type_signature
            for name, entry in made.items()
        }
        return signatures_html(self.path, shown)

    def __repr__(self) -> str:
        return f"<{self.path}: {', '.join(self.names)}>"


class _Silent:
    """Takes what nobody asked to see."""

    def print(self, text: str) -> None:
        """Nothing."""

    def probe(self, name: str, value: object) -> None:
        """Nothing."""


def load(path: str | os.PathLike[str]) -> Package:
    """Reads, checks and gives the declarations of a `.fed` file.

    Raises `DiagnosticError` with everything that is wrong.
    """
    return package_of(read_source(Path(path)), Path(path).parent)


def loads(text: str, name: str = "<text>") -> Package:
    """As `load`, for text."""
    return package_of(Source(name, text), None)


def package_of(source: Source, folder: Path | None, origins: tuple[Origin, ...] = ()) -> Package:
    """The declarations of a source whose own modules lie in `folder`. `origins` are the models it was made of."""
    unit = open_source(source, Modules(folder))
    unit.verify()
    return Package(unit, source.path, origins)
