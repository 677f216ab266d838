"""What the command line names: files, folders, standard input, and one declaration of a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from fedlang.cli import errors
from fedlang.source import Source
from fedlang.syntax.read import read_source

STDIN = "-"
SKIPPED = frozenset({"node_modules", "__pycache__"})


def fed_files(paths: Iterable[str]) -> list[str]:
    """The files that paths name, each once: files as they are, of folders every `.fed` file below, `-` itself."""
    return list(dict.fromkeys(file for path in paths for file in _below(path)))


def _below(path: str) -> list[str]:
    if not os.path.isdir(path):
        return [path]
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in SKIPPED)
        found += [os.path.join(folder, file) for file in sorted(files) if file.endswith(".fed")]
    return found


def is_python(path: str) -> bool:
    """Whether a path names a Python file."""
    return path.endswith(".py")


def verify_text(path: str, command: str) -> None:
    """For a command that reads programs as text. Raises `DiagnosticError` for a Python file."""
    if is_python(path):
        raise errors.not_for_python(command, path)


def read_path(path: str) -> Source:
    """The text of a file or, for `-`, of standard input."""
    if path == STDIN:
        return Source("<stdin>", sys.stdin.read())
    return read_source(path)


def folder_of(path: str) -> str:
    """The folder where the modules that a file imports are looked for first."""
    return "." if path == STDIN else os.path.dirname(path) or "."


def split_target(target: str) -> tuple[str, tuple[str, ...]]:
    """`FILE[:NAME[.METHOD]]` as a path and the names after it; what is not there is left out."""
    if os.path.exists(target) or ":" not in target:
        return target, ()
    path, _, entry = target.rpartition(":")
    names = tuple(entry.split("."))
    if not all(name.isidentifier() for name in names):
        raise errors.bad_target(target)
    return path, names
