"""Places in Python code: where a traced program is written, so that mistakes show the user's own line.

Lines come from `linecache`, which also knows the cells of a notebook.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable
from typing import Any

from fedlang.source import Source, Span
from fedlang.syntax import tree
from fedlang.syntax.parser import parse_type

_sources: dict[str, Source] = {}


def caller_span() -> Span:
    """The line of the nearest Python frame that is not this package's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fedlang."):
        frame = frame.f_back
    return line_span(frame.f_code.co_filename, frame.f_lineno)


def span_of(function: Callable[..., Any]) -> Span | None:
    """The line where a function begins, decorators included; None where it has none, as what is written in C."""
    plain = getattr(function, "python_function", function)  # a `tf.function` wraps one
    code = getattr(plain, "__code__", None)
    return None if code is None else line_span(code.co_filename, code.co_firstlineno)


def line_span(path: str, line: int) -> Span:
    """A line of a Python file (or of a notebook cell) as a span."""
    text = "".join(linecache.getlines(path)) or "\n" * line
    source = _sources.get(path)
    if source is None or source.text != text:
        source = _sources[path] = Source(path, text)
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    stop = text.find("\n", start)
    stop = len(text) if stop < 0 else stop
    indent = len(text[start:stop]) - len(text[start:stop].lstrip())
    return Span(source, start + indent, max(stop, start + indent))


def parse_type_at(text: str, name: str, near: Span, after: int) -> tuple[tree.TypeTree, int]:
    """A type written as text in Python, with spans inside the Python file where the text stands in it.

    It is looked for behind `after`; the second result is where the next one may begin. Types that stand nowhere in the
    file, made by other means, have a source of their own.
    """
    whole = near.source.text
    starts = [at + 1 for quote in "\"'" if (at := whole.find(f"{quote}{text}{quote}", after)) >= 0]
    if not text.strip() or not starts:
        return parse_type(Source(f"<type of {name}>", text)), after
    start = min(starts)
    blank = "".join(each if each == "\n" else " " for each in whole[:start])
    source = Source(near.source.path, blank + text)
    try:
        return parse_type(source), start + len(text)
    finally:
        source.text = whole  # spans into the blank text are spans into the file's
