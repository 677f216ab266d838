"""Python files on the command line: imported, and what they define at their top level as programs.

What can be run are the computations and processes that a module binds to public names; a Keras model or a loaded `.fed`
file stands for what it declares (`FILE:MODEL.loss`). A file is imported as a module of its own, never as `__main__`,
with its folder on the path, and what it prints goes to standard error. Whatever it raises is shown at the user's own
line, as a diagnostic.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from types import CodeType, FunctionType, ModuleType
from typing import Any

from fedlang.cli import errors, importing
from fedlang.cli.paths import folder_of
from fedlang.cli.quiet import load_tensorflow
from fedlang.diagnostics import Diagnostic, DiagnosticError
from fedlang.embed.computations import Computation, Process
from fedlang.embed.decorators import PolymorphicComputation
from fedlang.embed.errors import unknown_entry
from fedlang.embed.loading import Package
from fedlang.learning.models import KerasModel
from fedlang.learning.spelling import Spelled
from fedlang.names.nearest import nearest
from fedlang.source import Source
from fedlang.syntax.read import read_source

_NEEDS_TENSORFLOW = re.compile(
    r"^\s*(import|from)\s+(tensorflow|keras|fedlang\.learning)\b|\.learning\.|tf_computation", re.MULTILINE
)


class PythonFile:
    """What a Python file defines, as `Package` is what a `.fed` file declares."""

    def __init__(self, module: ModuleType, source: Source) -> None:
        self.path = source.path
        self._source = source
        self._values = {name: value for name, value in vars(module).items() if not name.startswith("_")}

    @property
    def names(self) -> list[str]:
        """The names of what can be run, in the order in which they are bound."""
        return [name for name, value in self._values.items() if isinstance(_plain(value), Computation | Process)]

    @property
    def models(self) -> list[str]:
        """The names of Keras models that became programs."""
        return [name for name, value in self._values.items() if isinstance(value, KerasModel)]

    @property
    def mend(self) -> str:
        """What to write where the file defines nothing of the kind that is looked for."""
        if self.models:
            return f"make one of the model: `process = fl.learning.build_federated_averaging({self.models[0]})`"
        return "programs are what names at the top level are bound to: `process = …`, not results of functions"

    def entry(self, name: str) -> Computation | Process | Package:
        """What a name stands for. Raises `DiagnosticError` for one that there is not, or that is no program."""
        if name not in self._values:
            known = [*self.names, *self.models]
            raise unknown_entry(name, self.path, nearest(name, known), known)
        value = _plain(self._values[name])
        if isinstance(value, Computation | Process):
            return value.named(name)
        if isinstance(value, KerasModel):
            return value.package
        if isinstance(value, Package):
            return value
        raise errors.no_program(name, *self._description(name, value), importing.binding_of(self._source, name))

    def _description(self, name: str, value: object) -> tuple[str, str]:
        """What a value is, and what to do about it."""
        if isinstance(value, PolymorphicComputation):
            return "a function without types", 'give it types: `@fl.federated_computation("<float32>@CLIENTS")`'
        if _is_keras(value):
            return "a Keras model", f"make it a program: `model = fl.learning.from_keras_model({name}, loss=…)`"
        if isinstance(value, FunctionType):
            return (
                "a Python function",
                "decorate it with `@fl.federated_computation(…)`, or bind what it gives to a name",
            )
        kind = "a module" if isinstance(value, ModuleType) else f"a `{type(value).__name__}`"
        return kind, f"what can be run: {', '.join(f'`{each}`' for each in self.names)}" if self.names else ""

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong with the programs, each compiled."""
        return tuple(dict.fromkeys(each for name in self.names for each in _diagnose(self.entry(name))))


def import_file(path: str) -> PythonFile:
    """Imports a Python file. Raises `DiagnosticError` for whatever goes wrong."""
    source = read_source(path)
    linecache.checkcache(path)  # a longer-lived process, such as a notebook's, may know an older text
    with importing.told(source):
        code = compile(source.text, path, "exec", dont_inherit=True)
        if _NEEDS_TENSORFLOW.search(source.text):
            load_tensorflow()
        with redirect_stdout(sys.stderr):
            return PythonFile(_executed(code, path), source)


def _executed(code: CodeType, path: str) -> ModuleType:
    """The module of a file's code. Its spans keep the path as it was given."""
    folder, file = os.path.abspath(folder_of(path)), os.path.basename(path)
    name = os.path.splitext(file)[0]
    name = f"{name} of {folder}" if name in sys.modules else name
    spec = spec_from_file_location(name, os.path.join(folder, file))
    assert spec is not None, "the path ends with .py"
    module = module_from_spec(spec)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module
    exec(code, vars(module))
    return module


def _plain(value: Any) -> Any:
    return value.inner if isinstance(value, Spelled) else value


def _is_keras(value: object) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(value, keras.Model)


def _diagnose(program: Computation | Process | Package) -> Iterator[Diagnostic]:
    """What is wrong with a program, warnings included."""
    found = [program] if isinstance(program, Computation) else []
    if isinstance(program, Process):
        found = [program.method(name) for name in program.methods]
    for computation in found:
        try:
            _ = computation.compiled
            yield from computation.written[0].diagnostics
        except DiagnosticError as error:
            yield from error.diagnostics
