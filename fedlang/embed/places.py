"""Places in Python code: where a traced program is written, so that mistakes show the user's own expression.

Python knows for each instruction the expression it belongs to (PEP 657); its parts are found by parsing it. Lines come
from `linecache`, which also knows the cells of a notebook.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Callable
from itertools import islice
from types import CodeType
from typing import Any

from fedlang.source import Source, Span
from fedlang.syntax import tree
from fedlang.syntax.parser import parse_type

_sources: dict[str, Source] = {}


def caller_span() -> Span:
    """The expression that is being evaluated in the nearest Python frame that is not this package's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fedlang."):
        frame = frame.f_back
    return frame_span(frame.f_code, frame.f_lasti, frame.f_lineno)


def frame_span(code: CodeType, instruction: int, row: int) -> Span:
    """The expression that an instruction of a frame belongs to; its line, `row`, where Python does not know."""
    place = next(islice(code.co_positions(), instruction // 2, None), (None, None, None, None))
    line, end_line, column, end_column = place
    if line is None or end_line is None or column is None or end_column is None:
        return line_span(code.co_filename, row)
    source = _source_of(code.co_filename, end_line)
    start, end = _offset(source.text, line, column), _offset(source.text, end_line, end_column)
    return Span(source, start, end) if start < end else line_span(code.co_filename, row)


def operand_spans(span: Span) -> tuple[Span, Span]:
    """The two sides of an operator in Python; the whole for both where the text is something else."""
    match _expression_at(span):
        case ast.BinOp(left, _, right) | ast.Compare(left, _, [right]) | ast.BoolOp(_, [left, right]):
            return _inside(span, left), _inside(span, right)
        case _:
            return span, span


def argument_spans(span: Span) -> tuple[list[Span], dict[str, Span]]:
    """The arguments of a call in Python, by position and by name, as far as they are written one by one."""
    match _expression_at(span):
        case ast.Call(_, args, keywords) if not any(isinstance(each, ast.Starred) for each in args):
            return [_inside(span, each) for each in args], {
                each.arg: _inside(span, each.value) for each in keywords if each.arg is not None
            }
        case _:
            return [], {}


def _expression_at(span: Span) -> ast.expr | None:
    try:
        return ast.parse(f"({span.text})", mode="eval").body
    except SyntaxError:
        return None


def _inside(span: Span, part: ast.expr) -> Span:
    """The span of a part of the expression of `span`, which was parsed in parentheses."""
    assert part.end_lineno is not None and part.end_col_offset is not None
    text = f"({span.text})"
    start, end = _offset(text, part.lineno, part.col_offset), _offset(text, part.end_lineno, part.end_col_offset)
    return Span(span.source, span.start + start - 1, span.start + end - 1)


def _offset(text: str, line: int, column: int) -> int:
    """Where a line and a column are; Python counts columns in bytes of UTF-8."""
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    stop = text.find("\n", start)
    row = text[start : stop if stop >= 0 else len(text)]
    return start + len(row.encode()[:column].decode(errors="replace"))


def span_of(function: Callable[..., Any]) -> Span | None:
    """The line where a function begins, decorators included; None where it has none, as what is written in C."""
    plain = getattr(function, "python_function", function)  # a `tf.function` wraps one
    code = getattr(plain, "__code__", None)
    return None if code is None else line_span(code.co_filename, code.co_firstlineno)


def line_span(path: str, line: int) -> Span:
    """A line of a Python file (or of a notebook cell) as a span."""
    source = _source_of(path, line)
    text, start = source.text, 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    stop = text.find("\n", start)
    stop = len(text) if stop < 0 else stop
    indent = len(text[start:stop]) - len(text[start:stop].lstrip())
    return Span(source, start + indent, max(stop, start + indent))


def _source_of(path: str, line: int) -> Source:
    """A Python file or cell; blank lines stand for one that cannot be read."""
    text = "".join(linecache.getlines(path)) or "\n" * line
    source = _sources.get(path)
    if source is None or source.text != text:
        source = _sources[path] = Source(path, text)
    return source


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
