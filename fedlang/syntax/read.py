"""Reads source files: the one place of this stage that touches the disk."""

from __future__ import annotations

import os

from fedlang.diagnostics import DiagnosticError
from fedlang.source import Source
from fedlang.syntax import errors
from fedlang.syntax.limits import LONGEST_FILE


def read_source(path: str | os.PathLike[str]) -> Source:
    """The text of a file; its line ends stay as they are. Raises DiagnosticError where it is none that can be read."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(LONGEST_FILE * 4 + 1)
    except IsADirectoryError:
        raise DiagnosticError(errors.unreadable(name, "it is a folder")) from None
    except OSError as error:
        raise DiagnosticError(errors.unreadable(name, (error.strerror or "it cannot be opened").lower())) from None
    except ValueError:
        raise DiagnosticError(errors.unreadable(repr(name), "that is no file name")) from None
    if len(data) > LONGEST_FILE * 4:
        raise DiagnosticError(errors.too_long(name, os.path.getsize(name), LONGEST_FILE))
    try:
        return Source(name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DiagnosticError(errors.not_utf8(name, error.start)) from None
