"""`FILE:NAME` on the command line, opened: the declaration that is run, with its settings and its executor."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedlang.cli import errors
from fedlang.cli.arguments import Reader
from fedlang.cli.paths import folder_of, read_path, split_target
from fedlang.embed.computations import Computation, Process
from fedlang.embed.loading import Package, package_of
from fedlang.pipeline import Entry


class Target:
    """What `FILE[:NAME[.METHOD]]` names."""

    def __init__(self, text: str) -> None:
        self.path, self.name, self.method = split_target(text)
        self.package: Package = package_of(read_path(self.path), Path(folder_of(self.path)))

    def names_of(self, kind: type) -> list[str]:
        """The declarations of a kind, in the order of the file."""
        return [name for name in self.package.names if isinstance(self.package.entry(name), kind)]

    def _only(self, kind: type, what: str, preferred: str) -> str:
        known = self.names_of(kind)
        if preferred in known:
            return preferred
        if len(known) != 1:
            raise errors.no_choice(self.path, what, known)
        return known[0]

    def computation(self, settings: Iterable[str]) -> Computation:
        """A function or a method of a process; `main`, or the only function, where no name is given."""
        name = self.name or self._only(Computation, "function that can be run", "main")
        found = self.package.entry(name)
        if isinstance(found, Computation):
            for setting in settings:
                raise errors.wrong_kind(name, "process", f"it has no setting `{setting}`; only processes have settings")
            return found
        if not self.method:
            hint = f"train it with `fed train`, or name a method: `{name}.{found.methods[0]}`"
            raise errors.wrong_kind(name, "function", hint)
        if self.method not in found.methods:
            raise errors.wrong_kind(f"{name}.{self.method}", "method", f"it has {', '.join(found.methods)}")
        return found.with_settings(**self.settings(settings)).method(self.method)

    def process(self, settings: Iterable[str]) -> Process:
        """A process; the only one of the file where no name is given."""
        name = self.name or self._only(Process, "process that can be trained", "main")
        found = self.package.entry(name)
        if not isinstance(found, Process):
            raise errors.wrong_kind(name, "process", f"run it with `fed run {self.path}:{name}`")
        return found.with_settings(**self.settings(settings))

    def any_entry(self) -> Entry:
        """What is named as the compiler calls it; of a process its `next` where no method is named."""
        kind = object if len(self.names_of(Process)) != 1 else Process
        name = self.name or self._only(kind, "function or process that can be run", "main")
        found = self.package.entry(name)
        if isinstance(found, Computation):
            return Entry(name)
        if self.method and self.method not in found.methods:
            raise errors.wrong_kind(f"{name}.{self.method}", "method", f"it has {', '.join(found.methods)}")
        return Entry(name, self.method or "next")

    def settings(self, texts: Iterable[str]) -> dict[str, Any]:
        """`NAME=VALUE` words as values."""
        read = Reader(self.package.unit)
        found = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals or not name.strip().isidentifier():
                raise errors.bad_setting(text)
            found[name.strip()] = read.value(value)
        return found
