"""Looks at brackets, strings and comments before the parser does, where better messages can be given than by LALR.

In: one piece of a file. Out: its mistakes, where it really ends, and its comments.
"""

from __future__ import annotations

import re

from fedlang.diagnostics import Diagnostic
from fedlang.frozen import Frozen
from fedlang.source import Source, Span
from fedlang.syntax import errors
from fedlang.syntax.limits import DEEPEST_BRACKETS

_MARK = re.compile(r'"(?:\\.|[^"\\\n])*(?P<quote>"?)|#[^\n]*|[()\[\]{}]|(?P<margin>^[A-Za-z_]\w*)', re.MULTILINE)
_PARTNER = {")": "(", "]": "[", "}": "{"}


class Scan(Frozen):
    """`end` is where text at column 0 cuts the piece short, else the piece's own end."""

    end: int
    problems: tuple[Diagnostic, ...]
    comments: tuple[Span, ...]


def scan(source: Source, start: int, end: int, *, outside: bool = False, alone: bool = False) -> Scan:
    """Stops at the first mistake: the brackets after it cannot be trusted.

    `outside`: the text follows no declaration, so a word may not even stand at its start. `alone`: it is no part of
    a file, so column 0 means nothing.
    """
    opened: list[int] = []
    comments: list[Span] = []
    text = source.text
    for found in _MARK.finditer(text, start, end):
        sign, place = text[found.start()], found.start()
        if sign == "#":
            comments.append(Span(source, place, found.end()))
        elif sign == '"':
            if not found.group("quote"):
                return _stop(source, end, comments, errors.unterminated_string(Span(source, place, found.end())))
        elif found.group("margin"):
            if not opened and not alone and (outside or place > start):
                return Scan(place, (), tuple(comments))
        elif sign in "([{":
            opened.append(place)
            if len(opened) > DEEPEST_BRACKETS:
                return _stop(source, end, comments, errors.too_deep(Span(source, place, place + 1)))
        elif not opened:
            return _stop(source, end, comments, errors.unmatched_bracket(Span(source, place, place + 1)))
        elif text[opened[-1]] != _PARTNER[sign]:
            return _stop(source, end, comments, errors.mismatched_bracket(source, opened[-1], place))
        else:
            opened.pop()
    if opened:
        return _stop(source, end, comments, errors.unclosed_bracket(Span(source, opened[-1], opened[-1] + 1)))
    return Scan(end, (), tuple(comments))


def _stop(source: Source, end: int, comments: list[Span], problem: Diagnostic) -> Scan:
    return Scan(end, (problem,), tuple(comments))
