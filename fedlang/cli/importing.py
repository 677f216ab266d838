"""What goes wrong while a Python file is imported, as diagnostics at the user's own lines.

An exception is shown where the user's code raised it, or called what did: at the deepest frame of a file that lies in
the folder of the imported one, and is no installed package. A second label is the line of the imported file that led
there.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from fedlang.cli import errors
from fedlang.cli.paths import folder_of
from fedlang.diagnostics import DiagnosticError, Label
from fedlang.embed.places import frame_span, line_span
from fedlang.source import Source, Span

EXTRAS = {"h5py": "data", "keras": "tf-cpu", "matplotlib": "viz", "tensorflow": "tf-cpu"}
"""Packages that an extra of fedlang brings."""


@contextmanager
def told(source: Source) -> Iterator[None]:
    """Whatever is raised inside, while a file is imported, becomes a `DiagnosticError`; an interrupt stays one."""
    try:
        yield
    except DiagnosticError as error:
        labels = _labels(error, source)[:1]
        raise DiagnosticError(
            *(each if each.labels else each.replace(labels=labels) for each in error.diagnostics)
        ) from error
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise errors.cannot_import(source.path, error, _labels(error, source)) from error
        raise errors.missing_package(source.path, package, EXTRAS[package], _labels(error, source)) from error
    except SystemExit as error:
        raise errors.ends_itself(source.path, _labels(error, source)) from error
    except Exception as error:
        raise errors.cannot_import(source.path, error, _labels(error, source)) from error


def _labels(error: BaseException, source: Source) -> tuple[Label, ...]:
    """Where the user's code failed, and the line of the imported file that led there."""
    if isinstance(error, SyntaxError) and error.filename is not None and error.lineno is not None:
        spans = [*_spans(error.__traceback__, source), _syntax_span(error.filename, error)]
    else:
        spans = list(_spans(error.__traceback__, source))
    if not spans:
        return ()
    outer = next((span for span in spans if span.source.path == source.path), None)
    if outer is None or outer.source is spans[-1].source:
        return (Label(spans[-1]),)
    return (Label(spans[-1]), Label(outer, "from here"))


def _spans(trace: TracebackType | None, source: Source) -> Iterator[Span]:
    """The places of the user's own code that a traceback goes through, the outermost first."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == source.path or _is_beside(code.co_filename, source.path):
            yield frame_span(code, trace.tb_lasti, trace.tb_lineno)
        trace = trace.tb_next


def _is_beside(file: str, path: str) -> bool:
    """Whether a file lies in the folder of the imported one, or below, and belongs to no installed package."""
    folder, file = os.path.realpath(folder_of(path)), os.path.realpath(file)
    below = os.path.relpath(file, folder).split(os.sep)
    return os.path.isfile(file) and below[0] != os.pardir and not {"site-packages", "fedlang"} & set(below)


def _syntax_span(path: str, error: SyntaxError) -> Span:
    line = line_span(path, error.lineno or 1)
    start = line.source.text.rfind("\n", 0, line.start) + 1
    first = start + max(0, (error.offset or 1) - 1)
    same_line = error.end_lineno == error.lineno and (error.end_offset or 0) > (error.offset or 0)
    last = start + (error.end_offset or 0) - 1 if same_line else first + 1
    return Span(line.source, first, last) if line.start <= first < line.end else line


def binding_of(source: Source, name: str) -> Span | None:
    """Where a module binds a name for the last time, at its top level; None where that is not in its text."""
    found = None
    for statement in ast.parse(source.text).body:
        if name in _bound(statement):
            found = line_span(source.path, statement.lineno)
    return found


def _bound(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            return {name}
        case ast.Import(names) | ast.ImportFrom(names=names):
            return {each.asname or each.name.partition(".")[0] for each in names}
        case _:
            stores = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
            return {node.id for node in stores if isinstance(node.ctx, ast.Store)}
