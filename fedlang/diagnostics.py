"""Diagnostics: what is wrong, where, and what to write instead. The one place that shows them.

A stage makes `Diagnostic` values (its `errors.py` has one function a mistake); `render` turns one into
text for people, `to_json` into data for programs. A stage that cannot go on raises `DiagnosticError`.
"""

from __future__ import annotations

import unicodedata

from fedlang.frozen import Frozen
from fedlang.source import Source, Span, position_of

WINDOW = 120  # characters of a source line shown
TAB = 4


class Label(Frozen):
    """A span and what to say about it. The first label of a diagnostic is the place of the mistake."""

    span: Span
    text: str = ""


class Edit(Frozen):
    """Replace the text of `span` by `replacement`."""

    span: Span
    replacement: str


class Diagnostic(Frozen):
    """One mistake. `code` is stable (`FED0203`); `severity` is "error", "warning" or "note"."""

    code: str
    title: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    hint: str = ""
    severity: str = "error"
    edit: Edit | None = None

    @property
    def span(self) -> Span | None:
        """Where the mistake is, when it has a place in a source."""
        return self.labels[0].span if self.labels else None


class DiagnosticError(Exception):
    """Carries diagnostics from the stage that found them to whoever shows them."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__(*diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return "\n\n".join(render(each) for each in self.diagnostics)

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback: a user's mistake has a place of its own."""
        return str(self).splitlines()


def render(diagnostic: Diagnostic) -> str:
    """The diagnostic as plain text: a title, the source lines with the labels under them, notes and the hint.

    `^` underlines the place of the mistake, `-` the other places. Lines of one file come in its order.
    """
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.title}"]
    marks = [
        mark for label in diagnostic.labels for mark in _marks(label, "^" if label is diagnostic.labels[0] else "-")
    ]
    width = max((len(str(mark.line)) for mark in marks), default=1)
    for source in dict.fromkeys(mark.source for mark in marks):
        inside = [mark for mark in marks if mark.source is source]
        lines.append(f"{' ' * width}--> {source.path}:{inside[0].line}:{inside[0].first + 1}")
        lines += _excerpt(sorted(inside, key=lambda mark: (mark.line, mark.first)), width)
    lines += [f"{' ' * width} = note: {note}" for note in diagnostic.notes]
    if diagnostic.hint:
        lines.append(f"{' ' * width} = help: {diagnostic.hint}")
    return "\n".join(lines)


class _Mark(Frozen):
    """What to underline on one line; `first` and `last` are character columns from 0, `last` excluded."""

    uncompared = frozenset()

    source: Source
    line: int
    first: int
    last: int
    sign: str
    text: str


def _marks(label: Label, sign: str) -> list[_Mark]:
    """A label's first line, and its last one if it covers several; the words stand under the last."""
    source, start, end = label.span
    here, there = position_of(source, start), position_of(source, max(start, end - 1))
    if here.line == there.line:
        last = here.column - 1 + max(1, end - start)
        return [_Mark(source, here.line, here.column - 1, last, sign, label.text)]
    ending = _line_at(source, end - 1)
    blanks = min(len(ending) - len(ending.lstrip()), there.column - 1)
    return [
        _Mark(source, here.line, here.column - 1, len(_line_at(source, start)), sign, "…"),
        _Mark(source, there.line, blanks, there.column, sign, label.text),
    ]


def _line_at(source: Source, offset: int) -> str:
    """The line an offset is on, without its end."""
    start = source.text.rfind("\n", 0, offset) + 1
    stop = source.text.find("\n", offset)
    return source.text[start : stop if stop >= 0 else len(source.text)].rstrip("\r")


def _excerpt(marks: list[_Mark], width: int) -> list[str]:
    """Source lines in order, each once, with their marks below; `...` where lines are left out."""
    rows = [f"{' ' * width} |"]
    previous = marks[0].line
    for line in dict.fromkeys(mark.line for mark in marks):
        here = [mark for mark in marks if mark.line == line]
        if line > previous + 1:
            rows.append("...")
        rows += _marked_line(line, here, width)
        previous = line
    return rows


def _marked_line(line: int, marks: list[_Mark], width: int) -> list[str]:
    """A source line cut to a readable window around its first mark, and a row for each mark."""
    whole = _nth_line(marks[0].source, line)
    left = max(0, marks[0].first - WINDOW // 2) if len(whole) > WINDOW else 0
    text = whole[left : left + WINDOW]
    rows = [f"{line:>{width}} | {_visible(text)}".rstrip()]
    for mark in marks:
        first, last = max(0, mark.first - left), max(1, mark.last - left)
        pad = _cells(text[:first]) + max(0, first - len(text))
        size = max(1, _cells(text[:last]) - _cells(text[:first]))
        rows.append(f"{' ' * width} | {' ' * pad}{mark.sign * size} {mark.text}".rstrip())
    return rows


def _nth_line(source: Source, line: int) -> str:
    start = 0
    for _ in range(line - 1):
        start = source.text.index("\n", start) + 1
    return _line_at(source, start)


def _visible(text: str) -> str:
    """Tabs as blanks; a character that would move the cursor as a sign for it."""
    if text.isascii() and text.isprintable():
        return text
    plain = text.replace("\t", " " * TAB)
    return "".join(
        each if each.isprintable() or (each.isspace() and each >= " ") else "\N{REPLACEMENT CHARACTER}"
        for each in plain
    )


def _cells(text: str) -> int:
    """How many terminal cells a text takes: East Asian wide characters two, combining ones none, tabs `TAB`."""
    if text.isascii():
        return len(text) + (TAB - 1) * text.count("\t")
    return sum(_cell(each) for each in text)


def _cell(character: str) -> int:
    if character == "\t":
        return TAB
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def to_json(diagnostic: Diagnostic) -> dict[str, object]:
    """The diagnostic as JSON-ready data; lines and columns count from 1."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.title,
        "labels": [_label_json(label) for label in diagnostic.labels],
        "notes": list(diagnostic.notes),
        "help": diagnostic.hint or None,
        "edit": _edit_json(diagnostic.edit),
    }


def _label_json(label: Label) -> dict[str, object]:
    start = position_of(label.span.source, label.span.start)
    end = position_of(label.span.source, label.span.end)
    return {
        "path": label.span.source.path,
        "start": {"line": start.line, "column": start.column},
        "end": {"line": end.line, "column": end.column},
        "text": label.text,
    }


def _edit_json(edit: Edit | None) -> dict[str, object] | None:
    if edit is None:
        return None
    return {**_label_json(Label(edit.span)), "replacement": edit.replacement}
