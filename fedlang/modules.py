"""Finds modules: beside the root file, then in the library that ships, then in what installed packages offer.

Paths are strings: `pathlib` takes longer to import than a file takes to check.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from fedlang.source import Source
from fedlang.syntax.read import read_source

ENTRY_POINTS = "fedlang.libraries"
ENDING = ".fed"


def library_folder() -> str:
    """The folder of the library: inside the package when installed, beside it in a checkout."""
    package = os.path.dirname(os.path.abspath(__file__))
    inside = os.path.join(package, "stdlib")
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), "stdlib")


def prelude_files() -> list[str]:
    """The files of the prelude, in their order."""
    return sorted(_fed_files(os.path.join(library_folder(), "prelude")))


class Modules:
    """Looks modules up for one root file. `root` is the folder it lies in."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self._folders = [*([os.fspath(root)] if root is not None else []), library_folder()]

    def find(self, module: str) -> tuple[Source, ...]:
        """A module's sources: one file, or for "prelude" every file of its folder; none if there is no such module."""
        if module == "prelude":
            return tuple(read_source(path) for path in prelude_files())
        words = module.split(".")
        for folder in self._places(words[0]):
            path = os.path.join(folder, *words) + ENDING
            if os.path.isfile(path):
                return (read_source(path),)
        return ()

    def _places(self, first: str) -> Iterator[str]:
        """The folders to look in, those of other packages last; they are asked for by the first word of the module."""
        yield from self._folders
        if any(os.path.exists(os.path.join(folder, first)) for folder in self._folders):
            return
        from importlib.metadata import entry_points  # slow, and rarely needed

        for entry in entry_points(group=ENTRY_POINTS, name=first):
            yield os.fspath(entry.load())

    def module_names(self) -> list[str]:
        """Every module that can be found, for suggestions."""
        return [name for folder in self._folders for name in _names_in(folder)]


def _names_in(folder: str) -> Iterator[str]:
    """The modules of a folder and of the folders in it."""
    for path in sorted(_fed_files(folder)):
        yield _stem(path)
    for inner in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if inner.is_dir():
            yield from (f"{inner.name}.{_stem(path)}" for path in sorted(_fed_files(inner.path)))


def _fed_files(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder) if entry.name.endswith(ENDING)]
    except OSError:
        return []


def _stem(path: str) -> str:
    return os.path.basename(path).removesuffix(ENDING)
