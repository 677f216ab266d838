"""Diagnostics as a command shows them: for people, in a line each, as JSON, or as notes on a change at GitHub."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence

import click

from fedlang.diagnostics import Diagnostic, render, to_json
from fedlang.source import position_of

FORMATS = ("full", "concise", "json", "github")
SCHEMA = "fedlang.diagnostics/1"

PROGRAM, USAGE, FAILED = 1, 2, 3
EXIT_CODES = {
    "FED0121": USAGE,
    "FED0605": USAGE,
    "FED0606": USAGE,
    "FED0625": USAGE,
    "FED0626": USAGE,
    "FED06": FAILED,
    "FED07": USAGE,
    "FED08": USAGE,
    "FED09": USAGE,
    **dict.fromkeys(("FED0809", "FED0810", "FED0811", "FED0812", "FED0813", "FED0814", "FED0915"), PROGRAM),
}
"""By the longest beginning of a code that is here; all other mistakes are the program's."""

_STYLES = {"error": "31", "warning": "33", "note": "34"}
_HEAD = re.compile(r"^(error|warning|note)(\[\w+\])(: .*)$")
_MARK = re.compile(r"^( *\| )( *)(\^+|-+)(.*)$")
_PLACE = re.compile(r"^( *)(-->|= (?:help|note):)(.*)$")
_GUTTER = re.compile(r"^( *\d* \|)(.*)$")


def exit_code(diagnostics: Iterable[Diagnostic]) -> int:
    """The exit code of a command that ends with these: the largest of theirs, 0 without an error."""
    return max((_exit_code(each.code) for each in diagnostics if each.severity == "error"), default=0)


def _exit_code(code: str) -> int:
    return EXIT_CODES.get(code, EXIT_CODES.get(code[:5], PROGRAM))


def internal(error: Exception) -> Diagnostic:
    """A mistake of fedlang's own."""
    title = f"internal error: {type(error).__name__}: {error}"
    return Diagnostic("FED0900", title, hint="please report this, with the program; `--debug` shows where it happened")


def show(diagnostics: Sequence[Diagnostic], output_format: str = "full", *, checked: int | None = None) -> None:
    """As JSON on standard output, otherwise on standard error. `checked` files are told of in a last line."""
    if output_format == "json":
        import json  # the other formats do without

        click.echo(json.dumps(document(diagnostics, checked), indent=2))
        return
    for each in diagnostics:
        click.echo(_FORMATTERS[output_format](each), err=True, color=True)
    if output_format != "github" and checked is not None:
        click.echo(summary(diagnostics, checked), err=True)


def document(diagnostics: Sequence[Diagnostic], checked: int | None) -> dict[str, object]:
    """One JSON document for a command. Lines and columns count from 1; `schema` changes when a field goes."""
    counts: dict[str, object] = {f"{kind}s": _count(diagnostics, kind) for kind in _STYLES}
    if checked is not None:
        counts["files"] = checked
    return {"schema": SCHEMA, "diagnostics": [_placed(each) for each in diagnostics], "summary": counts}


def _placed(diagnostic: Diagnostic) -> dict[str, object]:
    """The place of the mistake comes up to the top, as other tools have it."""
    found = to_json(diagnostic)
    labels = found["labels"]
    first = labels[0] if isinstance(labels, list) and labels else {}
    return {**found, "path": first.get("path"), "start": first.get("start"), "end": first.get("end")}


def summary(diagnostics: Sequence[Diagnostic], checked: int) -> str:
    """The last line."""
    parts = [_plural(count, kind) for kind in ("error", "warning") if (count := _count(diagnostics, kind))]
    return f"{', '.join(parts) or 'no mistakes'} in {_plural(checked, 'file')}"


def _count(diagnostics: Sequence[Diagnostic], severity: str) -> int:
    return sum(each.severity == severity for each in diagnostics)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _full(diagnostic: Diagnostic) -> str:
    text = render(diagnostic) + "\n"
    return painted(text, _STYLES[diagnostic.severity]) if wants_colour() else text


def _concise(diagnostic: Diagnostic) -> str:
    return f"{_place(diagnostic)}{diagnostic.severity}[{diagnostic.code}]: {diagnostic.title}"


def _place(diagnostic: Diagnostic) -> str:
    if diagnostic.span is None:
        return ""
    at = position_of(diagnostic.span.source, diagnostic.span.start)
    return f"{diagnostic.span.source.path}:{at.line}:{at.column}: "


def _github(diagnostic: Diagnostic) -> str:
    """A workflow command."""
    kind = {"note": "notice"}.get(diagnostic.severity, diagnostic.severity)
    where = ""
    if diagnostic.span is not None:
        at = position_of(diagnostic.span.source, diagnostic.span.start)
        where = f"file={diagnostic.span.source.path},line={at.line},col={at.column},"
    text = ". ".join(part for part in (diagnostic.title, *diagnostic.notes, diagnostic.hint) if part)
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{kind} {where}title={diagnostic.code}::{escaped}"


_FORMATTERS = {"full": _full, "concise": _concise, "github": _github}


def wants_colour() -> bool:
    """Whether standard error takes colours: a terminal does, `NO_COLOR` and `FORCE_COLOR` decide otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stderr.isatty() and os.environ.get("TERM") != "dumb")


def painted(text: str, colour: str) -> str:
    """A rendered diagnostic with its parts in colours."""
    return "\n".join(_painted_line(line, colour) for line in text.split("\n"))


def _painted_line(line: str, colour: str) -> str:
    if found := _HEAD.match(line):
        return f"\x1b[1;{colour}m{found[1]}{found[2]}\x1b[0m\x1b[1m{found[3]}\x1b[0m"
    if found := _MARK.match(line):
        sign = colour if found[3].startswith("^") else "34"
        return f"\x1b[34m{found[1]}\x1b[0m{found[2]}\x1b[1;{sign}m{found[3]}{found[4]}\x1b[0m"
    if found := _PLACE.match(line):
        return f"{found[1]}\x1b[1;34m{found[2]}\x1b[0m{found[3]}"
    if found := _GUTTER.match(line):
        return f"\x1b[34m{found[1]}\x1b[0m{found[2]}"
    return line
