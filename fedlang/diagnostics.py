"""Diagnostics: what is wrong, where, and what to write instead. The one place that shows them.

A stage makes `Diagnostic` values (its `errors.py` has one function a mistake); `render` turns one into
text for people, `to_json` into data for programs. A stage that cannot go on raises `DiagnosticError`.
"""

from __future__ import annotations

from fedlang.frozen import Frozen
from fedlang.source import Span, position_of


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


def render(diagnostic: Diagnostic) -> str:
    """The diagnostic as plain text: a title, the source lines with carets, notes and the hint."""
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.title}"]
    width = max((len(str(position_of(label.span.source, label.span.start).line)) for label in diagnostic.labels), default=1)
    previous_path = ""
    for label in diagnostic.labels:
        place = position_of(label.span.source, label.span.start)
        path = label.span.source.path
        if path != previous_path:
            lines.append(f"{' ' * width}--> {path}:{place.line}:{place.column}")
            previous_path = path
        lines += _excerpt(label, place.line, place.column, width)
    lines += [f"{' ' * width} = note: {note}" for note in diagnostic.notes]
    if diagnostic.hint:
        lines.append(f"{' ' * width} = help: {diagnostic.hint}")
    return "\n".join(lines)


def _excerpt(label: Label, line: int, column: int, width: int) -> list[str]:
    """The source line under a label, cut to a readable window, with carets below it."""
    text = label.span.source.text
    start = label.span.start - (column - 1)
    stop = text.find("\n", start)
    whole = text[start : stop if stop >= 0 else len(text)].rstrip("\r")
    carets = max(1, min(label.span.end, start + len(whole)) - label.span.start)
    left = max(0, column - 61) if len(whole) > 120 else 0
    shown = whole[left : left + 120].replace("\t", " ")
    pad = " " * (column - 1 - left)
    mark = "^" * min(carets, max(1, 120 - len(pad)))
    gutter = " " * width
    return [f"{gutter} |", f"{line:>{width}} | {shown}", f"{gutter} | {pad}{mark} {label.text}".rstrip()]


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
