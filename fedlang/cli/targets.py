"""`FILE:NAME` on the command line, opened: the program that is run, with its settings.

A `.fed` file declares programs, a Python file defines them; both give a name's computation or process, and from there
on nothing asks which kind of file it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedlang.cli import errors
from fedlang.cli.arguments import Reader
from fedlang.cli.paths import folder_of, is_python, read_path, split_target
from fedlang.embed.computations import Computation, Process
from fedlang.embed.loading import Package, package_of

if TYPE_CHECKING:
    from fedlang.cli.python_files import PythonFile


def open_programs(path: str) -> Package | PythonFile:
    """What a file declares or defines. Raises `DiagnosticError` for whatever is wrong with the file."""
    if is_python(path):
        from fedlang.cli.python_files import import_file  # heavier than what .fed files need

        return import_file(path)
    return package_of(read_path(path), Path(folder_of(path)))


class Target:
    """What `FILE[:NAME[.METHOD]]` names. In a Python file, NAME may also be `MODEL.FUNCTION`."""

    def __init__(self, text: str) -> None:
        self.path, self.words = split_target(text)
        self.programs = open_programs(self.path)

    def names_of(self, kind: type) -> list[str]:
        """The names of a kind, in the order of the file."""
        return [name for name in self.programs.names if isinstance(self.programs.entry(name), kind)]

    def _only(self, kind: type, what: str, preferred: str) -> str:
        known = self.names_of(kind)
        if preferred in known:
            return preferred
        if len(known) != 1:
            hint = "" if isinstance(self.programs, Package) else self.programs.mend
            raise errors.no_choice(self.path, what, known, hint)
        return known[0]

    def program(self, kind: type, what: str, preferred: str = "main") -> tuple[Computation | Process, str]:
        """The computation or process that is named, and the method of it that is; without a name, the only one."""
        name, *rest = self.words or (self._only(kind, what, preferred),)
        found = self.programs.entry(name)
        if isinstance(found, Package):
            name, found, rest = self._inside(name, found, rest)
        if isinstance(found, Computation) and rest:
            raise errors.wrong_kind(name, "process", f"it has no `{rest[0]}`; only processes have methods")
        if isinstance(found, Process) and rest and (rest[0] not in found.methods or len(rest) > 1):
            raise errors.wrong_kind(f"{name}.{'.'.join(rest)}", "method", f"it has {', '.join(found.methods)}")
        return found, rest[0] if rest else ""

    def _inside(self, name: str, package: Package, rest: Sequence[str]) -> tuple[str, Computation | Process, list[str]]:
        """What a name of a package is: that of a Keras model, or of a file that the Python file loads."""
        if not rest:
            hint = f"say which of {', '.join(package.names)}: `{self.path}:{name}.{package.names[-1]}`"
            raise errors.wrong_kind(name, "computation or process, but several", hint)
        return f"{name}.{rest[0]}", package.entry(rest[0]), list(rest[1:])

    def computation(self, settings: Iterable[str]) -> Computation:
        """A function or a method of a process; `main`, or the only function, where no name is given."""
        found, method = self.program(Computation, "function that can be run")
        if isinstance(found, Computation):
            for setting in settings:
                raise errors.wrong_kind(
                    found.name, "process", f"it has no setting `{setting}`; only processes have settings"
                )
            return found
        if not method:
            hint = f"train it with `fed train`, or name a method: `{found.name}.{found.methods[0]}`"
            raise errors.wrong_kind(found.name, "function", hint)
        return _set(found, settings).method(method)

    def process(self, settings: Iterable[str]) -> Process:
        """A process; the only one of the file where no name is given."""
        found, method = self.program(Process, "process that can be trained")
        if not isinstance(found, Process):
            raise errors.wrong_kind(found.name, "process", f"run it with `fed run {self.path}:{'.'.join(self.words)}`")
        if method:
            raise errors.wrong_kind(f"{found.name}.{method}", "process", f"train `{found.name}`")
        return _set(found, settings)

    def any_computation(self) -> Computation:
        """Whatever is named; of a process its `next` where no method is named."""
        kind = object if len(self.names_of(Process)) != 1 else Process
        found, method = self.program(kind, "function or process that can be run")
        return found if isinstance(found, Computation) else found.method(method or "next")


def _set(process: Process, texts: Iterable[str]) -> Process:
    """The process with `NAME=VALUE` words as settings."""
    read = Reader(process.method("next").written[0])
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise errors.bad_setting(text)
        found[name.strip()] = read.value(value)
    return process.with_settings(**found)
